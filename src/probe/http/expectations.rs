//! What a module wants of the last response: its status, headers, body, version and transport.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, response};

use super::Measurement;
use super::json::Condition;
use crate::net::share;
use crate::probe::Probe;
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};

/// What a response must be like for the probe to be a success.
#[derive(Debug, Default)]
pub struct Expectations {
    /// Status codes that are a success; empty, all of 2xx.
    pub status_codes: Vec<u16>,
    /// HTTP versions that are a success, as `HTTP/1.1`, `HTTP/2.0`; empty, all.
    pub versions: Vec<String>,
    /// Whether TLS is a failure.
    pub no_tls: bool,
    /// Whether plain text is a failure.
    pub tls: bool,
    /// What headers must be, in the order in which it is checked.
    pub headers: Vec<HeaderRule>,
    /// What the body must be.
    pub body: Arc<BodyRules>,
}

/// What a body must be, in the order in which it is checked.
#[derive(Debug, Default)]
pub struct BodyRules {
    /// As text.
    pub text: Vec<BodyRule>,
    /// As JSON.
    pub json: Vec<Condition>,
}

/// What a body is not as it must be.
enum Fault {
    Text(String),
    Json(String),
}

/// What the values of a header must be.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    /// The header.
    pub name: HeaderName,
    /// What is sought in its values.
    pub regex: Regex,
    /// Whether a match is the failure; otherwise that none of the values matches is.
    pub forbids: bool,
    /// Whether it may be missing.
    pub allow_missing: bool,
}

/// What the body must be.
#[derive(Debug, Clone)]
pub struct BodyRule {
    /// What is sought in it.
    pub regex: Regex,
    /// Whether a match is the failure; otherwise that there is none is.
    pub forbids: bool,
}

