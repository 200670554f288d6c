//! The cookies that a probe is given on its way through redirects (RFC 6265), so that a page behind a login page is reached as by a
//! browser. They end with the probe.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::Url;

/// The most cookies that are kept: more than a site needs (RFC 6265, section 6.1, asks for 50), and few enough to look through for each.
const MOST: usize = 200;

/// The cookies of a probe, in the order of their making.
#[derive(Debug, Clone, Default)]
pub(super) struct Cookies(Vec<Cookie>);

#[derive(Debug, Clone)]
struct Cookie {
    name: String,
    value: String,
    /// The host that it is shown to.
    domain: String,
    /// Whether also to those below its name.
    below: bool,
    path: String,
    secure: bool,
}

impl Cookies {
    /// Keeps those that a response of `url` sets, up to [`MOST`], and forgets those that it ends.
    pub(super) fn keep(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let Some((cookie, ended)) = std::str::from_utf8(header.as_bytes()).ok().and_then(|text| read(url, text))
            else {
                continue;
            };
            let same = |known: &Cookie| {
                (&known.name, &known.domain, &known.path) == (&cookie.name, &cookie.domain, &cookie.path)
            };
            let known = self.0.iter().position(same);
            match (known, ended) {
                (Some(at), true) => drop(self.0.remove(at)),
                (Some(at), false) => self.0[at] = cookie,
                (None, false) if self.0.len() < MOST => self.0.push(cookie),
                (None, true | false) => {}
            }
        }
    }

    /// Adds those for `url` to the headers of a request. They stand behind those of the module, and for those of the same name.
    pub(super) fn add(&self, url: &Url, headers: &mut HeaderMap) {
        let mut fitting: Vec<_> = self.0.iter().filter(|cookie| cookie.is_for(url)).collect();
        if fitting.is_empty() {
            return;
        }
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let own: Vec<_> = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
        let own = own.iter().flat_map(|value| value.split(';')).map(str::trim);
        let is_new = |pair: &&str| {
            let name = pair.split('=').next();
            !fitting.iter().any(|cookie| Some(cookie.name.as_str()) == name)
        };
        let given = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value));
        let all: Vec<_> = own.filter(is_new).map(str::to_owned).chain(given).collect();
        if let Ok(mut value) = HeaderValue::try_from(all.join("; ")) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }
}

impl Cookie {
    fn is_for(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let host = host == self.domain || (self.below && is_below(host, &self.domain));
        let path = url.path().strip_prefix(self.path.as_str());
        let path = path.is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'));
        host && path && (!self.secure || url.scheme() == "https")
    }
}

/// Reads a `Set-Cookie` (section 5.2), and says whether it ends the cookie; nothing where it is none, or not for the host that sets it.
fn read(url: &Url, text: &str) -> Option<(Cookie, bool)> {
    let host = url.host_str()?;
    let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = pair.split_once('=')?;
    let directory = url.path().rfind('/').filter(|slash| *slash > 0).map_or("/", |slash| &url.path()[..slash]);
    let mut cookie = Cookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        domain: host.to_owned(),
        below: false,
        path: directory.to_owned(),
        secure: false,
    };
    if cookie.name.is_empty() {
        return None;
    }
    let (mut by_date, mut by_age) = (None, None);
    for attribute in attributes.split(';') {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" if !value.is_empty() => {
                let domain = value.strip_prefix('.').unwrap_or(value).to_ascii_lowercase();
                let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
                // A domain of one label has owners without number.
                if domain != host && (is_address || !domain.contains('.') || !is_below(host, &domain)) {
                    return None;
                }
                (cookie.domain, cookie.below) = (domain, !is_address);
            }
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "secure" => cookie.secure = true,
            "max-age" => by_age = value.parse::<i64>().ok().map(|age| age <= 0).or(by_age),
            // Servers write `01-Jan-1970`, too.
            "expires" => {
                let date = httpdate::parse_http_date(&value.replace('-', " "));
                by_date = date.ok().map(|date| date <= SystemTime::now()).or(by_date);
            }
            _ => {}
        }
    }
    Some((cookie, by_age.or(by_date).unwrap_or(false)))
}

