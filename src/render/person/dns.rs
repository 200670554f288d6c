//! `dns`: the question, and the reply as dig prints it.

use std::fmt::Write;

use super::{Page, carried, connection, tls, waterfall};
use crate::probe::{Report, dns};
use crate::wire::dns::codes::rcode_text;
use crate::wire::dns::message;

pub(super) fn write(page: &mut Page, report: &Report, measured: &dns::Measurement) {
    waterfall::write(page, report);
    let dns::Measurement {
        transport,
        question,
        handshake,
        traffic,
        tls: facts,
        status,
        reply,
        // The reason of the failure says it.
        succeeded: _,
        // The record is in the reply.
        serial: _,
    } = measured;
    page.blank();
    page.entry("question", format_args!("{question}, by {}", transport.name()));
    if let Some(connection) = connection(handshake) {
        page.entry("", connection);
    }
    carried(page, *traffic);
    if let Some(status) = status {
        page.entry("", format_args!("status {status}"));
    }
    if let Some(reply) = reply {
        write_reply(page, reply);
    }
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}

fn write_reply(page: &mut Page, reply: &message::Reply) {
    let message::Reply {
        rcode,
        authoritative,
        truncated,
        recursion_available,
        authenticated,
        edns_udp_size,
        extended_errors,
        answer,
        authority,
        additional,
        defect,
    } = reply;
    let mut text = rcode_text(*rcode).into_owned();
    let flags = [
        (authoritative, "authoritative"),
        (truncated, "truncated"),
        (recursion_available, "recursion available"),
        (authenticated, "authenticated"),
    ];
    for (_, name) in flags.iter().filter(|(set, _)| **set) {
        let _ = write!(text, ", {name}");
    }
    if let Some(size) = edns_udp_size {
        let _ = write!(text, ", EDNS size {size}");
    }
    page.entry("reply", text);
    for error in extended_errors {
        page.entry("", format_args!("extended error: {error}"));
    }
    for (name, message::Section { records, complete }) in
        [("answer", answer), ("authority", authority), ("additional", additional)]
    {
        for record in records {
            page.entry("", format_args!("{name}: {}", record.text.replace('\t', " ")));
        }
        if !complete {
            page.entry("", format_args!("{name}: no more could be read"));
        }
    }
    if let Some(defect) = defect {
        page.entry("", defect);
    }
}
