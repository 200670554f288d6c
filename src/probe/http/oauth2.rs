//! Tokens of OAuth 2.0 (RFC 6749): fetched from their server, through the ISP, and kept for as long as they hold.

mod assertion;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Version, header, response};
use serde_json::Value;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::body::Reader;
use super::exchange::Exchange;
use super::hop::Hop;
use super::proxy::Proxies;
use super::route::{Proxying, Route};
use crate::flight::Phase;
use crate::net::share;
use crate::net::tls::Tls;
use crate::probe::connection::Handshake;
use crate::probe::resolve::Preference;
use crate::probe::{Probe, lock};
use crate::verdict::{Failure, Reason};
pub use assertion::{Algorithm, Assertion};

/// A token is fetched anew so long before it ends, as Go's `oauth2` does: it is still to reach the target.
const MARGIN: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 1 << 20;

/// The most characters of a server's own words that are told.
const LONGEST_WORDS: usize = 200;

/// Where tokens come from.
#[derive(Debug)]
pub struct OAuth2 {
    /// The token server.
    pub url: Url,
    /// How the server is told who asks.
    pub grant: Grant,
    /// TLS to it.
    pub tls: Arc<Tls>,
    /// Through whom it is reached; nothing leaves it to the ISP.
    pub proxies: Option<Proxies>,
    /// The tokens by ISP; one that is being fetched is locked.
    pub tokens: Tokens,
}

/// What is known of a module's tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    by_isp: std::sync::Mutex<HashMap<String, Arc<Mutex<Option<Token>>>>>,
    /// Whether the server is known to read id and secret in the form only.
    in_form: AtomicBool,
}

/// What is said to get a token.
pub enum Grant {
    /// `client_credentials` (RFC 6749, section 4.4).
    ClientCredentials {
        /// Who asks.
        id: String,
        /// The secret of that.
        secret: String,
        /// The rest of the form.
        form: Vec<(String, String)>,
    },
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523, section 2.1).
    JwtBearer(Box<Assertion>),
}

/// A token.
#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    /// When it ends; nothing where its server did not say.
    until: Option<Instant>,
}

impl fmt::Debug for Grant {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCredentials { id, .. } => write!(f, "ClientCredentials({id:?})"),
            Self::JwtBearer(assertion) => f.debug_tuple("JwtBearer").field(assertion).finish(),
        }
    }
}

