//! Hosts, as targets name them: alone, before a port, in a URL.
//!
//! No sentence of these repeats the target, since a password may stand in it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use url::{Host, Url};

use super::services::{self, Carrier};

/// The host of a target that is nothing else: a name or an address, brackets and zone removed.
///
/// # Errors
/// One sentence that says what is expected.
pub(super) fn parse(target: &str) -> Result<&str, String> {
    if target.contains("://") {
        return Err(expected("is a URL"));
    }
    if target.rsplit_once(':').is_some_and(|(host, port)| bare(host).is_ok() && port_of(port).is_some())
        && zoned(target).is_none()
    {
        return Err(expected("has a port"));
    }
    bare(target).map_err(expected)
}

/// The host of a target, and its port where it has one: `host`, `host:port`, `2001:db8::1`, `[fe80::1%eth0]:443`. A port may be
/// called by its name on this host, as what `carrier` carries.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_with_port(target: &str, carrier: Carrier) -> Result<(&str, Option<u16>), String> {
    if zoned(target).is_some() || target.ends_with(']') || target.contains("://") {
        return parse(target).map(|host| (host, None));
    }
    match target.rsplit_once(':') {
        Some((host, port)) => {
            let host = bare(host).map_err(expected)?;
            let port = port_of(port).or_else(|| services::port(port, carrier)).ok_or(
                "the target's port is not a number from 1 to 65535, nor the name of one in /etc/services; write host:port",
            )?;
            Ok((host, Some(port)))
        }
        None => parse(target).map(|host| (host, None)),
    }
}

/// The zone of a target's address (RFC 4007, section 11): `eth0` of `fe80::1%eth0` and of `[fe80::1%eth0]:443`.
pub(super) fn zone(target: &str) -> Option<&str> {
    let in_brackets = || target.split_once('[')?.1.split_once(']').map(|(address, _)| address);
    zoned(in_brackets().unwrap_or(target))?.1
}

/// A URL without the zone of its address, and that zone (RFC 6874): `eth0` of `http://[fe80::1%25eth0]/`.
pub(super) fn without_zone(url: &str) -> (Cow<'_, str>, Option<String>) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |end| authority + end);
    let split = || {
        let begin = authority + url[authority..end].rfind('[')? + 1;
        let percent = begin + url[begin..end].find("%25")?;
        let bracket = percent + url[percent..end].find(']')?;
        let zone = String::from_utf8(percent_decoded(&url[percent + 3..bracket])).ok().filter(|zone| is_zone(zone))?;
        url[begin..percent].parse::<Ipv6Addr>().ok()?;
        Some((format!("{}{}", &url[..percent], &url[bracket..]), zone))
    };
    match split() {
        Some((rest, zone)) => (rest.into(), Some(zone)),
        None => (url.into(), None),
    }
}

/// An address of IPv6, without its zone, and that.
fn zoned(text: &str) -> Option<(&str, Option<&str>)> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    (address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)).then_some((address, zone))
}

/// Whether something can be the name of an interface, or its index.
fn is_zone(text: &str) -> bool {
    (1..libc::IF_NAMESIZE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte))
}

/// RFC 3986, section 2.1; what is no escape stays.
pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((first, rest)) = bytes.split_first() {
        let escape = rest.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                bytes = &rest[2..];
            }
            None => {
                decoded.push(*first);
                bytes = rest;
            }
        }
    }
    decoded
}

/// Says what keeps something from being the name of a host in the DNS (RFC 1123, section 2.1; underscores are in use). A name whose
/// last label is a number is an address that went wrong.
///
/// # Errors
/// That, as a predicate of the host.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.is_empty() {
        return Err("is empty");
    }
    if !name.is_ascii() {
        return Err("has letters beyond ASCII, which are written as xn--…");
    }
    if labels.len() > 253 || !labels.split('.').all(label) {
        return Err("is neither a name nor an address");
    }
    let last = labels.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    // The C library reads both as numbers of an address.
    if last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err("ends in a number, as no name does, and is not an address");
    }
    Ok(())
}

