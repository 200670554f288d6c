//! The proxies of Prometheus' `http_config`: `proxy_url`, `no_proxy`, `proxy_from_environment`, `proxy_connect_header`.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use tracing::warn;
use url::Url;

use super::decode::{Fields, Value};
use super::http_client;
use crate::net::tls::{Tls, TlsOptions};
use crate::probe::http::{NoProxy, Proxies, Proxy};

/// Headers that `CONNECT` has by itself, or that would promise it a body.
const RESERVED: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// What is spoken with proxies over TLS: where they would take more than one request at a time, there would be no phases to tell.
const ALPN: &[u8] = b"http/1.1";

/// A variable of the environment.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The proxies of a section; nothing where it says nothing of them. `tls` is what the section's `tls_config` says, and `environment` is asked
/// for `HTTP_PROXY` and the like.
pub(super) fn proxies(
    fields: &Fields<'_>,
    tls: Option<&Tls>,
    environment: impl Fn(&str) -> Option<String>,
) -> Option<Proxies> {
    let (url, no_proxy) = (fields.filled("proxy_url"), fields.filled("no_proxy"));
    let from_environment = fields.get("proxy_from_environment").filter(|value| value.boolean() == Some(true));
    let headers = fields.get("proxy_connect_header");
    let connect_headers = headers.as_ref().and_then(connect_headers);
    if let (Some(value), Some(_), false) = (&headers, &connect_headers, url.is_some() || from_environment.is_some()) {
        value.problem("is for a proxy, which there is none; set proxy_url or proxy_from_environment");
    }
    if let (Some(value), None) = (&no_proxy, &url) {
        value.problem(match from_environment {
            Some(_) => "excludes proxy_from_environment, which is there too: NO_PROXY is the environment's word for it",
            None => "is an exception from proxy_url, which there is none",
        });
    }
    let connect_headers = connect_headers.unwrap_or_default();
    let except = no_proxy.and_then(|value| value.noted(NoProxy::parse(value.text()?)));
    let tls = tls.map(|tls| Arc::new(tls.offering(vec![ALPN.to_vec()])));
    match (url, from_environment) {
        (Some(_), Some(value)) => {
            value.problem("excludes proxy_url, which is there too");
            None
        }
        (Some(value), None) => {
            let proxy = value.text().and_then(|text| proxy(&value, "", text, tls, connect_headers));
            Some(Proxies { http: proxy.clone(), https: proxy, except })
        }
        (None, Some(value)) => {
            let variable = |upper: &str| {
                [upper.to_owned(), upper.to_ascii_lowercase()].into_iter().find_map(|name| {
                    let text = environment(&name).filter(|text| !text.is_empty())?;
                    Some((name, text))
                })
            };
            let proxy = |upper| {
                let (name, text) = variable(upper)?;
                // There a proxy may also be just a host and a port.
                let text = if text.contains("://") { text } else { format!("http://{text}") };
                proxy(&value, &format!("{name} "), &text, tls.clone(), connect_headers.clone())
            };
            let except = variable("NO_PROXY").map(|(name, text)| {
                let (except, unmatched) = NoProxy::of_others(&text);
                for entry in unmatched {
                    warn!("{entry:?} in {name} is nothing that a host can match, and is passed over");
                }
                except
            });
            let except = Some(except.unwrap_or_default());
            Some(Proxies { http: proxy("HTTP_PROXY"), https: proxy("HTTPS_PROXY"), except })
        }
        (None, None) => None,
    }
}

/// The `proxy_url` of an ISP. One under TLS is verified by the system's CAs: those of a module are for its targets.
pub(super) fn of_isp(value: &Value<'_>) -> Option<Arc<Proxy>> {
    let tls = Tls::new(TlsOptions { alpn: vec![ALPN.to_vec()], ..TlsOptions::default() });
    proxy(value, "", value.text()?, value.noted(tls).map(Arc::new), HeaderMap::new())
}

