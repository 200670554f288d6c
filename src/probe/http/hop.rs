//! One request of a probe, and the next one that its redirect asks for: the rules of Go's `net/http`, which modules were written for.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::Full;
use url::{Position, Url};

use super::cookies::Cookies;
use super::proxy::Proxy;
use super::target::Asked;
use super::{Settings, target, without_user};
use crate::probe::host::percent_decoded;
use crate::probe::{USER_AGENT, host};

/// Headers that speak to one server only: they are not shown to another one that it redirects to.
const CONFIDENTIAL: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::WWW_AUTHENTICATE,
];

/// Headers that describe a body.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
];

/// Headers that speak of a connection of HTTP/1.
const OF_THE_CONNECTION: [HeaderName; 4] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::UPGRADE,
];

/// One request of a probe.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    /// Where to.
    pub(super) url: Url,
    /// What its server is told of that.
    asked: Asked,
    /// How.
    pub(super) method: Method,
    headers: HeaderMap,
    /// The `Host` header, where it is not the URL's.
    host: Option<String>,
    /// The `Authorization` header, where nothing else has one.
    pub(super) authorization: Option<HeaderValue>,
    /// Whether that comes with a token that is still to be fetched.
    pub(super) needs_token: bool,
    /// The `Referer` header, where the module has none: where the redirect was.
    referer: Option<String>,
    /// What it carries.
    pub(super) body: Bytes,
    /// What servers before it gave the probe to show.
    pub(super) cookies: Cookies,
    /// Whether it goes to the target, and not to another server that the target redirected to.
    at_target: bool,
    /// The address of its host, once that is known: a redirect by a relative URL stays there.
    pub(super) found: Option<IpAddr>,
}

impl Hop {
    /// The first request of a probe, of a URL and what is asked for there, with `hostname` for a `Host` header where the module has none.
    pub(super) fn first(settings: &Settings, (url, asked): (Url, Asked), hostname: Option<&str>) -> Self {
        Self {
            url,
            asked,
            method: settings.method.clone(),
            headers: settings.headers.clone(),
            host: settings.host.as_deref().or(hostname).map(str::to_owned),
            authorization: settings.authorization.clone(),
            needs_token: settings.oauth2.is_some(),
            referer: None,
            body: settings.body.clone(),
            cookies: Cookies::default(),
            at_target: true,
            found: None,
        }
    }

