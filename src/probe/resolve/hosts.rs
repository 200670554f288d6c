//! `/etc/hosts` (`hosts(5)`), without the file.

use std::collections::HashMap;
use std::net::IpAddr;

/// The names of a hosts file, and their addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::probe) struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
    names: HashMap<IpAddr, String>,
}

impl Hosts {
    /// Reads the text of a hosts file. A line that has no address in front says nothing; as with Go's `net` package, the addresses of
    /// all lines that have a name are its addresses.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let (line, _comment) = line.split_once('#').unwrap_or((line, ""));
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            for name in words {
                hosts.names.entry(address).or_insert_with(|| name.to_owned());
                let addresses = hosts.addresses.entry(key(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of a name, in the file's order; none where it does not stand there.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.addresses.get(&key(name)).map_or(&[], Vec::as_slice)
    }

    /// The name of an address: the first one of its first line, as the C library takes it; nothing where it does not stand there.
    pub(in crate::probe) fn name(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

/// What names are compared by: case does not count (RFC 4343), nor whether they end with the dot of absolute names.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "
# the usual
127.0.0.1\tlocalhost  Box.example  # not-a-name
::1 localhost ip6-localhost
192.0.2.7 box.example box
  192.0.2.8 box\r
192.0.2.7 box
10.0.0 short.example
fe80::1%eth0 zone.example
#192.0.2.9 commented.example
192.0.2.10
name.example 192.0.2.11
192.0.2.12 absolute.example.";

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let hosts = Hosts::parse(FILE);
        let cases: [(&str, &[&str]); 15] = [
            ("localhost", &["127.0.0.1", "::1"]),
            ("LocalHost.", &["127.0.0.1", "::1"]),
            ("ip6-localhost", &["::1"]),
            ("box.example", &["127.0.0.1", "192.0.2.7"]),
            ("BOX.EXAMPLE", &["127.0.0.1", "192.0.2.7"]),
            ("box", &["192.0.2.7", "192.0.2.8"]),
            ("absolute.example", &["192.0.2.12"]),
            ("not-a-name", &[]),
            ("short.example", &[]),
            ("zone.example", &[]),
            ("commented.example", &[]),
            ("192.0.2.10", &[]),
            ("name.example", &[]),
            ("192.0.2.11", &[]),
            ("", &[]),
        ];
        for (name, addresses) in cases {
            let expected: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(hosts.addresses(name), expected, "{name}");
        }
        assert_eq!(Hosts::parse(""), Hosts::default());
    }

    #[test]
    fn an_address_has_the_first_name_of_its_first_line() {
        let hosts = Hosts::parse(FILE);
        for (address, name) in [
            ("127.0.0.1", Some("localhost")),
            ("::1", Some("localhost")),
            ("192.0.2.7", Some("box.example")),
            ("192.0.2.99", None),
        ] {
            assert_eq!(hosts.name(address.parse().unwrap()), name, "{address}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_hosts_file(text: String) {
            Hosts::parse(&text);
        }

        #[test]
        fn what_stands_there_is_found(name in "[a-zA-Z0-9.-]{1,20}", v6: bool, before in "[a-z0-9 .#\n]{0,40}") {
            let address: IpAddr = if v6 { "2001:db8::1" } else { "192.0.2.1" }.parse().unwrap();
            let hosts = Hosts::parse(&format!("{before}\n{address} {name}"));
            prop_assert!(hosts.addresses(&name).contains(&address));
        }
    }
}
