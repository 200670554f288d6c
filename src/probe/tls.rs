//! The TLS part of a conversation: handshake, verdict on the certificate, and what its errors mean.

use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};

use super::Probe;
use super::connection::{Connection, Secured};
use super::conversation::Step;
use super::legacy::{Again, look_again};
use crate::flight::{Phase, Traffic};
use crate::net::stream::Socket;
use crate::net::tls::{Certificate, Tls, TlsFacts};
use crate::verdict::{CertificateFault, Failure, Reason};

/// Puts a connection under TLS, in [`Phase::Tls`]. `facts` then holds what the handshake told, also when the certificate is not good; where it told
/// nothing, they stay as they are. A server that refuses as those do that speak older TLS only is [looked at again](look_again), unless something was said to a proxy before
/// it, that would have to be said again.
///
/// # Errors
/// Why nothing may be said over it.
pub(super) async fn handshake(
    probe: &Probe<'_>,
    tls: &Tls,
    host: &str,
    connection: impl Into<Connection>,
    facts: &mut Option<TlsFacts>,
) -> Result<Connection, Failure> {
    handshake_after(&[], probe, tls, host, connection, facts).await
}

/// The same, after some steps of a conversation in clear, which a second look goes through once more.
///
/// # Errors
/// As [`handshake`].
pub(super) async fn handshake_after(
    said: &[Step],
    probe: &Probe<'_>,
    tls: &Tls,
    host: &str,
    connection: impl Into<Connection>,
    facts: &mut Option<TlsFacts>,
) -> Result<Connection, Failure> {
    probe.timeline.enter(Phase::Tls);
    let name = checked_name(probe, host)?;
    let connection = connection.into();
    let before = probe.timeline.traffic();
    let again = match &connection {
        Connection::Plain(plain) if !said.is_empty() || before == Some(Traffic::default()) => match plain.socket() {
            Socket::Tcp { peer, .. } => Some(Again { server: Some(*peer), said }),
            Socket::Unix(_) => Some(Again { server: None, said }),
        },
        Connection::Plain(_) | Connection::Secured(_) => None,
    };
    let ended = tls.handshake(name.clone(), connection).await;
    let (stream, told) = match ended.result {
        Ok(secured) => secured,
        Err((error, told)) => {
            let is_told = told.is_some();
            if is_told {
                *facts = told;
            }
            let mut failure = failure(probe, "the TLS handshake", &error, ended.certificate_asked);
            let received = |traffic: Option<Traffic>| traffic.map(|traffic| traffic.received);
            let is_silent = received(before) == received(probe.timeline.traffic());
            // Whether it closed or reset a connection on which it left unread what we have said is chance; whether it has said anything is not.
            if let Reason::ConnectionResetHandshake | Reason::ConnectionTerminated = failure.reason {
                failure.reason =
                    if is_silent { Reason::ConnectionResetHandshake } else { Reason::ConnectionTerminated };
            }
            let refused = refuses_all(&error, is_silent) && !is_told && !ended.certificate_asked;
            return Err(match again.filter(|_| refused) {
                // Most probes do not need the room for this.
                Some(again) => Box::pin(look_again(probe, tls, &name, again, failure, facts)).await,
                None => failure,
            });
        }
    };
    // In TLS 1.3 the last word of the handshake is ours.
    probe.timeline.nothing_due();
    let connection = stream.get_ref().1;
    let told = facts.insert(told);
    let chain = connection.peer_certificates().unwrap_or_default();
    judge(probe, tls, &name, chain, ended.signature_fault.as_ref(), told)?;
    Ok(Connection::Secured(Secured::new(stream, ended.certificate_asked)))
}

