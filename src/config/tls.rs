//! The `tls_config:` of a section.

use super::decode::{Fields, Value};
use crate::net::tls::{Tls, TlsOptions, TlsVersion};

/// What `min_version` and `max_version` may say. The first two are the past: nobody here speaks them.
const VERSIONS: [(&str, Option<TlsVersion>); 4] =
    [("TLS10", None), ("TLS11", None), ("TLS12", Some(TlsVersion::Tls12)), ("TLS13", Some(TlsVersion::Tls13))];

/// TLS as `tls_config` wants it, or as it is without one; nothing where something is wrong with it.
pub(super) fn tls(section: &Fields<'_>, alpn: Vec<Vec<u8>>) -> Option<Tls> {
    let fields = section.section("tls_config");
    let insecure_skip_verify = fields.boolean("insecure_skip_verify", false);
    let server_name = fields.get("server_name").and_then(|value| value.text()).map(str::to_owned);
    let min_version = fields.get("min_version").and_then(|value| value.choice(&VERSIONS)).flatten();
    let max_version = fields.get("max_version").and_then(|value| max_version(&value));
    let mut right = true;
    if min_version.zip(max_version).is_some_and(|(min, max)| min > max) {
        fields.problem("min_version is above max_version");
        right = false;
    }
    let (ca, cert, key) =
        (pem(&fields, "ca", "ca_file"), pem(&fields, "cert", "cert_file"), pem(&fields, "key", "key_file"));
    for part in [&ca, &cert, &key] {
        right &= !matches!(part, Pem::Wrong);
    }
    match (&cert, &key) {
        (Pem::Absent, Pem::Given(_) | Pem::Wrong) => fields.problem("a key takes a certificate; set cert or cert_file"),
        (Pem::Given(_) | Pem::Wrong, Pem::Absent) => fields.problem("a certificate takes a key; set key or key_file"),
        _ => {}
    }
    let identity = cert.given().zip(key.given());
    let options =
        TlsOptions { insecure_skip_verify, server_name, min_version, max_version, ca: ca.given(), identity, alpn };
    let tls = if right { fields.noted(Tls::new(options)) } else { None };
    fields.finish();
    tls
}

fn max_version(value: &Value<'_>) -> Option<TlsVersion> {
    let version = value.choice(&VERSIONS)?;
    if version.is_none() {
        value.problem("is too old; this program speaks TLS12 and TLS13");
    }
    version
}

/// PEM that may stand in the configuration or in a file.
enum Pem {
    Absent,
    Given(Vec<u8>),
    Wrong,
}

impl Pem {
    fn given(self) -> Option<Vec<u8>> {
        match self {
            Self::Given(pem) => Some(pem),
            Self::Absent | Self::Wrong => None,
        }
    }
}

fn pem(fields: &Fields<'_>, inline: &'static str, file: &'static str) -> Pem {
    let pem = match (fields.get(inline), fields.get(file)) {
        (None, None) => return Pem::Absent,
        (Some(_), Some(_)) => {
            fields.problem(format!("{inline} and {file} exclude each other"));
            None
        }
        (Some(value), None) => value.text().map(|text| text.as_bytes().to_vec()),
        (None, Some(value)) => value.file(),
    };
    pem.map_or(Pem::Wrong, Pem::Given)
}
