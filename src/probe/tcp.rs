//! TCP: full open with optional TLS and a conversation, or half open.

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::{self, Connection, Handshake};
use super::conversation::{self, Heard, Secure, Step};
use super::resolve::{Preference, resolve};
use super::services::Carrier;
use super::{Probe, Tracing, half_open_raw, host, tls};
use crate::flight::{Phase, Traffic};
use crate::net::tcp::Opening;
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::{Failure, Reason};

/// The `tcp:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// Full open, or half.
    pub open: Open,
    /// The address family.
    pub preference: Preference,
    /// When the flow of its connection is traced; nothing never does.
    pub tracing: Option<Tracing>,
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

/// What a tcp probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// The handshake.
    pub handshake: Handshake,
    /// The largest segment that the server takes, by its SYN-ACK; the kernel's TCP does not tell it.
    pub mss: Option<u16>,
    /// What the connection carried, under TLS as it was encrypted; nothing where there was no whole connection.
    pub traffic: Option<Traffic>,
    /// The conversation.
    pub heard: Heard,
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
            probe.let_go();
            Ok(())
        }
        Open::Full { tls, tls_config, query_response } => {
            let plain = connection::connect(probe, destination, &mut measured.handshake).await?;
            let secure = Secure { tls: tls_config, host: probe.request.hostname.as_deref().unwrap_or(host) };
            let connection = match tls {
                true => tls::handshake(probe, secure.tls, secure.name(), plain, &mut measured.tls).await?,
                false => Connection::Plain(plain),
            };
            let Measurement { heard, tls, .. } = measured;
            conversation::hold(probe, query_response, connection, &secure, heard, tls).await
        }
    }
}

/// The name that `hostname=` asks for in TLS; nothing where the module has no TLS, or names its server itself.
///
/// # Errors
/// One sentence.
pub fn hostname(settings: &Settings, hostname: &str) -> Result<Option<String>, String> {
    match &settings.open {
        Open::Full { tls, tls_config, query_response } if *tls || query_response.iter().any(|step| step.starttls) => {
            tls::hostname(tls_config, hostname)
        }
        Open::Half { .. } | Open::Full { .. } => Ok(None),
    }
}

/// Splits `host:port`, `[2001:db8::1]:443`.
fn host_and_port(target: &str) -> Result<(&str, u16), String> {
    match host::parse_with_port(target, Carrier::Tcp)? {
        (host, Some(port)) => Ok((host, port)),
        (_, None) => Err("the target has no port; write host:port, as example.com:443 or [2001:db8::1]:443".to_owned()),
    }
}

#[cfg(test)]
mod tests;
