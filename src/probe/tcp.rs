//! TCP: full open with optional TLS and a conversation, or half open.

mod conversation;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::connection::{self, Connection, Handshake};
use super::resolve::{Preference, resolve};
use super::{Probe, half_open_raw, host, tls};
use crate::flight::{Phase, Traffic};
use crate::net::tcp::Opening;
use crate::net::tls::{Tls, TlsFacts};
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};

/// The `tcp:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// Full open, or half.
    pub open: Open,
    /// The address family.
    pub preference: Preference,
}

/// How far the connection is opened.
#[derive(Debug)]
pub enum Open {
    /// SYN, SYN-ACK, RST: the server's `accept()` never returns.
    Half {
        /// By a raw socket, which needs CAP_NET_RAW, instead of the kernel's TCP.
        raw: bool,
    },
    /// A whole connection.
    Full {
        /// TLS from the start.
        tls: bool,
        /// The TLS that `tls` or a `starttls` step uses.
        tls_config: Arc<Tls>,
        /// What is said and heard.
        query_response: Vec<Step>,
    },
}

/// One entry of `query_response`: what is heard, then what is said.
#[derive(Debug, Default)]
pub struct Step {
    /// A line must match.
    pub expect: Option<Regex>,
    /// These bytes must come.
    pub expect_bytes: Option<Bytes>,
    /// Labels of `probe_expect_info`, with `${1}` from `expect`.
    pub labels: Vec<(String, String)>,
    /// What is sent, with `${1}` from `expect`, and a newline.
    pub send: Option<String>,
    /// What is sent as it is (`send: !!binary`), without a newline.
    pub send_bytes: Option<Bytes>,
    /// Whether TLS begins here.
    pub starttls: bool,
}

/// What a tcp probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The handshake.
    pub handshake: Handshake,
    /// What the connection carried, under TLS as it was encrypted; nothing where there was no whole connection.
    pub traffic: Option<Traffic>,
    /// Whether an `expect` failed; nothing before the conversation.
    pub failed_due_to_regex: Option<bool>,
    /// Whether an `expect_bytes` failed; nothing before the conversation.
    pub failed_due_to_bytes: Option<bool>,
    /// Labels of `probe_expect_info`, expanded.
    pub expect_info: Vec<(String, String)>,
    /// The TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// Says why `target` is not `host:port`.
///
/// # Errors
/// One sentence.
pub fn check_target(target: &str) -> Result<(), String> {
    host_and_port(target).map(drop)
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let (host, port) =
        host_and_port(&probe.request.target).map_err(|what| probe.failure(Reason::ProberConfigError, what))?;
    let address = resolve(probe, host, settings.preference).await?;
    let destination = SocketAddr::new(address, port);
    match &settings.open {
        Open::Half { raw: true } => half_open_raw::measure(probe, destination, measured).await,
        Open::Half { raw: false } => {
            probe.timeline.enter(Phase::Connect);
            let half_open = connection::open(probe, destination, Opening::Half, &mut measured.handshake).await?;
            // The reset: the sooner, the better, for the ACK is held back only so long.
            drop(half_open);
            Ok(())
        }
        Open::Full { tls, tls_config, query_response } => {
            let plain = connection::connect(probe, destination, &mut measured.handshake).await?;
            let secure = Secure { tls: tls_config, host: probe.request.hostname.as_deref().unwrap_or(host) };
            let connection = match tls {
                true => tls::handshake(probe, secure.tls, secure.name(), plain, &mut measured.tls).await?,
                false => Connection::Plain(plain),
            };
            (measured.failed_due_to_regex, measured.failed_due_to_bytes) = (Some(false), Some(false));
            if query_response.is_empty() {
                return Ok(());
            }
            conversation::hold(probe, query_response, connection, &secure, measured).await
        }
    }
}

/// How a connection to `host` is put under TLS.
struct Secure<'a> {
    tls: &'a Tls,
    host: &'a str,
}

impl Secure<'_> {
    /// The name to ask for and to check.
    fn name(&self) -> &str {
        self.tls.server_name.as_deref().unwrap_or(self.host)
    }
}

/// The name that `hostname=` asks for in TLS; nothing where the module has no TLS, or names its server itself.
///
/// # Errors
/// One sentence.
pub fn hostname(settings: &Settings, hostname: &str) -> Result<Option<String>, String> {
    let uses_it = match &settings.open {
        Open::Half { .. } => false,
        Open::Full { tls, tls_config, query_response } => {
            (*tls || query_response.iter().any(|step| step.starttls)) && tls_config.server_name.is_none()
        }
    };
    if !uses_it {
        return Ok(None);
    }
    match tls::server_name(hostname) {
        Some(_) => Ok(Some(hostname.to_owned())),
        None => Err(format!("hostname is the name or the address of a host, for TLS, not {hostname:?}")),
    }
}

/// Splits `host:port`, `[2001:db8::1]:443`.
fn host_and_port(target: &str) -> Result<(&str, u16), String> {
    match host::parse_with_port(target)? {
        (host, Some(port)) => Ok((host, port)),
        (_, None) => Err("the target has no port; write host:port, as example.com:443 or [2001:db8::1]:443".to_owned()),
    }
}

#[cfg(test)]
mod tests;