impl OAuth2 {
    /// The `Authorization` header: of the token that is kept, or else of one that is fetched, in [`Phase::Token`]. Of several probes that
    /// need one through an ISP, one fetches it, and the others wait.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn token(&self, probe: &Probe<'_>, preference: Preference) -> Result<HeaderValue, Failure> {
        let kept = self.kept(probe);
        let good = |token: &&Token| token.until.is_none_or(|until| Instant::now() + MARGIN < until);
        if let Ok(token) = kept.try_lock()
            && let Some(token) = token.as_ref().filter(good)
        {
            return Ok(token.header.clone());
        }
        let fetch = async {
            // Where another probe fetches it, it is the network that is waited for.
            probe.timeline.sent(Instant::now());
            let mut kept = kept.lock().await;
            probe.timeline.received(Instant::now());
            if let Some(token) = kept.as_ref().filter(good) {
                probe.note(format_args!("another probe has fetched the token"));
                return Ok(token.header.clone());
            }
            *kept = None;
            let token = self.fetch(probe, preference).await?;
            Ok(kept.insert(token).header.clone())
        };
        probe.aside(Phase::Token, format!("the token server {}", self.shown()), fetch).await
    }

    /// Forgets the token that is kept, since the target does not take it.
    pub(super) async fn forget(&self, probe: &Probe<'_>) {
        // Where it is locked, a new one is on its way.
        if let Ok(mut kept) = self.kept(probe).try_lock() {
            *kept = None;
            probe.note(format_args!("the token is not taken; the next probe fetches another one"));
        }
    }

    fn kept(&self, probe: &Probe<'_>) -> Arc<Mutex<Option<Token>>> {
        let isp = probe.request.isp.as_ref().map_or("", |isp| isp.name.as_str());
        Arc::clone(lock(&self.tokens.by_isp).entry(isp.to_owned()).or_default())
    }

    /// The server for people: nothing of its URL that might be a secret.
    fn shown(&self) -> &str {
        &self.url[..url::Position::AfterPath]
    }

    async fn fetch(&self, probe: &Probe<'_>, preference: Preference) -> Result<Token, Failure> {
        match &self.grant {
            Grant::JwtBearer(assertion) => {
                let assertion =
                    assertion.sign(SystemTime::now()).map_err(|what| probe.failure(Reason::ProberError, what))?;
                let grant = [("grant_type", assertion::GRANT_TYPE), ("assertion", &assertion)];
                self.post(probe, preference, form(grant), None).await?
            }
            Grant::ClientCredentials { id, secret, form: rest } => {
                let rest = || rest.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                if !self.tokens.in_form.load(Ordering::Relaxed) {
                    let basic = basic(id, secret)
                        .ok_or_else(|| probe.failure(Reason::ProberConfigError, "id and secret fit into no header"))?;
                    // RFC 6749, section 2.3.1, lets a server not know the one way; then it is asked in the other, whatever it says: some
                    // have a page for people, or an error of their own.
                    match self.post(probe, preference, form(rest()), Some(basic)).await? {
                        Ok(token) => return Ok(token),
                        Err(Failure { detail, .. }) => {
                            probe.note(format_args!("{detail}; once more, with id and secret in the form"));
                        }
                    }
                }
                let id_and_secret = [("client_id", id.as_str()), ("client_secret", secret)];
                let given = id_and_secret.into_iter().filter(|(_, value)| !value.is_empty());
                let token = self.post(probe, preference, form(rest().chain(given)), None).await?;
                self.tokens.in_form.store(token.is_ok(), Ordering::Relaxed);
                token
            }
        }
    }

    /// Posts a form; returns the token of the answer, or why there is none.
    ///
    /// # Errors
    /// Why nobody could be asked.
    async fn post(
        &self,
        probe: &Probe<'_>,
        preference: Preference,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Result<Token, Failure>, Failure> {
        let mut hop = Hop::post(self.url.clone(), form, authorization);
        let proxies = Proxying::of(probe, self.proxies.as_ref());
        let route = Route { proxies, skip_resolve: true, preference, tls: &self.tls };
        let (mut facts, mut through) = (None, None);
        let way = route.way(probe, &mut hop).await?;
        let reached = route.connect(probe, &hop, way, &mut Handshake::default(), &mut facts, &mut through).await?;
        let version = match facts {
            Some(facts) if facts.alpn.as_deref() == Some("h2") => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        let request = hop.request(version, reached.forwarder).map_err(|error| {
            probe.failure(Reason::ProberConfigError, format!("the request cannot be sent as it is configured: {error}"))
        })?;
        let answer = async {
            let (mut exchange, response) = Exchange::send(probe, reached.connection, request).await?;
            let (head, mut body) = response.into_parts();
            let mut reader = Reader::new(None, Some(LONGEST_ANSWER), true);
            exchange.read(&mut body, &mut reader, &mut 0).await?;
            let body = reader.sink().kept.take().unwrap_or_default();
            let token = match body.len() {
                0..=share::PIECE => token(&head, &body, Instant::now()),
                _ => probe.compute(move || token(&head, &body, Instant::now())).await,
            };
            token.map_err(|(reason, detail)| probe.failure(reason, detail))
        };
        Ok(answer.await)
    }
}

fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Id and secret as RFC 6749, section 2.3.1, wants them: each encoded as in a form first.
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret));
    let mut header = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The token of an answer (RFC 6749, section 5), or the reason why there is none, and a predicate of the server.
