//! What a status of HTTP means that is no success.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{Reason, StatusClass};

/// RFC 9209: what a proxy has to say about a response.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// How long the server behind Envoy took for its answer: the answer is not Envoy's own then.
const ENVOY_UPSTREAM: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Envoy says so of the limits that it keeps itself.
const RATE_LIMITED_BY_ENVOY: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

impl Reason {
    /// The reason of a response with a status that is no success, and what a proxy has to say about it, as the end of a sentence.
    /// `is_empty`: whether the response has no body.
    #[must_use]
    pub fn of_status(status: StatusCode, headers: &HeaderMap, is_empty: bool) -> (Self, String) {
        let by_envoy = headers.get(header::SERVER).is_some_and(|server| server == "envoy")
            || headers.keys().any(|name| name.as_str().starts_with("x-envoy-"));
        let by_envoy = by_envoy && !headers.contains_key(ENVOY_UPSTREAM);
        let said = headers.get(PROXY_STATUS).map(|said| String::from_utf8_lossy(said.as_bytes()));
        let reason = match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Self::HttpRateLimited { by_envoy: headers.contains_key(RATE_LIMITED_BY_ENVOY) }
            }
            StatusCode::SERVICE_UNAVAILABLE if by_envoy || said.is_some() => Self::HttpUpstreamUnhealthy,
            StatusCode::NOT_FOUND if by_envoy && is_empty => Self::HttpNoRoute,
            status => Self::HttpStatusUnexpected(StatusClass::of(status.as_u16())),
        };
        (reason, said.map(|said| format!(", and a proxy says: {said}")).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_proxy_says_of_itself_is_told_from_what_the_server_says() {
        const ENVOY: (&str, &str) = ("server", "envoy");
        const OVERLOADED: (&str, &str) = ("x-envoy-overloaded", "true");
        const SERVED: (&str, &str) = ("x-envoy-upstream-service-time", "3");
        const SAID: (&str, &str) = ("proxy-status", "edge; error=connection_timeout");
        type Headers = &'static [(&'static str, &'static str)];
        let cases: [(u16, Headers, bool, &str); 14] = [
            (503, &[], true, "http_status_unexpected:5xx"),
            (503, &[("server", "nginx")], true, "http_status_unexpected:5xx"),
            (503, &[ENVOY], false, "http_upstream_unhealthy"),
            (503, &[OVERLOADED], false, "http_upstream_unhealthy"),
            (503, &[ENVOY, SERVED], false, "http_status_unexpected:5xx"),
            (503, &[SAID], false, "http_upstream_unhealthy"),
            (502, &[ENVOY, SAID], false, "http_status_unexpected:5xx"),
            (404, &[ENVOY], true, "http_no_route"),
            (404, &[ENVOY], false, "http_status_unexpected:4xx"),
            (404, &[ENVOY, SERVED], true, "http_status_unexpected:4xx"),
            (404, &[], true, "http_status_unexpected:4xx"),
            (429, &[ENVOY], true, "http_rate_limited"),
            (429, &[ENVOY, ("x-envoy-ratelimited", "true")], true, "http_rate_limited"),
            (302, &[], true, "http_status_unexpected:3xx"),
        ];
        for (status, headers, is_empty, expected) in cases {
            let headers = headers.iter();
            let headers: HeaderMap =
                headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
            let (reason, said) = Reason::of_status(StatusCode::try_from(status).unwrap(), &headers, is_empty);
            assert_eq!(reason.name(), expected, "{status} {headers:?}");
            let by_envoy = headers.contains_key(RATE_LIMITED_BY_ENVOY);
            assert_eq!(reason == Reason::HttpRateLimited { by_envoy: true }, by_envoy, "{headers:?}");
            assert_eq!(said.contains("edge; error=connection_timeout"), headers.contains_key(PROXY_STATUS));
        }
    }
}
