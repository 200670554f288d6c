//! The `tls_config:` of a section.

use super::decode::Fields;
use crate::net::tls::{Tls, TlsOptions, TlsProblem, TlsProblems, Version};

/// What `min_version` and `max_version` may say.
const VERSIONS: [(&str, Version); 4] =
    [("TLS10", Version::Tls10), ("TLS11", Version::Tls11), ("TLS12", Version::Tls12), ("TLS13", Version::Tls13)];

/// PEM that may stand in the configuration or, by another key, in a file.
const PEMS: [(&str, &str); 3] = [("ca", "ca_file"), ("cert", "cert_file"), ("key", "key_file")];

/// The names of such in a manager of secrets, and what to use instead.
const REFERENCES: [(&str, &str); 3] = [("ca_ref", "ca_file"), ("cert_ref", "cert_file"), ("key_ref", "key_file")];

/// TLS as `tls_config` wants it, or as it is without one; nothing where something is wrong with it.
pub(super) fn tls(section: &Fields<'_>, alpn: Vec<Vec<u8>>) -> Option<Tls> {
    let fields = section.section("tls_config");
    let version = |key| fields.get(key).and_then(|value| value.choice(&VERSIONS));
    let insecure_skip_verify = fields.boolean("insecure_skip_verify", false);
    let server_name = fields.filled("server_name").and_then(|value| value.text()).map(str::to_owned);
    let (min_version, max_version) = (version("min_version"), version("max_version"));
    let [ca, cert, key] = PEMS.map(|(inline, file)| pem(&fields, inline, file));
    for (reference, file) in REFERENCES {
        if let Some(value) = fields.filled(reference) {
            value.problem(format!("needs a manager of secrets, which there is none; use {file}"));
        }
    }
    let told: Vec<&str> =
        PEMS.iter().zip([&ca, &cert, &key]).filter(|(_, pem)| pem.is_err()).map(|((inline, _), _)| *inline).collect();
    let [ca, cert, key] = [ca, cert, key].map(|pem| pem.unwrap_or_default());
    let options = TlsOptions { insecure_skip_verify, server_name, min_version, max_version, ca, cert, key, alpn };
    let tls = tell(&fields, &PEMS, &told, Tls::new(options));
    fields.finish();
    tls
}

/// TLS, where nothing is wrong with its options and nothing was told of its PEMs; else each problem goes to the field that it is about.
pub(super) fn tell<T>(
    fields: &Fields<'_>,
    pems: &[(&str, &'static str)],
    told: &[&str],
    tls: Result<T, TlsProblems>,
) -> Option<T> {
    match tls {
        Ok(tls) => Some(tls).filter(|_| told.is_empty()),
        Err(TlsProblems(problems)) => {
            for TlsProblem { option, message } in problems {
                let file = pems.iter().find(|(inline, _)| *inline == option).and_then(|(_, file)| fields.get(file));
                match fields.get(option).or(file) {
                    // What could not be had is not missing.
                    _ if told.contains(&option) => {}
                    Some(value) => value.problem(message),
                    None => fields.problem(format!("{option} {message}")),
                }
            }
            None
        }
    }
}

/// What could not be had is told already.
pub(super) struct Told;

/// PEM that may stand in the configuration or in a file; an empty text is none.
pub(super) fn pem(fields: &Fields<'_>, inline: &'static str, file: &'static str) -> Result<Option<Vec<u8>>, Told> {
    let pem = match (fields.filled(inline), fields.filled(file)) {
        (None, None) => return Ok(None),
        (Some(_), Some(value)) => {
            value.problem(format!("excludes {inline}, which is there too"));
            None
        }
        (Some(value), None) => value.text().map(|text| text.as_bytes().to_vec()),
        // What is no path is not told as one: it may be a key.
        (None, Some(value)) if value.text().is_some_and(|text| text.contains("-----BEGIN")) => {
            value.problem(format!("is PEM and not the path of a file; PEM belongs into {inline}"));
            None
        }
        (None, Some(value)) => value.file(),
    };
    pem.map(Some).ok_or(Told)
}
