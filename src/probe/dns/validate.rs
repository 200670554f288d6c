//! Whether a reply is what the module wants.

use super::{Measurement, Settings, Validator};
use crate::probe::Probe;
use crate::verdict::{Failure, Reason};
use crate::wire::dns::codes::{NOERROR, OPT, SOA, rcode_text};
use crate::wire::dns::message::{Reply, Section};

/// Looks at a reply in blackbox_exporter's order: the response code, the answer, the authorities, the rest.
///
/// # Errors
/// The first thing that is not wanted.
pub(super) fn validate(settings: &Settings, probe: &Probe<'_>, measured: &mut Measurement) -> Result<(), Failure> {
    let Some(reply) = &measured.reply else {
        return Err(probe.failure(Reason::ProberError, "the reply came, and is not there"));
    };
    note(probe, reply);
    if let Some(defect) = &reply.defect {
        return Err(probe.failure(Reason::DnsAnswerUnexpected, defect.as_str()));
    }
    measured.succeeded = true;
    measured.serial = reply.serial().filter(|_| settings.query.ty == SOA);
    if !settings.valid_rcodes.contains(&reply.rcode) {
        let valid: Vec<_> = settings.valid_rcodes.iter().map(|rcode| rcode_text(*rcode)).collect();
        let detail = format!("the response code is {}, not {}", reply.rcode_text(), valid.join(" or "));
        return Err(probe.failure(reason(reply.rcode), detail));
    }
    let validators = [&settings.answer, &settings.authority, &settings.additional];
    for ((name, section), validator) in reply.sections().into_iter().zip(validators) {
        unwanted(validator, section).map_or(Ok(()), |what| {
            Err(probe.failure(Reason::AssertionFailedDns, format!("validate_{name}_rrs: {what}")))
        })?;
    }
    Ok(())
}

/// What a response code says that is not a success.
fn reason(rcode: u16) -> Reason {
    match rcode {
        NOERROR => Reason::AssertionFailedDns,
        2 => Reason::DnsServfail,
        3 => Reason::DnsNxdomain,
        // REFUSED, FORMERR, NOTIMP and what else there is: it does not want to deal with such a question.
        _ => Reason::DnsRefused,
    }
}

fn note(probe: &Probe<'_>, reply: &Reply) {
    let flags = [
        (reply.authoritative, "aa"),
        (reply.truncated, "tc"),
        (reply.recursion_available, "ra"),
        (reply.authenticated, "ad"),
    ];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    probe.note(format_args!("the reply: {}, flags [{}]", reply.rcode_text(), flags.join(" ")));
    for (name, section) in reply.sections() {
        for entry in &section.records {
            probe.note(format_args!("{name}: {}", entry.text));
        }
    }
}

/// What is wrong with the records of a section.
fn unwanted(validator: &Validator, section: &Section) -> Option<String> {
    let Validator { fail_if_matches, fail_if_all_match, fail_if_not_matches, fail_if_none_matches } = validator;
    let texts = section.records.iter().filter(|entry| entry.ty != OPT).map(|entry| entry.text.as_str());
    let needed = [("not", fail_if_not_matches), ("none", fail_if_none_matches)];
    if texts.clone().next().is_none()
        && let Some((word, _)) = needed.iter().find(|(_, regexes)| !regexes.is_empty())
    {
        return Some(format!("fail_if_{word}_matches_regexp, and there is no record"));
    }
    for text in texts.clone() {
        if let Some(regex) = fail_if_matches.iter().find(|regex| regex.is_match(text.as_bytes())) {
            return Some(format!("fail_if_matches_regexp: {text:?} matches {:?}", regex.as_str()));
        }
        if let Some(regex) = fail_if_not_matches.iter().find(|regex| !regex.is_match(text.as_bytes())) {
            return Some(format!("fail_if_not_matches_regexp: {text:?} does not match {:?}", regex.as_str()));
        }
    }
    for text in texts.clone() {
        if let Some(regex) = fail_if_all_match.iter().find(|regex| !regex.is_match(text.as_bytes())) {
            return Some(format!("fail_if_all_match_regexp: {text:?} does not match {:?}", regex.as_str()));
        }
    }
    let mut matches = texts.filter(|text| fail_if_none_matches.iter().any(|regex| regex.is_match(text.as_bytes())));
    if !fail_if_none_matches.is_empty() && matches.next().is_none() {
        return Some("fail_if_none_matches_regexp: no record matches".to_owned());
    }
    None
}
