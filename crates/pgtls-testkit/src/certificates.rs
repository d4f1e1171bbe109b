//! `TestCa`: a certificate authority made for one test, what it issues, and how that gets into
//! files. Nothing here is ever committed.

use std::fs::{OpenOptions, create_dir_all, write};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificate_spec::{CertificateSpec, Validity, subject};
use crate::ocsp::OcspAnswer;

/// A root authority, or an intermediate one below it.
#[derive(Debug)]
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    root: Certificate,
    /// From this authority up to, not including, the root; what goes behind a leaf.
    intermediates: Vec<Certificate>,
}

#[derive(Debug, Clone)]
struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    /// The leaf, then the intermediates; PEM.
    pub cert_pem: String,
    /// The key in PKCS #8; PEM.
    pub key_pem: String,
    /// The leaf; DER.
    pub cert_der: CertificateDer<'static>,
    /// The key in PKCS #8; DER.
    pub key_der: PrivateKeyDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// Where [`Issued::write_to`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The chain, PEM, mode 0644.
    pub cert_file: PathBuf,
    /// The key, PEM, mode 0600.
    pub key_file: PathBuf,
}

impl TestCa {
    /// A new root named `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = authority(name);
        let root = Certificate::new(&params.self_signed(&key).expect("a self-signed root"));
        Self {
            issuer: Issuer::new(params, key),
            root,
            intermediates: Vec::new(),
        }
    }

    /// A new authority named `name`, signed by this one; what it issues carries the chain.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let (params, key) = authority(name);
        let signed = params
            .signed_by(&key, &self.issuer)
            .expect("a signed intermediate");
        let mut intermediates = vec![Certificate::new(&signed)];
        intermediates.extend(self.intermediates.iter().cloned());
        Self {
            issuer: Issuer::new(params, key),
            root: self.root.clone(),
            intermediates,
        }
    }

    /// A new key and its certificate.
    #[must_use]
    pub fn issue(&self, spec: &CertificateSpec) -> Issued {
        let key = spec.generate_key();
        let leaf = spec
            .params()
            .signed_by(&key, &self.issuer)
            .expect("a signed certificate");
        Issued::new(&Certificate::new(&leaf), &key, &self.intermediates)
    }

    /// What this authority's responder says about `leaf`, which it issued; an OCSPResponse in DER.
    #[must_use]
    pub fn ocsp_response(&self, leaf: &Issued, answer: &OcspAnswer) -> Vec<u8> {
        let own = self.intermediates.first().unwrap_or(&self.root);
        answer.sign(&leaf.cert_der, &own.der, self.issuer.key())
    }

    /// The root's certificate in PEM, for `sslrootcert` and `ssl_ca_file`.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.root.pem
    }

    /// The root's certificate in DER.
    #[must_use]
    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.root.der
    }

    /// A store that trusts the root only.
    #[must_use]
    pub fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.root.der.clone()).expect("a valid root");
        store
    }

    /// Writes the root as `<directory>/<name>.crt` and gives the path.
    #[must_use]
    pub fn write_to(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(format!("{name}.crt"));
        write(&path, &self.root.pem).expect("a writable directory");
        path
    }
}

/// A certificate that signs itself, with no authority behind it.
#[must_use]
pub fn self_signed(spec: &CertificateSpec) -> Issued {
    let key = spec.generate_key();
    let leaf = spec
        .params()
        .self_signed(&key)
        .expect("a self-signed certificate");
    Issued::new(&Certificate::new(&leaf), &key, &[])
}

impl Issued {
    fn new(leaf: &Certificate, key: &KeyPair, intermediates: &[Certificate]) -> Self {
        let chain = intermediates
            .iter()
            .map(|certificate| certificate.pem.as_str());
        Self {
            cert_pem: std::iter::once(leaf.pem.as_str()).chain(chain).collect(),
            key_pem: key.serialize_pem(),
            cert_der: leaf.der.clone(),
            key_der: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            intermediates: intermediates.iter().map(|one| one.der.clone()).collect(),
        }
    }

    /// The leaf, then the intermediates, as rustls wants them.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.cert_der)
            .chain(&self.intermediates)
            .cloned()
            .collect()
    }

    /// Writes `<directory>/<name>.crt` (0644) and `<directory>/<name>.key` (0600), replacing what is
    /// there.
    #[must_use]
    pub fn write_to(&self, directory: &Path, name: &str) -> IssuedFiles {
        create_dir_all(directory).expect("a writable directory");
        let files = IssuedFiles {
            cert_file: directory.join(format!("{name}.crt")),
            key_file: directory.join(format!("{name}.key")),
        };
        write(&files.cert_file, &self.cert_pem).expect("a writable directory");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&files.key_file)
            .and_then(|mut file| file.write_all(self.key_pem.as_bytes()))
            .expect("a writable directory");
        files
    }
}

impl Certificate {
    fn new(certificate: &rcgen::Certificate) -> Self {
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
        }
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(Some(name));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = Validity::Now.bounds();
    (params, KeyPair::generate().expect("a new private key"))
}
