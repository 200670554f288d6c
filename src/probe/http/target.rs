//! What a request tells its server of the URL: the port, path and query, as they were given wherever a request can say them so.

use std::fmt::Write as _;

use url::{ParseError, Position, Url};

/// What a server is told of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probe) struct Asked {
    /// The port behind the host, also where it is the scheme's own; nothing where there is none.
    pub(in crate::probe) port: Option<u16>,
    /// Path and query.
    pub(in crate::probe) target: String,
}

/// Of the URL that was read from `text`, dot segments and all. Only what cannot stand there is encoded, as Go encodes it.
pub(in crate::probe) fn of(text: &str, url: &Url) -> Asked {
    let reference = Reference::of(text);
    // A host behind fewer or other slashes, and a path behind a backslash, are what browsers see.
    if reference.before.is_empty() || reference.before.contains('\\') {
        return of_url(url);
    }
    let path = encoded(reference.path, stands_in_paths);
    let target = with_query(if path.is_empty() { "/".to_owned() } else { path }, reference.query);
    Asked { port: reference.port(), target }
}

/// Of a URL as it is kept.
pub(super) fn of_url(url: &Url) -> Asked {
    Asked { port: url.port(), target: url[Position::BeforePath..Position::AfterQuery].to_owned() }
}

/// The URL that `location` says from `url`, of which `asked` was asked for, and what to ask for there: dot segments are removed (RFC 3986,
/// section 5.2.4).
///
/// # Errors
/// It is no URL.
pub(super) fn of_location(url: &Url, asked: &Asked, location: &str) -> Result<(Url, Asked), ParseError> {
    if location.starts_with("///") {
        // An empty authority is none, as for Go: it is a path of the same server.
        return of_location(url, asked, &format!("{}{location}", &url[..Position::BeforePath]));
    }
    let reference = Reference::of(location);
    let path = encoded(reference.path, stands_in_paths);
    // A backslash in a path is one, and no slash, which could lead to another host.
    let mut joined = url.join(&with_query(reference.before.to_owned() + &path, reference.query))?;
    joined.set_fragment(location.split_once('#').map(|(_, fragment)| fragment));
    let Asked { port, target } = asked;
    let (base, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let (path, query) = match (reference.before, path.as_str()) {
        ("", "") => (base.to_owned(), reference.query.or(query)),
        ("", relative) if !relative.starts_with('/') => {
            let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
            (folder.to_owned() + relative, reference.query)
        }
        _ => (path, reference.query),
    };
    let port = if reference.before.is_empty() { *port } else { reference.port() };
    Ok((joined, Asked { port, target: with_query(without_dots(&path), query) }))
}

/// A URL, or what is one together with another, without its fragment.
struct Reference<'a> {
    /// Scheme and authority.
    before: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.split('#').next().unwrap_or_default();
        let (text, query) = text.split_once('?').map_or((text, None), |(text, query)| (text, Some(query)));
        let is_scheme = |scheme: &str| !scheme.contains('/');
        let authority = text.find("//").filter(|at| *at == 0 || text[..*at].strip_suffix(':').is_some_and(is_scheme));
        let path = authority.map_or(0, |at| text[at + 2..].find('/').map_or(text.len(), |slash| at + 2 + slash));
        let (before, path) = text.split_at(path);
        Self { before, path, query }
    }

    /// The port of the authority.
    fn port(&self) -> Option<u16> {
        let authority = self.before.split_once("//")?.1;
        let place = authority.rsplit('@').next()?;
        // Behind the bracket of an IPv6 address, whose own colons are no ports'.
        let (_, port) = place.rsplit(']').next()?.rsplit_once(':')?;
        port.parse().ok()
    }
}

fn with_query(path: String, query: Option<&str>) -> String {
    query.map_or_else(|| path.clone(), |query| format!("{path}?{}", encoded(query, stands_in_queries)))
}

/// Whether a byte stands in paths as Go sends them, percent signs included.
fn stands_in_paths(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte)
}