    /// A request that is nobody's target: a form that is posted.
    pub(super) fn post(url: Url, form: String, authorization: Option<HeaderValue>) -> Self {
        let ty = HeaderValue::from_static("application/x-www-form-urlencoded");
        Self {
            asked: target::of_url(&url),
            url,
            method: Method::POST,
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, ty)]),
            host: None,
            authorization,
            needs_token: false,
            referer: None,
            body: form.into(),
            cookies: Cookies::default(),
            at_target: true,
            found: None,
        }
    }

    /// Has a token say who asks, whatever else would.
    pub(super) fn authorize(&mut self, token: HeaderValue) {
        self.headers.remove(header::AUTHORIZATION);
        self.url = without_user(&self.url);
        self.authorization = Some(token);
    }

    /// Where a response asks to go; nothing where it is no redirect.
    pub(super) fn location(status: StatusCode, headers: &HeaderMap) -> Option<String> {
        let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = headers.get(header::LOCATION).filter(|location| redirects && !location.is_empty());
        // Other bytes than those of UTF-8 stay themselves.
        let text = |bytes: &[u8]| {
            let chunks = bytes.utf8_chunks();
            let text = chunks.map(|chunk| {
                chunk.invalid().iter().fold(chunk.valid().to_owned(), |text, byte| text + &format!("%{byte:02X}"))
            });
            text.collect()
        };
        location.map(|location| text(location.as_bytes()))
    }

    /// Where a response's location leads, and what is asked for there.
    ///
    /// # Errors
    /// It is no URL.
    fn next(&self, location: &str) -> Result<(Url, Asked), url::ParseError> {
        target::of_location(&self.url, &self.asked, location)
    }

    /// Where a response's location leads, without user and password; nothing where it is no URL.
    pub(super) fn redirect(&self, location: &str) -> Option<String> {
        self.next(location).ok().map(|(url, asked)| address(&url, &asked.target))
    }

    /// What is asked for, without user and password.
    pub(super) fn address(&self) -> String {
        address(&self.url, &self.asked.target)
    }

    /// The request that follows this one's redirect.
    ///
    /// # Errors
    /// Why the location cannot be followed, in words that do not repeat it.
    pub(super) fn follow(mut self, status: StatusCode, location: &str) -> Result<Self, String> {
        let (url, asked) = self.next(location).map_err(|error| format!("its Location is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its Location is no http or https URL".into());
        }
        host::check_url(&url).map_err(|what| format!("the host of its Location {what}"))?;
        let relative =
            Url::parse(location) == Err(url::ParseError::RelativeUrlWithoutBase) && !location.starts_with("//");
        if !relative {
            (self.host, self.found) = (None, None);
        }
        if !is_same_or_below(&url, &self.url) {
            self.authorization = None;
            // The open values of a header that has a secret one, too, stay.
            let shown =
                self.headers.iter().filter(|(name, value)| !value.is_sensitive() && !CONFIDENTIAL.contains(name));
            self.headers = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        // Without a port, http and https of a host are one server, as for blackbox_exporter.
        self.at_target &= url.host() == self.url.host() && url.port() == self.url.port();
        let keeps_method = matches!(status.as_u16(), 307 | 308);
        if !keeps_method {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.body = Bytes::new();
            OF_THE_BODY.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        // What was asked for under TLS is not told in clear.
        let tells = url.scheme() == "https" || !self.over_tls();
        self.referer = tells.then(|| self.address().split('#').take(1).collect());
        (self.url, self.asked) = (url, asked);
        Ok(self)
    }

    /// Whether only the head of the response is asked for.
    pub(super) fn asks_for_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether it goes over TLS.
    pub(super) fn over_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name to ask for in the TLS handshake: the module's `server_name` for the target itself, or that of the `Host`
    /// header, or the URL's.
    pub(super) fn server_name(&self, configured: Option<&str>) -> String {
        let of_target = configured.filter(|_| self.at_target).map(str::to_owned);
        let of_header = || Some(self.host.as_ref()?.parse::<Authority>().ok()?.host().to_owned());
        of_target.or_else(of_header).unwrap_or_else(|| self.host().to_owned())
    }

    /// The URL's host; an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The URL's port, or its scheme's.
    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// The request, as the version wants it, and the proxy that forwards it.
    ///
    /// # Errors
    /// What of it cannot be sent.
    pub(super) fn request(
        &self,
        version: Version,
        forwarder: Option<&Proxy>,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let host = self.host.clone().unwrap_or_else(|| match self.asked.port {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        });
        let path = PathAndQuery::try_from(self.asked.target.as_str())?;
        let mut request = Request::new(Full::new(self.body.clone()));
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 4);
        let multiplexed = matches!(version, Version::HTTP_2 | Version::HTTP_3);
        if multiplexed {
            let authority = Authority::try_from(host)?;
            *request.uri_mut() =
                Uri::builder().scheme(Scheme::HTTPS).authority(authority).path_and_query(path).build()?;
        } else {
            *request.uri_mut() = match forwarder {
                // The host of the absolute form is that of the header, as Go sends it and RFC 9112, section 3.2.2, wants it.
                Some(_) => Uri::builder().scheme(Scheme::HTTP).authority(host.as_str()).path_and_query(path).build()?,
                None => Uri::from(path),
            };
            headers.insert(header::HOST, HeaderValue::try_from(host)?);
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(referer) = &self.referer {
            headers.insert(header::REFERER, HeaderValue::try_from(referer)?);
        }
        if let Some(authorization) = self.user().transpose()?.or_else(|| self.authorization.clone()) {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        if self.body.is_empty() && matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for name in self.headers.keys() {
            headers.remove(name);
            for value in self.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        // An empty one of the module's says that there is to be none.
        if headers.get(header::USER_AGENT).is_some_and(HeaderValue::is_empty) {
            headers.remove(header::USER_AGENT);
        }
        self.cookies.add(&self.url, &mut headers);
        if let Some(authorization) = forwarder.and_then(|proxy| proxy.authorization.clone()) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        if multiplexed {
            // They are no headers there (RFC 9113, section 8.2.2; RFC 9114, section 4.2).
            OF_THE_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
        }
        if version == Version::HTTP_3 && !self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        *request.headers_mut() = headers;
        *request.method_mut() = self.method.clone();
        *request.version_mut() = version;
        Ok(request)
    }

    /// Basic authentication from the URL's user and password.
    fn user(&self) -> Option<Result<HeaderValue, header::InvalidHeaderValue>> {
        let (user, password) = (self.url.username(), self.url.password());
        if user.is_empty() && password.is_none() {
            return None;
        }
        let mut pair = percent_decoded(user);
        pair.push(b':');
        pair.extend(percent_decoded(password.unwrap_or_default()));
        let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)));
        Some(value.map(|mut value| {
            value.set_sensitive(true);
            value
        }))
    }
}

/// A URL of which `target` is asked for, without user and password.
fn address(url: &Url, target: &str) -> String {
    let url = without_user(url);
    [&url[..Position::BeforePath], target, &url[Position::AfterQuery..]].concat()
}

/// Whether the host of `url` is that of `above`, or in its domain.
fn is_same_or_below(url: &Url, above: &Url) -> bool {
    match (url.host(), above.host()) {
        (Some(url::Host::Domain(host)), Some(url::Host::Domain(above))) => {
            host == above || host.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
        }
        (host, above) => host == above,
    }
}
