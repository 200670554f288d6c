//! Which hosts are not asked for through a proxy: the rules of Go's `golang.org/x/net/http/httpproxy`, which Prometheus follows.

use std::net::IpAddr;

use crate::path::Prefix;

/// A `no_proxy`: hosts that are connected to directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy {
    rules: Vec<Rule>,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// `*`
    All,
    /// `10.0.0.0/8`, `fd00::/8`
    Network(Prefix),
    /// `10.0.0.1`, `[fd00::1]:443`
    Address { address: IpAddr, port: Option<u16> },
    /// `example.org` is the host and what is below it; `.example.org` and `*.example.org` what is below it only.
    Domain { name: String, itself: bool, port: Option<u16> },
}

impl NoProxy {
    /// Reads a list with commas between its entries.
    ///
    /// # Errors
    /// The entry that no host can match, and what it may be.
    pub fn parse(list: &str) -> Result<Self, String> {
        let rules = entries(list).map(|entry| {
            Rule::parse(entry).ok_or_else(|| {
                format!(
                    "{entry:?} is neither a host, a domain (.example.org), an address, a network (10.0.0.0/8) nor *, and no host matches it"
                )
            })
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Reads a list that was made for others, too, such as the environment's: also returns the entries that no host can match.
    #[must_use]
    pub fn of_others(list: &str) -> (Self, Vec<&str>) {
        let (mut rules, mut unmatched) = (Vec::new(), Vec::new());
        for entry in entries(list) {
            match Rule::parse(entry) {
                Some(rule) => rules.push(rule),
                None => unmatched.push(entry),
            }
        }
        (Self { rules }, unmatched)
    }

    /// Whether a host, which is a name or an address without brackets, is connected to directly at a port. This host itself always is.
    #[must_use]
    pub fn has(&self, host: &str, port: u16) -> bool {
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let itself = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        itself || self.rules.iter().any(|rule| rule.matches(host, address, port))
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            return Prefix::of(address.parse().ok()?, bits.parse().ok()?).map(Self::Network);
        }
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
        };
        if let Some(address) = address(entry) {
            return Some(Self::Address { address, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
            None => (entry, None),
        };
        if let Some(address) = address(host) {
            return Some(Self::Address { address, port });
        }
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        // As URLs have it: in lower case, and in ASCII.
        let name = match url::Host::parse(below.unwrap_or(host)) {
            Ok(url::Host::Domain(name)) => name,
            Ok(_) | Err(_) => return None,
        };
        Some(Self::Domain { name, itself: below.is_none(), port })
    }

    fn matches(&self, host: &str, is: Option<IpAddr>, at: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => is.is_some_and(|is| network.contains(is)),
            Self::Address { address, port } => is == Some(*address) && port.is_none_or(|port| port == at),
            Self::Domain { name, itself, port } => {
                let above = host.strip_suffix(name.as_str());
                let matches = above.is_some_and(|above| if above.is_empty() { *itself } else { above.ends_with('.') });
                matches && port.is_none_or(|port| port == at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_as_in_go() {
        let cases = [
            ("", "example.org:80", false),
            ("", "localhost:80", true),
            ("", "127.0.0.5:80", true),
            ("", "::1:80", true),
            ("*", "example.org:80", true),
            ("x, * ,y", "192.0.2.1:80", true),
            ("example.org", "example.org:80", true),
            ("Example.ORG", "example.org:80", true),
            ("example.org", "www.example.org:80", true),
            ("example.org", "badexample.org:80", false),
            ("example.org", "example.org.net:80", false),
            (".example.org", "example.org:80", false),
            (".example.org", "www.example.org:80", true),
            ("*.example.org", "a.www.example.org:80", true),
            ("*.example.org", "example.org:80", false),
            ("example.org:443", "www.example.org:443", true),
            ("example.org:443", "www.example.org:80", false),
            ("müller.example", "www.xn--mller-kva.example:80", true),
            ("192.0.2.1", "192.0.2.1:80", true),
            ("192.0.2.1", "192.0.2.10:80", false),
            ("192.0.2.1:443", "192.0.2.1:443", true),
            ("192.0.2.1:443", "192.0.2.1:80", false),
            ("192.0.2.0/24", "192.0.2.77:80", true),
            ("192.0.2.0/24", "192.0.3.1:80", false),
            ("0.0.0.0/0", "192.0.3.1:80", true),
            ("0.0.0.0/0", "2001:db8::1:80", false),
            ("192.0.2.0/24", "::ffff:192.0.2.1:80", true),
            ("2001:db8::/32", "2001:db8:1::1:80", true),
            ("2001:db8::/32", "2001:db9::1:80", false),
            ("::/0", "2001:db9::1:80", true),
            ("2001:db8::1", "2001:db8::1:80", true),
            ("[2001:db8::1]:443", "2001:db8::1:443", true),
            ("[2001:db8::1]:443", "2001:db8::1:80", false),
            ("192.0.2.0/24", "net.example:80", false),
        ];
        for (list, target, expected) in cases {
            let (host, port) = target.rsplit_once(':').unwrap();
            assert_eq!(NoProxy::parse(list).unwrap().has(host, port.parse().unwrap()), expected, "{list} {target}");
        }
    }

    #[test]
    fn entries_that_match_nothing_are_told() {
        for list in [":80", "10.0.0.0/33", "a/8", "example.org:x", "a b", "ok.example,."] {
            assert!(NoProxy::parse(list).is_err(), "{list}");
        }
    }
}
