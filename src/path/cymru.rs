//! Which autonomous systems announce an address, and what they are called, as the TXT records of Team Cymru's zones tell it, and of others
//! who do as they do.

use std::net::IpAddr;

use super::Prefix;

/// The most characters of a name that are kept.
const LONGEST_NAME: usize = 100;

/// The most systems that announce an address.
const MOST_ORIGINS: usize = 8;

/// The systems that announce an address, in the order of their numbers: `23028 | 216.90.108.0/24 | US | arin | 1998-09-25`, several
/// numbers with spaces between them. Of several texts, those with the longest prefix count; one whose prefix does not have the address is
/// none.
#[must_use]
pub fn origins(texts: &[Vec<u8>], address: IpAddr) -> Vec<u32> {
    let mut longest = 0;
    let mut origins: Vec<u32> = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        let mut fields = text.split('|').map(str::trim);
        let (Some(numbers), Some(prefix)) = (fields.next(), fields.next()) else { continue };
        let Some(prefix) = prefix.parse().ok().filter(|prefix: &Prefix| prefix.contains(address)) else { continue };
        if prefix.length() > longest {
            longest = prefix.length();
            origins.clear();
        }
        if prefix.length() == longest {
            origins.extend(numbers.split_ascii_whitespace().filter_map(|number| number.parse::<u32>().ok()));
        }
    }
    origins.retain(|number| *number > 0);
    origins.sort_unstable();
    origins.dedup();
    origins.truncate(MOST_ORIGINS);
    origins
}

/// What a system is called: `23028 | US | arin | 2002-01-04 | TEAM-CYMRU, US`. Nothing where the text says something else.
#[must_use]
pub fn system_name(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let name = text.splitn(5, '|').nth(4)?.trim();
    let is_shown = |c: char| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
    let name: String = name.chars().map(|c| if is_shown(c) { c } else { '?' }).take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str], address: &str) -> Vec<u32> {
        let texts: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        origins(&texts, address.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_of_several_texts_counts() {
        let one = "23028 | 216.90.108.0/24 | US | arin | 1998-09-25";
        assert_eq!(of(&[one], "216.90.108.31"), [23_028]);
        assert_eq!(of(&["3356 174 3356 | 216.90.0.0/16 | US | arin |"], "216.90.108.31"), [174, 3356]);
        assert_eq!(of(&["3356 | 216.90.0.0/16 | US | arin |", one], "216.90.108.31"), [23_028]);
        assert_eq!(of(&[one, "3356 | 216.90.0.0/16 | US | arin |"], "216.90.108.31"), [23_028]);
        assert_eq!(of(&[one, "174 | 216.90.108.0/24"], "216.90.108.31"), [174, 23_028]);
        assert_eq!(of(&["15169 | 2a00:1450:4000::/37 | IE | ripencc | 2009-10-05"], "2a00:1450:4001::1"), [15_169]);
        for nonsense in ["", "|", "23028", "NA | 216.90.108.0/24", "0 | 216.90.108.0/24", "5 | 10.0.0.0/8", "5 | x | y"]
        {
            assert_eq!(of(&[nonsense], "216.90.108.31"), [0; 0], "{nonsense}");
        }
        let many: Vec<String> = (1..100).map(|number| number.to_string()).collect();
        assert_eq!(of(&[&format!("{} | 0.0.0.0/0", many.join(" "))], "216.90.108.31").len(), MOST_ORIGINS);
    }

    #[test]
    fn a_name_is_short_and_can_be_shown() {
        let name = |text: &str| system_name(text.as_bytes());
        assert_eq!(name("23028 | US | arin | 2002-01-04 | TEAM-CYMRU, US").as_deref(), Some("TEAM-CYMRU, US"));
        assert_eq!(name("5 | KR | apnic | | 한국 | x").as_deref(), Some("한국 | x"));
        assert_eq!(name("5 | | | | a\u{1b}[2J\u{202e}b\n").as_deref(), Some("a?[2J?b"));
        assert_eq!(
            name(&format!("5 | | | | {}", "é".repeat(300))).map(|name| name.chars().count()),
            Some(LONGEST_NAME)
        );
        for none in ["", "5 | US | arin | 2002-01-04", "5 | | | | "] {
            assert_eq!(name(none), None, "{none}");
        }
        assert_eq!(system_name(b"5 | | | | \xff").as_deref(), Some("?"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(texts: Vec<Vec<u8>>, text in "[0-9 |./:a-f]{0,60}") {
            let address = [192, 0, 2, 1].into();
            prop_assert!(origins(&texts, address).is_empty() || !texts.is_empty());
            let _ = origins(&[text.clone().into_bytes()], address);
            let _ = system_name(text.as_bytes());
            texts.iter().for_each(|text| drop(system_name(text)));
        }
    }
}
