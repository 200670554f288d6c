//! HTTP and HTTPS: phase-timed requests.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::Probe;
use super::resolve::Preference;
use crate::net::tls::{Tls, TlsFacts};
use crate::verdict::Failure;

/// The `http:` section of a module.
#[derive(Debug)]
pub struct Settings {
    /// The request's method.
    pub method: Method,
    /// The request's headers, `Host` excepted.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The `Host` header, and the TLS server name where none is set.
    pub host: Option<String>,
    /// The request's body.
    pub body: Bytes,
    /// Status codes that are a success; empty, all of 2xx.
    pub valid_status_codes: Vec<u16>,
    /// HTTP versions that are a success, as `HTTP/1.1`, `HTTP/2.0`; empty, all.
    pub valid_http_versions: Vec<String>,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered over TLS.
    pub enable_http2: bool,
    /// Whether TLS is a failure.
    pub fail_if_ssl: bool,
    /// Whether plain text is a failure.
    pub fail_if_not_ssl: bool,
    /// The address family.
    pub preference: Preference,
    /// TLS, built once per module.
    pub tls: Arc<Tls>,
}

/// What an http probe measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measurement {
    /// Status code of the last response.
    pub status: Option<u16>,
    /// Its HTTP version: 1.0, 1.1, 2.
    pub version: Option<f64>,
    /// Its `Content-Length`; −1 where it has none.
    pub content_length: Option<i64>,
    /// Bytes of its body that were read.
    pub body_length: Option<u64>,
    /// Redirects that were followed, or would have been.
    pub redirects: u32,
    /// Whether the last response came over TLS.
    pub ssl: Option<bool>,
    /// Its `Last-Modified`.
    pub last_modified: Option<SystemTime>,
    /// The last TLS handshake.
    pub tls: Option<TlsFacts>,
}

/// Says why `target` is not a URL that can be probed.
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
