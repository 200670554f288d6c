//! Autonomous systems, and which of them announce an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::prefix::{Prefix, left, same};

/// An autonomous system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutonomousSystem {
    /// Its number.
    pub number: u32,
    /// What it is called, where that is known.
    pub name: Option<String>,
}

/// Which autonomous systems announce which prefixes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// IPv4's and IPv6's, in the order of their first address, then of their length, then of their number.
    entries: [Vec<Entry>; 2],
    names: BTreeMap<u32, String>,
}

/// A prefix and one of the systems that announce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: u128,
    length: u8,
    number: u32,
    /// The last entry of the longest prefix that this one's is a part of.
    parent: Option<usize>,
}

/// What is wrong with a table: the line, and what is wrong there.
pub type Wrong = (usize, String);

/// The most characters of a name.
const LONGEST_NAME: usize = 200;

impl Origins {
    /// Reads a table: in each line a prefix, a number (`64500`, `AS64500`) and, where it is known, the system's name, with spaces, tabs
    /// or a comma between them. `#` begins a line that is not read. A prefix that several systems announce has a line for each.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        let (mut origins, mut wrong) = (Self::default(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                wrong.extend(origins.add(text).err().map(|what| (line, what)));
            }
        }
        for entries in &mut origins.entries {
            entries.sort_unstable();
            entries.dedup();
            link(entries);
        }
        if origins.entries.iter().all(Vec::is_empty) && wrong.is_empty() {
            wrong.push((1, "has no line with a prefix and a number".to_owned()));
        }
        if wrong.is_empty() { Ok(origins) } else { Err(wrong) }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (prefix, rest) = word(line);
        let (number, name) = word(rest);
        let prefix: Prefix = prefix.parse()?;
        let number = self::number(number)?;
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name).trim();
        if name.chars().count() > LONGEST_NAME || name.contains(char::is_control) {
            return Err(format!(
                "the name of AS{number} has more than {LONGEST_NAME} characters, or one that cannot be shown"
            ));
        }
        if !name.is_empty() {
            let known = self.names.entry(number).or_insert_with(|| name.to_owned());
            if known != name {
                return Err(format!("AS{number} is called {name:?}, and {known:?} further up"));
            }
        }
        let entry = Entry { first: prefix.first(), length: prefix.length(), number, parent: None };
        self.entries[usize::from(!prefix.is_ipv4())].push(entry);
        Ok(())
    }

    /// The systems that announce the longest prefix which has an address, by their number; none where none is known.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Vec<AutonomousSystem> {
        let entries = &self.entries[usize::from(!address.is_ipv4())];
        let bits = left(address);
        let mut at = entries.partition_point(|entry| entry.first <= bits).checked_sub(1);
        while let Some(index) = at {
            let found = entries[index];
            if same(found.first, bits, found.length) {
                let is_same = |entry: &&Entry| (entry.first, entry.length) == (found.first, found.length);
                let mut systems: Vec<_> = entries[..=index].iter().rev().take_while(is_same).collect();
                systems.reverse();
                return systems.into_iter().map(|entry| self.system(entry.number)).collect();
            }
            at = found.parent;
        }
        Vec::new()
    }

    fn system(&self, number: u32) -> AutonomousSystem {
        AutonomousSystem { number, name: self.names.get(&number).cloned() }
    }
}

/// Sets the parents of sorted entries.
fn link(entries: &mut [Entry]) {
    let mut around: Vec<usize> = Vec::new();
    for index in 0..entries.len() {
        let entry = entries[index];
        let contains = |outer: &Entry| outer.length < entry.length && same(outer.first, entry.first, outer.length);
        while around.last().is_some_and(|outer| !contains(&entries[*outer])) {
            around.pop();
        }
        entries[index].parent = around.last().copied();
        around.push(index);
    }
}

/// The first word of a line, and the rest behind what parts them.
fn word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_at(line.find([' ', '\t', ',']).unwrap_or(line.len()));
    let rest = rest.trim_start();
    (word, rest.strip_prefix(',').unwrap_or(rest).trim_start())
}

