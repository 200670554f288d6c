//! Stream sockets of this host, with optional TLS and a conversation as of `tcp`. No network and no ISP has a part in it.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Plain};
use super::conversation::{self, Heard, Secure, Step};
use super::{Probe, tls};
use crate::flight::{Phase, Traffic};
use crate::net::tls::{Tls, TlsFacts};
use crate::net::unix;
use crate::verdict::{Failure, Reason};

/// The `unix:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// TLS from the start.
    pub tls: bool,
    /// The TLS that `tls` or a `starttls` step uses.
    pub tls_config: Arc<Tls>,
    /// What is said and heard.
    pub query_response: Vec<Step>,
}

/// What a unix probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// What the connection carried, under TLS as it was encrypted; nothing where there was none.
    pub traffic: Option<Traffic>,
    /// The conversation.
    pub heard: Heard,
    /// The TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// The longest name of a socket in bytes: `sun_path` of `unix(7)`, less the byte that ends a path, or begins an abstract name.
const LONGEST_NAME: usize = 107;

/// What is given to TLS where nobody says a name: an address, for a client asks for none by that (RFC 6066, section 3). The
/// configuration allows that only where no certificate is verified.
const NAMELESS: &str = "127.0.0.1";

/// Says why `target` is not the path of a socket.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    let expected = |what: &str| {
        Err(format!(
            "the target {what}; the path of a socket is expected, as /run/app.sock, or an abstract name, as @app"
        ))
    };
    let name = target.strip_prefix('@').unwrap_or(target);
    if name.is_empty() {
        return expected("is empty");
    }
    if name.contains('\0') {
        return expected("has a NUL character");
    }
    if name.len() > LONGEST_NAME {
        return expected(&format!("is longer than {LONGEST_NAME} bytes, which no socket's name is"));
    }
    Ok(())
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let plain = connect(probe, &probe.request.target).await?;
    let secure = Secure { tls: &settings.tls_config, host: NAMELESS };
    let connection = match settings.tls {
        true => tls::handshake(probe, secure.tls, secure.name(), plain, &mut measured.tls).await?,
        false => Connection::Plain(plain),
    };
    let Measurement { heard, tls, .. } = measured;
    conversation::hold(probe, &settings.query_response, connection, &secure, heard, tls).await
}

/// Connects, in [`Phase::Connect`].
async fn connect(probe: &Probe<'_>, path: &str) -> Result<Plain, Failure> {
    probe.timeline.enter(Phase::Connect);
    if let Some(isp) = &probe.request.isp {
        probe
            .note(format_args!("a socket of this host is reached through no ISP, so {} has no part in this", isp.name));
    }
    probe.timeline.sent(Instant::now());
    let connected = unix::connect(path).await;
    probe.timeline.received(Instant::now());
    let stream = connected.map_err(|error| connect_failure(probe, path, &error))?;
    probe.timeline.connected();
    probe.note(format_args!("connected to {path}"));
    Ok(Plain::new(stream, probe))
}

fn connect_failure(probe: &Probe<'_>, path: &str, error: &io::Error) -> Failure {
    let (reason, why) = match error.raw_os_error() {
        // A server that has gone has taken its socket with it, or has left it behind.
        Some(libc::ENOENT) => (Reason::ConnectionRefused, "there is no such socket"),
        Some(libc::ECONNREFUSED) if is_other_file(path) => (Reason::ProberConfigError, "it is not a socket"),
        Some(libc::ECONNREFUSED) => (Reason::ConnectionRefused, "nobody listens"),
        Some(libc::EPROTOTYPE) => (Reason::ProberConfigError, "it is not a socket of streams"),
        Some(libc::ENOTDIR | libc::ELOOP) => (Reason::ProberConfigError, "the path cannot be followed"),
        Some(libc::EACCES | libc::EPERM) => (
            Reason::ProberConfigError,
            "this program may not: it must be allowed to write to the socket, and to search the folders above it",
        ),
        _ => return probe.io_failure(&format!("connecting to {path}"), error, None),
    };
    probe.failure(reason, format!("connecting to {path}: {why}: {error}"))
}

fn is_other_file(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|file| !file.file_type().is_socket())
}

#[cfg(test)]
mod tests;