/// Whether a byte may stand in the query of a request.
fn stands_in_queries(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>".contains(&byte)
}

fn encoded(text: &str, stands: fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stands(byte) {
            encoded.push(byte.into());
        } else {
            // To a string it cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Removes the segments `.` and `..` of a path.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_asked_for_as_they_are_given() {
        let cases = [
            ("http://h", "/"),
            ("http://h?q", "/?q"),
            ("http://h/a/../b/./c/..", "/a/../b/./c/.."),
            ("http://h/../%2e%2E/b%2Fc%zz", "/../%2e%2E/b%2Fc%zz"),
            ("http://h//a//b", "//a//b"),
            ("http://h/a\\b", "/a%5Cb"),
            ("http://h/a b\"<>^`{|}é", "/a%20b%22%3C%3E%5E%60%7B%7C%7D%C3%A9"),
            ("http://h/-_.~$&+,:;=@!'()*[]", "/-_.~$&+,:;=@!'()*[]"),
            ("http://h/?a='b'&c={d|e}\\^`[]?/../é \"<>#f?g", "/?a='b'&c={d|e}\\^`[]?/../%C3%A9%20%22%3C%3E"),
            ("http://u:p@h:80/a?b//c", "/a?b//c"),
            ("http://h/a//b://c", "/a//b://c"),
            ("http://h#/a", "/"),
            ("http:\\\\h\\a/../b", "/b"),
            ("http:/h/a/../b", "/b"),
            ("http://h\\a/../b", "/b"),
        ];
        for (text, target) in cases {
            assert_eq!(of(text, &Url::parse(text).unwrap()).target, target, "{text}");
        }
    }

    #[test]
    fn ports_are_told_as_they_are_given() {
        for (text, port) in [
            ("http://h", None),
            ("http://h:/", None),
            ("http://h:80", Some(80)),
            ("https://u:443@h/", None),
            ("https://u:p@h:443/a:1?b:2#c:3", Some(443)),
            ("http://[::1]", None),
            ("http://[::1]:80/", Some(80)),
            ("http:/h:80/", None),
            ("http:/h:81/", Some(81)),
        ] {
            assert_eq!(of(text, &Url::parse(text).unwrap()).port, port, "{text}");
        }
        let from = Url::parse("http://h:80/").unwrap();
        let asked = of("http://h:80/", &from);
        for (location, port) in
            [("/a", Some(80)), ("a", Some(80)), ("//o/", None), ("//h:80", Some(80)), ("https://h:443/", Some(443))]
        {
            assert_eq!(of_location(&from, &asked, location).unwrap().1.port, port, "{location}");
        }
    }

    #[test]
    fn locations_are_resolved_against_what_was_asked_for() {
        let cases = [
            ("/c/../d", "h", "/d"),
            ("/../../d/.", "h", "/d/"),
            ("/%2e%2e/d", "h", "/%2e%2e/d"),
            ("d?x='", "h", "/a/d?x='"),
            ("../d", "h", "/d"),
            ("..", "h", "/"),
            ("?x", "h", "/a/b?x"),
            ("#f", "h", "/a/b?q"),
            ("//o/d/../e", "o", "/e"),
            ("//o", "o", "/"),
            ("http://o/./d?e#f", "o", "/d?e"),
            ("https://o?e", "o", "/?e"),
            ("/\\o/d", "h", "/%5Co/d"),
            ("\\\\o/d", "h", "/a/%5C%5Co/d"),
            ("/e cho é", "h", "/e%20cho%20%C3%A9"),
            ("x//y", "h", "/a/x//y"),
        ];
        let text = "http://h/z/../a/b?q";
        let from = Url::parse(text).unwrap();
        let base = of(text, &from);
        for (location, host, target) in cases {
            let (url, asked) = of_location(&from, &base, location).unwrap();
            assert_eq!((url.host_str(), asked.target.as_str()), (Some(host), target), "{location}");
        }
        for wrong in ["//", "http://", "http://[::1"] {
            assert!(of_location(&from, &base, wrong).is_err(), "{wrong}");
        }
    }
}