/// Says why nothing can be probed at an address. A system takes the unspecified one for itself, and nobody answers for many.
///
/// # Errors
/// That, as a predicate of the host.
pub(super) fn check_address(address: IpAddr) -> Result<(), &'static str> {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err("is an address of no single host (unspecified, multicast or broadcast)");
    }
    Ok(())
}

/// Says what is wrong with the host of a URL.
///
/// # Errors
/// That, as a predicate of it.
pub(super) fn check_url(url: &Url) -> Result<(), &'static str> {
    match url.host() {
        Some(Host::Domain(name)) => check_name(name),
        Some(Host::Ipv4(address)) => check_address(address.into()),
        Some(Host::Ipv6(address)) => check_address(address.into()),
        None => Err("is missing"),
    }
}

/// What a `Host` header says, in ASCII, as Go sends it; nothing where it is not a host, nor a host and a port.
#[must_use]
pub(crate) fn header(text: &str) -> Option<String> {
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.is_ascii() => text.split_at(colon),
        _ => (text, ""),
    };
    let name = if text.is_ascii() { text.to_owned() } else { Host::parse(name).ok()?.to_string() };
    let host = name + port;
    (host.parse::<Authority>().is_ok() && !host.contains('@')).then_some(host)
}

/// The `Host` header that `hostname=` asks for, where the module's own does not contradict.
///
/// # Errors
/// One sentence.
pub(super) fn hostname(own: Option<&str>, hostname: &str) -> Result<String, String> {
    let host = header(hostname).ok_or_else(|| {
        format!("hostname is a host, or a host and a port (example.org, example.org:8080), not {hostname:?}")
    })?;
    match own {
        Some(own) if !own.eq_ignore_ascii_case(&host) => Err(format!(
            "host header defined both in module configuration ({own}) and with URL-parameter 'hostname' ({hostname})"
        )),
        Some(_) | None => Ok(host),
    }
}

/// A host, brackets and zone removed, or what keeps it from being one, as a predicate of it.
fn bare(host: &str) -> Result<&str, &'static str> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = inner.unwrap_or(host);
    let address = zoned(address).map_or(address, |(address, _)| address);
    match (address.parse::<IpAddr>(), inner) {
        (Ok(IpAddr::V4(_)) | Err(_), Some(_)) => Err("has brackets, which are for IPv6 addresses"),
        (Ok(parsed), _) => check_address(parsed).map(|()| address),
        (Err(_), None) => check_name(host).map(|()| host),
    }
}