/// Whether a host's name ends with a domain's, behind a dot.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown to a URL after others have set cookies.
    fn shown(set: &[(&str, &str)], to: &str) -> String {
        with(set, to, None)
    }

    fn with(set: &[(&str, &str)], to: &str, own: Option<&'static str>) -> String {
        let mut cookies = Cookies::default();
        for (url, text) in set {
            let headers = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_str(text).unwrap())]);
            cookies.keep(&Url::parse(url).unwrap(), &headers);
        }
        let mut headers = HeaderMap::from_iter(own.map(|own| (COOKIE, HeaderValue::from_static(own))));
        cookies.add(&Url::parse(to).unwrap(), &mut headers);
        headers.get(COOKIE).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_is_shown_to_its_host_and_path() {
        let set = [("http://a.example/in/login", "k=v; HttpOnly")];
        assert_eq!(shown(&set, "http://a.example/in/page"), "k=v");
        assert_eq!(shown(&set, "https://a.example:8443/in"), "k=v");
        for other in ["http://a.example/", "http://a.example/inn", "http://b.a.example/in/", "http://example/in/"] {
            assert_eq!(shown(&set, other), "", "{other}");
        }
        assert_eq!(shown(&[("http://a.example/in/login", "k=v; Path=/")], "http://a.example/"), "k=v");
        assert_eq!(shown(&[("https://a.example/", "k=v; Secure")], "http://a.example/"), "");
        assert_eq!(shown(&[("https://a.example/", "k=v; Secure")], "https://a.example/"), "k=v");
    }

    #[test]
    fn a_domain_widens_it_within_what_the_host_is_in() {
        let of = |domain: &str, to: &str| shown(&[("http://a.b.example/", &format!("k=v; Domain={domain}"))], to);
        assert_eq!(of(".b.example", "http://b.example/"), "k=v");
        assert_eq!(of("B.example", "http://c.b.example/"), "k=v");
        assert_eq!(of("b.example", "http://cb.example/"), "");
        for wrong in ["c.example", "example", "x.a.b.example"] {
            assert_eq!(of(wrong, "http://a.b.example/"), "", "{wrong}");
        }
        assert_eq!(shown(&[("http://127.0.0.1/", "k=v; Domain=0.0.1")], "http://127.0.0.1/"), "");
        assert_eq!(shown(&[("http://127.0.0.1/", "k=v; Domain=127.0.0.1")], "http://127.0.0.1/"), "k=v");
    }

    #[test]
    fn a_later_one_replaces_or_ends_it() {
        let at = "http://a.example/";
        assert_eq!(shown(&[(at, "k=1"), (at, "l=2"), (at, "k=3")], at), "k=3; l=2");
        for end in ["Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "expires=Thu, 01-Jan-1970 00:00:00 GMT"] {
            assert_eq!(shown(&[(at, "k=1"), (at, &format!("k=; {end}"))], at), "", "{end}");
        }
        assert_eq!(shown(&[(at, "k=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT")], at), "k=1");
        assert_eq!(shown(&[(at, "k=1; Path=/"), (at, "l=2; Path=/in")], "http://a.example/in"), "l=2; k=1");
        assert_eq!(shown(&[(at, "no cookie"), (at, "=x"), (at, "")], at), "");
    }

    #[test]
    fn of_many_the_first_are_kept() {
        let at = "http://a.example/";
        let many: Vec<_> = (0..2 * MOST).map(|number| (at, format!("k{number}=v"))).collect();
        let set: Vec<_> = many.iter().map(|(url, text)| (*url, text.as_str())).chain([(at, "k7=new")]).collect();
        let shown = shown(&set, at);
        assert_eq!(shown.split("; ").count(), MOST);
        assert!(shown.contains("k7=new") && !shown.contains(&format!("k{MOST}=")), "{shown}");
    }

    #[test]
    fn those_of_the_module_stay_unless_they_are_set_anew() {
        let set = [("http://a.example/", "k=new")];
        assert_eq!(with(&set, "http://a.example/", Some("j=own; k=old")), "j=own; k=new");
        assert_eq!(with(&set, "http://b.example/", Some("j=own; k=old")), "j=own; k=old");
    }
}
