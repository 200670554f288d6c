//! Targets that are a host, with or without a port.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The host of a target that is nothing else: a name or an address, brackets removed.
///
/// # Errors
/// One sentence that says what is expected.
pub(super) fn parse(target: &str) -> Result<&str, String> {
    let bare = target.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bare.unwrap_or(target).parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.unwrap_or(target));
    }
    let wanted = "a host is expected: a name such as example.org, or an address such as 192.0.2.1 or 2001:db8::1";
    if target.is_empty() {
        return Err(format!("the target is empty; {wanted}"));
    }
    if target.contains("://") {
        return Err(format!("the target {target:?} is a URL; {wanted}"));
    }
    if target.contains('%') {
        return Err(format!(
            "the target {target:?} has a zone, which probes do not take: name the interface in the ISP; {wanted}"
        ));
    }
    if target.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        return Err(format!("the target {target:?} has a port; {wanted}"));
    }
    if is_name(target) { Ok(target) } else { Err(format!("the target {target:?} is not a host; {wanted}")) }
}

/// The host of a target, and its port where it has one: `host`, `host:port`, `2001:db8::1`, `[2001:db8::1]:443`.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_with_port(target: &str) -> Result<(&str, Option<u16>), String> {
    if target.parse::<Ipv6Addr>().is_ok() || target.ends_with(']') || target.contains("://") {
        return parse(target).map(|host| (host, None));
    }
    match target.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(0) | Err(_) => {
                Err(format!("the port of the target {target:?} is not a number from 1 to 65535; write host:port"))
            }
            Ok(port) => parse(host).map(|host| (host, Some(port))),
        },
        None => parse(target).map(|host| (host, None)),
    }
}

/// Whether something can be a name in the DNS (RFC 1123, section 2.1; underscores are in use) or an IPv4 address. A name whose last
/// label is a number is an address that went wrong.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let number = labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    labels.len() <= 253 && labels.split('.').all(label) && (!number || host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for host in ["example.org", "example.org.", "localhost", "192.0.2.1", "2001:db8::1", "a_b.example", "xn--p1ai"]
        {
            assert_eq!(parse(host), Ok(host));
            assert_eq!(parse_with_port(host), Ok((host, None)));
        }
        assert_eq!(parse("[2001:db8::1]"), Ok("2001:db8::1"));
        assert_eq!(parse_with_port("[2001:db8::1]"), Ok(("2001:db8::1", None)));
    }

    #[test]
    fn what_is_not_a_host_is_told_what_is() {
        let cases = [
            ("", "the target is empty"),
            ("http://example.org/", "is a URL"),
            ("example.org:80", "has a port"),
            ("[::1]:80", "has a port"),
            ("fe80::1%eth0", "has a zone"),
            ("10.0.0.256", "is not a host"),
            ("example..org", "is not a host"),
            ("a b", "is not a host"),
            ("[example.org]", "is not a host"),
        ];
        for (target, why) in cases {
            let error = parse(target).unwrap_err();
            assert!(error.contains(why) && error.contains("a host is expected"), "{target}: {error}");
        }
    }

    #[test]
    fn a_port_is_a_number_that_can_be_one() {
        assert_eq!(parse_with_port("example.org:443"), Ok(("example.org", Some(443))));
        assert_eq!(parse_with_port("[2001:db8::1]:443"), Ok(("2001:db8::1", Some(443))));
        for target in ["example.org:0", "example.org:65536", "example.org:https", "example.org:"] {
            assert!(parse_with_port(target).unwrap_err().contains("is not a number from 1 to 65535"), "{target}");
        }
        for target in ["http://example.org:80", ":80", "[::1", "::1]:80"] {
            assert!(parse_with_port(target).is_err(), "{target}");
        }
    }
}
