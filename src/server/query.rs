//! What a request to `/probe` asks for, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use url::form_urlencoded;

use crate::config::{Ask, Binding, Choice, Config, PARAMETERS, Rejection, Through};
use crate::net::Network;
use crate::probe::identity::Identities;
use crate::probe::{Prober, Request, Wanted};

/// The header in which Prometheus says how long it waits.
pub(super) const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// How long a client waits that does not say it, as in blackbox_exporter.
const UNSAID_TIMEOUT: f64 = 120.0;

/// No client waits longer than a day.
const LONGEST_TIMEOUT: f64 = 86_400.0;

/// No probe gets less, however little time the client says it has.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// A probe that is asked for, and how it is to be told.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) debug: bool,
    pub(super) format: Option<Format>,
}

/// A format beside metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The whole report.
    Json,
    /// A trace as mtr tells it.
    Mtr,
}

/// Reads a request; `log_limit` says how much of a probe's log is kept, with `debug=true` or without.
pub(super) fn read(
    query: &str,
    scrape_timeout: Option<&str>,
    timeout_offset: Duration,
    log_limit: impl FnOnce(bool) -> usize,
    config: &Config,
    network: &Arc<Network>,
    identities: &Arc<Identities>,
) -> Result<Asked, Rejection> {
    let parameters = parameters(query, &PARAMETERS)?;
    let get = |name| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let target = get("target").unwrap_or_default();
    let ask = Ask { target, module: get("module"), isp: get("isp"), hostname: get("hostname") };
    let Choice { module, through, isps, hostname } = config.choose(&ask)?;
    let debug = match get("debug") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Rejection::because("bad_value", format!("debug is true or false, not {other:?}")),
    };
    let format = match get("format") {
        None => None,
        Some("json") => Some(Format::Json),
        Some("mtr") if matches!(through, Through::Compared(_)) => {
            return Rejection::because("bad_value", "format=mtr tells one trace, and not those of several ISPs");
        }
        Some("mtr") if matches!(module.prober, Prober::Traceroute(_)) => Some(Format::Mtr),
        Some("mtr") => {
            let sentence = format!("format=mtr tells a trace, and the module's prober is {}", module.prober.name());
            return Rejection::because("bad_value", sentence);
        }
        Some(other) => {
            return Rejection::because(
                "bad_value",
                format!("format is json or mtr, not {other:?}; without it the answer is metrics"),
            );
        }
    };
    let timeout = timeout(module.timeout, scrape_timeout, timeout_offset)?;
    let log_limit = log_limit(debug);
    let request = |Binding { isp, zoned }| Request {
        target: target.to_owned(),
        module: Arc::clone(&module),
        isp,
        zoned,
        isps: Arc::clone(&isps),
        hostname: hostname.clone(),
        timeout,
        log_limit,
        network: Arc::clone(network),
        identities: Arc::clone(identities),
    };
    let wanted = match through {
        Through::One(binding) => Wanted::One(request(binding)),
        Through::Compared(bindings) => Wanted::Several(bindings.into_iter().map(request).collect()),
    };
    Ok(Asked { wanted, debug, format })
}

/// The parameters, each known and there once: a misspelt `ips=b` must not probe the default route.
pub(super) fn parameters(query: &str, known: &[&'static str]) -> Result<Vec<(&'static str, String)>, Rejection> {
    let list = || known.join(", ");
    let mut parameters: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(known) = known.iter().copied().find(|known| *known == name) else {
            let sentence = format!("unknown parameter {name:?}; known parameters: {}", list());
            return Rejection::because("unknown_parameter", sentence);
        };
        if parameters.iter().any(|(name, _)| *name == known) {
            let sentence = format!("the parameter {known} is there twice; each of {} is given once", list());
            return Rejection::because("repeated_parameter", sentence);
        }
        parameters.push((known, value.into_owned()));
    }
    Ok(parameters)
}

