//! [`Revocation`]: the certificate revocation lists (CRL, RFC 5280 section 5) of a file, and whether a chain is revoked by them.
//!
//! As PostgreSQL does with OpenSSL's `CRL_CHECK | CRL_CHECK_ALL`: every certificate below the root needs a list of its
//! issuer that has not expired. webpki judges; this adds which list is taken when an issuer has several (the newest of its
//! key), and says whose list is missing or expired. Without a list of any trusted root everybody would be refused, so
//! that is an error of the configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, VerifiedPath,
};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use crate::chain::{Purpose, Roots};
use crate::date::{rfc3339, unix_seconds};
use crate::error::{RevocationListError, TlsConfigError};
use crate::leaf::{parse, sha256_hex};
use crate::pem_file::read_revocation_lists;
use crate::revocation_keys::{ListSignature, Namesakes, issuer_keys};
use crate::revocation_links::{check_intermediates, share_a_name};

/// The lists of one file.
#[derive(Debug)]
pub(crate) struct Revocation {
    /// The newest of an issuer first: webpki takes the first that fits.
    pub(crate) lists: Vec<CertRevocationList<'static>>,
    pub(crate) infos: Vec<ListInfo>,
    pub(crate) namesakes: Namesakes,
}

/// One list, described.
#[derive(Debug, Clone)]
pub(crate) struct ListInfo {
    /// The issuer as a text.
    pub(crate) issuer: String,
    issuer_der: Vec<u8>,
    /// thisUpdate, Unix seconds.
    pub(crate) this_update: i64,
    /// nextUpdate, Unix seconds.
    pub(crate) next_update: i64,
    /// SHA-256 of the DER, hexadecimal.
    sha256: String,
}

/// Why a chain does not pass.
#[derive(Debug)]
pub(crate) struct Unproven {
    /// What TLS is told.
    pub(crate) error: CertificateError,
    /// What an administrator wants to know.
    pub(crate) detail: Option<String>,
}

impl Revocation {
    /// SHA-256 of each list.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = &[u8]> {
        self.infos.iter().map(|info| info.sha256.as_bytes())
    }

    /// When each list ends, Unix seconds.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        self.infos.iter().map(|info| info.next_update)
    }

    /// Reads a PEM file of lists, at least one of which a certificate of `roots` must have issued.
    pub(crate) fn from_file(
        key: &'static str,
        path: &Path,
        roots: &Roots,
    ) -> Result<Self, TlsConfigError> {
        let mut lists = read_lists(key, path)?;
        lists.sort_by_key(|(info, ..)| std::cmp::Reverse(info.this_update));
        let (mut infos, mut kept, mut signatures) = (Vec::new(), Vec::new(), Vec::new());
        for (info, list, signature) in lists {
            infos.push(info);
            kept.push(list);
            signatures.push(signature);
        }
        if !infos
            .iter()
            .any(|info| roots.have_subject(&info.issuer_der))
        {
            let issuers: Vec<_> = infos.iter().map(|info| info.issuer.as_str()).collect();
            return Err(TlsConfigError::RevocationList {
                key,
                path: path.to_owned(),
                source: RevocationListError::Foreign {
                    issuers: issuers.join("; "),
                },
            });
        }
        let issuers = kept.iter().map(CertRevocationList::issuer);
        Ok(Self {
            namesakes: Namesakes::among(issuers.zip(signatures).collect()),
            lists: kept,
            infos,
        })
    }

    /// Checks a chain that is otherwise good.
    pub(crate) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        store: &RootCertStore,
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Unproven> {
        let end_entity =
            EndEntityCert::try_from(leaf).map_err(|_| self.unknown(leaf, intermediates))?;
        let judge = Judge {
            end_entity: &end_entity,
            purpose,
            now,
            provider,
        };
        let result = if self.namesakes.are_there() {
            let by_key = |path: &VerifiedPath<'_>| self.check_path(path, judge);
            judge.build(&store.roots, intermediates, &by_key)
        } else {
            let lists: Vec<_> = self.lists.iter().collect();
            let depth = RevocationCheckDepth::Chain;
            judge.verify(&lists, depth, &store.roots, intermediates)
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(&error, leaf, intermediates)),
        }
    }

    /// Checks one chain by the lists of the keys on it.
    fn check_path(&self, path: &VerifiedPath<'_>, judge: Judge<'_>) -> Result<(), webpki::Error> {
        let keys = issuer_keys(path);
        let algorithms = judge.provider.signature_verification_algorithms.all;
        let (of_lists, depth) = if share_a_name(&keys) {
            check_intermediates(self, path, &keys, judge.now, algorithms)?;
            let of_leaf = keys.get(..1).unwrap_or_default();
            (of_leaf, RevocationCheckDepth::EndEntity)
        } else {
            (keys.as_slice(), RevocationCheckDepth::Chain)
        };
        let speaking = self.lists.iter().enumerate().filter(|(index, list)| {
            self.namesakes
                .speaks(*index, list.issuer(), of_lists, algorithms)
        });
        let lists: Vec<_> = speaking.map(|(_, list)| list).collect();
        let intermediates: Vec<_> = path
            .intermediate_certificates()
            .map(webpki::Cert::der)
            .collect();
        let roots = std::slice::from_ref(path.anchor());
        judge.verify(&lists, depth, roots, &intermediates)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else is wrong with a list, it proves nothing"
    )]
    fn explain(
        &self,
        error: &webpki::Error,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Unproven {
        match error {
            webpki::Error::CertRevoked => Unproven {
                error: CertificateError::Revoked,
                detail: None,
            },
            webpki::Error::CrlExpired { time, next_update } => Unproven {
                error: CertificateError::ExpiredRevocationListContext {
                    time: *time,
                    next_update: *next_update,
                },
                detail: Some(self.expired(*next_update)),
            },
            webpki::Error::UnknownRevocationStatus => self.unknown(leaf, intermediates),
            other => Unproven {
                error: CertificateError::UnknownRevocationStatus,
                detail: Some(format!(
                    "whether the certificate is revoked cannot be told: {other}"
                )),
            },
        }
    }

    fn expired(&self, next_update: UnixTime) -> String {
        let seconds = unix_seconds(next_update);
        let issuers: Vec<_> = self
            .infos
            .iter()
            .filter(|info| info.next_update == seconds)
            .map(|info| info.issuer.as_str())
            .collect();
        format!(
            "the CRL of issuer {} expired at {}",
            issuers.join(" or "),
            rfc3339(seconds)
        )
    }

    fn unknown(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Unproven {
        let without = std::iter::once(leaf)
            .chain(intermediates)
            .filter_map(|der| {
                parse(der)
                    .ok()
                    .map(|found| (found.issuer().as_raw().to_vec(), found.issuer().to_string()))
            })
            .find(|(der, _)| !self.infos.iter().any(|info| info.issuer_der == *der));
        Unproven {
            error: CertificateError::UnknownRevocationStatus,
            detail: Some(without.map_or_else(
                || "no CRL covers a certificate of the chain".to_owned(),
                |(_, issuer)| format!("there is no CRL of issuer {issuer}"),
            )),
        }
    }
}

/// What a chain is judged with.
#[derive(Clone, Copy)]
struct Judge<'a> {
    end_entity: &'a EndEntityCert<'a>,
    purpose: Purpose,
    now: UnixTime,
    provider: &'a CryptoProvider,
}

