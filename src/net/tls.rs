//! TLS as a client: configurations made once per module, and what a handshake tells.

mod certificate;
mod distinguished_name;
mod grants;
mod group;
mod hostname;
mod leaf;
mod legacy;
mod provider;
mod roots;
mod rsa;
mod server;
mod signatures;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, ResolvesClientCert, Resumption};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CipherSuite, DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use certificate::Certificate;
pub use legacy::old_hello;
use provider::PROVIDER;
use roots::Roots;
pub use server::{ClientAuth, Group, ServerTlsOptions, Suite, server};

/// The `tls_config` of a module, its files read.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// The name to ask for and to check, instead of the target's.
    pub server_name: Option<String>,
    /// The lowest version to speak.
    pub min_version: Option<Version>,
    /// The highest version to speak.
    pub max_version: Option<Version>,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its chain, in PEM.
    pub cert: Option<Vec<u8>>,
    /// Its private key, in PEM.
    pub key: Option<Vec<u8>>,
    /// The application protocols to offer, the preferred first.
    pub alpn: Vec<Vec<u8>>,
}

/// What is wrong with one of the [`TlsOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProblem {
    /// The option's name.
    pub option: &'static str,
    /// What is wrong, as a predicate of it.
    pub message: String,
}

/// Everything that is wrong with [`TlsOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProblems(pub Vec<TlsProblem>);

impl fmt::Display for TlsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentences: Vec<_> =
            self.0.iter().map(|TlsProblem { option, message }| format!("{option} {message}")).collect();
        f.write_str(&sentences.join("; "))
    }
}

impl std::error::Error for TlsProblems {}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `TLS10`; it can be named, but is not spoken.
    Tls10,
    /// `TLS11`; it can be named, but is not spoken.
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

/// TLS settings of a module, ready for use: the certificate pool is read and the configuration is built.
#[derive(Debug)]
pub struct Tls {
    /// The name to ask for and to check, instead of the target's.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// The configuration, with the application protocols that the prober offers.
    pub config: Arc<ClientConfig>,
    speaks_tls13: bool,
    roots: Option<Arc<Roots>>,
    /// Whether TLS 1.2 is among the versions.
    speaks_tls12: bool,
}

/// What a TLS handshake told, also when its certificate is not good, or what a server says that speaks no TLS of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// As Go prints it: `TLS 1.2`, `TLS 1.3`, or an older one that a server says; nothing where the handshake broke off before it was settled.
    pub version: Option<&'static str>,
    /// The IANA name of the cipher suite; nothing where the handshake broke off.
    pub cipher: Option<String>,
    /// The application protocol agreed on.
    pub alpn: Option<String>,
    /// The certificates as the server sent them, its own first.
    pub chain: Vec<Certificate>,
    /// The earliest end of the chain that was verified, its root included; nothing where verification failed or was off.
    pub chain_expiry: Option<SystemTime>,
}

/// How a handshake ended.
#[derive(Debug)]
pub struct Handshake<C, E> {
    /// The connection, whose certificate is still to be verified, or why there is none; and what the handshake told, which may be nothing
    /// where it broke off.
    pub result: Result<(C, TlsFacts), (E, Option<TlsFacts>)>,
    /// Whether the server asked for our certificate.
    pub certificate_asked: bool,
    /// Why the server's signature of the handshake is not its certificate's.
    pub signature_fault: Option<rustls::Error>,
}

