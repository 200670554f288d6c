//! Where the numbers of autonomous systems come from: what may be written, and what of it is wrong.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fs;
use std::sync::Arc;

use support::mmdb::{Value, database};
use uplink_exporter::config::{Config, Store, load};
use uplink_exporter::path::AutonomousSystem;
use uplink_exporter::probe::Prober;
use uplink_exporter::probe::identity::Registry;

const MODULES: &str = "modules: {a: {prober: traceroute}, b: {prober: traceroute, traceroute: {names: false}}}\n";

/// Loads a section, in a folder with these files.
fn load_with(asn: &str, files: &[(&str, &[u8])]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
    let path = folder.path().join("probes.yml");
    fs::write(&path, format!("{MODULES}{asn}")).unwrap();
    let place = format!("{}:", path.display());
    load(&path).map_err(|errors| errors.to_string().replace(&place, ""))
}

fn registry(config: &Config, module: &str) -> Option<Arc<Registry>> {
    let Prober::Traceroute(settings) = &config.modules[module].prober else { panic!("{module}") };
    settings.registry.clone()
}

fn error(asn: &str, files: &[(&str, &[u8])]) -> String {
    load_with(asn, files).unwrap_err()
}

#[test]
fn nobody_is_asked_unless_it_is_written() {
    let config = load_with("", &[]).unwrap();
    assert!(registry(&config, "a").is_none() && registry(&config, "b").is_none());
    let names = |module: &str| match &config.modules[module].prober {
        Prober::Traceroute(settings) => settings.names,
        other => panic!("{other:?}"),
    };
    assert_eq!((names("a"), names("b")), (true, false));
}

#[test]
fn the_zones_are_team_cymrus_unless_others_are_named() {
    let config = load_with("asn: {source: dns}", &[]).unwrap();
    let registry_of_a = registry(&config, "a").unwrap();
    let Registry::Zones(zones) = &*registry_of_a else { panic!("{registry_of_a:?}") };
    assert_eq!(zones.of_address([216, 90, 108, 31].into()), "31.108.90.216.origin.asn.cymru.com.");
    // Of an IPv6 address the first half.
    let address = "2a00:1450:4001:81b::200e".parse().unwrap();
    assert_eq!(zones.of_address(address), "b.1.8.0.1.0.0.4.0.5.4.1.0.0.a.2.origin6.asn.cymru.com.");
    assert_eq!(zones.of_system(23_028), "AS23028.asn.cymru.com.");
    assert!(Arc::ptr_eq(&registry_of_a, &registry(&config, "b").unwrap()), "one for all modules");
    let config =
        load_with("asn: {source: dns, zones: {origin4: o.corp.example, names: as.corp.example.}}", &[]).unwrap();
    let registry = registry(&config, "a").unwrap();
    let Registry::Zones(zones) = &*registry else { panic!("{registry:?}") };
    assert_eq!(zones.of_address([216, 90, 108, 31].into()), "31.108.90.216.o.corp.example.");
    assert_eq!(zones.of_address(address), "b.1.8.0.1.0.0.4.0.5.4.1.0.0.a.2.origin6.asn.cymru.com.");
    assert_eq!(zones.of_system(7), "AS7.as.corp.example.");
}

