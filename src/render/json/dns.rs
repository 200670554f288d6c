//! The section `dns`.

use std::borrow::Cow;

use serde::Serialize;

use super::connection::Connection;
use crate::probe::dns;
use crate::wire::dns::codes::rcode_text;
use crate::wire::dns::message;

#[derive(Serialize)]
pub(super) struct Dns<'a> {
    transport: &'static str,
    question: &'a str,
    #[serde(flatten)]
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    query_succeeded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Reply<'a>>,
}

#[derive(Serialize)]
struct Reply<'a> {
    rcode: u16,
    rcode_name: Cow<'static, str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    extended_errors: &'a [String],
    authoritative: bool,
    truncated: bool,
    recursion_available: bool,
    authenticated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    edns_udp_size: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_ttl_min_seconds: Option<u32>,
    answer: Section<'a>,
    authority: Section<'a>,
    additional: Section<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    defect: Option<&'a str>,
}

#[derive(Serialize)]
struct Section<'a> {
    complete: bool,
    records: Vec<&'a str>,
}

impl<'a> Dns<'a> {
    pub(super) fn of(measured: &'a dns::Measurement) -> Self {
        let dns::Measurement { transport, question, handshake, traffic, tls: _, status, reply, succeeded, serial } =
            measured;
        Self {
            transport: transport.name(),
            question,
            connection: Connection::of(handshake, *traffic),
            status_code: *status,
            query_succeeded: *succeeded,
            serial: *serial,
            reply: reply.as_ref().map(Reply::of),
        }
    }
}

impl<'a> Reply<'a> {
    fn of(reply: &'a message::Reply) -> Self {
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
        Self {
            rcode: *rcode,
            rcode_name: rcode_text(*rcode),
            extended_errors,
            authoritative: *authoritative,
            truncated: *truncated,
            recursion_available: *recursion_available,
            authenticated: *authenticated,
            edns_udp_size: *edns_udp_size,
            answer_ttl_min_seconds: reply.answer_ttl(),
            answer: Section::of(answer),
            authority: Section::of(authority),
            additional: Section::of(additional),
            defect: defect.as_deref(),
        }
    }
}

impl<'a> Section<'a> {
    fn of(section: &'a message::Section) -> Self {
        let message::Section { records, complete } = section;
        Self { complete: *complete, records: records.iter().map(|entry| entry.text.as_str()).collect() }
    }
}