/// A port in digits, and nothing else that Rust takes for a number.
fn port_of(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// A sentence of what the target is instead.
fn expected(what: &str) -> String {
    format!(
        "the target {what}; a host is expected: a name such as example.org, or an address such as 192.0.2.1 or 2001:db8::1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with_port(target: &str) -> Result<(&str, Option<u16>), String> {
        super::parse_with_port(target, Carrier::Tcp)
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let with_dot = format!("{longest}.");
        let names = ["example.org", "example.org.", "localhost", "a_b.example", "xn--p1ai", "3com.example", "1.a"];
        for host in names.into_iter().chain(["192.0.2.1", "2001:db8::1", &longest, &with_dot]) {
            assert_eq!(parse(host), Ok(host));
            assert_eq!(parse_with_port(host), Ok((host, None)));
        }
        assert_eq!(parse("[2001:db8::1]"), Ok("2001:db8::1"));
        for target in ["fe80::1%eth0", "[fe80::1%eth0]"] {
            assert_eq!((parse(target), zone(target)), (Ok("fe80::1"), Some("eth0")));
        }
        assert_eq!(parse_with_port("[2001:db8::1]"), Ok(("2001:db8::1", None)));
    }

    #[test]
    fn what_is_not_a_host_is_told_what_is() {
        let (label, name) = ("a".repeat(64), "a.".repeat(127));
        let many = "a.".repeat(3000);
        let cases = [
            ("", "is empty"),
            ("http://example.org/", "is a URL"),
            ("example.org:80", "has a port"),
            ("[2001:db8::1]:80", "has a port"),
            ("fe80::1%eth0:80", "has a port"),
            ("[fe80::1%eth0]:80", "has a port"),
            ("192.0.2.1%eth0", "is neither"),
            ("fe80::1%", "is neither"),
            ("[fe80::1%]", "has brackets"),
            ("fe80::1%a\0b", "is neither"),
            ("fe80::1%sixteen-letters-", "is neither"),
            ("10.0.0.256", "ends in a number"),
            ("127.1", "ends in a number"),
            ("1", "ends in a number"),
            ("1.", "ends in a number"),
            ("127.0x1", "ends in a number"),
            ("example..org", "is neither"),
            (".", "is neither"),
            (".example", "is neither"),
            ("example.org..", "is neither"),
            ("a b", "is neither"),
            ("a\nb", "is neither"),
            ("a\0b", "is neither"),
            ("foo%bar", "is neither"),
            ("user@example.org", "is neither"),
            (&label, "is neither"),
            (&format!("{name}aa"), "is neither"),
            (&many, "is neither"),
            ("例え.jp", "xn--"),
            ("[example.org]", "has brackets"),
            ("[192.0.2.1]", "has brackets"),
            ("[2001:db8::1", "is neither"),
            ("0.0.0.0", "no single host"),
            ("::", "no single host"),
            ("[::]", "no single host"),
            ("::ffff:0.0.0.0", "no single host"),
            ("224.0.0.1", "no single host"),
            ("ff02::1", "no single host"),
            ("255.255.255.255", "no single host"),
        ];
        for (target, why) in cases {
            let error = parse(target).unwrap_err();
            assert!(error.contains(why) && error.contains("; a host is expected: "), "{target}: {error}");
        }
    }

    #[test]
    fn a_zone_stands_behind_an_address_of_ipv6() {
        assert_eq!(parse_with_port("[fe80::1%eth0]:80"), Ok(("fe80::1", Some(80))));
        assert_eq!(parse_with_port("fe80::1%2"), Ok(("fe80::1", None)));
        for (target, expected) in [
            ("[fe80::1%eth0]:80", Some("eth0")),
            ("https://[fe80::1%eth0]:80/x", Some("eth0")),
            ("fe80::1%2", Some("2")),
            ("fe80::1", None),
            ("[fe80::1]:80", None),
            ("192.0.2.1%eth0", None),
            ("example.org%eth0", None),
        ] {
            assert_eq!(zone(target), expected, "{target}");
        }
        for (url, without, expected) in [
            ("http://[fe80::1%25eth0]:80/a%20b", "http://[fe80::1]:80/a%20b", Some("eth0")),
            ("u:p@[fe80::1%25e%74h0]", "u:p@[fe80::1]", Some("eth0")),
            ("http://[fe80::1]/[%25x]", "http://[fe80::1]/[%25x]", None),
            ("http://a.example/?[fe80::1%25eth0]", "http://a.example/?[fe80::1%25eth0]", None),
            ("http://[fe80::1%eth0]/", "http://[fe80::1%eth0]/", None),
            ("http://[192.0.2.1%25eth0]/", "http://[192.0.2.1%25eth0]/", None),
            ("http://[fe80::1%25]/", "http://[fe80::1%25]/", None),
            ("http://[fe80::1%25a%00b]/", "http://[fe80::1%25a%00b]/", None),
        ] {
            assert_eq!(without_zone(url), (without.into(), expected.map(str::to_owned)), "{url}");
        }
    }

    #[test]
    fn a_port_is_a_number_that_can_be_one() {
        assert_eq!(parse_with_port("example.org:443"), Ok(("example.org", Some(443))));
        assert_eq!(parse_with_port("[2001:db8::1]:443"), Ok(("2001:db8::1", Some(443))));
        for target in ["a:0", "a:65536", "a:nobody", "a:", "a:+80", "a:-1", "a: 80", "a:８０"] {
            assert!(parse_with_port(target).unwrap_err().contains("is not a number from 1 to 65535"), "{target}");
        }
        assert_eq!(parse_with_port("[2001:db8::1]:https"), Ok(("2001:db8::1", Some(443))));
        let wrong =
            ["http://a:80", ":80", "[2001:db8::1", "2001:db8::1]:80", "a:1:80", "a..b:80", "0.0.0.0:80", "[::]:80"];
        for target in wrong {
            assert!(parse_with_port(target).unwrap_err().contains("; a host is expected: "), "{target}");
        }
    }
}
