//! `http`: the requests of a chain of redirects, each with its phases, and the response.

use std::fmt::Write;

use super::units::date;
use super::waterfall::{self, Waterfall};
use super::{Page, connection, tls};
use crate::metrics::unix_seconds;
use crate::probe::{Report, http};

pub(super) fn write(page: &mut Page, report: &Report, measured: &http::Measurement) {
    if measured.requests.is_empty() {
        waterfall::write(page, report);
        return;
    }
    let mut waterfall = Waterfall::of(report);
    for asked in &measured.requests {
        page.blank();
        page.line(format_args!("{} {}", asked.method, asked.url));
        request(page, asked);
        waterfall.phases(page, &asked.phases);
    }
    waterfall.end(page, report);
    page.blank();
    if let Some(length) = measured.body_length {
        let said = match measured.content_length {
            Some(length @ 0..) => format!(", Content-Length {length}"),
            Some(_) => ", no Content-Length".to_owned(),
            None => String::new(),
        };
        page.entry("body", format_args!("{length} bytes{said}"));
    }
    if let Some(modified) = measured.last_modified {
        page.entry("modified", date(unix_seconds(modified)));
    }
    if let Some(facts) = &measured.tls {
        tls::write(page, report, facts);
    }
}

/// A request, without its phases.
fn request(page: &mut Page, asked: &http::Request) {
    if let Some(proxy) = &asked.proxy {
        page.line(format_args!("  through the proxy {proxy}"));
    }
    if let Some(connection) = connection(&asked.handshake) {
        page.line(format_args!("  {connection}"));
    }
    if let Some(traffic) = asked.traffic {
        let mut text = format!("  {} bytes sent, {} received", traffic.sent, traffic.received);
        if let Some(length @ 1..) = asked.body_length {
            let _ = write!(text, "; the request's body has {length}");
        }
        page.line(text);
    }
    if let Some(status) = asked.status {
        let mut text = format!("  status {status}");
        match asked.version {
            Some(version @ ..2.0) => drop(write!(text, ", HTTP/{version:.1}")),
            Some(version) => drop(write!(text, ", HTTP/{version}")),
            None => {}
        }
        if let Some(fields) = asked.response_headers {
            let _ = write!(text, ", {fields} header fields");
        }
        if let Some(ty) = &asked.content_type {
            let _ = write!(text, ", {ty}");
        }
        page.line(text);
    }
    if let Some(url) = &asked.redirect_url {
        page.line(format_args!("  redirects to {url}"));
    }
}
