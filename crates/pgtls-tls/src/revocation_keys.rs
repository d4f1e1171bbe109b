//! [`Namesakes`]: which of several lists of one issuer's name are of which of its keys.
//!
//! An authority that changed its key keeps its name, and each key has its own list. webpki looks at names alone and takes the
//! first list it finds; so it is shown only those of the keys on the chain. It verifies the signature of the one it takes itself:
//! what is said here can only take lists away. A chain on which one name stands for two keys is taken apart
//! ([`crate::revocation_links`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{RawPublicKeyEntity, VerifiedPath};
use x509_parser::oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER;
use x509_parser::revocation_list::CertificateRevocationList;

/// More answers are not remembered: there are as many as lists and keys of authorities.
const MAX_REMEMBERED: usize = 1024;

/// The signature of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListSignature {
    message: Vec<u8>,
    signature: Vec<u8>,
    /// The authorityKeyIdentifier's value: what the list says of its key.
    key_id: Option<Vec<u8>>,
}

/// The subject of an issuer, as webpki writes names, and its public key.
pub(crate) type IssuerKey = (Vec<u8>, SubjectPublicKeyInfoDer<'static>);

/// Lists that share the name of their issuer with others, by place in the file's lists.
#[derive(Debug, Default)]
pub(crate) struct Namesakes {
    shared: HashSet<usize>,
    /// Of all lists of the file, once some share a name.
    signatures: Vec<ListSignature>,
    /// Guards which list which key was found to have signed; nothing runs under it but a look-up.
    known: Mutex<HashMap<(usize, Vec<u8>), bool>>,
}

impl ListSignature {
    pub(crate) fn of(list: &CertificateRevocationList<'_>) -> Self {
        let mut extensions = list.extensions().iter();
        let key_id = extensions.find(|one| one.oid == OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER);
        Self {
            message: list.tbs_cert_list.as_ref().to_vec(),
            signature: list.signature_value.data.to_vec(),
            key_id: key_id.map(|extension| extension.value.to_vec()),
        }
    }

    fn is_by(
        &self,
        key: &SubjectPublicKeyInfoDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(key) else {
            return false;
        };
        // Each algorithm refuses a key that isn't its own, and all of them are strong: the one that fits decides.
        algorithms.iter().any(|algorithm| {
            key.verify_signature(*algorithm, &self.message, &self.signature)
                .is_ok()
        })
    }
}

impl Namesakes {
    /// Keeps the signatures, if there is an issuer with several lists.
    pub(crate) fn among(lists: Vec<(&[u8], ListSignature)>) -> Self {
        let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
        for (issuer, _) in &lists {
            *counts.entry(issuer.to_vec()).or_default() += 1;
        }
        let is_shared = |issuer: &[u8]| counts.get(issuer).is_some_and(|&count| count > 1);
        let places = lists.iter().enumerate();
        let shared: HashSet<_> = places
            .filter(|(_, (issuer, _))| is_shared(issuer))
            .map(|(place, _)| place)
            .collect();
        if shared.is_empty() {
            return Self::default();
        }
        Self {
            shared,
            signatures: lists.into_iter().map(|(_, signature)| signature).collect(),
            known: Mutex::default(),
        }
    }

    pub(crate) fn are_there(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Whether a list may speak for one of `keys`: it is the only one of its issuer, a key of that name signed it, or it names
    /// the same key as one of those. The last one so that a list that was damaged isn't replaced by an older one.
    pub(crate) fn speaks(
        &self,
        list: usize,
        issuer: &[u8],
        keys: &[IssuerKey],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Some(signature) = self.signatures.get(list) else {
            return true;
        };
        if !self.shared.contains(&list) {
            return true;
        }
        keys.iter()
            .filter(|(name, _)| name == issuer)
            .any(|(_, key)| {
                if self.is_by(list, key, algorithms) {
                    return true;
                }
                let mut others = self.signatures.iter().enumerate().filter(|(_, other)| {
                    signature.key_id.is_some() && other.key_id == signature.key_id
                });
                others.any(|(other, _)| self.is_by(other, key, algorithms))
            })
    }

    /// Verifies a signature once and remembers the answer: a list may be large, and every handshake asks.
    pub(crate) fn is_by(
        &self,
        list: usize,
        key: &SubjectPublicKeyInfoDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let question = (list, key.as_ref().to_vec());
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&answer) = lock().get(&question) {
            return answer;
        }
        let signature = self.signatures.get(list);
        let answer = signature.is_some_and(|signature| signature.is_by(key, algorithms));
        let mut known = lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(question, answer);
        answer
    }
}

/// Who issued the certificates of a chain, from the leaf's issuer to the root.
pub(crate) fn issuer_keys(path: &VerifiedPath<'_>) -> Vec<IssuerKey> {
    let anchor = path.anchor();
    let of_anchor = SubjectPublicKeyInfoDer::from(sequence(&anchor.subject_public_key_info));
    path.intermediate_certificates()
        .map(|issuer| (issuer.subject().to_vec(), issuer.subject_public_key_info()))
        .chain([(anchor.subject.to_vec(), of_anchor)])
        .collect()
}

/// A trust anchor keeps its key without the SEQUENCE around it.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![0x30];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant: Vec<_> = bytes.into_iter().skip_while(|&byte| byte == 0).collect();
            der.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            der.extend(significant);
        }
    }
    der.extend_from_slice(content);
    der
}
