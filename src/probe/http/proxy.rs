//! Proxies: who they are, and which of them a request goes through.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::no_proxy::NoProxy;
use crate::net::tls::Tls;
use crate::probe::{USER_AGENT, host, resolve};
use crate::wire::socks;

/// A proxy.
pub struct Proxy {
    /// How it is spoken to.
    pub(super) kind: Kind,
    /// Its name or address; IPv6 in brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Its `Proxy-Authorization` header, where it wants to know who asks.
    pub(super) authorization: Option<HeaderValue>,
    /// The headers of `CONNECT` (`proxy_connect_header`).
    pub(super) connect_headers: HeaderMap,
}

/// How a proxy is spoken to.
pub(super) enum Kind {
    /// HTTP in plain text.
    Http,
    /// HTTP over TLS.
    Https(Arc<Tls>),
    /// SOCKS 5.
    Socks {
        /// Whether names are always the proxy's to resolve (`socks5h`).
        by_name: bool,
        /// The message that says who asks.
        password: Option<Vec<u8>>,
    },
}

impl Proxy {
    /// The proxy of a URL; `tls` is for talking to it where that is `https`, and `connect_headers` are its `proxy_connect_header`. Nothing
    /// where TLS is needed, and there is none.
    ///
    /// # Errors
    /// What is wrong with the URL, as a predicate of it that does not repeat it: there may be a password in it.
    pub fn new(url: &Url, tls: Option<Arc<Tls>>, connect_headers: HeaderMap) -> Result<Option<Self>, String> {
        let user = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let part = |text: &str| host::percent_decoded(text);
            (part(url.username()), part(url.password().unwrap_or_default()))
        });
        let password = || match &user {
            Some((user, password)) => {
                let message = socks::password(user, password);
                message.map(Some).ok_or("has a user or a password of other than 1 to 255 bytes, which SOCKS cannot say")
            }
            None => Ok(None),
        };
        let (kind, port) = match url.scheme() {
            "http" => (Some(Kind::Http), 80),
            "https" => (tls.map(Kind::Https), 443),
            scheme @ ("socks5" | "socks5h") => {
                (Some(Kind::Socks { by_name: scheme == "socks5h", password: password()? }), 1080)
            }
            _ => return Err("has a scheme other than http, https, socks5 and socks5h".into()),
        };
        let host = match url.host() {
            // Of schemes that it does not know, the parser leaves the host as it is.
            Some(url::Host::Domain(name)) => url::Host::parse(name).map_err(|_| "has a host that is none")?.to_string(),
            Some(host) => host.to_string(),
            None => return Err("has no host".into()),
        };
        let plain = Url::parse(&format!("http://{host}/")).map_err(|_| "has a host that is none")?;
        host::check_url(&plain).map_err(|what| format!("has a host that {what}"))?;
        let port = url.port().unwrap_or(port);
        if port == 0 {
            return Err("has port 0".into());
        }
        let authorization = user.map(|(user, password)| {
            let pair = [user.as_slice(), b":", &password].concat();
            HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        });
        let mut authorization = authorization.transpose().map_err(|_| "has a user that no header can say")?;
        authorization.iter_mut().for_each(|header| header.set_sensitive(true));
        Ok(kind.map(|kind| Self { kind, host, port, authorization, connect_headers }))
    }

    /// Its address, where its URL has one and not a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        resolve::literal(&self.host)
    }

    /// Whether requests without TLS are given to it as they are, in absolute form (RFC 9112, section 3.2.2).
    pub(super) fn forwards(&self) -> bool {
        matches!(self.kind, Kind::Http | Kind::Https(_))
    }

    /// The headers of `CONNECT` to a host and a port.
    pub(super) fn headers_to(&self, authority: HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.connect_headers.len() + 3);
        headers.insert(header::HOST, authority);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for name in self.connect_headers.keys() {
            headers.remove(name);
            for value in self.connect_headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match &self.kind {
            Kind::Http => "http",
            Kind::Https(_) => "https",
            Kind::Socks { by_name: true, .. } => "socks5h",
            Kind::Socks { by_name: false, .. } => "socks5",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proxies of a module.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<Arc<Proxy>>,
    /// For `https` URLs.
    pub https: Option<Arc<Proxy>>,
    /// What is connected to directly: with a list, even an empty one, this host itself, too; without one, nothing.
    pub except: Option<NoProxy>,
}

impl Proxies {
    /// The proxy for a host (a name, or an address, which may be in brackets) and a port.
    pub(super) fn to(&self, over_tls: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if over_tls { self.https.as_deref() } else { self.http.as_deref() }?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let excepted = self.except.as_ref().is_some_and(|except| except.has(bare, port));
        (!excepted).then_some(proxy)
    }
}
