//! What statuses of HTTP mean, whichever prober gets them.

use http::{HeaderMap, StatusCode, header};

use crate::verdict::{Reason, StatusClass};

/// RFC 9209: what a proxy has to say about a response.
const PROXY_STATUS: &str = "proxy-status";

/// Envoy says so of the limits that it keeps itself.
const RATE_LIMITED_BY_ENVOY: &str = "x-envoy-ratelimited";

/// What a status means that is no success, and what a proxy has to say about it.
pub(super) fn of_status(status: StatusCode, headers: &HeaderMap) -> (Reason, String) {
    let is_envoy = headers.get(header::SERVER).is_some_and(|server| server == "envoy")
        || headers.keys().any(|name| name.as_str().starts_with("x-envoy-"));
    let said = headers.get(PROXY_STATUS).map(|said| String::from_utf8_lossy(said.as_bytes()));
    let is_empty = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    let reason = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Reason::HttpRateLimited { by_envoy: headers.contains_key(RATE_LIMITED_BY_ENVOY) }
        }
        StatusCode::SERVICE_UNAVAILABLE if is_envoy || said.is_some() => Reason::HttpUpstreamUnhealthy,
        StatusCode::NOT_FOUND if is_envoy && is_empty => Reason::HttpNoRoute,
        status => Reason::HttpStatusUnexpected(StatusClass::of(status.as_u16())),
    };
    (reason, said.map(|said| format!(", and a proxy says: {said}")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_status_is_told_with_who_said_it() {
        use Reason::*;
        const SAYS: (&str, &str) = ("proxy-status", "p; error=connection_refused");
        let of_class = HttpStatusUnexpected;
        type Fields = &'static [(&'static str, &'static str)];
        let table: [(u16, Fields, Reason); 10] = [
            (429, &[("server", "nginx")], HttpRateLimited { by_envoy: false }),
            // Envoy puts its name on what servers say, too.
            (429, &[("server", "envoy")], HttpRateLimited { by_envoy: false }),
            (429, &[("server", "envoy"), ("x-envoy-ratelimited", "true")], HttpRateLimited { by_envoy: true }),
            (503, &[("server", "nginx")], of_class(StatusClass::ServerError)),
            (503, &[("server", "envoy")], HttpUpstreamUnhealthy),
            (503, &[SAYS], HttpUpstreamUnhealthy),
            (404, &[("server", "envoy"), ("content-length", "0")], HttpNoRoute),
            (404, &[("server", "envoy"), ("content-length", "9")], of_class(StatusClass::ClientError)),
            (302, &[], of_class(StatusClass::Redirection)),
            (101, &[], of_class(StatusClass::Informational)),
        ];
        for (status, headers, reason) in table {
            let field = |(name, value): &(&str, &str)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            };
            let (of, said) = of_status(StatusCode::from_u16(status).unwrap(), &headers.iter().map(field).collect());
            assert_eq!(of, reason, "{status} with {headers:?}");
            let told = headers.contains(&SAYS).then_some(", and a proxy says: p; error=connection_refused");
            assert_eq!(said, told.unwrap_or_default());
        }
    }
}