#[test]
fn a_table_and_a_database_are_read_at_load() {
    let table = "# ours\n192.0.2.0/24 64500 One, Inc\n2001:db8::/32\tAS64501\n";
    let config = load_with("asn: {table: as.txt}", &[("as.txt", table.as_bytes())]).unwrap();
    let registry_of_a = registry(&config, "a").unwrap();
    let Registry::Table(origins) = &*registry_of_a else { panic!("{registry_of_a:?}") };
    let one = AutonomousSystem { number: 64_500, name: Some("One, Inc".to_owned()) };
    assert_eq!(origins.of([192, 0, 2, 9].into()), [one]);

    let long = "a name that needs a length of its own, since it is long";
    let geolite = database(
        "GeoLite2-ASN",
        &[
            (
                "192.0.2.0",
                24,
                &[
                    ("autonomous_system_number", Value::Number(64_500)),
                    ("autonomous_system_organization", Value::Text("One")),
                ],
            ),
            (
                "2001:db8::",
                32,
                &[
                    ("autonomous_system_number", Value::Number(4_200_000_000)),
                    ("autonomous_system_organization", Value::Text(long)),
                ],
            ),
        ],
    );
    let ipinfo = database(
        "ipinfo generic_asn_free.mmdb",
        &[
            (
                "192.0.2.0",
                24,
                &[
                    ("asn", Value::Text("AS64500")),
                    ("as_name", Value::Text("One")),
                    ("domain", Value::Text("one.example")),
                ],
            ),
            ("2001:db8::", 32, &[("asn", Value::Text("AS4200000000")), ("name", Value::Text(long))]),
        ],
    );
    for file in [geolite, ipinfo] {
        let config = load_with("asn: {mmdb: as.mmdb}", &[("as.mmdb", &file)]).unwrap();
        let registry = registry(&config, "a").unwrap();
        let Registry::Database(database) = &*registry else { panic!("{registry:?}") };
        let system = |number, name: &str| Some(AutonomousSystem { number, name: Some(name.to_owned()) });
        assert_eq!(database.of([192, 0, 2, 9].into()), system(64_500, "One"));
        assert_eq!(database.of("2001:db8::1".parse().unwrap()), system(4_200_000_000, long));
        assert_eq!(database.of([192, 0, 3, 9].into()), None);
        assert_eq!(database.of("2001:db9::1".parse().unwrap()), None);
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_line() {
    let one_of = "3: asn: exactly one of these must be there: source, table, mmdb (source: dns)";
    assert_eq!(error("\nasn: {}", &[]), one_of);
    assert_eq!(error("\nasn: {source: dns, table: x}", &[]), one_of);
    assert_eq!(error("asn: {source: whois}", &[]), "2: asn.source: \"whois\" is not known; known: dns");
    assert_eq!(
        error("asn: {source: dns, zone: x}", &[]),
        "2: asn.zone: unknown key; known keys: source, table, mmdb, zones"
    );
    assert_eq!(
        error("asn: {source: dns, zones: {origin: x}}", &[]),
        "2: asn.zones.origin: unknown key; known keys: origin4, origin6, names"
    );
    assert_eq!(
        error("asn: {source: dns, zones: {origin4: a..b}}", &[]),
        "2: asn.zones.origin4: \"a..b\" is no name: it has an empty label: two dots in a row, or one at its beginning"
    );
    let long = vec!["a".repeat(60); 4].join(".");
    let found = error(&format!("asn: {{source: dns, zones: {{origin6: {long}}}}}"), &[]);
    assert!(found.starts_with("2: asn.zones.origin6: \"aaa") && found.contains("cannot be asked, as in "), "{found}");
    assert_eq!(
        error("asn: {table: as.txt}", &[]),
        "2: asn.table: \"as.txt\" cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(
        error("asn: {table: as.txt, zones: {names: x}}", &[("as.txt", b"::/0 1")]),
        "2: asn.zones: are asked with source: dns only; leave them out"
    );
    let wrong = "192.0.2.0/24 64500\n\n192.0.2.1/24 64500\nsomebody\n";
    assert_eq!(
        error("asn: {table: as.txt}", &[("as.txt", wrong.as_bytes())]),
        "2: asn.table: \"as.txt\", line 3: \"192.0.2.1/24\" has bits set behind its length; the network is 192.0.2.0/24\n\
         2: asn.table: \"as.txt\", line 4: \"somebody\" is no prefix (192.0.2.0/24, 2001:db8::/32)"
    );
    let many = error("asn: {table: as.txt}", &[("as.txt", "nothing\n".repeat(50).as_bytes())]);
    assert_eq!(many.lines().count(), 11);
    assert!(many.ends_with("asn.table: \"as.txt\": 40 more lines are wrong"), "{many}");
    assert_eq!(
        error("asn: {table: as.txt}", &[("as.txt", b"")]),
        "2: asn.table: \"as.txt\", line 1: has no line with a prefix and a number"
    );
    let binary = error("asn: {table: as.txt}", &[("as.txt", b"\xff")]);
    assert!(binary.starts_with("2: asn.table: \"as.txt\" is not UTF-8"), "{binary}");
    let garbage = error("asn: {mmdb: as.mmdb}", &[("as.mmdb", b"garbage")]);
    assert!(garbage.starts_with("2: asn.mmdb: is no MaxMind database: "), "{garbage}");
    let city = database("GeoLite2-City", &[("192.0.2.0", 24, &[("city", Value::Text("Seoul"))])]);
    assert_eq!(
        error("asn: {mmdb: as.mmdb}", &[("as.mmdb", &city)]),
        "2: asn.mmdb: tells no numbers of autonomous systems: it is of type \"GeoLite2-City\", not GeoLite2-ASN, say"
    );
}

/// A file that is cut anywhere is refused, or tells less; nothing panics.
#[test]
fn a_database_that_is_cut_or_bent_makes_nothing_panic() {
    let fields: &[(&str, Value<'_>)] = &[("autonomous_system_number", Value::Number(64_500))];
    let whole = database("GeoLite2-ASN", &[("192.0.2.0", 24, fields), ("2001:db8::", 32, fields)]);
    let look = |content: Vec<u8>| {
        if let Ok(database) = uplink_exporter::probe::identity::Database::new(content) {
            let _ = database.of([192, 0, 2, 9].into());
            let _ = database.of("2001:db8::1".parse().unwrap());
        }
    };
    for at in 0..whole.len() {
        look(whole[..at].to_vec());
        for value in [0, 0x7f, 0xff] {
            let mut bent = whole.clone();
            bent[at] = value;
            look(bent);
        }
    }
}

#[test]
fn another_table_is_a_change_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (path, table) = (folder.path().join("probes.yml"), folder.path().join("as.txt"));
    fs::write(&path, format!("{MODULES}asn: {{table: as.txt}}")).unwrap();
    fs::write(&table, "192.0.2.0/24 64500").unwrap();
    let store = Store::open(&path).unwrap();
    assert!(!store.changed());
    fs::write(&table, "192.0.2.0/24 64501").unwrap();
    assert!(store.changed());
    store.reload().unwrap();
    let registry = registry(&store.current(), "a").unwrap();
    let Registry::Table(origins) = &*registry else { panic!("{registry:?}") };
    assert_eq!(origins.of([192, 0, 2, 9].into())[0].number, 64_501);
}

#[test]
fn a_module_that_is_made_anew_keeps_its_registry() {
    let folder = tempfile::tempdir().unwrap();
    let (path, body) = (folder.path().join("probes.yml"), folder.path().join("body"));
    let text = "modules: {a: {prober: traceroute, http: {method: POST, body_file: body}}}\nasn: {source: dns}\n";
    fs::write(&path, text).unwrap();
    fs::write(&body, "1").unwrap();
    let store = Store::open(&path).unwrap();
    fs::write(&body, "another").unwrap();
    let module = Arc::clone(&store.current().modules["a"]);
    assert!(store.is_stale(&module));
    let renewed = store.fresh(&module).unwrap();
    assert!(!Arc::ptr_eq(&module, &renewed));
    assert!(registry(&store.current(), "a").is_some());
}

#[test]
fn the_section_is_shown_as_it_is() {
    let config = load_with("asn: {source: dns, zones: {names: as.corp.example}}", &[]).unwrap();
    assert!(
        config.to_yaml().ends_with("asn:\n  source: dns\n  zones:\n    names: as.corp.example\n"),
        "{}",
        config.to_yaml()
    );
}
