//! Decrypts private keys of PKCS#8 (RFC 5958 section 3) that are encrypted with PBES2 (RFC 8018): PBKDF2 and AES in CBC mode, which
//! is what OpenSSL writes by default.
//!
//! aws-lc-rs does the work, as for everything else: no further dependency for a file that is read at start. What older tools
//! write (PBES1, DES, scrypt) is refused with the command that converts it.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::der::{Reader, tag};

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// `1.2.840.113549.2`; the last byte of an OID below it says which HMAC.
const RSADSI_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// `2.16.840.1.101.3.4.1`; the last byte of an OID below it says which AES.
const NIST_AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
/// RFC 8018's hmacWithSHA1, which holds where no other is named.
const HMAC_SHA1: u8 = 7;

/// More rounds than this are a mistake rather than a choice: they would keep the program from starting for minutes.
const MAX_ITERATIONS: u32 = 50_000_000;

/// Why an encrypted key stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyDecryptionError {
    /// The structure can't be parsed.
    #[error("it is damaged; write it again from its source")]
    Malformed,
    /// Encrypted in a way that isn't supported.
    #[error(
        "it is encrypted in a way that is not supported (PBES2 with PBKDF2 and AES is); convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in … -out …`"
    )]
    Unsupported,
    /// The padding or the content is wrong.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
}

/// How a key is encrypted.
struct Encryption<'a> {
    prf: pbkdf2::Algorithm,
    salt: &'a [u8],
    iterations: NonZeroU32,
    cipher: &'static Algorithm,
    key_bytes: usize,
    iv: [u8; 16],
}

/// Decrypts an `EncryptedPrivateKeyInfo`; the result is a PKCS#8 `PrivateKeyInfo` in DER.
pub(crate) fn decrypt(
    der: &[u8],
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyDecryptionError> {
    let mut info = Reader::only(der, tag::SEQUENCE).ok_or(KeyDecryptionError::Malformed)?;
    let algorithm = info.sequence().ok_or(KeyDecryptionError::Malformed)?;
    let ciphertext = info
        .take(tag::OCTET_STRING)
        .ok_or(KeyDecryptionError::Malformed)?;
    let encryption = Encryption::parse(algorithm)?;
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    let length = encryption.open(passphrase, &mut plaintext)?;
    plaintext.truncate(length);
    // A wrong passphrase passes for a right one as far as the padding goes once in 256 times.
    Reader::only(&plaintext, tag::SEQUENCE).ok_or(KeyDecryptionError::WrongPassphrase)?;
    Ok(plaintext)
}

impl<'a> Encryption<'a> {
    fn parse(mut algorithm: Reader<'a>) -> Result<Self, KeyDecryptionError> {
        let malformed = KeyDecryptionError::Malformed;
        if algorithm.take(tag::OID).ok_or(malformed)? != PBES2 {
            return Err(KeyDecryptionError::Unsupported);
        }
        let mut parameters = algorithm.sequence().ok_or(malformed)?;
        let mut derivation = parameters.sequence().ok_or(malformed)?;
        let mut scheme = parameters.sequence().ok_or(malformed)?;
        if derivation.take(tag::OID).ok_or(malformed)? != PBKDF2 {
            return Err(KeyDecryptionError::Unsupported);
        }
        let (cipher, key_bytes) = aes(scheme.take(tag::OID).ok_or(malformed)?)?;
        let iv = scheme.take(tag::OCTET_STRING).ok_or(malformed)?;
        let mut derivation = derivation.sequence().ok_or(malformed)?;
        let salt = derivation.take(tag::OCTET_STRING).ok_or(malformed)?;
        let iterations = derivation
            .unsigned()
            .filter(|&iterations| iterations <= MAX_ITERATIONS)
            .and_then(NonZeroU32::new)
            .ok_or(malformed)?;
        // keyLength says nothing that the cipher doesn't.
        let _ = derivation.unsigned();
        let prf = match derivation.sequence() {
            None => hmac(HMAC_SHA1)?,
            Some(mut prf) => match prf.take(tag::OID).and_then(<[u8]>::split_last) {
                Some((&last, RSADSI_DIGEST)) => hmac(last)?,
                Some(_) => return Err(KeyDecryptionError::Unsupported),
                None => return Err(malformed),
            },
        };
        Ok(Self {
            prf,
            salt,
            iterations,
            cipher,
            key_bytes,
            iv: iv.try_into().map_err(|_| malformed)?,
        })
    }

    /// Decrypts in place; how many bytes of it are plaintext.
    fn open(&self, passphrase: &[u8], text: &mut [u8]) -> Result<usize, KeyDecryptionError> {
        let mut key = Zeroizing::new(vec![0; self.key_bytes]);
        pbkdf2::derive(self.prf, self.iterations, self.salt, passphrase, &mut key);
        let key = UnboundCipherKey::new(self.cipher, &key)
            .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
            .map_err(|_| KeyDecryptionError::Unsupported)?;
        let context = DecryptionContext::Iv128(self.iv.into());
        let plaintext = key
            .decrypt(text, context)
            .map_err(|_| KeyDecryptionError::WrongPassphrase)?;
        Ok(plaintext.len())
    }
}

/// RFC 8018 appendix B.1.2: SHA-224 is left out, nobody writes it.
fn hmac(number: u8) -> Result<pbkdf2::Algorithm, KeyDecryptionError> {
    match number {
        HMAC_SHA1 => Ok(pbkdf2::PBKDF2_HMAC_SHA1),
        9 => Ok(pbkdf2::PBKDF2_HMAC_SHA256),
        10 => Ok(pbkdf2::PBKDF2_HMAC_SHA384),
        11 => Ok(pbkdf2::PBKDF2_HMAC_SHA512),
        _ => Err(KeyDecryptionError::Unsupported),
    }
}

/// AES in CBC mode, with its key's length.
fn aes(oid: &[u8]) -> Result<(&'static Algorithm, usize), KeyDecryptionError> {
    match oid.split_last() {
        Some((2, NIST_AES)) => Ok((&AES_128, 16)),
        Some((22, NIST_AES)) => Ok((&AES_192, 24)),
        Some((42, NIST_AES)) => Ok((&AES_256, 32)),
        _ => Err(KeyDecryptionError::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_encrypted_key_is_damaged() {
        for der in [
            &b"secret"[..],
            &[],
            &[0x30, 0x00],
            &[0x30, 0x02, 0x30, 0x00],
        ] {
            assert_eq!(
                decrypt(der, b"x").unwrap_err(),
                KeyDecryptionError::Malformed,
                "{der:02x?}"
            );
        }
    }

    #[test]
    fn another_scheme_names_the_command_that_converts() {
        // EncryptedPrivateKeyInfo with pbeWithMD5AndDES-CBC.
        let pbes1 = [
            0x30, 0x11, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05,
            0x03, 0x04, 0x02, 0x00, 0x00,
        ];
        let error = decrypt(&pbes1, b"x").unwrap_err();
        assert_eq!(error, KeyDecryptionError::Unsupported);
        assert!(error.to_string().contains("openssl pkcs8 -topk8"));
    }
}
