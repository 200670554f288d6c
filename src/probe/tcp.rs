//! TCP: full open with optional TLS and a conversation, or half open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use regex::bytes::Regex;

use super::Probe;
use super::resolve::Preference;
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::Failure;

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
    /// The kernel's round-trip time of the handshake; nothing where a SYN was sent again.
    pub handshake_rtt: Option<Duration>,
    /// SYNs that were sent again.
    pub syn_retransmits: Option<u32>,
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
pub fn check_target(_target: &str) -> Result<(), String> {
    Ok(())
}

/// Measures.
///
/// # Errors
/// Why it went no further.
pub async fn measure(_settings: &Settings, probe: &Probe<'_>, _measured: &mut Measurement) -> Result<(), Failure> {
    Err(probe.failure(crate::verdict::Reason::ProberError, "not written"))
}