/// How long the probe may take: the smaller of the module's timeout and the client's, less the offset for the way back.
///
/// A client's time of no more than twice the offset is halved instead, so that a short scrape timeout leaves some time to probe.
fn timeout(module: Option<Duration>, client: Option<&str>, offset: Duration) -> Result<Duration, Rejection> {
    let said = match client.map(str::trim) {
        // A header without a value is none, as in blackbox_exporter.
        None | Some("") => UNSAID_TIMEOUT,
        Some(text) => match text.parse::<f64>() {
            Ok(0.0) => UNSAID_TIMEOUT,
            Ok(seconds) if seconds.is_finite() && seconds > 0.0 => seconds.min(LONGEST_TIMEOUT),
            _ => {
                let sentence = format!("the header {SCRAPE_TIMEOUT} is a number of seconds, not {text:?}");
                return Rejection::because("bad_timeout", sentence);
            }
        },
    };
    let said = Duration::from_secs_f64(said);
    let limit = if said > offset.saturating_mul(2) { said - offset } else { said / 2 };
    let limit = limit.max(SHORTEST_TIMEOUT);
    Ok(module.map_or(limit, |module| module.min(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: Duration = Duration::from_millis(500);

    #[test]
    fn timeouts_are_never_nothing() {
        let ms = Duration::from_millis;
        let cases = [
            (None, None, ms(119_500)),
            (None, Some("0"), ms(119_500)),
            (None, Some(""), ms(119_500)),
            (None, Some(" "), ms(119_500)),
            (None, Some("10"), ms(9_500)),
            (None, Some("1.5"), ms(1_000)),
            (None, Some("1"), ms(500)),
            (None, Some("0.8"), ms(400)),
            (None, Some("0.5"), ms(250)),
            (None, Some("0.3"), ms(150)),
            (None, Some("0.001"), ms(10)),
            (None, Some("1e-300"), ms(10)),
            (None, Some("1e300"), ms(86_399_500)),
            (Some(ms(5_000)), None, ms(5_000)),
            (Some(ms(5_000)), Some("10"), ms(5_000)),
            (Some(ms(5_000)), Some("3"), ms(2_500)),
            (Some(ms(5_000)), Some(" 3 "), ms(2_500)),
            (Some(ms(1)), Some("3"), ms(1)),
        ];
        for (module, client, expected) in cases {
            assert_eq!(timeout(module, client, OFFSET), Ok(expected), "{module:?} {client:?}");
        }
        assert_eq!(timeout(None, Some("3"), Duration::ZERO), Ok(ms(3_000)));
    }

    #[test]
    fn timeouts_that_are_none_are_refused() {
        for client in ["NaN", "inf", "-inf", "-1", "-0.1", "5s", "1,5"] {
            let rejection = timeout(None, Some(client), OFFSET).unwrap_err();
            assert_eq!(rejection.cause, "bad_timeout");
            let sentence =
                format!("the header x-prometheus-scrape-timeout-seconds is a number of seconds, not {client:?}");
            assert_eq!(rejection.sentence, sentence);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_known() {
        let yaml = "isps: {a: {fwmark: 1}, b: {fwmark: 2, networks: [192.0.2.0/24]}}\n\
            modules: {ping: {prober: icmp}, http_2xx: {prober: http, isp: b}, trace: {prober: traceroute}, share: {prober: egress}}";
        let config = crate::config::load_str(yaml, "test.yml").unwrap();
        let read = |query: &str| {
            let asked = read(query, None, OFFSET, usize::from, &config, &Arc::default(), &Arc::default());
            asked.map_err(|rejection| format!("{}: {}", rejection.cause, rejection.sentence))
        };
        let refused = [
            (
                "",
                "missing_target: the target parameter is missing; of module \"http_2xx\" it looks like https://example.org/; known parameters: target, module, isp, hostname, debug, format",
            ),
            (
                "target=&module=trace",
                "missing_target: the target parameter is missing; of module \"trace\" it looks like example.org; known parameters: target, module, isp, hostname, debug, format",
            ),
            ("target=x&module=y", "unknown_module: unknown module \"y\"; known modules: http_2xx, ping, share, trace"),
            (
                "target=x&isp=c",
                "unknown_isp: unknown ISP \"c\"; known ISPs: a, b; several have commas between them, or are \"all\"",
            ),
            (
                "target=x&isp=",
                "unknown_isp: unknown ISP \"\"; known ISPs: a, b; several have commas between them, or are \"all\"",
            ),
            ("target=x&isp=a,b,a", "repeated_isp: the ISP \"a\" is there twice in \"a,b,a\""),
            (
                "target=x&isp=a,",
                "unknown_isp: unknown ISP \"\"; known ISPs: a, b; several have commas between them, or are \"all\"",
            ),
            (
                "target=x&isp=a,all",
                "unknown_isp: unknown ISP \"all\"; known ISPs: a, b; several have commas between them, or are \"all\"",
            ),
            (
                "target=x&module=trace&isp=all&format=mtr",
                "bad_value: format=mtr tells one trace, and not those of several ISPs",
            ),
            (
                "target=x&isp=all&module=share",
                "isp_of_egress: module \"share\" finds out which ISPs are taken, and is bound to none; leave isp out",
            ),
            (
                "target=x&ips=a",
                "unknown_parameter: unknown parameter \"ips\"; known parameters: target, module, isp, hostname, debug, format",
            ),
            (
                "target=x&isp=a&isp=b",
                "repeated_parameter: the parameter isp is there twice; each of target, module, isp, hostname, debug, format is given once",
            ),
            (
                "target=x&isp=a&module=share",
                "isp_of_egress: module \"share\" finds out which ISPs are taken, and is bound to none; leave isp out",
            ),
            (
                "target=x,&module=share",
                "bad_target: the target is empty; a host is expected: a name such as example.org, or an address such as 192.0.2.1 or 2001:db8::1",
            ),
            ("target=x&debug=1", "bad_value: debug is true or false, not \"1\""),
            ("target=x&format=xml", "bad_value: format is json or mtr, not \"xml\"; without it the answer is metrics"),
            ("target=x&module=ping&format=mtr", "bad_value: format=mtr tells a trace, and the module's prober is icmp"),
        ];
        for (query, expected) in refused {
            assert_eq!(read(query).unwrap_err(), expected, "{query}");
        }
        let one = |query: &str| match read(query).unwrap() {
            Asked { wanted: Wanted::One(request), debug, format } => (request, debug, format),
            other => panic!("{other:?}"),
        };
        let (request, debug, format) = one("target=https%3A%2F%2Fx%2Fa%3Fb%3Dc+d&debug=true&format=json");
        assert_eq!(request.target, "https://x/a?b=c d");
        assert_eq!(request.isp.map(|isp| isp.name.clone()).as_deref(), Some("b"));
        assert!(debug && format == Some(Format::Json) && request.log_limit == 1);
        assert_eq!(one("target=x&module=").0.module.name, "http_2xx");
        let (request, debug, format) = one("target=x&module=ping");
        assert!(request.isp.is_none() && !debug && format.is_none() && request.log_limit == 0);
        let several = |isp: &str| match read(&format!("target=x&module=ping&isp={isp}")).unwrap().wanted {
            Wanted::Several(requests) => {
                requests.iter().map(|request| request.isp.as_ref().unwrap().name.clone()).collect::<Vec<_>>()
            }
            Wanted::One(_) => panic!("{isp}"),
        };
        assert_eq!([several("all"), several("b,a"), several("a%2Cb")], [["a", "b"], ["b", "a"], ["a", "b"]]);
        assert_eq!(read("target=x&module=trace&format=mtr").unwrap().format, Some(Format::Mtr));
    }
}
