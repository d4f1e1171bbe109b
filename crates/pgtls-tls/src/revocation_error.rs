//! [`RevocationListError`]: what can be wrong with a file of certificate revocation lists.

/// A file of certificate revocation lists that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationListError {
    /// The file has no `X509 CRL` section.
    #[error("contains no certificate revocation list; expected a PEM section \"BEGIN X509 CRL\"")]
    Missing,
    /// A list can't be parsed, or is of a kind that isn't supported.
    #[error("CRL {position} in the file cannot be used: {detail}; issue it again")]
    Invalid {
        /// Which list in the file, counted from 1.
        position: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// None of the lists is of an authority that is trusted.
    #[error(
        "contains only CRLs of issuers that are not among the trusted CAs ({issuers}), so every certificate would be refused; add the CRL of each CA"
    )]
    Foreign {
        /// Who issued the lists.
        issuers: String,
    },
    /// There are no trusted authorities in a file.
    #[error("a CRL needs the file of the CAs it is checked with; set {needed}")]
    AuthorityMissing {
        /// The key to be set.
        needed: &'static str,
    },
}
