//! The `oauth2:` of Prometheus' `http_config`.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use url::Url;

use super::decode::{Fields, Value};
use super::{http_client, proxy, tls};
use crate::probe::http::{Algorithm, Assertion, Grant, OAuth2};

/// What `grant_type` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClientCredentials,
    JwtBearer,
}

const KINDS: [(&str, Kind); 2] =
    [("client_credentials", Kind::ClientCredentials), ("urn:ietf:params:oauth:grant-type:jwt-bearer", Kind::JwtBearer)];

const ALGORITHMS: [(&str, Algorithm); 3] =
    [("RS256", Algorithm::Rs256), ("RS384", Algorithm::Rs384), ("RS512", Algorithm::Rs512)];

/// The other ways to say who asks, of which none may be there beside it.
const OTHERS: [&str; 4] = ["basic_auth", "authorization", "bearer_token", "bearer_token_file"];

/// Where the tokens of a section come from; nothing where it has no `oauth2`, or something is wrong with it.
pub(super) fn oauth2(section: &Fields<'_>) -> Option<OAuth2> {
    let value = section.get("oauth2")?;
    if let Some(other) = OTHERS.into_iter().find(|key| section.get(key).is_some()) {
        value.problem(format!("excludes {other}, which is there too"));
    }
    let fields = value.fields();
    let text = |key| fields.filled(key).and_then(|value| value.text());
    let id = text("client_id");
    if id.is_none() {
        fields.problem("client_id is missing");
    }
    let (url, url_text) = match fields.filled("token_url") {
        Some(value) => (token_url(&value), value.text().unwrap_or_default()),
        None => {
            fields.problem("token_url is missing");
            (None, "")
        }
    };
    let kind = fields.filled("grant_type").and_then(|value| value.choice(&KINDS)).unwrap_or(Kind::ClientCredentials);
    let scopes = fields.get("scopes").map(|value| value.list()).unwrap_or_default();
    let scope = scopes.iter().filter_map(|value| value.text()).collect::<Vec<_>>().join(" ");
    let form = form(&fields, &scope);
    let secret = http_client::secret(&fields, "client_secret", "client_secret_file", "client_secret_ref");
    let assertion = assertion(&fields, kind, id.unwrap_or_default(), url_text, scope);
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = tls::tls(&fields, alpn);
    let proxies = proxy::proxies(&fields, tls.as_ref(), proxy::environment);
    fields.finish();
    let grant = match kind {
        Kind::ClientCredentials => {
            Grant::ClientCredentials { id: id?.to_owned(), secret: secret.unwrap_or_default(), form }
        }
        Kind::JwtBearer => Grant::JwtBearer(Box::new(assertion?)),
    };
    Some(OAuth2 { url: url?, grant, tls: Arc::new(tls?), proxies, tokens: Default::default() })
}

/// A URL, without the user that nobody is told there.
fn token_url(value: &Value<'_>) -> Option<Url> {
    let Some(mut url) = Url::parse(value.text()?).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        value.problem("is not an http or https URL");
        return None;
    };
    let _ = (url.set_username(""), url.set_password(None));
    Some(url)
}

/// The form of `client_credentials`, but for id and secret; `endpoint_params` may say another `grant_type`, as in Go.
fn form(fields: &Fields<'_>, scope: &str) -> Vec<(String, String)> {
    let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
    if !scope.is_empty() {
        form.push(("scope".to_owned(), scope.to_owned()));
    }
    for (name, value) in fields.get("endpoint_params").map(|value| value.entries()).unwrap_or_default() {
        let Some(text) = value.text() else { continue };
        match form.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) if name == "grant_type" => *known = text.to_owned(),
            Some(_) => value.problem("is said by scopes already"),
            None => form.push((name.to_owned(), text.to_owned())),
        }
    }
    form
}

/// What `jwt-bearer` signs with our key.
fn assertion(fields: &Fields<'_>, kind: Kind, id: &str, token_url: &str, scope: String) -> Option<Assertion> {
    let text = |key| fields.filled(key).and_then(|value| value.text());
    let algorithm =
        fields.filled("signature_algorithm").map_or(Some(Algorithm::Rs256), |value| value.choice(&ALGORITHMS));
    let (inline, file) = ("client_certificate_key", "client_certificate_key_file");
    if let Some(value) = fields.filled("client_certificate_key_ref") {
        value.problem(format!("needs a manager of secrets, which there is none; use {file}"));
    }
    let pem = match (fields.filled(inline), fields.filled(file)) {
        (Some(_), Some(value)) => {
            value.problem(format!("excludes {inline}, which is there too"));
            None
        }
        (Some(value), None) => value.text().map(|text| (text.as_bytes().to_vec(), value)),
        (None, Some(value)) => value.file().map(|pem| (pem, value)),
        (None, None) => {
            if kind == Kind::JwtBearer {
                fields.problem(format!("{inline} is missing, which the grant_type signs with"));
            }
            None
        }
    };
    let key = pem.and_then(|(pem, value)| value.noted(Assertion::key(&pem)));
    let mut claims: Map<String, Json> =
        Map::from_iter([("iss".to_owned(), text("iss").unwrap_or(id).into()), ("sub".to_owned(), id.into())]);
    if !scope.is_empty() {
        claims.insert("scope".to_owned(), scope.into());
    }
    for (name, value) in fields.get("claims").map(|value| value.entries()).unwrap_or_default() {
        claims.insert(name.to_owned(), value.json());
    }
    Some(Assertion {
        algorithm: algorithm?,
        key_id: text("client_certificate_key_id").map(str::to_owned),
        audience: text("audience").unwrap_or(token_url).to_owned(),
        claims,
        key: key?,
    })
}
