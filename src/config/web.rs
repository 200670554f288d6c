//! The web configuration (`--web.config.file`): who may scrape us, and how. Its fields are exporter-toolkit's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcrypt::HashParts;
use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::decode::{Fields, Problems, Value};
use super::errors::Errors;
use super::files::Files;
use super::{text, tls, yaml};
use crate::net::tls::{ClientAuth, Group, ServerTlsOptions, Suite, Version, server};

/// A web configuration that loaded, and is therefore right. Without one everybody may come in.
#[derive(Default)]
pub struct Web {
    /// TLS; nothing where plain text is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may come in, with the hash of each password; everybody where nobody is named.
    pub users: BTreeMap<String, HashParts>,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
}

/// A bucket that holds `burst` tokens and gets one more every `interval`; each request takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// More than nothing.
    pub interval: Duration,
    /// One or more.
    pub burst: u32,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the hashes.
        let users: Vec<_> = self.users.keys().collect();
        f.debug_struct("Web").field("tls", &self.tls.is_some()).field("users", &users).finish_non_exhaustive()
    }
}

/// The file of a web configuration, and what was in it and in the files that it names when it was loaded last.
#[derive(Debug)]
pub struct WebFile {
    path: PathBuf,
    files: Files,
}

impl WebFile {
    /// Loads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: &Path) -> Result<(Self, Web), Errors> {
        let file = Self { path: path.to_owned(), files: Files::default() };
        let web = file.load()?;
        Ok((file, web))
    }

    /// Loads the file again where it, or one that it names, has another content than when it was loaded last, in vain or not.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_changed(&mut self) -> Option<Result<Web, Errors>> {
        self.files.changed().then(|| {
            self.files = Files::default();
            self.load()
        })
    }

    fn load(&self) -> Result<Web, Errors> {
        let text = text(&self.path, self.files.read(&self.path))?;
        let problems = Problems::of(&self.path.display().to_string(), &self.files);
        let web = match yaml::parse(&text) {
            Ok(Some(root)) => web(Value::root(&root, &problems).fields()),
            Ok(None) => Web::default(),
            Err(error) => {
                problems.add(Some(error.line), String::new(), format!("is not YAML: {}", error.message));
                Web::default()
            }
        };
        problems.or(web)
    }
}

fn web(fields: Fields<'_>) -> Web {
    let http = fields.section("http_server_config");
    let http2 = http.boolean("http2", true);
    let headers = headers(http.section("headers"));
    http.finish();
    let web = Web {
        tls: fields.get("tls_server_config").and_then(|value| tls_server(value.fields(), http2)),
        headers,
        users: fields.get("basic_auth_users").map(|value| users(&value)).unwrap_or_default(),
        rate_limit: fields.get("rate_limit").and_then(|value| rate_limit(value.fields())),
    };
    fields.finish();
    web
}

/// PEM that may stand in the configuration or, by another key, in a file.
const PEMS: [(&str, &str); 3] = [("cert", "cert_file"), ("key", "key_file"), ("client_ca", "client_ca_file")];

/// What `client_auth_type` may say. `RequireClientCert` is how `RequireAnyClientCert` was spelt once.
const CLIENT_AUTH: [(&str, ClientAuth); 6] = [
    ("NoClientCert", ClientAuth::NoClientCert),
    ("RequestClientCert", ClientAuth::RequestClientCert),
    ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
    ("RequireClientCert", ClientAuth::RequireAnyClientCert),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
];

/// What `min_version` and `max_version` may say.
const VERSIONS: [(&str, Version); 2] = [("TLS12", Version::Tls12), ("TLS13", Version::Tls13)];

/// Versions that Go speaks and rustls does not.
const OLD_VERSIONS: [&str; 2] = ["TLS10", "TLS11"];

