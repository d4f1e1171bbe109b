//! A throw-away PKI on disk, options over it, and an in-memory handshake between the two peers.

use std::fs;
use std::io::Write as _;
use std::ops::DerefMut;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pgtls_tls::client_config::{BackendHost, ClientTls, build_client_config};
use pgtls_tls::failure::TlsFailure;
use pgtls_tls::options::{BackendTlsOptions, BackendVerification, ListenerTlsOptions, RootCert};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SignatureAlgorithm,
};
use rustls::{ClientConnection, ConnectionCommon, Error, ServerConnection, SideData};

/// A directory of its own, removed when dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

pub(crate) fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn authority(common_name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(common_name), KeyPair::generate().unwrap())
        .unwrap()
}

pub(crate) fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params
}

/// A certificate file and its key file.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A directory with one authority in it (`ca.crt`).
pub(crate) struct Pki {
    pub(crate) directory: Directory,
    pub(crate) authority: Authority,
    pub(crate) ca_file: PathBuf,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let authority = authority("Test CA");
        let ca_file = directory.write("ca.crt", &authority.pem());
        Self {
            directory,
            authority,
            ca_file,
        }
    }

    pub(crate) fn issue(&self, name: &str, params: &CertificateParams) -> Files {
        self.issue_with_key(name, params, &KeyPair::generate().unwrap())
    }

    pub(crate) fn issue_with(
        &self,
        name: &str,
        params: &CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Files {
        self.issue_with_key(name, params, &KeyPair::generate_for(algorithm).unwrap())
    }

    pub(crate) fn issue_with_key(
        &self,
        name: &str,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> Files {
        let certificate = params.signed_by(key, &self.authority).unwrap();
        self.write(name, &certificate.pem(), key)
    }

    pub(crate) fn self_signed(&self, name: &str, params: &CertificateParams) -> Files {
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.self_signed(&key).unwrap().pem(), &key)
    }

    pub(crate) fn write(&self, name: &str, chain: &str, key: &KeyPair) -> Files {
        Files {
            certificate: self.directory.write(&format!("{name}.crt"), chain),
            key: self
                .directory
                .write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    /// A certificate for `db.example`.
    pub(crate) fn good(&self) -> Files {
        self.issue("good", &leaf_params(&["db.example"]))
    }

    /// A backend verified as `verification` says against this authority.
    pub(crate) fn backend(&self, verification: BackendVerification) -> BackendTlsOptions {
        BackendTlsOptions {
            verification,
            root_cert: Some(RootCert::File(self.ca_file.clone())),
            send_server_name: true,
            ..BackendTlsOptions::default()
        }
    }
}

pub(crate) fn listener(files: &[&Files]) -> ListenerTlsOptions {
    ListenerTlsOptions {
        cert_files: files
            .iter()
            .map(|files| files.certificate.clone())
            .collect(),
        key_files: files.iter().map(|files| files.key.clone()).collect(),
        alpn: vec!["postgresql".to_owned()],
        ..ListenerTlsOptions::default()
    }
}

/// Both ends of an established connection.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// How a handshake failed: what each end that noticed says.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) client: Option<TlsFailure>,
    pub(crate) server: Option<TlsFailure>,
}

impl Failed {
    /// The alert derived for the end that sent it must be the one the other end received.
    fn check_alerts(&self) {
        let alerts = [&self.client, &self.server].map(|failure| failure.as_ref()?.alert);
        let [Some(one), Some(other)] = alerts else {
            return;
        };
        if one.direction != other.direction {
            assert_eq!(one.description, other.description);
        }
    }

    /// The client's reason and alert.
    pub(crate) fn client_labels(&self) -> (&'static str, Option<&'static str>) {
        labels(self.client.as_ref())
    }

    /// The server's reason and alert.
    pub(crate) fn server_labels(&self) -> (&'static str, Option<&'static str>) {
        labels(self.server.as_ref())
    }
}

fn labels(failure: Option<&TlsFailure>) -> (&'static str, Option<&'static str>) {
    failure.map_or(("none", None), |failure| {
        (
            failure.reason.as_str(),
            failure.alert.map(|alert| alert.description),
        )
    })
}

/// Builds both configurations and shakes hands as a client that dials `host`.
pub(crate) fn connect(
    listener: &ListenerTlsOptions,
    backend: &BackendTlsOptions,
    host: &str,
) -> Result<Established, Failed> {
    let server = build_server_config(listener).unwrap();
    let client = build_client_config(backend).unwrap();
    handshake(&server, &client, host)
}

pub(crate) fn handshake(
    server: &ServerTls,
    client: &ClientTls,
    host: &str,
) -> Result<Established, Failed> {
    let name = client.server_name(BackendHost::Tcp(host)).unwrap();
    let client = ClientConnection::new(client.dialling_config(), name).unwrap();
    let server = ServerConnection::new(Arc::clone(&server.config)).unwrap();
    drive(client, server)
}

/// Carries bytes to and fro until neither end has any left; each end's first error is kept.
pub(crate) fn drive(
    mut client: ClientConnection,
    mut server: ServerConnection,
) -> Result<Established, Failed> {
    let mut failed = Failed {
        client: None,
        server: None,
    };
    while client.wants_write() || server.wants_write() {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        if failed.server.is_none() {
            failed.server = receive(&mut server, &to_server).err().map(TlsFailure::from);
        }
        if failed.client.is_none() {
            failed.client = receive(&mut client, &to_client).err().map(TlsFailure::from);
        }
    }
    if failed.client.is_some() || failed.server.is_some() {
        failed.check_alerts();
        return Err(failed);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Established { client, server })
}

fn receive<Data: SideData>(
    connection: &mut impl DerefMut<Target = ConnectionCommon<Data>>,
    mut bytes: &[u8],
) -> Result<(), Error> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        connection.process_new_packets()?;
    }
    Ok(())
}

/// PEM armour around `der` (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bytes = [0, 1, 2].map(|index| group.get(index).copied().unwrap_or(0));
            let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
            for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let sextet = usize::try_from(bits >> shift & 63).unwrap();
                text.push(if index > group.len() {
                    '='
                } else {
                    char::from(ALPHABET[sextet])
                });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
