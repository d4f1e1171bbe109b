//! What this crate was built from, for `pgtls --version` and the doctor.

/// Version of rustls this crate was built against.
pub const RUSTLS_VERSION: &str = env!("PGTLS_RUSTLS_VERSION");

/// The cryptography provider.
pub const PROVIDER: &str = "aws-lc-rs";

/// Features of the running CPU that the ciphers and hashes of TLS are faster with.
#[must_use]
pub fn cpu_features() -> Vec<&'static str> {
    detected()
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect()
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<(&'static str, bool)> {
    vec![
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        (
            "pclmulqdq",
            std::arch::is_x86_feature_detected!("pclmulqdq"),
        ),
        ("vaes", std::arch::is_x86_feature_detected!("vaes")),
        (
            "vpclmulqdq",
            std::arch::is_x86_feature_detected!("vpclmulqdq"),
        ),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<(&'static str, bool)> {
    vec![
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
        ("sha3", std::arch::is_aarch64_feature_detected!("sha3")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<(&'static str, bool)> {
    Vec::new()
}