impl Tls {
    /// Builds the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with the options.
    pub fn new(options: TlsOptions) -> Result<Self, TlsProblems> {
        let TlsOptions { insecure_skip_verify, server_name, min_version, max_version, ca, cert, key, alpn } = options;
        let mut problems = Vec::new();
        if server_name.as_deref().is_some_and(|name| ServerName::try_from(name).is_err()) {
            problems.push(TlsProblem { option: "server_name", message: "is not the name or address of a host".into() });
        }
        let mut noted = |problem| problems.push(problem);
        let versions = versions(min_version, max_version).map_err(&mut noted).unwrap_or_default();
        let identity = identity(cert, key).map_err(|problems| problems.into_iter().for_each(&mut noted)).ok();
        let roots = match ca.map(|pem| Roots::of_pem(&pem)) {
            Some(roots) => roots.map_err(|message| noted(TlsProblem { option: "ca", message })).ok(),
            None if insecure_skip_verify => None,
            None => Some(Roots::system()),
        };
        let (true, Some(identity)) = (problems.is_empty(), identity) else { return Err(TlsProblems(problems)) };
        let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&versions)
            .map_err(|error| TlsProblems(vec![TlsProblem { option: "min_version", message: error.to_string() }]))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { insecure: insecure_skip_verify }))
            .with_client_cert_resolver(Arc::new(Identity(identity)));
        // A resumed handshake would not show the certificate again.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn;
        let speaks_tls12 = versions.contains(&&rustls::version::TLS12);
        let speaks_tls13 = versions.contains(&&rustls::version::TLS13);
        let config = Arc::new(config);
        Ok(Self { server_name, insecure_skip_verify, config, speaks_tls13, roots, speaks_tls12 })
    }

    /// The same with other application protocols, and for a server of any name.
    #[must_use]
    pub fn offering(&self, alpn: Vec<Vec<u8>>) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn;
        let (insecure_skip_verify, roots) = (self.insecure_skip_verify, self.roots.clone());
        let (speaks_tls12, speaks_tls13) = (self.speaks_tls12, self.speaks_tls13);
        let config = Arc::new(config);
        Self { server_name: None, insecure_skip_verify, config, speaks_tls13, roots, speaks_tls12 }
    }

    /// Does the handshake. The server's certificate is only taken down: [`Tls::verify`] it before anything is said to the server.
    pub async fn handshake<S>(&self, name: ServerName<'static>, stream: S) -> Handshake<TlsStream<S>, io::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connect = TlsConnector::from(self.config.clone()).connect(name, stream);
        witnessed(connect, |stream| TlsFacts::of(stream.get_ref().1)).await
    }

    /// Whether it speaks TLS 1.3.
    #[must_use]
    pub fn speaks_tls13(&self) -> bool {
        self.speaks_tls13
    }

    /// Verifies a chain, the server's own certificate first; says when the first of its certificates ends, the root's included. A
    /// certificate that is itself trusted (self-signed, in `ca_file`) is good where its time, its purpose and its name are right.
    ///
    /// # Errors
    /// What is wrong with it (RFC 5280, section 6).
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: SystemTime,
    ) -> Result<SystemTime, webpki::Error> {
        match &self.roots {
            Some(roots) => roots.verify(chain, name, now),
            None => Roots::system().verify(chain, name, now),
        }
    }
}

/// Does the handshake of QUIC (RFC 9001), which [`super::quic::client`] has configured, and whose work is all done while `connecting`
/// is waited for. As with [`Tls::handshake`], the certificate is still to be verified.
pub async fn quic_handshake(
    connecting: impl Future<Output = Result<quinn::Connection, quinn::ConnectionError>>,
) -> Handshake<quinn::Connection, quinn::ConnectionError> {
    witnessed(connecting, |connection| TlsFacts {
        version: Some(TLS13),
        // quinn does not tell.
        cipher: None,
        alpn: connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .map(|protocol| String::from_utf8_lossy(&protocol).into_owned()),
        chain: certificates(&quic_chain(connection)),
        chain_expiry: None,
    })
    .await
}

/// The certificates that a server of QUIC sent, its own first.
#[must_use]
pub fn quic_chain(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let chain = connection.peer_identity().and_then(|identity| identity.downcast().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}

/// Has a handshake done, and takes down what it does not tell.
async fn witnessed<C, E>(
    handshake: impl Future<Output = Result<C, E>>,
    facts: impl FnOnce(&C) -> TlsFacts,
) -> Handshake<C, E> {
    let mut handshake = pin!(WITNESS.scope(Witness::default(), handshake));
    let result = handshake.as_mut().await;
    let Witness { certificate_asked, signature_fault, chain, version } = handshake.take_value().unwrap_or_default();
    Handshake {
        result: match result {
            Ok(connection) => {
                let facts = facts(&connection);
                Ok((connection, facts))
            }
            Err(error) => Err((error, TlsFacts::of_broken_off(version.get(), &chain.into_inner()))),
        },
        certificate_asked: certificate_asked.get(),
        signature_fault: signature_fault.into_inner(),
    }
}

impl TlsFacts {
    /// What a finished handshake tells, before its certificate is verified.
    fn of(connection: &ClientConnection) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some(TLS12),
                Some(ProtocolVersion::TLSv1_3) => Some(TLS13),
                _ => None,
            },
            cipher: connection.negotiated_cipher_suite().map(|suite| suite_name(suite.suite())),
            alpn: connection.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            chain: certificates(connection.peer_certificates().unwrap_or_default()),
            chain_expiry: None,
        }
    }

    /// What a handshake tells that broke off; nothing where the server sent no certificate.
    fn of_broken_off(version: Option<&'static str>, chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain = certificates(chain);
        (!chain.is_empty()).then_some(Self { version, cipher: None, alpn: None, chain, chain_expiry: None })
    }
}

/// The versions as Go prints them.
const TLS12: &str = "TLS 1.2";
const TLS13: &str = "TLS 1.3";

