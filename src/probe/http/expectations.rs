//! What a module wants of the last response: its status, headers, body, version and transport.

use http::{HeaderMap, HeaderName, Version, response};

use super::Measurement;
use super::json::Condition;
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
    /// What the body must be, likewise.
    pub body: Vec<BodyRule>,
    /// What the body's JSON must be.
    pub json: Vec<Condition>,
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

impl Expectations {
    /// Whether the body is to be looked at.
    pub(super) fn need_body(&self) -> bool {
        !self.body.is_empty() || !self.json.is_empty()
    }

    /// Checks what the head of a response says of itself: status and headers.
    ///
    /// # Errors
    /// The first that is not so.
    pub(super) fn check_head(
        &self,
        probe: &Probe<'_>,
        head: &response::Parts,
        measured: &mut Measurement,
    ) -> Result<(), Failure> {
        self.clear(measured);
        self.check_status(probe, head, measured.content_length == Some(0))?;
        for rule in &self.headers {
            if let Err(detail) = rule.check(&head.headers) {
                measured.failed_due_to_regex = Some(true);
                return Err(probe.failure(Reason::AssertionFailedHeader, detail));
            }
        }
        Ok(())
    }

    /// Nothing has failed.
    pub(super) fn clear(&self, measured: &mut Measurement) {
        measured.failed_due_to_regex = Some(false);
        measured.failed_due_to_cel = (!self.json.is_empty()).then_some(false);
    }

    /// What is wanted of the body is not there until the body is, however that ends.
    pub(super) fn presume(&self, measured: &mut Measurement) {
        match self.body.as_slice() {
            [] => measured.failed_due_to_cel = Some(true),
            [..] => measured.failed_due_to_regex = Some(true),
        }
    }

    /// Checks the body.
    ///
    /// # Errors
    /// The first that is not so.
    pub(super) fn check_body(&self, probe: &Probe<'_>, body: &[u8], measured: &mut Measurement) -> Result<(), Failure> {
        self.clear(measured);
        for rule in &self.body {
            if rule.regex.is_match(body) == rule.forbids {
                measured.failed_due_to_regex = Some(true);
                let what = if rule.forbids { "matches" } else { "does not match" };
                let detail = format!("the body {what} {}", rule.regex);
                return Err(probe.failure(Reason::AssertionFailedBody, detail));
            }
        }
        for condition in &self.json {
            if let Err(detail) = condition.check(body) {
                measured.failed_due_to_cel = Some(true);
                return Err(probe.failure(Reason::AssertionFailedBody, detail));
            }
        }
        Ok(())
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
