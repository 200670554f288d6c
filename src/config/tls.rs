//! The `tls_config:` of a section.

use super::decode::Fields;
use crate::net::tls::{Tls, TlsOptions, Version};

/// What `min_version` and `max_version` may say.
const VERSIONS: [(&str, Version); 4] =
    [("TLS10", Version::Tls10), ("TLS11", Version::Tls11), ("TLS12", Version::Tls12), ("TLS13", Version::Tls13)];

/// TLS as `tls_config` wants it, or as it is without one; nothing where something is wrong with it.
pub(super) fn tls(section: &Fields<'_>, alpn: Vec<Vec<u8>>) -> Option<Tls> {
    let fields = section.section("tls_config");
    let insecure_skip_verify = fields.boolean("insecure_skip_verify", false);
    let server_name = fields.get("server_name").and_then(|value| value.text()).map(str::to_owned);
    let min_version = fields.get("min_version").and_then(|value| value.choice(&VERSIONS));
    let max_version = fields.get("max_version").and_then(|value| value.choice(&VERSIONS));
    let [ca, cert, key] = [("ca", "ca_file"), ("cert", "cert_file"), ("key", "key_file")]
        .map(|(inline, file)| pem(&fields, inline, file));
    let right = [&ca, &cert, &key].iter().all(|part| !matches!(part, Pem::Wrong));
    let (ca, cert, key) = (ca.given(), cert.given(), key.given());
    let options = TlsOptions { insecure_skip_verify, server_name, min_version, max_version, ca, cert, key, alpn };
    let tls = if right { fields.noted(Tls::new(options)) } else { None };
    fields.finish();
    tls
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