fn token(head: &response::Parts, body: &[u8], now: Instant) -> Result<Token, (Reason, String)> {
    let ty = head.headers.get(header::CONTENT_TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default();
    let ty = ty.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let fields: HashMap<String, Value> = match ty.as_str() {
        // As some did before there was a standard.
        "application/x-www-form-urlencoded" | "text/plain" => {
            form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into())).collect()
        }
        _ => {
            let fields: HashMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
            // As Go reads them.
            fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
        }
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let words = ["error", "error_description"].into_iter().filter_map(text).collect::<Vec<_>>().join(": ");
    let words: String = words.chars().filter(|c| !c.is_control()).take(LONGEST_WORDS).collect();
    let words = if words.is_empty() { words } else { format!(" ({words})") };
    if !head.status.is_success() {
        let (reason, said) = Reason::of_status(head.status, &head.headers, body.is_empty());
        return Err((reason, format!("it answered {}{words}{said}", head.status)));
    }
    let access = text("access_token").ok_or_else(|| {
        (Reason::HttpProtocolError, format!("its answer has no access_token{words}, and is {} bytes", body.len()))
    })?;
    let ty = match text("token_type") {
        None => "Bearer",
        Some(ty) if ty.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(ty) if ty.eq_ignore_ascii_case("mac") => "MAC",
        Some(ty) if ty.eq_ignore_ascii_case("basic") => "Basic",
        Some(ty) => ty,
    };
    let mut header = HeaderValue::try_from(format!("{ty} {access}"))
        .map_err(|_| (Reason::HttpProtocolError, "its token has characters that no header may have".to_owned()))?;
    header.set_sensitive(true);
    let lifetime = match fields.get("expires_in") {
        Some(Value::Number(seconds)) => seconds.as_f64(),
        // As PayPal and others write it.
        Some(Value::String(seconds)) => seconds.parse().ok(),
        _ => None,
    };
    let lifetime =
        lifetime.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Token { header, until: lifetime.and_then(|lifetime| now.checked_add(lifetime)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, ty: &str, body: &str) -> Result<(String, Option<u64>), (String, String)> {
        let response = http::Response::builder().status(status).header("content-type", ty).body(()).unwrap();
        let now = Instant::now();
        token(&response.into_parts().0, body.as_bytes(), now)
            .map(|token| {
                let header = token.header.to_str().unwrap().to_owned();
                (header, token.until.map(|until| (until - now).as_secs()))
            })
            .map_err(|(reason, what)| (reason.name().into_owned(), what))
    }

    #[test]
    fn tokens_are_read_as_servers_write_them() {
        let cases = [
            (
                "application/json",
                r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#,
                "Bearer t",
                Some(3600),
            ),
            ("application/json;charset=UTF-8", r#"{"access_token":"t","expires_in":"60"}"#, "Bearer t", Some(60)),
            ("", r#"{"access_token":"t","token_type":"DPoP","expires_in":0}"#, "DPoP t", None),
            ("application/json", r#"{"access_token":"t","expires_in":1e300}"#, "Bearer t", None),
            ("text/plain", "access_token=t%2B&token_type=Bearer&expires_in=5", "Bearer t+", Some(5)),
        ];
        for (ty, body, header, lifetime) in cases {
            assert_eq!(answer(200, ty, body), Ok((header.to_owned(), lifetime)), "{body}");
        }
    }

    #[test]
    fn an_answer_without_a_token_is_told_in_the_servers_words() {
        let json = "application/json";
        let cases = [
            (
                401,
                r#"{"error":"invalid_client","error_description":"no\nsuch"}"#,
                "http_status_unexpected:4xx",
                "invalid_client: nosuch",
            ),
            (503, "<html>", "http_status_unexpected:5xx", "503"),
            (429, "", "http_rate_limited", "429"),
            (200, r#"{"error":"invalid_scope"}"#, "http_protocol_error", "no access_token (invalid_scope)"),
            (200, "[]", "http_protocol_error", "no access_token"),
            (200, r#"{"access_token":"a\nb"}"#, "http_protocol_error", "characters"),
            (302, "", "http_status_unexpected:3xx", "302"),
        ];
        for (status, body, reason, part) in cases {
            let (told, what) = answer(status, json, body).unwrap_err();
            assert!(told == reason && what.contains(part), "{body}: {told}: {what}");
        }
    }

    #[test]
    fn ids_and_secrets_are_encoded_before_they_are_joined() {
        let header = basic("a:b", "c d%").unwrap();
        assert_eq!(header.to_str().unwrap(), format!("Basic {}", BASE64_STANDARD.encode("a%3Ab:c+d%25")));
    }
}