/// Takes from the head of a response what Go's `net/http` takes from it, so that no rule for headers sees it: what is said of the message
/// and its connection (RFC 9112, sections 6 and 9.6), and in HTTP/2 and 3 the names of trailers.
pub(super) fn take_framing(head: &mut response::Parts, asks_for_head: bool) {
    let response::Parts { version, status, headers, .. } = head;
    if *version > Version::HTTP_11 {
        headers.remove(header::TRAILER);
        return;
    }
    let is_1_1 = *version == Version::HTTP_11;
    if is_1_1 && headers.get_all(header::CONNECTION).iter().any(says_close) {
        headers.remove(header::CONNECTION);
    }
    let encoding = headers.remove(header::TRANSFER_ENCODING);
    if is_1_1 && encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        headers.remove(header::TRAILER);
        let has_body = !asks_for_head && !matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_body && !status.is_informational() {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// Whether a value of `Connection` has the token `close`.
fn says_close(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Expectations {
    /// Whether the body is to be looked at.
    pub(super) fn need_body(&self) -> bool {
        !self.body.text.is_empty() || !self.body.json.is_empty()
    }

    /// Checks what the head of a response says of itself: status and headers.
    ///
    /// # Errors
    /// The first that is not so.
    pub(super) async fn check_head(
        &self,
        probe: &Probe<'_>,
        head: &response::Parts,
        measured: &mut Measurement,
    ) -> Result<(), Failure> {
        self.clear(measured);
        self.check_status(probe, head, measured.content_length == Some(0))?;
        let is_long = head.headers.values().map(HeaderValue::len).sum::<usize>() > share::PIECE;
        let checked = if is_long && !self.headers.is_empty() {
            let (rules, headers) = (self.headers.clone(), head.headers.clone());
            probe.compute(move || check_headers(&rules, &headers)).await
        } else {
            check_headers(&self.headers, &head.headers)
        };
        checked.map_err(|detail| {
            measured.failed_due_to_regex = Some(true);
            probe.failure(Reason::AssertionFailedHeader, detail)
        })
    }

    /// Nothing has failed.
    pub(super) fn clear(&self, measured: &mut Measurement) {
        measured.failed_due_to_regex = Some(false);
        measured.failed_due_to_cel = (!self.body.json.is_empty()).then_some(false);
    }

    /// What is wanted of the body is not there until the body is, however that ends.
    pub(super) fn presume(&self, measured: &mut Measurement) {
        match self.body.text.as_slice() {
            [] => measured.failed_due_to_cel = Some(true),
            [..] => measured.failed_due_to_regex = Some(true),
        }
    }

    /// Checks the body.
    ///
    /// # Errors
    /// The first that is not so.
    pub(super) async fn check_body(
        &self,
        probe: &Probe<'_>,
        body: Vec<u8>,
        measured: &mut Measurement,
    ) -> Result<(), Failure> {
        self.clear(measured);
        // What an expression of CEL costs does not depend on the size of the body alone.
        let checked = if body.len() > share::PIECE || !self.body.json.is_empty() {
            let (rules, end) = (Arc::clone(&self.body), probe.deadline);
            probe.compute(move || rules.check(&body, end)).await
        } else {
            self.body.check(&body, probe.deadline)
        };
        checked.map_err(|fault| {
            let (failed, detail) = match fault {
                Fault::Text(detail) => (&mut measured.failed_due_to_regex, detail),
                Fault::Json(detail) => (&mut measured.failed_due_to_cel, detail),
            };
            *failed = Some(true);
            probe.failure(Reason::AssertionFailedBody, detail)
        })
    }

    /// Checks how the response came.
    ///
    /// # Errors
    /// The first that is not so.
    pub(super) fn check_transport(&self, probe: &Probe<'_>, version: Version, over_tls: bool) -> Result<(), Failure> {
        let version = format!("{version:?}");
        if !self.versions.is_empty() && !self.versions.contains(&version) {
            return Err(probe.failure(Reason::AssertionFailedHeader, format!("the version is {version}")));
        }
        if over_tls && self.no_tls {
            return Err(probe.failure(Reason::AssertionFailedTls, "the response came over TLS"));
        }
        if !over_tls && self.tls {
            return Err(probe.failure(Reason::AssertionFailedTls, "the response came in plain text"));
        }
        Ok(())
    }

    fn check_status(&self, probe: &Probe<'_>, head: &response::Parts, is_empty: bool) -> Result<(), Failure> {
        let status = head.status;
        let valid = match self.status_codes.as_slice() {
            [] => status.is_success(),
            codes => codes.contains(&status.as_u16()),
        };
        if valid {
            return Ok(());
        }
        let (reason, said) = Reason::of_status(status, &head.headers, is_empty);
        Err(probe.failure(reason, format!("the status is {status}{said}")))
    }
}

/// Says what is wrong with the headers of a response.
fn check_headers(rules: &[HeaderRule], headers: &HeaderMap) -> Result<(), String> {
    rules.iter().try_for_each(|rule| rule.check(headers))
}

impl BodyRules {
    fn check(&self, body: &[u8], end: Instant) -> Result<(), Fault> {
        for rule in &self.text {
            if rule.regex.is_match(body) == rule.forbids {
                let what = if rule.forbids { "matches" } else { "does not match" };
                return Err(Fault::Text(format!("the body {what} {}", rule.regex)));
            }
        }
        self.json.iter().try_for_each(|condition| condition.check(body, end).map_err(Fault::Json))
    }
}

impl HeaderRule {
    /// Says what is wrong with the headers of a response.
    fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let Self { name, regex, forbids, allow_missing } = self;
        if !headers.contains_key(name) {
            return if *allow_missing { Ok(()) } else { Err(format!("the header {name} is missing")) };
        }
        let matches = headers.get_all(name).iter().any(|value| regex.is_match(value.as_bytes()));
        match (matches, forbids) {
            (true, true) => Err(format!("the header {name} matches {regex}")),
            (false, false) => Err(format!("the header {name} does not match {regex}")),
            (true, false) | (false, true) => Ok(()),
        }
    }
}