/// Suites that Go speaks and rustls does not.
const OLD_SUITES: [&str; 8] = [
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// TLS; nothing where the section is empty, or where something is wrong with it.
fn tls_server(fields: Fields<'_>, http2: bool) -> Option<Arc<ServerConfig>> {
    let empty = fields.is_empty();
    let version =
        |key, default| fields.get(key).and_then(|value| spoken(&value, &VERSIONS, &OLD_VERSIONS)).unwrap_or(default);
    let (min_version, max_version) = (version("min_version", Version::Tls12), version("max_version", Version::Tls13));
    let list = |key| fields.get(key).map(|value| value.list()).unwrap_or_default();
    let suites = list("cipher_suites");
    let cipher_suites = suites.iter().filter_map(|value| spoken(value, &Suite::ALL, &OLD_SUITES)).collect();
    let groups = list("curve_preferences");
    let curve_preferences = groups.iter().filter_map(|value| value.choice(&Group::ALL)).collect();
    let prefer_server_cipher_suites = fields.boolean("prefer_server_cipher_suites", true);
    let auth = fields.filled("client_auth_type");
    let client_auth = auth.map_or(Some(ClientAuth::NoClientCert), |value| value.choice(&CLIENT_AUTH));
    let client_allowed_sans = fields.get("client_allowed_sans").map(|value| {
        let sans: Vec<_> = value.list().iter().filter_map(|name| Some(name.text()?.to_owned())).collect();
        if sans.is_empty() {
            value.problem("names nobody, so that nobody could come in");
        }
        sans
    });
    let pems = PEMS.map(|(inline, file)| tls::pem(&fields, inline, file));
    if client_auth == Some(ClientAuth::NoClientCert) {
        for key in ["client_ca", "client_ca_file", "client_allowed_sans"] {
            if let Some(value) = fields.filled(key) {
                value.problem("has no effect without a client_auth_type, such as RequireAndVerifyClientCert");
            }
        }
    }
    let told: Vec<&str> =
        PEMS.iter().zip(&pems).filter(|(_, pem)| pem.is_err()).map(|((inline, _), _)| *inline).collect();
    let [cert, key, client_ca] = pems.map(|pem| pem.unwrap_or_default());
    let options = ServerTlsOptions {
        cert,
        key,
        client_auth: client_auth.unwrap_or(ClientAuth::NoClientCert),
        client_ca,
        client_allowed_sans,
        min_version,
        max_version,
        cipher_suites,
        prefer_server_cipher_suites,
        curve_preferences,
        http2,
    };
    // An empty section is none; in any other somebody wants TLS.
    let tls = if empty { None } else { tls::tell(&fields, &PEMS, &told, server(options)) };
    fields.finish();
    tls
}

/// One of the words that are known; those that only Go knows are told apart.
fn spoken<T: Copy>(value: &Value<'_>, known: &[(&str, T)], old: &[&str]) -> Option<T> {
    match value.text() {
        Some(text) if old.contains(&text) => {
            let known: Vec<_> = known.iter().map(|(word, _)| *word).collect();
            value.problem(format!("{text} cannot be spoken by this program; what can: {}", known.join(", ")));
            None
        }
        _ => value.choice(known),
    }
}

/// What `X-Frame-Options` and `X-Content-Type-Options` may say.
const FRAME_OPTIONS: [(&str, &str); 2] = [("deny", "deny"), ("sameorigin", "sameorigin")];
const CONTENT_TYPE_OPTIONS: [(&str, &str); 1] = [("nosniff", "nosniff")];

/// The headers that may be set, and no others, as in the whole of Prometheus.
fn headers(fields: Fields<'_>) -> Vec<(HeaderName, HeaderValue)> {
    use http::header;
    let mut headers = Vec::new();
    let mut set = |name: HeaderName, text: Option<&str>, value: &Value<'_>| {
        let set = text.filter(|text| !text.is_empty()).and_then(|text| {
            value.noted(
                HeaderValue::from_str(text).map_err(|_| "is not the value of a header: it has control characters"),
            )
        });
        headers.extend(set.map(|value| (name, value)));
    };
    if let Some(value) = fields.get("X-Frame-Options") {
        set(header::X_FRAME_OPTIONS, value.choice(&FRAME_OPTIONS), &value);
    }
    if let Some(value) = fields.get("X-Content-Type-Options") {
        set(header::X_CONTENT_TYPE_OPTIONS, value.choice(&CONTENT_TYPE_OPTIONS), &value);
    }
    for (key, name) in [
        ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY),
        ("X-XSS-Protection", header::X_XSS_PROTECTION),
        ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY),
    ] {
        if let Some(value) = fields.get(key) {
            set(name, value.text(), &value);
        }
    }
    fields.finish();
    headers
}

/// The costs of bcrypt.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

fn users(value: &Value<'_>) -> BTreeMap<String, HashParts> {
    let mut users = BTreeMap::new();
    for (name, value) in value.entries() {
        if name.contains(':') {
            value.problem("is a name with a colon, which basic authentication cannot send");
        }
        let hash = value.text().and_then(|text| text.parse::<HashParts>().ok());
        match hash.filter(|hash| COSTS.contains(&hash.get_cost())) {
            Some(hash) => {
                users.insert(name.to_owned(), hash);
            }
            None => value.problem("is not a hash of bcrypt ($2y$10$…, 60 characters); htpasswd -nBC 10 \"\" makes one"),
        }
    }
    users
}

fn rate_limit(fields: Fields<'_>) -> Option<RateLimit> {
    let interval = fields.get("interval").and_then(|value| value.duration()).filter(|interval| !interval.is_zero());
    let (told, none) = (fields.get("burst"), "1 or more, or no request would be answered");
    let burst = told.as_ref().and_then(|value| value.integer(0, u32::MAX.into()));
    match (&told, burst) {
        (None, _) if interval.is_some() => fields.problem(format!("needs burst, {none}")),
        (Some(value), Some(0)) if interval.is_some() => value.problem(format!("must be {none}")),
        _ => {}
    }
    fields.finish();
    Some(RateLimit { interval: interval?, burst: burst? })
}