/// The verdict on a finished handshake: on its certificates, `chain`, and on the signature that proves that they are the server's.
///
/// # Errors
/// Why nothing may be said over the connection.
pub(super) fn judge(
    probe: &Probe<'_>,
    tls: &Tls,
    name: &ServerName<'_>,
    chain: &[CertificateDer<'_>],
    signature_fault: Option<&Error>,
    told: &mut TlsFacts,
) -> Result<(), Failure> {
    let [version, cipher] = [told.version, told.cipher.as_deref()].map(|told| told.unwrap_or("something unknown"));
    probe.note(format_args!("{version} with {cipher}, {} certificates", told.chain.len()));
    if tls.insecure_skip_verify {
        return Ok(());
    }
    // A certificate that is not good is told first: what its key has signed says less.
    let expiry = tls
        .verify(chain, name, SystemTime::now())
        .map_err(|error| certificate_failure(probe, &error, told.chain.first()))?;
    if let Some(fault) = signature_fault {
        let detail = format!("the server's signature of the handshake: {}", short(fault));
        return Err(probe.failure(Reason::TlsCertificateError(CertificateFault::Invalid), detail));
    }
    told.chain_expiry = Some(expiry);
    Ok(())
}

/// The name to ask a host for and to check.
///
/// # Errors
/// That it can be none.
pub(super) fn checked_name(probe: &Probe<'_>, host: &str) -> Result<ServerName<'static>, Failure> {
    server_name(host).ok_or_else(|| probe.failure(Reason::ProberConfigError, format!("{host} is not a name for TLS")))
}

/// What an alert of the server's means; see [`failure`].
pub(super) fn alert_failure(
    probe: &Probe<'_>,
    what: &str,
    alert: AlertDescription,
    certificate_asked: bool,
) -> Failure {
    let reason = alert_reason(u8::from(alert), certificate_asked);
    let detail = format!("{what}: the server sent the alert {}", alert_name(alert));
    Failure { phase: Phase::Tls, ..probe.failure(reason, detail) }
}

/// A host as TLS names it, an IPv6 address also in brackets; nothing where it is none.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).ok()
}

/// The name that `hostname=` asks for in the TLS of a module; nothing where the module names its server itself.
///
/// # Errors
/// One sentence.
pub(super) fn hostname(tls: &Tls, hostname: &str) -> Result<Option<String>, String> {
    match server_name(hostname) {
        _ if tls.server_name.is_some() => Ok(None),
        Some(_) => Ok(Some(hostname.to_owned())),
        None => Err(format!("hostname is the name or the address of a host, for TLS, not {hostname:?}")),
    }
}

/// What an I/O error over TLS means: the peer's alert, a violation of the protocol, or the connection beneath. `certificate_asked`:
/// whether the server asked for our certificate; in TLS 1.3 it refuses it only after the handshake.
pub(super) fn failure(probe: &Probe<'_>, what: &str, error: &io::Error, certificate_asked: bool) -> Failure {
    let tls = |reason, detail| Failure { phase: Phase::Tls, ..probe.failure(reason, detail) };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => alert_failure(probe, what, *alert, certificate_asked),
        Some(error) => tls(Reason::TlsProtocolError, format!("{what}: {}", short(error))),
        // Before the end of a handshake only; later an end is an end.
        None if error.kind() == ErrorKind::UnexpectedEof => {
            tls(Reason::ConnectionTerminated, format!("{what}: the server closed the connection"))
        }
        None => probe.io_failure(what, error, None),
    }
}

/// Whether the error of a handshake is what a server says that has nothing in common with us: in words, or, where it is silent, by hanging
/// up on what it does not understand.
fn refuses_all(error: &io::Error, is_silent: bool) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            matches!(alert, AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure)
        }
        Some(Error::PeerIncompatible(_)) => true,
        Some(_) => false,
        None => {
            let hung_up = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            is_silent && hung_up.contains(&error.kind())
        }
    }
}

/// What an alert (RFC 8446, section 6.2) means. Those about certificates speak of ours, or of the lack of one, where one was asked for.
fn alert_reason(alert: u8, certificate_asked: bool) -> Reason {
    match alert {
        // bad_certificate to certificate_unknown, unknown_ca, access_denied, certificate_required; and handshake_failure, which is what
        // servers of TLS 1.2 say to a message without a certificate (RFC 5246, section 7.4.6).
        40 | 42..=46 | 48 | 49 | 116 if certificate_asked => Reason::TlsClientCertRejected,
        _ => Reason::TlsAlertReceived(alert),
    }
}

fn alert_name(alert: AlertDescription) -> String {
    alert.as_str().map_or_else(|| format!("{alert:?}"), str::to_owned)
}

/// rustls lists every algorithm that it knows in some of its errors.
fn short(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => "it is made with an algorithm that is not supported for its key".to_owned(),
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "it is not of the certificate's key, or that has less than 1024 bits".to_owned()
        }
        error => error.to_string(),
    }
}