/// The proxy of a URL, which is `what`; nothing where it is none, or has no TLS.
fn proxy(
    value: &Value<'_>,
    what: &str,
    text: &str,
    tls: Option<Arc<Tls>>,
    connect_headers: HeaderMap,
) -> Option<Arc<Proxy>> {
    let url = Url::parse(text).map_err(|error| format!("{what}is not the URL of a proxy: {error}"));
    let url = url.and_then(|url| flaw(text).map_or(Ok(url), |flaw| Err(format!("{what}{flaw}"))));
    let proxy = url.and_then(|url| Proxy::new(&url, tls, connect_headers).map_err(|wrong| format!("{what}{wrong}")));
    value.noted(proxy)?.map(Arc::new)
}

/// What is wrong with a URL that browsers would mend, so that nobody would notice a mistake: Go's `url.Parse` refuses the same.
fn flaw(text: &str) -> Option<&'static str> {
    let is_escaped = |text: &str| {
        let mut parts = text.split('%');
        parts.next();
        parts.all(|part| part.len() > 1 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
    };
    let (_, rest) = text.split_once("//")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let stands = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    let unquestioned = text.split_once('?').map_or(text, |(before, _)| before);
    if text.starts_with(' ') || text.contains(|c: char| c.is_ascii_control()) || host.contains([' ', '%']) {
        Some("has a character in or before its host that no host has")
    } else if !user.bytes().all(stands) || !is_escaped(user) {
        Some(
            "has a user or a password with a character that stands for itself in no URL: write it as % and its two hexadecimal digits, a % as %25",
        )
    } else {
        (!is_escaped(unquestioned)).then_some("has a % without two hexadecimal digits behind it")
    }
}

