//! Where the pages are: below which path here, and under which URL for those outside.

use axum::http::StatusCode;
use url::Url;

/// The paths of a server behind a reverse proxy, as blackbox_exporter's flags say them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What every path begins with; empty, or `/a/b`.
    prefix: String,
    /// Where `/` leads, where the pages are not there.
    home: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { prefix: String::new(), home: "/".to_owned() }
    }
}

impl Place {
    /// The place that `--web.external-url` and `--web.route-prefix` name; the prefix is the URL's path unless it is given. Either is
    /// empty where it is not given.
    ///
    /// # Errors
    /// One sentence.
    pub fn new(external_url: &str, route_prefix: &str) -> Result<Self, String> {
        let external = (!external_url.is_empty()).then(|| External::of(external_url)).transpose()?;
        let prefix = match (route_prefix, &external) {
            ("", Some(external)) => external.path.clone(),
            (prefix, _) => path(prefix)?,
        };
        let home = external.map_or_else(|| format!("{prefix}/"), |external| external.url);
        Ok(Self { prefix, home })
    }

    /// A path of ours, as it is asked for.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// What leads to the pages where they are below a prefix: path, status and `Location`.
    pub(super) fn redirects(&self) -> Vec<(String, StatusCode, String)> {
        let Some((_, last)) = self.prefix.rsplit_once('/') else { return Vec::new() };
        vec![
            ("/".to_owned(), StatusCode::FOUND, self.home.clone()),
            // A relative one, since a proxy before us may have other paths.
            (self.prefix.clone(), StatusCode::MOVED_PERMANENTLY, format!("{last}/")),
        ]
    }
}

/// What `--web.external-url` says.
struct External {
    /// With a slash at its end, from where the pages' links lead on.
    url: String,
    /// Without one.
    path: String,
}

impl External {
    fn of(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
            return Err("the URL must not begin or end with quotes".to_owned());
        }
        if text.starts_with('/') {
            let path = path(text)?;
            return Ok(Self { url: format!("{path}/"), path });
        }
        let wrong =
            |what: &str| format!("it is a URL, as https://example.org/uplink/, or its path, and this one {what}");
        let mut url = Url::parse(text).map_err(|error| wrong(&format!("is neither: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("has a scheme other than http and https"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a query or a fragment"));
        }
        let path = path(url.path())?;
        url.set_path(&format!("{path}/"));
        Ok(Self { url: url.into(), path })
    }
}

/// A path as requests have it: a slash before it and none behind; empty where it is `/`.
fn path(text: &str) -> Result<String, String> {
    if text.contains(['?', '#']) {
        return Err("a path has neither a query nor a fragment".to_owned());
    }
    let trimmed = text.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    let base = Url::parse("http://localhost/").map_err(|error| error.to_string())?;
    let mut url = base;
    url.set_path(trimmed);
    Ok(url.path().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_the_path_of_the_url_unless_it_is_given() {
        let cases = [
            ("", "", "", "/"),
            ("http://x", "", "", "http://x/"),
            ("http://x/", "", "", "http://x/"),
            ("https://x:8443/up/link/", "", "/up/link", "https://x:8443/up/link/"),
            ("https://x/up", "/", "", "https://x/up/"),
            ("https://x/up", "here/", "/here", "https://x/up/"),
            ("/up/", "", "/up", "/up/"),
            ("", "/up//", "/up", "/up/"),
            ("", "a b/{c}", "/a%20b/%7Bc%7D", "/a%20b/%7Bc%7D/"),
        ];
        for (url, prefix, expected, home) in cases {
            let place = Place::new(url, prefix).unwrap();
            assert_eq!((place.prefix.as_str(), place.home.as_str()), (expected, home), "{url} {prefix}");
            assert_eq!(place.at("/probe"), format!("{expected}/probe"));
        }
        let redirects = [
            ("/".to_owned(), StatusCode::FOUND, "https://x/".to_owned()),
            ("/up/link".to_owned(), StatusCode::MOVED_PERMANENTLY, "link/".to_owned()),
        ];
        assert_eq!(Place::new("https://x", "/up/link").unwrap().redirects(), redirects);
        assert!(Place::default().redirects().is_empty());
        assert_eq!(Place::default(), Place::new("", "").unwrap());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in
            ["\"http://x\"", "'http://x", "http://x'", "x:9115/up", "example.org/up", "http://x/?a", "ftp://x/", "up"]
        {
            assert!(Place::new(url, "").is_err(), "{url}");
        }
        assert!(Place::new("", "/a?b").is_err() && Place::new("", "a#b").is_err());
    }
}