fn certificate_failure(probe: &Probe<'_>, error: &webpki::Error, leaf: Option<&Certificate>) -> Failure {
    let issued_itself = leaf.is_some_and(|leaf| leaf.subject == leaf.issuer);
    let date = |time: UnixTime| fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()));
    let (fault, what) = match error {
        webpki::Error::CertExpired { not_after, .. } => {
            (CertificateFault::Expired, format!("ended {}", date(*not_after)))
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            (CertificateFault::NotYetValid, format!("begins {}", date(*not_before)))
        }
        webpki::Error::CertNotValidForName(context) => {
            let presented = match context.presented.as_slice() {
                [] => "nobody (it has no subjectAltName)".to_owned(),
                names => format!("[{}]", names.join(", ")),
            };
            (CertificateFault::NameMismatch, format!("is for {presented}, not for {}", context.expected.to_str()))
        }
        webpki::Error::CertRevoked => (CertificateFault::Revoked, "was revoked".to_owned()),
        webpki::Error::UnknownIssuer if issued_itself => {
            (CertificateFault::SelfSigned, "signed itself, and is not trusted".to_owned())
        }
        // The other one: an issuer of a name that we trust, but with another key.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            let issuer = leaf.map_or("somebody unknown", |leaf| leaf.issuer.as_str());
            (
                CertificateFault::UnknownCa,
                format!("was issued by \"{issuer}\", whom no trusted certificate vouches for"),
            )
        }
        error => (CertificateFault::Invalid, unusable(error)),
    };
    probe.failure(Reason::TlsCertificateError(fault), format!("the server's certificate, or one above it, {what}"))
}

/// Why a certificate is no good, where it is neither its time nor its name nor its issuer.
fn unusable(error: &webpki::Error) -> String {
    match error {
        webpki::Error::RequiredEkuNotFoundContext(context) => {
            let dotted = |oid: &Vec<usize>| oid.iter().map(usize::to_string).collect::<Vec<_>>().join(".");
            let present: Vec<_> = context.present.iter().map(dotted).collect();
            format!("is not for servers, by its extended key usage: {}", present.join(", "))
        }
        webpki::Error::EndEntityUsedAsCa => "was issued by a certificate that may issue none".to_owned(),
        webpki::Error::PathLenConstraintViolated => {
            "was issued by more CAs, one above the other, than one of them allows".to_owned()
        }
        webpki::Error::NameConstraintViolation => "has a name for which its issuer may issue none".to_owned(),
        webpki::Error::UnsupportedCriticalExtension => {
            "has a critical extension that this program cannot obey, as one of policies".to_owned()
        }
        webpki::Error::UnsupportedCertVersion => "is of a version of X.509 before 3".to_owned(),
        webpki::Error::UnsupportedSignatureAlgorithmContext(_) => {
            "is signed with an algorithm that proves nothing, as one with SHA-1 or MD5, or that is not supported"
                .to_owned()
        }
        webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "is signed with an algorithm that is not of its issuer's key".to_owned()
        }
        error => format!("cannot be used: {error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webpki::{Error, InvalidNameContext, KeyUsage, RequiredEkuNotFoundContext};

    use super::*;
    use crate::probe::testing;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_a_sentence() {
        let request = testing::configured("{prober: icmp}", "192.0.2.1", Duration::from_secs(1));
        let probe = Probe::start(&request);
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = |presented: &[&str]| {
            let presented = presented.iter().map(|name| (*name).to_owned()).collect();
            Error::CertNotValidForName(InvalidNameContext { expected: server_name("a.test").unwrap(), presented })
        };
        let purposes = RequiredEkuNotFoundContext {
            required: KeyUsage::server_auth(),
            present: vec![vec![1, 3, 6, 1, 5, 5, 7, 3, 2], vec![1, 2, 3]],
        };
        for (error, fault, said) in [
            (
                Error::CertExpired { time: time(1), not_after: time(0) },
                CertificateFault::Expired,
                "ended Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (
                name(&["*.b.test", "10.0.0.1"]),
                CertificateFault::NameMismatch,
                "is for [*.b.test, 10.0.0.1], not for a.test",
            ),
            (name(&[]), CertificateFault::NameMismatch, "is for nobody (it has no subjectAltName), not for a.test"),
            (
                Error::UnknownIssuer,
                CertificateFault::UnknownCa,
                "was issued by \"somebody unknown\", whom no trusted certificate vouches for",
            ),
            (
                Error::RequiredEkuNotFoundContext(purposes),
                CertificateFault::Invalid,
                "is not for servers, by its extended key usage: 1.3.6.1.5.5.7.3.2, 1.2.3",
            ),
            (Error::EndEntityUsedAsCa, CertificateFault::Invalid, "was issued by a certificate that may issue none"),
            (
                Error::UnsupportedCriticalExtension,
                CertificateFault::Invalid,
                "has a critical extension that this program cannot obey, as one of policies",
            ),
            (Error::BadDer, CertificateFault::Invalid, "cannot be used: BadDer"),
        ] {
            let failure = certificate_failure(&probe, &error, None);
            assert_eq!(failure.reason, Reason::TlsCertificateError(fault));
            assert_eq!(failure.detail, format!("the server's certificate, or one above it, {said}"));
        }
    }
}
