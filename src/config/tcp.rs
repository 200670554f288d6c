//! The `tcp:` section.

use std::sync::Arc;

use super::decode::{Fields, Value};
use super::module::preference;
use super::{failed_flow, tls};
use crate::flight::Phase;
use crate::probe::conversation::Step;
use crate::probe::identity::Registry;
use crate::probe::tcp::{Open, Settings};
use crate::probe::traceroute::Protocol;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>, registry: Option<&Arc<Registry>>) -> Option<Settings> {
    let half = fields.boolean("half_open", false);
    let raw = fields.boolean("raw", false);
    let tls = fields.boolean("tls", false);
    let tls_config = tls::tls(&fields, Vec::new());
    let query_response = fields.get("query_response").map(|value| conversation(&value, tls)).unwrap_or_default();
    let preference = preference(&fields);
    let encrypts = tls || query_response.iter().any(|step| step.starttls);
    let usable = |is: bool, why| if is && !half { Ok(()) } else { Err(why) };
    let phases = [
        (Phase::Resolve, Err(failed_flow::RESOLVE)),
        (Phase::Connect, Ok(())),
        (Phase::Tls, usable(encrypts, "this module has no TLS")),
        (Phase::Query, usable(!query_response.is_empty(), "this module has no query_response")),
    ];
    let tracing = failed_flow::tracing(&fields, &phases, Protocol::Tcp, registry);
    if half {
        let tls = fields.get("tls").filter(|_| tls);
        for value in [tls, fields.get("tls_config"), fields.get("query_response")].into_iter().flatten() {
            value.problem("takes a whole connection, and half_open makes none");
        }
    } else if let Some(value) = fields.get("raw") {
        value.problem("is a way to make a half-open check; set half_open: true");
    }
    fields.finish();
    let open =
        if half { Open::Half { raw } } else { Open::Full { tls, tls_config: Arc::new(tls_config?), query_response } };
    Some(Settings { open, preference, tracing })
}

/// The steps of `query_response`; `tls`: whether TLS is spoken from the start.
pub(super) fn conversation(value: &Value<'_>, tls: bool) -> Vec<Step> {
    let mut label_names: Vec<String> = Vec::new();
    let mut encrypted = tls;
    value.list().iter().map(|entry| step(entry, &mut label_names, &mut encrypted)).collect()
}

fn step(entry: &Value<'_>, label_names: &mut Vec<String>, encrypted: &mut bool) -> Step {
    let fields = entry.fields();
    let expect = fields.get("expect").and_then(|value| value.regex());
    let expect_bytes = fields.filled("expect_bytes").and_then(|value| value.bytes());
    if expect.is_some() && expect_bytes.is_some() {
        fields.problem("expect and expect_bytes exclude each other");
    }
    let labels = fields.get("labels").map(|value| labels(&value, label_names)).unwrap_or_default();
    if !labels.is_empty() && fields.get("expect").is_none() {
        fields.problem("labels take their values from expect, which is missing");
    }
    let (send, send_bytes) = match (fields.filled("send"), fields.filled("send_bytes")) {
        (Some(_), Some(value)) => {
            value.problem("excludes send, which is there too; make it an entry of its own");
            (None, None)
        }
        (None, Some(value)) => (None, value.bytes()),
        // What is packed is no line, though blackbox_exporter ends it as one.
        (Some(value), None) if value.is_binary() => (None, value.bytes()),
        (Some(value), None) => (value.text().map(str::to_owned), None),
        (None, None) => (None, None),
    };
    let starttls = fields.boolean("starttls", false);
    if starttls && std::mem::replace(encrypted, true) {
        fields.problem("starttls: the connection speaks TLS already");
    }
    fields.finish();
    Step { expect, expect_bytes, labels, send, send_bytes, starttls }
}

/// Labels of `probe_expect_info`, which is one series for all entries: no name may come twice.
fn labels(value: &Value<'_>, known: &mut Vec<String>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    for entry in value.list() {
        let fields = entry.fields();
        let name = fields.get("name");
        let text = fields.get("value").and_then(|value| value.text()).unwrap_or_default().to_owned();
        fields.finish();
        let Some(name_value) = name else {
            entry.problem("name is missing");
            continue;
        };
        let Some(name) = name_value.text() else { continue };
        if !is_label_name(name) {
            name_value
                .problem(format!("{name:?} is not a label; write letters, digits and _, no digit first, no __ first"));
        } else if known.iter().any(|known| known == name) {
            name_value.problem(format!("{name:?} is there already"));
        } else {
            known.push(name.to_owned());
            labels.push((name.to_owned(), text));
        }
    }
    labels
}

fn is_label_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && !name.starts_with("__") && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