/// The headers of `CONNECT`, each with a list of secrets; nothing where none is named.
fn connect_headers(value: &Value<'_>) -> Option<HeaderMap> {
    let entries = value.entries();
    if entries.is_empty() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, values) in entries {
        let Ok(name) = name.parse::<HeaderName>() else {
            values.problem("is not the name of a header");
            continue;
        };
        if RESERVED.contains(&name) {
            values.problem("is a header that CONNECT has by itself, or cannot have");
        }
        for value in values.list() {
            if let Some(header) = value.text().and_then(|text| http_client::header(&value, text)) {
                headers.append(name.clone(), header);
            }
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::super::decode::Problems;
    use super::super::files::Files;
    use super::super::yaml;
    use super::*;

    /// What the proxies of a section are, and what is wrong with them.
    fn read(section: &str, variables: &[(&str, &str)]) -> Result<Option<Proxies>, String> {
        let files = Files::default();
        let problems = Problems::of("test.yml", &files);
        let root = yaml::parse(section).unwrap().unwrap();
        let fields = Value::root(&root, &problems).fields();
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let tls = Tls::new(Default::default()).unwrap();
        let proxies = proxies(&fields, Some(&tls), environment);
        fields.finish();
        problems.or(proxies).map_err(|errors| errors.to_string())
    }

    fn shown(proxy: &Option<Arc<Proxy>>) -> Option<String> {
        proxy.as_ref().map(ToString::to_string)
    }

    #[test]
    fn proxies_are_those_of_the_file_or_the_environment() {
        let cases = [
            ("{}", None, None),
            ("{proxy_url: ''}", None, None),
            ("{proxy_url: 'http://10.0.0.1:3128'}", Some("http://10.0.0.1:3128"), Some("http://10.0.0.1:3128")),
            (
                "{proxy_url: 'https://u:p@Proxy.Example'}",
                Some("https://proxy.example:443"),
                Some("https://proxy.example:443"),
            ),
            (
                "{proxy_url: 'socks5://[2001:db8::1]'}",
                Some("socks5://[2001:db8::1]:1080"),
                Some("socks5://[2001:db8::1]:1080"),
            ),
            ("{proxy_url: 'http://u:p%25%40@p/%41?%'}", Some("http://p:80"), Some("http://p:80")),
            ("{proxy_url: 'socks5h://u:p@10.0.0.1:9'}", Some("socks5h://10.0.0.1:9"), Some("socks5h://10.0.0.1:9")),
            ("{proxy_from_environment: true}", Some("http://upper:80"), Some("socks5://lower:1")),
            ("{proxy_from_environment: false}", None, None),
        ];
        let variables = [
            ("HTTP_PROXY", "upper"),
            ("http_proxy", "lower"),
            ("HTTPS_PROXY", ""),
            ("https_proxy", "socks5://lower:1"),
            ("no_proxy", "example.org"),
        ];
        for (section, http, https) in cases {
            let proxies = read(section, &variables).unwrap();
            assert_eq!(proxies.is_some(), http.is_some(), "{section}");
            let proxies = proxies.unwrap_or_default();
            let told = [shown(&proxies.http), shown(&proxies.https)];
            assert_eq!(told.each_ref().map(Option::as_deref), [http, https], "{section}");
        }
        let exceptions = |section, variables: &[_]| {
            read(section, variables).unwrap().unwrap().except.map(|no| no.has("localhost", 80))
        };
        assert_eq!(exceptions("{proxy_url: 'http://p'}", &[]), None);
        assert_eq!(exceptions("{proxy_url: 'http://p', no_proxy: x}", &[]), Some(true));
        // Where the environment has none, that is what was asked for, too.
        assert_eq!(exceptions("{proxy_from_environment: true}", &[]), Some(true));
        // It is everybody's, and others pass over what they cannot read.
        let variables = [("NO_PROXY", "169.254/16,http://172.16.0.0/,example.org,<local>")];
        let read = read("{proxy_from_environment: true}", &variables).unwrap().unwrap().except.unwrap();
        assert_eq!(["example.org", "172.16.0.0", "169.254.1.1"].map(|host| read.has(host, 80)), [true, false, false]);
    }

    #[test]
    fn what_cannot_be_is_told_without_its_password() {
        let cases = [
            ("{proxy_url: 'ftp://u:s3cret@p'}", "scheme"),
            ("{proxy_url: 'p:3128'}", "has a scheme other"),
            ("{proxy_url: '10.0.0.1:3128'}", "not the URL"),
            ("{proxy_url: 'http://u:s3cret@0.0.0.0:1'}", "no single host"),
            ("{proxy_url: 'http://u:s3cret@p:0'}", "port 0"),
            ("{proxy_url: 'http://u:s3cret@:80'}", "not the URL"),
            ("{proxy_url: 'socks5://:s3cret@p'}", "1 to 255"),
            ("{proxy_url: 'http://u:s3cret%@p'}", "%25"),
            ("{proxy_url: 'http://u:s3cret^w@p'}", "%25"),
            ("{proxy_url: 'http://u:s3cret w@p'}", "%25"),
            ("{proxy_url: 'http://u:s3cretä@p'}", "%25"),
            ("{proxy_url: 'http://%zz@p'}", "%25"),
            ("{proxy_url: 'http://p/%zz'}", "hexadecimal digits"),
            ("{proxy_url: 'http://p%41'}", "in or before its host"),
            ("{proxy_url: 'http://p '}", "in or before its host"),
            ("{proxy_url: ' http://p'}", "in or before its host"),
            ("{proxy_url: \"http://p\\tq\"}", "in or before its host"),
            ("{no_proxy: x}", "none"),
            ("{proxy_from_environment: true, no_proxy: x}", "NO_PROXY"),
            ("{proxy_from_environment: true, proxy_url: 'http://p'}", "excludes proxy_url"),
            ("{proxy_url: 'http://p', no_proxy: 'a,10.0.0.0/99'}", "10.0.0.0/99"),
            ("{proxy_connect_header: {X-A: [s3cret]}}", "proxy_url"),
            ("{proxy_url: 'http://p', proxy_connect_header: {Host: [s3cret]}}", "by itself"),
            ("{proxy_url: 'http://p', proxy_connect_header: {X-A: [\"s3cret\\n\"]}}", "line break"),
            ("{proxy_url: 'http://p', proxy_connect_header: {X-A: s3cret}}", "list"),
        ];
        for (section, part) in cases {
            let told = read(section, &[]).expect_err(section);
            assert!(told.contains(part) && !told.contains("s3cret"), "{section}: {told}");
        }
        let told = read("{proxy_from_environment: yes}", &[("http_proxy", "ftp://s3cret@p")]).unwrap_err();
        assert!(told.contains("http_proxy has a scheme") && !told.contains("s3cret"), "{told}");
    }
}
