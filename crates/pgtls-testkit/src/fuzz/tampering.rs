//! A TLS peer that tampers with its own messages before it encrypts them: what a peer can send that has the keys and no scruples,
//! and what no change of ciphertext reaches.

use std::cell::RefCell;
use std::sync::OnceLock;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::cipher::{
    AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundOpaqueMessage, OutboundPlainMessage, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, SupportedCipherSuite, Tls12CipherSuite,
    Tls13CipherSuite,
};

/// What is about to be encrypted as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its kind.
    pub content_type: ContentType,
    /// Its content; what is beyond [`MAX_RECORD_BYTES`] is cut off.
    pub payload: Vec<u8>,
}

/// A little more than a record may have (RFC 8446, section 5.1).
pub const MAX_RECORD_BYTES: usize = 16 * 1024 + 16;

type Tamper = Box<dyn FnMut(&mut Sent)>;

thread_local! {
    static TAMPER: RefCell<Option<Tamper>> = const { RefCell::new(None) };
}

/// Gives every record that a connection with [`tampering_provider`] encrypts on this thread to `tamper` while `work` runs.
pub fn with_tampering<R>(tamper: impl FnMut(&mut Sent) + 'static, work: impl FnOnce() -> R) -> R {
    /// Takes the closure away, also after a panic.
    struct Honest;
    impl Drop for Honest {
        fn drop(&mut self) {
            TAMPER.set(None);
        }
    }
    TAMPER.set(Some(Box::new(tamper)));
    let _honest = Honest;
    work()
}

/// aws-lc-rs, with suites that [`with_tampering`] reaches.
#[must_use]
pub fn tampering_provider() -> CryptoProvider {
    static SUITES: OnceLock<Vec<SupportedCipherSuite>> = OnceLock::new();
    let suites = SUITES.get_or_init(|| {
        let honest = default_provider().cipher_suites;
        honest.into_iter().map(tampering_suite).collect()
    });
    CryptoProvider {
        cipher_suites: suites.clone(),
        ..default_provider()
    }
}

/// Leaked, once: rustls wants suites that live forever.
fn tampering_suite(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let aead_alg = Box::leak(Box::new(Tampering13(suite.aead_alg)));
            let suite = Tls13CipherSuite {
                common: common_of(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg,
                quic: None,
            };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls12(suite) => {
            let aead_alg = Box::leak(Box::new(Tampering12(suite.aead_alg)));
            let suite = Tls12CipherSuite {
                common: common_of(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg,
            };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
    }
}

fn common_of(common: &rustls::crypto::CipherSuiteCommon) -> rustls::crypto::CipherSuiteCommon {
    rustls::crypto::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    }
}

struct Tampering13(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Tampering13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(TamperingEncrypter(self.0.encrypter(key, iv)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }
}

struct Tampering12(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Tampering12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(TamperingEncrypter(self.0.encrypter(key, iv, extra)))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}

struct TamperingEncrypter(Box<dyn MessageEncrypter>);

impl MessageEncrypter for TamperingEncrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let mut sent = Sent {
            content_type: message.typ,
            payload: message.payload.to_vec(),
        };
        TAMPER.with_borrow_mut(|tamper| {
            if let Some(tamper) = tamper {
                tamper(&mut sent);
            }
        });
        sent.payload.truncate(MAX_RECORD_BYTES);
        let message = OutboundPlainMessage {
            typ: sent.content_type,
            version: message.version,
            payload: OutboundChunks::Single(&sent.payload),
        };
        self.0.encrypt(message, sequence)
    }

    fn encrypted_payload_len(&self, payload_bytes: usize) -> usize {
        self.0.encrypted_payload_len(payload_bytes)
    }
}