type PathCheck<'a> = &'a dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>;

impl Judge<'_> {
    fn verify(
        &self,
        lists: &[&CertRevocationList<'_>],
        depth: RevocationCheckDepth,
        roots: &[TrustAnchor<'_>],
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), webpki::Error> {
        let options = RevocationOptionsBuilder::new(lists)
            .map_err(|_| webpki::Error::UnknownRevocationStatus)?
            .with_depth(depth)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build();
        self.run(roots, intermediates, Some(options), None)
    }

    /// Finds a chain that passes `check`, which alone looks at lists.
    fn build(
        &self,
        roots: &[TrustAnchor<'_>],
        intermediates: &[CertificateDer<'_>],
        check: PathCheck<'_>,
    ) -> Result<(), webpki::Error> {
        self.run(roots, intermediates, None, Some(check))
    }

    fn run(
        &self,
        roots: &[TrustAnchor<'_>],
        intermediates: &[CertificateDer<'_>],
        lists: Option<RevocationOptions<'_>>,
        check: Option<PathCheck<'_>>,
    ) -> Result<(), webpki::Error> {
        let usage = match self.purpose {
            Purpose::Server => KeyUsage::server_auth(),
            Purpose::Client => KeyUsage::client_auth(),
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        self.end_entity
            .verify_for_usage(
                algorithms,
                roots,
                intermediates,
                self.now,
                usage,
                lists,
                check,
            )
            .map(drop)
    }
}

/// Every list of a file, described; for inspection, whoever issued it.
pub(crate) fn describe_lists(
    key: &'static str,
    path: &Path,
) -> Result<Vec<ListInfo>, TlsConfigError> {
    Ok(read_lists(key, path)?
        .into_iter()
        .map(|(info, ..)| info)
        .collect())
}

type ReadList = (ListInfo, CertRevocationList<'static>, ListSignature);

fn read_lists(key: &'static str, path: &Path) -> Result<Vec<ReadList>, TlsConfigError> {
    let ders = read_revocation_lists(key, path)?;
    let parsed = ders.iter().enumerate().map(|(index, der)| {
        parse_list(der).map_err(|detail| TlsConfigError::RevocationList {
            key,
            path: path.to_owned(),
            source: RevocationListError::Invalid {
                position: index + 1,
                detail,
            },
        })
    });
    parsed.collect()
}

fn parse_list(der: &CertificateRevocationListDer<'_>) -> Result<ReadList, String> {
    let (_, described) =
        CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
    if described.version() != Some(X509Version::V2) {
        let advice = "it is not of version 2; with OpenSSL, set `crlnumber` in the CA's section";
        return Err(advice.to_owned());
    }
    let next_update = described
        .next_update()
        .ok_or("it has no nextUpdate, so nothing says how long it holds")?;
    let list = BorrowedCertRevocationList::from_der(der)
        .and_then(|list| list.to_owned())
        .map_err(|error| unsupported(&error))?;
    let info = ListInfo {
        issuer: described.issuer().to_string(),
        issuer_der: described.issuer().as_raw().to_vec(),
        this_update: described.last_update().timestamp(),
        next_update: next_update.timestamp(),
        sha256: sha256_hex(der),
    };
    Ok((info, list.into(), ListSignature::of(&described)))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's words do for the rest"
)]
fn unsupported(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedDeltaCrl => "delta CRLs are not supported".to_owned(),
        webpki::Error::UnsupportedIndirectCrl => "indirect CRLs are not supported".to_owned(),
        other => other.to_string(),
    }
}