/// A number of an autonomous system, with or without `AS` before it.
fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    let number = digits.parse().ok().filter(|number| *number > 0 && digits.starts_with(|c: char| c.is_ascii_digit()));
    number.ok_or_else(|| format!("{text:?} is no number of an autonomous system (1 to 4294967295)"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(origins: &Origins, address: &str) -> Vec<u32> {
        origins.of(address.parse().unwrap()).into_iter().map(|system| system.number).collect()
    }

    #[test]
    fn the_longest_prefix_of_an_address_tells_its_systems() {
        let text = "# ours\n\n10.0.0.0/8 64512 Inside\n192.0.2.0/24\tAS64500\tOne, Inc\n192.0.2.128/25,64501,\"Two\"\n\
            192.0.2.128/25 64499\n192.0.2.192/26 as64502\n192.0.2.192/26 64502\n2001:db8::/32 64500 One, Inc\n::/0 64503\n\
            0.0.0.0/1 64504\n";
        let origins = Origins::parse(text).unwrap();
        let cases: [(&str, &[u32]); 9] = [
            ("192.0.2.1", &[64500]),
            ("192.0.2.130", &[64499, 64501]),
            ("192.0.2.193", &[64502]),
            ("10.1.2.3", &[64512]),
            ("11.1.2.3", &[64504]),
            ("192.0.3.1", &[]),
            ("2001:db8::1", &[64500]),
            ("2001:db9::1", &[64503]),
            ("255.255.255.255", &[]),
        ];
        for (address, expected) in cases {
            assert_eq!(numbers(&origins, address), expected, "{address}");
        }
        let named = origins.of("192.0.2.1".parse().unwrap());
        assert_eq!(named, [AutonomousSystem { number: 64500, name: Some("One, Inc".to_owned()) }]);
        let named: Vec<_> = origins.of("192.0.2.200".parse().unwrap()).into_iter().map(|system| system.name).collect();
        assert_eq!(named, [None]);
    }

    #[test]
    fn every_wrong_line_is_told() {
        let text = "192.0.2.1/24 64500\n192.0.2.0/24\n192.0.2.0/24 0\n192.0.2.0/24 4294967296\n192.0.2.0/24 +1\nfe80::%1 5\n\
            198.51.100.0/24 7 One\n203.0.113.0/24 7 Two\n192.0.2.0/24 8 a\u{7}b\n";
        let expected = [
            (1, "\"192.0.2.1/24\" has bits set behind its length; the network is 192.0.2.0/24"),
            (2, "\"\" is no number of an autonomous system (1 to 4294967295)"),
            (3, "\"0\" is no number of an autonomous system (1 to 4294967295)"),
            (4, "\"4294967296\" is no number of an autonomous system (1 to 4294967295)"),
            (5, "\"+1\" is no number of an autonomous system (1 to 4294967295)"),
            (6, "\"fe80::%1\" is no prefix (192.0.2.0/24, 2001:db8::/32)"),
            (8, "AS7 is called \"Two\", and \"One\" further up"),
            (9, "the name of AS8 has more than 200 characters, or one that cannot be shown"),
        ];
        assert_eq!(Origins::parse(text).unwrap_err(), expected.map(|(line, what)| (line, what.to_owned())));
        let empty = [(1, "has no line with a prefix and a number".to_owned())];
        assert_eq!(Origins::parse("# nothing\n").unwrap_err(), empty);
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_every_prefix_finds(
            table in proptest::collection::vec((any::<u8>(), 0..=8_u8, 1..9_u32), 1..60),
            asked: u8,
        ) {
            // Networks of the last octet, so that they overlap.
            let text: String = table
                .iter()
                .map(|(octet, length, number)| {
                    let octet = octet & !0xff_u8.checked_shr((*length).into()).unwrap_or(0);
                    format!("192.0.2.{octet}/{} {number}\n", 24 + length)
                })
                .collect();
            let address: IpAddr = [192, 0, 2, asked].into();
            let lines = text.lines().map(|line| line.split_once(' ').unwrap());
            let found: Vec<(Prefix, u32)> = lines
                .map(|(prefix, number)| (prefix.parse().unwrap(), number.parse().unwrap()))
                .filter(|(prefix, _): &(Prefix, u32)| prefix.contains(address))
                .collect();
            let longest = found.iter().map(|(prefix, _)| prefix.length()).max();
            let mut expected: Vec<_> =
                found.iter().filter(|(prefix, _)| Some(prefix.length()) == longest).map(|(_, number)| *number).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(numbers(&Origins::parse(&text).unwrap(), &address.to_string()), expected);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(([0-9a-f.:]{0,12}/?[0-9]{0,4}|\\PC{0,9})[ \t,]{0,2}(AS)?[0-9]{0,11}[ ,]\\PC{0,5}\n){0,9}") {
            let _ = Origins::parse(&text);
        }
    }
}
