//! The `dns:` section.

use std::sync::Arc;

use super::decode::{Fields, Value};
use super::module::preference;
use super::tls;
use crate::probe::dns::{Settings, Transport, Validator};
use crate::re2::Regex;
use crate::wire::dns::codes::{ANY, CLASSES, IN, NOERROR, Names, RCODES, TYPES};
use crate::wire::dns::message::Query;
use crate::wire::dns::name::DomainName;

/// The smallest datagram that everybody takes (RFC 1035, section 4.2.1): EDNS cannot ask for less (RFC 6891, section 6.2.3).
const SMALLEST_DATAGRAM: i128 = 512;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let preference = preference(&fields);
    let transport = transport(&fields);
    let alpn: &[&[u8]] = if transport == Transport::Https { &[b"h2", b"http/1.1"] } else { &[] };
    let tls = tls::tls(&fields, alpn.iter().map(|protocol| protocol.to_vec()).collect());
    let name = name(&fields);
    let ty = fields.filled("query_type").and_then(|value| ty(&value)).unwrap_or(ANY);
    let class = fields.filled("query_class").and_then(|value| one_of(&value, CLASSES)).unwrap_or(IN);
    let recursion_desired = fields.boolean("recursion_desired", true);
    let edns_udp_size = fields.get("edns_udp_size").and_then(|value| value.integer(SMALLEST_DATAGRAM, u16::MAX.into()));
    let valid_rcodes = fields.get("valid_rcodes").map_or_else(|| vec![NOERROR], |value| rcodes(&value));
    let [answer, authority, additional] =
        ["validate_answer_rrs", "validate_authority_rrs", "validate_additional_rrs"].map(|key| validator(&fields, key));
    fields.finish();
    Some(Settings {
        transport,
        tls: Arc::new(tls?),
        query: Query { name: name?, ty, class, recursion_desired, edns_udp_size },
        valid_rcodes,
        answer,
        authority,
        additional,
        preference,
    })
}

fn transport(fields: &Fields<'_>) -> Transport {
    let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("https", Transport::Https)];
    let transport = fields.filled("transport_protocol").and_then(|value| value.choice(&transports));
    let over_tls = fields.get("dns_over_tls").filter(|value| value.boolean() == Some(true));
    match (transport.unwrap_or(Transport::Udp), over_tls) {
        (transport, None) => transport,
        (Transport::Https, Some(value)) => {
            value.problem("transport_protocol: https is under TLS by itself; leave dns_over_tls out");
            Transport::Https
        }
        (Transport::Udp, Some(value)) => {
            value.problem("takes a connection; set transport_protocol: tcp");
            Transport::Tls
        }
        (Transport::Tcp | Transport::Tls, Some(_)) => Transport::Tls,
    }
}

/// The name that is asked for. A module without a section asks for the root, as blackbox_exporter does.
fn name(fields: &Fields<'_>) -> Option<DomainName> {
    match fields.get("query_name") {
        Some(value) => {
            let text = value.text()?;
            value.noted(text.parse().map_err(|what| format!("{text:?} is no name: it {what}")))
        }
        None if fields.is_bare => Some(DomainName::root()),
        None => {
            fields.problem("query_name is missing; it is the name that the server is asked for");
            None
        }
    }
}

fn ty(value: &Value<'_>) -> Option<u16> {
    let text = value.text()?;
    let ty = TYPES.number(text);
    if ty.is_none() {
        value.problem(format!("{text:?} is not a type of records; write A, AAAA, MX, NS, SOA, SRV, TXT, ANY, …"));
    }
    ty
}

fn one_of(value: &Value<'_>, names: Names) -> Option<u16> {
    let text = value.text()?;
    let number = names.number(text);
    if number.is_none() {
        let known: Vec<_> = names.all().collect();
        value.problem(format!("{text:?} is not known; known: {}", known.join(", ")));
    }
    number
}

fn rcodes(value: &Value<'_>) -> Vec<u16> {
    let list = value.list();
    let rcodes: Vec<_> = list.iter().filter_map(|value| one_of(value, RCODES)).collect();
    if list.is_empty() {
        value.problem("every reply would fail: name the codes that are a success, or leave it out for NOERROR");
    }
    rcodes
}

fn validator(fields: &Fields<'_>, key: &'static str) -> Validator {
    let section = fields.section(key);
    let validator = Validator {
        fail_if_matches: regexes(&section, "fail_if_matches_regexp"),
        fail_if_all_match: regexes(&section, "fail_if_all_match_regexp"),
        fail_if_not_matches: regexes(&section, "fail_if_not_matches_regexp"),
        fail_if_none_matches: regexes(&section, "fail_if_none_matches_regexp"),
    };
    section.finish();
    validator
}

fn regexes(section: &Fields<'_>, key: &'static str) -> Vec<Regex> {
    let list = section.get(key).map(|value| value.list()).unwrap_or_default();
    list.iter().filter_map(|value| value.regex()).collect()
}