/// IANA's name.
fn suite_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    // rustls' names of TLS 1.3 suites (RFC 8446, appendix B.4) are its own.
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}

fn certificates(chain: &[impl AsRef<[u8]>]) -> Vec<Certificate> {
    chain.iter().filter_map(|der| Certificate::of_der(der.as_ref())).collect()
}

fn versions(
    min: Option<Version>,
    max: Option<Version>,
) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, TlsProblem> {
    let (min, max) = (min.unwrap_or(Version::Tls12), max.unwrap_or(Version::Tls13));
    let wrong = |message: &str| Err(TlsProblem { option: "max_version", message: message.into() });
    if max < Version::Tls12 {
        return wrong("TLS 1.2 is the lowest version that this program speaks");
    }
    if min > max {
        return wrong("is lower than min_version");
    }
    let spoken = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
    Ok(spoken.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, spoken)| spoken).collect())
}

/// Our certificate with its key, where there is one; each is looked at also where the other is wrong.
fn identity(cert: Option<Vec<u8>>, key: Option<Vec<u8>>) -> Result<Option<Arc<CertifiedKey>>, Vec<TlsProblem>> {
    let missing = match (&cert, &key) {
        (Some(_), None) => {
            Err(TlsProblem { option: "key", message: "is missing, and the certificate needs it".into() })
        }
        (None, Some(_)) => Err(TlsProblem { option: "cert", message: "is missing, and the key needs it".into() }),
        (None, None) | (Some(_), Some(_)) => Ok(()),
    };
    let chain = cert.map(|pem| chain(&pem)).transpose();
    let key = key.map(|pem| private_key(&pem)).transpose();
    match (missing, chain, key) {
        (Ok(()), Ok(Some(chain)), Ok(Some(key))) => {
            let certified = CertifiedKey::new(chain, key);
            match certified.keys_match() {
                Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                    Err(vec![TlsProblem { option: "key", message: "is not the certificate's".into() }])
                }
                // Whether they belong together cannot be told for every kind of key.
                _ => Ok(Some(Arc::new(certified))),
            }
        }
        (missing, chain, key) => {
            let problems: Vec<_> = [missing.err(), chain.err(), key.err()].into_iter().flatten().collect();
            if problems.is_empty() { Ok(None) } else { Err(problems) }
        }
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let wrong = |message| TlsProblem { option: "cert", message };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(wrong("holds no certificate".into())),
        chain => chain.map_err(|error| wrong(format!("is not PEM: {error}"))),
    }
}

fn private_key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, TlsProblem> {
    // Why it is none is not told: it is a secret.
    let wrong = |message: &str| TlsProblem { option: "key", message: message.into() };
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong("holds no private key in PEM"))?;
    PROVIDER.key_provider.load_private_key(key).map_err(|_| {
        wrong("is none that can sign here: RSA of 2048 to 8192 bits, ECDSA of P-256, P-384 or P-521, Ed25519")
    })
}

/// What happens inside one handshake that its result does not tell.
#[derive(Debug, Default)]
struct Witness {
    certificate_asked: Cell<bool>,
    signature_fault: RefCell<Option<rustls::Error>>,
    chain: RefCell<Vec<CertificateDer<'static>>>,
    version: Cell<Option<&'static str>>,
}

tokio::task_local! {
    /// The witness of the handshake that is running: rustls' callbacks belong to the configuration, which many handshakes share.
    static WITNESS: Witness;
}

/// Our certificate, where we have one.
#[derive(Debug)]
struct Identity(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of `Tls::handshake` nobody asks.
        let _ = WITNESS.try_with(|witness| witness.certificate_asked.set(true));
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Lets every handshake come to its end, so that its facts can be told; the verdict on certificate and signature comes after it.
#[derive(Debug)]
struct Verifier {
    insecure: bool,
}

impl Verifier {
    /// Verifies the signature of a handshake of a version; takes a fault down, and goes on.
    fn witness(
        &self,
        version: &'static str,
        verify: impl FnOnce() -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let _ = WITNESS.try_with(|witness| witness.version.set(Some(version)));
        if self.insecure {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify().or_else(|fault| {
            let taken = WITNESS.try_with(|witness| *witness.signature_fault.borrow_mut() = Some(fault.clone()));
            taken.map(|()| HandshakeSignatureValid::assertion()).map_err(|_| fault)
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        let _ = WITNESS.try_with(|witness| *witness.chain.borrow_mut() = chain.collect());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.witness(TLS12, || verify_tls12_signature(message, certificate, signed, &signatures::OF_SERVERS))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.witness(TLS13, || verify_tls13_signature(message, certificate, signed, &signatures::OF_SERVERS))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signatures::OF_SERVERS.supported_schemes()
    }
}
