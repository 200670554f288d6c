//! What the client asked for: the format, and whether it may be compressed.

/// A format of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics {
        /// How the client wants unusual names escaped (Prometheus 3). Our names are usual: it is only said back.
        escaping: Option<&'static str>,
    },
}

/// The ways to escape names that Prometheus 3 knows.
const ESCAPINGS: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

impl Format {
    /// The `Content-Type` of an answer in this format.
    #[must_use]
    pub fn content_type(&self) -> String {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8".to_owned(),
            Self::OpenMetrics { escaping: None } => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8".to_owned()
            }
            Self::OpenMetrics { escaping: Some(escaping) } => {
                format!("application/openmetrics-text; version=1.0.0; charset=utf-8; escaping={escaping}")
            }
        }
    }
}

/// The format for an `Accept` header: OpenMetrics where no other has a higher q; else text, also for what we do not have.
#[must_use]
pub fn format(accept: Option<&str>) -> Format {
    let mut best = (0.0, Format::Text);
    for range in ranges(accept.unwrap_or_default()) {
        let parameter = |name| range.parameter(name);
        let offered = match (range.value.as_str(), parameter("version")) {
            ("application/openmetrics-text", None | Some("1.0.0")) => {
                let escaping =
                    parameter("escaping").and_then(|asked| ESCAPINGS.into_iter().find(|known| *known == asked));
                Format::OpenMetrics { escaping }
            }
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Format::Text,
            _ => continue,
        };
        let ties = range.q > 0.0 && range.q == best.0 && best.1 == Format::Text;
        if range.q > best.0 || ties {
            best = (range.q, offered);
        }
    }
    best.1
}

/// Whether an `Accept-Encoding` header lets us compress with gzip.
#[must_use]
pub fn gzip(accept_encoding: Option<&str>) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for range in ranges(accept_encoding.unwrap_or_default()) {
        match range.value.as_str() {
            "gzip" | "x-gzip" => gzip = Some(range.q),
            "*" => any = Some(range.q),
            "identity" => identity = Some(range.q),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// An entry of such a header.
struct Range<'a> {
    /// In lower case, for its case says nothing (RFC 9110, sections 8.3.1 and 8.4.1).
    value: String,
    parameters: Vec<(&'a str, &'a str)>,
    q: f64,
}

impl<'a> Range<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// The entries of a header. A q that is no quality means that the entry is not wanted.
fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let value = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let mut range = Range {
            value,
            parameters: parameters.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect(),
            q: 1.0,
        };
        if let Some(q) = range.parameter("q") {
            range.q = q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0);
        }
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3_5: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    const PROMETHEUS_3_5_PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
        application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,\
        application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=underscores;q=0.3,\
        text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    #[test]
    fn prometheus_gets_openmetrics_and_the_rest_of_the_world_gets_text() {
        let openmetrics = |escaping| Format::OpenMetrics { escaping };
        let cases = [
            (Some(PROMETHEUS_2_42), openmetrics(None)),
            (Some(PROMETHEUS_3_5), openmetrics(Some("allow-utf-8"))),
            (Some(PROMETHEUS_3_5_PROTOBUF), openmetrics(Some("underscores"))),
            (Some("application/openmetrics-text"), openmetrics(None)),
            (Some("application/openmetrics-text; version=\"1.0.0\"; escaping=evil"), openmetrics(None)),
            (Some("application/openmetrics-text; version=1.0.0; q=0.5, text/plain;q=0.5"), openmetrics(None)),
            (None, Format::Text),
            (Some(""), Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some("text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.5"), openmetrics(None)),
            (Some("*/*, application/openmetrics-text"), openmetrics(None)),
            (Some("Application/OpenMetrics-Text; Version=1.0.0"), openmetrics(None)),
            (Some("application/openmetrics-text;q=0.5, TEXT/PLAIN;q=0.6"), Format::Text),
            (Some("text/plain;q=0, application/openmetrics-text;q=0"), Format::Text),
            (Some("application/openmetrics-text;version=1.0.0;q=0.2,*/*;q=0.9"), Format::Text),
            (Some("application/openmetrics-text;version=1.0.0;q=0"), Format::Text),
            (Some("application/openmetrics-text;version=1.0.0;q=NaN,*/*;q=0.1"), Format::Text),
            (Some("application/openmetrics-text;version=0.0.1"), Format::Text),
            (Some("application/openmetrics-text;version=2.0.0"), Format::Text),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"), Format::Text),
            (Some("application/json"), Format::Text),
            (Some(";;,,=;q"), Format::Text),
        ];
        for (accept, expected) in cases {
            assert_eq!(format(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn content_types_are_exact() {
        assert_eq!(Format::Text.content_type(), "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            format(Some(PROMETHEUS_2_42)).content_type(),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert_eq!(
            format(Some(PROMETHEUS_3_5)).content_type(),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let cases = [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("GZIP"), true),
            (Some("GZip;q=0, *"), false),
            (Some("identity"), false),
            (Some("gzip;q=0"), false),
            (Some("gzip; q=0.0, *"), false),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("deflate, gzip;q=1.0, *;q=0.5"), true),
            (Some("gzip;q=0.5, identity"), false),
            (Some("br"), false),
        ];
        for (header, expected) in cases {
            assert_eq!(gzip(header), expected, "{header:?}");
        }
    }
}
