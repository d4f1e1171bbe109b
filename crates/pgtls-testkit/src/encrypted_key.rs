//! Encrypts private keys as OpenSSL does by default: PKCS #8 with PBES2 (RFC 8018), PBKDF2 and AES in CBC mode.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::pbkdf2::{
    PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512, derive,
};

use crate::der::{element, octets, oid, sequence};

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const RSADSI_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
const NIST_AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
const SALT: &[u8] = b"salt-salt-salt-s";

/// How a key is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEncryption {
    /// 128, 192 or 256.
    pub aes_bits: u16,
    /// 1, 256, 384 or 512.
    pub hmac_sha: u16,
}

impl KeyEncryption {
    /// OpenSSL 3's default.
    pub const DEFAULT: Self = Self {
        aes_bits: 256,
        hmac_sha: 256,
    };

    /// The EncryptedPrivateKeyInfo in DER of a PKCS #8 key in DER.
    #[must_use]
    pub fn encrypt(self, pkcs8: &[u8], passphrase: &str) -> Vec<u8> {
        let (cipher, cipher_oid, key_bytes) = match self.aes_bits {
            128 => (&AES_128, 2, 16),
            192 => (&AES_192, 22, 24),
            _ => (&AES_256, 42, 32),
        };
        let (prf, prf_oid) = match self.hmac_sha {
            1 => (PBKDF2_HMAC_SHA1, None),
            384 => (PBKDF2_HMAC_SHA384, Some(10)),
            512 => (PBKDF2_HMAC_SHA512, Some(11)),
            _ => (PBKDF2_HMAC_SHA256, Some(9)),
        };
        let iterations = NonZeroU32::new(2048).expect("not zero");
        let mut key = vec![0; key_bytes];
        derive(prf, iterations, SALT, passphrase.as_bytes(), &mut key);
        let key = UnboundCipherKey::new(cipher, &key).expect("a key of that length");
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).expect("a key for CBC");
        let mut text = pkcs8.to_vec();
        let context = EncryptionContext::Iv128([7; 16].into());
        key.less_safe_encrypt(&mut text, context)
            .expect("a ciphertext");
        // Left out where it is the default, as DER demands.
        let prf = prf_oid.map_or_else(Vec::new, |last| {
            sequence(&[&oid(&[RSADSI_DIGEST, &[last]].concat()), &[0x05, 0x00]])
        });
        let derivation = sequence(&[&octets(SALT), &element(0x02, &[&[0x08, 0x00]]), &prf]);
        let scheme = sequence(&[&oid(&[NIST_AES, &[cipher_oid]].concat()), &octets(&[7; 16])]);
        let parameters = sequence(&[&sequence(&[&oid(PBKDF2), &derivation]), &scheme]);
        sequence(&[&sequence(&[&oid(PBES2), &parameters]), &octets(&text)])
    }
}
