//! [`Trust`]: whose certificates are believed, and how it is known which of them are revoked.

use std::sync::Arc;

use rustls::Error;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::chain::{Purpose, Roots};
use crate::date::rfc3339;
use crate::policy_hash::Loaded;
use crate::revocation::{Revocation, Unproven};
use crate::stapled_revocation::revocation_time;

/// Roots, and the revocation lists of what they signed.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) roots: Roots,
    /// None when nobody configured lists: then nothing is revoked.
    pub(crate) revocation: Option<Revocation>,
}

/// A refusal in rustls' words, and in better ones where there are.
pub(crate) type Refusal = (Error, Option<String>);

impl Trust {
    /// Every root and the fingerprint of every list, for telling whether anything has changed.
    pub(crate) fn loaded(&self) -> Loaded<'_> {
        Loaded {
            authorities: self.roots.ders().collect(),
            revocations: self
                .revocation
                .iter()
                .flat_map(Revocation::fingerprints)
                .collect(),
            ..Loaded::default()
        }
    }

    /// When each root and each list ends, Unix seconds.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        let lists = self.revocation.iter().flat_map(Revocation::ends);
        self.roots.ends().chain(lists)
    }

    /// Checks the chain, then that no certificate of it is revoked; names are not looked at.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Refusal> {
        self.roots
            .verify(leaf, intermediates, purpose, now, provider)
            .map_err(|error| (error, None))?;
        let Some(revocation) = &self.revocation else {
            return Ok(());
        };
        let store = self.roots.store_at(now);
        revocation
            .check(leaf, intermediates, purpose, &store, now, provider)
            .map_err(|Unproven { error, detail }| (error.into(), detail))
    }

    /// Refuses a leaf that the response stapled to it, when that is good for anything, says is revoked.
    pub(crate) fn heed_staple(
        &self,
        staple: &[u8],
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Refusal> {
        let mut issuers: Vec<&CertificateDer<'_>> = intermediates.iter().collect();
        for root in self.roots.certificates() {
            issuers.push(root);
        }
        let algorithms = &provider.signature_verification_algorithms;
        match revocation_time(staple, leaf, &issuers, now, algorithms) {
            None => Ok(()),
            Some(at) => {
                let at = rfc3339(at);
                let detail = format!("the stapled OCSP response says it was revoked at {at}");
                Err((rustls::CertificateError::Revoked.into(), Some(detail)))
            }
        }
    }
}
