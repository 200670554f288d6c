//! `/etc/resolv.conf` (`resolv.conf(5)`), without the file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Who is asked for names, for which names, and how patiently. Settings and limits are those of the C library, which Go's `net`
/// package follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Whom to ask, in this order: one to three.
    pub(super) servers: Vec<NameServer>,
    /// What is put behind a name that may be relative.
    pub(super) search: Vec<String>,
    /// With so many dots a name is tried as it is first.
    pub(super) ndots: usize,
    /// How long a server has for its answer.
    pub(super) timeout: Duration,
    /// How often all servers are asked.
    pub(super) attempts: u32,
}

/// A name server, which listens on port 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServer {
    /// Its address.
    pub(super) address: IpAddr,
    /// The name or the index of the interface that it is behind, for an address that is good on one link only (RFC 4007).
    pub(super) zone: Option<String>,
}

/// How many name servers are asked (`MAXNS`).
const MOST_SERVERS: usize = 3;
/// `RES_MAXNDOTS`
const MOST_DOTS: u32 = 15;
/// Seconds (`RES_MAXRETRANS`).
const LONGEST_TIMEOUT: u32 = 30;
/// `RES_MAXRETRY`
const MOST_ATTEMPTS: u32 = 5;

impl ResolvConf {
    /// Reads the text of the file, which is empty where there is none; `hostname` has the local domain, which is searched where the file
    /// does not say what is.
    ///
    /// What it does not understand it passes over, as all do who read this file: it is written for many programs.
    pub(super) fn parse(text: &str, hostname: &str) -> Self {
        let mut servers = Vec::new();
        let mut search = None;
        let (mut ndots, mut timeout, mut attempts) = (1, 5, 2);
        for line in text.lines().filter(|line| !line.starts_with([';', '#'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(NameServer::parse)),
                Some("search") => search = Some(words.filter_map(suffix).collect()),
                Some("domain") => search = Some(words.take(1).filter_map(suffix).collect()),
                Some("options") => {
                    for (name, value) in words.filter_map(|option| option.split_once(':')) {
                        let Ok(value) = value.parse::<u32>() else { continue };
                        match name {
                            "ndots" => ndots = value.min(MOST_DOTS),
                            "timeout" => timeout = value.clamp(1, LONGEST_TIMEOUT),
                            "attempts" => attempts = value.clamp(1, MOST_ATTEMPTS),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        servers.truncate(MOST_SERVERS);
        if servers.is_empty() {
            let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            servers.extend(here.map(|address| NameServer { address, zone: None }));
        }
        let local_domain = || hostname.trim().split_once('.').and_then(|(_, domain)| suffix(domain));
        Self {
            servers,
            search: search.unwrap_or_else(|| local_domain().into_iter().collect()),
            ndots: ndots as usize,
            timeout: Duration::from_secs(timeout.into()),
            attempts,
        }
    }

    /// The absolute names that `host` may stand for, in the order in which they are tried; without the dot at their end.
    pub(super) fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let as_it_is = || std::iter::once(host.to_owned());
        let searched = self.search.iter().map(|suffix| format!("{host}.{suffix}"));
        if host.matches('.').count() >= self.ndots {
            as_it_is().chain(searched).collect()
        } else {
            searched.chain(as_it_is()).collect()
        }
    }
}

impl NameServer {
    fn parse(text: &str) -> Option<Self> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone.to_owned())),
            None => (text, None),
        };
        Some(Self { address: address.parse().ok()?, zone })
    }
}

