//! The `tls_config:` of a section.

use super::decode::Fields;
use crate::net::tls::{Tls, TlsOptions, TlsProblem, TlsProblems, Version};

/// What `min_version` and `max_version` may say.
const VERSIONS: [(&str, Version); 4] =
    [("TLS10", Version::Tls10), ("TLS11", Version::Tls11), ("TLS12", Version::Tls12), ("TLS13", Version::Tls13)];

/// PEM that may stand in the configuration or, by another key, in a file.
const PEMS: [(&str, &str); 3] = [("ca", "ca_file"), ("cert", "cert_file"), ("key", "key_file")];

/// TLS as `tls_config` wants it, or as it is without one; nothing where something is wrong with it.
pub(super) fn tls(section: &Fields<'_>, alpn: Vec<Vec<u8>>) -> Option<Tls> {
    let fields = section.section("tls_config");
    let version = |key| fields.get(key).and_then(|value| value.choice(&VERSIONS));
    let insecure_skip_verify = fields.boolean("insecure_skip_verify", false);
    let server_name = fields.filled("server_name").and_then(|value| value.text()).map(str::to_owned);
    let (min_version, max_version) = (version("min_version"), version("max_version"));
    let [ca, cert, key] = PEMS.map(|(inline, file)| pem(&fields, inline, file));
    let told: Vec<&str> =
        PEMS.iter().zip([&ca, &cert, &key]).filter(|(_, pem)| pem.is_err()).map(|((inline, _), _)| *inline).collect();
    let [ca, cert, key] = [ca, cert, key].map(|pem| pem.unwrap_or_default());
    let options = TlsOptions { insecure_skip_verify, server_name, min_version, max_version, ca, cert, key, alpn };
    let tls = match Tls::new(options) {
        Ok(tls) => Some(tls).filter(|_| told.is_empty()),
        Err(TlsProblems(problems)) => {
            for TlsProblem { option, message } in problems {
                let file = PEMS.iter().find(|(inline, _)| *inline == option).and_then(|(_, file)| fields.get(file));
                match fields.get(option).or(file) {
                    // What could not be had is not missing.
                    _ if told.contains(&option) => {}
                    Some(value) => value.problem(message),
                    None => fields.problem(format!("{option} {message}")),
                }
            }
            None
        }
    };
    fields.finish();
    tls
}

/// What could not be had is told already.
struct Told;

/// PEM that may stand in the configuration or in a file.
fn pem(fields: &Fields<'_>, inline: &'static str, file: &'static str) -> Result<Option<Vec<u8>>, Told> {
    let pem = match (fields.filled(inline), fields.filled(file)) {
        (None, None) => return Ok(None),
        (Some(_), Some(value)) => {
            value.problem(format!("excludes {inline}, which is there too"));
            None
        }
        (Some(value), None) => value.text().map(|text| text.as_bytes().to_vec()),
        (None, Some(value)) => value.file(),
    };
    pem.map(Some).ok_or(Told)
}