/// An entry of the search list, without its dot; nothing for the root, which adds nothing to a name.
fn suffix(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, "host")
    }

    fn servers(text: &str) -> Vec<String> {
        let told = |server: &NameServer| match &server.zone {
            Some(zone) => format!("{}%{zone}", server.address),
            None => server.address.to_string(),
        };
        parse(text).servers.iter().map(told).collect()
    }

    #[test]
    fn up_to_three_name_servers_are_asked_or_those_of_this_host() {
        let cases: [(&str, &[&str]); 6] = [
            ("nameserver 192.0.2.1\nnameserver\t2001:db8::1 # first", &["192.0.2.1", "2001:db8::1"]),
            (
                "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4",
                &["1.1.1.1", "2.2.2.2", "3.3.3.3"],
            ),
            ("nameserver fe80::1%eth0\nnameserver fe80::2%3", &["fe80::1%eth0", "fe80::2%3"]),
            ("nameserver\nnameserver ns.example\n#nameserver 192.0.2.1\n;nameserver 192.0.2.1", &["127.0.0.1", "::1"]),
            ("nameserver ns.example\nnameserver 192.0.2.1", &["192.0.2.1"]),
            ("", &["127.0.0.1", "::1"]),
        ];
        for (text, expected) in cases {
            assert_eq!(servers(text), expected, "{text}");
        }
    }

    #[test]
    fn the_last_word_on_the_search_list_counts() {
        let cases: [(&str, &str, &[&str]); 7] = [
            ("search a.example b.example.", "host", &["a.example", "b.example"]),
            ("domain a.example ignored.example", "host", &["a.example"]),
            ("domain a.example\nsearch b.example c.example", "host", &["b.example", "c.example"]),
            ("search b.example c.example\ndomain a.example", "host", &["a.example"]),
            ("search .", "host.local.example", &[]),
            ("nameserver 192.0.2.1", "host.local.example\n", &["local.example"]),
            ("nameserver 192.0.2.1", "host\n", &[]),
        ];
        for (text, hostname, expected) in cases {
            assert_eq!(ResolvConf::parse(text, hostname).search, expected, "{text}");
        }
    }

    #[test]
    fn options_have_their_limits() {
        let cases = [
            ("", (1, 5, 2)),
            ("options ndots:3 timeout:2 attempts:4", (3, 2, 4)),
            ("options ndots:0\noptions rotate timeout:1", (0, 1, 2)),
            ("options ndots:99 timeout:99 attempts:99", (15, 30, 5)),
            ("options timeout:0 attempts:0", (1, 1, 1)),
            ("options ndots: timeout:soon attempts:-1 ndots:99999999999 edns0 :7", (1, 5, 2)),
        ];
        for (text, (ndots, timeout, attempts)) in cases {
            let conf = parse(text);
            assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (ndots, timeout, attempts), "{text}");
        }
    }

    #[test]
    fn a_name_with_enough_dots_is_tried_as_it_is_first() {
        let cases: [(&str, &str, &[&str]); 6] = [
            ("search a.example b.example", "box", &["box.a.example", "box.b.example", "box"]),
            ("search a.example", "www.example", &["www.example", "www.example.a.example"]),
            ("search a.example\noptions ndots:2", "www.example", &["www.example.a.example", "www.example"]),
            ("search a.example\noptions ndots:0", "box", &["box", "box.a.example"]),
            ("search a.example", "box.", &["box"]),
            ("", "box", &["box"]),
        ];
        for (text, host, expected) in cases {
            assert_eq!(parse(text).names(host), expected, "{text} {host}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_resolv_conf(text: String, hostname: String, host: String) {
            prop_assert!(!ResolvConf::parse(&text, &hostname).names(&host).is_empty());
        }

        #[test]
        fn what_looks_like_one_keeps_the_limits(
            text in "((nameserver|search|domain|options|#)( (::1|a\\.example|ndots:[0-9]{0,12}|timeout:[0-9a]{0,3})){0,5}\n){0,9}"
        ) {
            let conf = parse(&text);
            prop_assert!((1..=3).contains(&conf.servers.len()) && conf.ndots <= 15);
            prop_assert!((1..=30).contains(&conf.timeout.as_secs()) && (1..=5).contains(&conf.attempts));
        }
    }
}
