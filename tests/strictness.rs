//! What blackbox_exporter refuses is refused, and what it takes is taken, unless no probe could succeed with it or it says something
//! else than what it means.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "strictness/fields.rs"]
mod fields;
#[path = "strictness/listed.rs"]
mod listed;
#[path = "strictness/newer.rs"]
mod newer;
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use Word::{Looser, Refused, Stricter, Taken};
use fields::{FIELDS, STRICTER, VALUES};
use listed::LISTED;
use newer::NEWER;
use support::peer::{Peer, Version};
use support::tls::Authority;
use uplink_exporter::config::load;

/// What the two say of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Both take it.
    Taken,
    /// Both refuse it.
    Refused,
    /// Only we refuse it, and why.
    Stricter(&'static str),
    /// Only we take it, and why.
    Looser(&'static str),
}

const FILES: &[(&str, Word)] = &[
    ("", Refused),
    ("# nothing\n", Refused),
    ("{}", Taken),
    ("~", Taken),
    ("---\n", Taken),
    ("modules:\n", Taken),
    ("modules: {}\n", Taken),
    ("modules: {}\n...\n", Taken),
    ("%YAML 1.1\n---\nmodules: {}\n", Taken),
    ("modules: {}\n---\nmodules: {}\n", Stricter("the second document would not count")),
    ("modules: {a: }\n", Stricter("every probe of it would be answered with 400")),
    ("modules: {5: {prober: icmp}}\n", Taken),
    ("modules: [a]\n", Refused),
    ("modules: a\n", Refused),
    ("modules: {a: [b]}\n", Refused),
    ("modules: {a: b}\n", Refused),
    ("[a]", Refused),
    ("a", Refused),
    ("module: {}\n", Refused),
    ("modules: {a: {prober: icmp}, a: {prober: icmp}}\n", Refused),
    ("modules:\n  a:\n    prober: icmp\n    prober: icmp\n", Refused),
    ("modules:\n\ta: {prober: icmp}\n", Refused),
    ("modules: {a: &a {prober: icmp}, b: *a, c: {<<: *a, timeout: 1s}, d: {<<: [*a, {timeout: 1s}]}}\n", Taken),
    ("modules: {a: *a}\n", Refused),
    ("modules: {a: {<<: b, prober: icmp}}\n", Refused),
    ("modules: {a: {<<: {prober: icmp}, <<: {timeout: 1s}}}\n", Refused),
    ("base: &a {prober: icmp}\nmodules: {a: *a}\n", Refused),
    ("modules: {a: {prober: icmp}}\ndc: a\n", Looser("a field of ours")),
];

const MODULES: &[(&str, Word)] = &[
    ("prober: icmp", Taken),
    ("prober: ping", Stricter("every probe of it would be answered with 400")),
    ("prober: ICMP", Stricter("every probe of it would be answered with 400")),
    ("timeout: 1s", Stricter("every probe of it would be answered with 400")),
    ("prober: icmp, timeout: 1s, icmp: ", Taken),
    ("prober: icmp, time_out: 1s", Refused),
    // Sections of other probers.
    ("prober: icmp, tcp: {tls: true}, http: {method: POST}", Taken),
    ("prober: icmp, tcp: {tlsa: true}", Refused),
    ("prober: tcp, icmp: {ttl: 300}", Refused),
    ("prober: tcp, tcp: , icmp: ", Taken),
    // Durations.
    ("prober: icmp, timeout: 1m", Taken),
    ("prober: icmp, timeout: 1h30m", Taken),
    ("prober: icmp, timeout: 1.5s", Taken),
    ("prober: icmp, timeout: 500ms", Taken),
    ("prober: icmp, timeout: 5000us", Taken),
    ("prober: icmp, timeout: 5000µs", Taken),
    ("prober: icmp, timeout: .5s", Taken),
    ("prober: icmp, timeout: +5s", Taken),
    ("prober: icmp, timeout: 0s", Taken),
    ("prober: icmp, timeout: '5s'", Taken),
    ("prober: icmp, timeout: '0'", Taken),
    ("prober: icmp, timeout: ~", Taken),
    ("prober: icmp, timeout: 9223372036s", Taken),
    ("prober: icmp, timeout: 9223372037s", Refused),
    ("prober: icmp, timeout: 0", Refused),
    ("prober: icmp, timeout: 5", Refused),
    ("prober: icmp, timeout: '5'", Refused),
    ("prober: icmp, timeout: ''", Refused),
    ("prober: icmp, timeout: 1e3s", Refused),
    ("prober: icmp, timeout: 30 s", Refused),
    ("prober: icmp, timeout: '5s '", Refused),
    ("prober: icmp, timeout: 1m30", Refused),
    ("prober: icmp, timeout: 5S", Refused),
    ("prober: icmp, timeout: [5s]", Refused),
    ("prober: icmp, timeout: 1d", Looser("its documentation promises it")),
    ("prober: icmp, timeout: 1w", Looser("its documentation promises it")),
    ("prober: icmp, timeout: 1y", Looser("its documentation promises it")),
    ("prober: icmp, timeout: -5s", Stricter("it would not count")),
    ("prober: icmp, timeout: 5us", Stricter("no probe ends in that time")),
    // Truth values.
    ("prober: tcp, tcp: {tls: true, ip_protocol_fallback: no}", Taken),
    ("prober: tcp, tcp: {tls: True, ip_protocol_fallback: FALSE}", Taken),
    ("prober: tcp, tcp: {tls: Yes, ip_protocol_fallback: Off}", Taken),
    ("prober: tcp, tcp: {tls: y, ip_protocol_fallback: N}", Taken),
    ("prober: tcp, tcp: {tls: ~}", Taken),
    ("prober: tcp, tcp: {tls: 'yes'}", Taken),
    ("prober: tcp, tcp: {tls: !!bool 'true'}", Taken),
    ("prober: tcp, tcp: {tls: 'true'}", Refused),
    ("prober: tcp, tcp: {tls: !!str true}", Refused),
    ("prober: tcp, tcp: {tls: 1}", Refused),
    ("prober: tcp, tcp: {tls: tRUE}", Refused),
    ("prober: tcp, tcp: {tls: ''}", Refused),
    ("prober: tcp, tcp: {tls: [true]}", Refused),
    // Whole numbers.
    ("prober: icmp, icmp: {payload_size: 5}", Taken),
    ("prober: icmp, icmp: {payload_size: 0x1F}", Taken),
    ("prober: icmp, icmp: {payload_size: 0X1F}", Taken),
    ("prober: icmp, icmp: {payload_size: 0o17}", Taken),
    ("prober: icmp, icmp: {payload_size: 0b11}", Taken),
    ("prober: icmp, icmp: {payload_size: 1_0}", Taken),
    ("prober: icmp, icmp: {payload_size: +5}", Taken),
    ("prober: icmp, icmp: {payload_size: 5.0}", Taken),
    ("prober: icmp, icmp: {payload_size: 1e3}", Taken),
    ("prober: icmp, icmp: {payload_size: !!int '5'}", Taken),
    ("prober: icmp, icmp: {payload_size: ~}", Taken),
    ("prober: icmp, icmp: {payload_size: '5'}", Refused),
    ("prober: icmp, icmp: {payload_size: _10}", Refused),
    ("prober: icmp, icmp: {payload_size: five}", Refused),
    ("prober: icmp, icmp: {payload_size: [5]}", Refused),
    ("prober: icmp, icmp: {payload_size: 017}", Stricter("it is octal to some and decimal to others")),
    ("prober: icmp, icmp: {payload_size: 5.7}", Stricter("the fraction would not count")),
    ("prober: icmp, icmp: {payload_size: -1}", Stricter("every probe would panic")),
    ("prober: icmp, icmp: {payload_size: 65508}", Stricter("no packet is so long")),
    ("prober: icmp, icmp: {ttl: 0}", Taken),
    ("prober: icmp, icmp: {ttl: 255}", Taken),
    ("prober: icmp, icmp: {ttl: -1}", Refused),
    ("prober: icmp, icmp: {ttl: 256}", Refused),
    // Texts, lists and mappings.
    ("prober: icmp, icmp: {preferred_ip_protocol: ip4}", Taken),
    ("prober: icmp, icmp: {preferred_ip_protocol: ''}", Taken),
    ("prober: icmp, icmp: {preferred_ip_protocol: ipv4}", Taken),
    ("prober: icmp, icmp: {preferred_ip_protocol: IP4}", Taken),
    ("prober: icmp, icmp: {preferred_ip_protocol: IP6}", Stricter("any such word would be ip4, ipv6 too")),
    ("prober: icmp, icmp: {source_ip_address: 192.0.2.1}", Taken),
    ("prober: icmp, icmp: {source_ip_address: ''}", Taken),
    ("prober: icmp, icmp: {source_ip_address: ~}", Taken),
    ("prober: icmp, icmp: {source_ip_address: !!binary MTkyLjAuMi4x}", Taken),
    ("prober: icmp, icmp: {source_ip_address: !!binary '?'}", Refused),
    ("prober: icmp, icmp: {source_ip_address: eth0}", Stricter("no probe could leave")),
    (
        "prober: icmp, icmp: {source_ip_address: 192.0.2.1, ip_protocol_fallback: false}",
        Stricter("no probe could leave"),
    ),
    ("prober: icmp, icmp: {source_ip_address: [192.0.2.1]}", Refused),
    ("prober: icmp, icmp: [ttl]", Refused),
    ("prober: icmp, icmp: ttl", Refused),
    ("prober: http, http: {headers: {X: true, Y: 5, Z: }}", Taken),
    ("prober: http, http: {headers: [X]}", Refused),
    ("prober: http, http: {source_ip_address: 192.0.2.1}", Refused),
    // Conversations.
    ("prober: tcp, tcp: {query_response: }", Taken),
    ("prober: tcp, tcp: {query_response: []}", Taken),
    ("prober: tcp, tcp: {query_response: [~, {expect: a}, ]}", Taken),
    ("prober: tcp, tcp: {query_response: [{expect: 5, send: true}, {expect: ~}, {expect: ''}]}", Taken),
    ("prober: tcp, tcp: {query_response: [{expect: !!binary Xg==, send: !!binary AAA=}]}", Taken),
    ("prober: tcp, tcp: {query_response: [{expect: !!binary '?'}]}", Refused),
    ("prober: tcp, tcp: {query_response: [{expect: !!binary /w==}]}", Refused),
    ("prober: tcp, tcp: {query_response: [{expect: [a]}]}", Refused),
    ("prober: tcp, tcp: {query_response: {expect: a}}", Refused),
    ("prober: tcp, tcp: {query_response: a}", Refused),
    ("prober: tcp, tcp: {query_response: [{expects: a}]}", Refused),
    ("prober: tcp, tcp: {query_response: [{expect: '('}]}", Refused),
    ("prober: tcp, tcp: {query_response: [{starttls: true}, {starttls: true}]}", Stricter("every probe would panic")),
    ("prober: tcp, tcp: {query_response: [{send_bytes: a}]}", Looser("a field of ours")),
    // TLS.
    ("prober: tcp, tcp: {tls_config: }", Taken),
    ("prober: tcp, tcp: {tls_config: {ca_file: '', cert_file: '', key_file: '', server_name: ''}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: TLS12, max_version: TLS13}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: ~}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: ''}}", Refused),
    ("prober: tcp, tcp: {tls_config: {min_version: '1.2'}}", Refused),
    ("prober: tcp, tcp: {tls_config: {insecure: true}}", Refused),
    ("prober: tcp, tcp: {tls_config: {ca_file: no-such-file}}", Stricter("no handshake would be tried")),
    ("prober: tcp, tcp: {tls_config: {min_version: TLS13, max_version: TLS12}}", Stricter("no handshake could end")),
    ("prober: tcp, tcp: {tls_config: {max_version: TLS11}}", Stricter("rustls does not speak it")),
    ("prober: dns", Taken),
    ("prober: dns, dns: ", Taken),
    ("prober: dns, dns: {}", Refused),
    ("prober: icmp, dns: {}", Refused),
    ("prober: dns, dns: {query_name: ''}", Refused),
    ("prober: dns, dns: {query_name: a}", Taken),
    ("prober: dns, dns: {query_name: a..b}", Stricter("no message can carry it")),
    ("prober: dns, dns: {query_name: a, query_type: HTTPS, query_class: CH, recursion_desired: no}", Taken),
    ("prober: dns, dns: {query_name: a, query_type: '', query_class: '', transport_protocol: ''}", Taken),
    ("prober: dns, dns: {query_name: a, query_type: a}", Refused),
    ("prober: dns, dns: {query_name: a, query_class: INTERNET}", Refused),
    ("prober: dns, dns: {query_name: a, valid_rcodes: [NXDOMAIN, NOTIMPL]}", Taken),
    ("prober: dns, dns: {query_name: a, valid_rcodes: [nxdomain]}", Stricter("every probe would fail")),
    ("prober: dns, dns: {query_name: a, valid_rcodes: []}", Stricter("every probe would fail")),
    ("prober: dns, dns: {query_name: a, transport_protocol: quic}", Stricter("every probe would fail")),
    ("prober: dns, dns: {query_name: a, transport_protocol: tcp, dns_over_tls: true}", Taken),
    ("prober: dns, dns: {query_name: a, dns_over_tls: true}", Stricter("every probe would fail")),
    (
        "prober: dns, dns: {query_name: a, validate_answer_rrs: {fail_if_matches_regexp: ['(']}}",
        Stricter("every probe would fail"),
    ),
    ("prober: dns, dns: {query_name: a, validate_answer_rrs: {fail_if_matches: [a]}}", Refused),
    ("prober: dns, dns: {query_name: a, source_ip_address: 10.0.0.256}", Stricter("every probe would fail")),
    ("prober: dns, dns: {query_name: a, edns_udp_size: 1232}", Looser("a field of ours")),
];

/// A folder with the files that configurations name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the authority");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    authority.client("client", Vec::new()).write(folder.path(), "client");
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    // A key that rcgen makes none of.
    if let Some(openssl) = support::program("openssl") {
        let arguments = "req -x509 -newkey rsa:1024 -nodes -subj /CN=short -keyout short.key -out short.pem";
        let output = Command::new(openssl).args(arguments.split(' ')).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}

#[test]
fn what_blackbox_exporter_says_of_a_configuration_is_said_here() {
    let peer = Peer::find();
    let folder = folder();
    let file = folder.path().join("blackbox.yml");
    let module = |module: &str| format!("modules: {{m: {{{module}}}}}\n");
    let files = FILES.iter().map(|(text, word)| ((*text).to_owned(), *word, None));
    let modules = MODULES.iter().map(|(text, word)| (module(text), *word, None));
    let newer = NEWER.iter().map(|(since, text, word)| (module(text), *word, Some(*since)));
    let (mut wrong, mut skipped) = (Vec::new(), 0);
    let why = |listed: &listed::Listed| Stricter(listed.row[2]);
    let listed = LISTED.iter().flat_map(|listed| {
        let files = listed.files.iter().map(|text| (*text).to_owned());
        let texts = files.chain(listed.modules.iter().map(|text| module(text)));
        texts.map(move |text| (text, why(listed), Some(Version(0, 28))))
    });
    for (text, word, since) in files.chain(modules).chain(newer).chain(listed) {
        std::fs::write(&file, &text).unwrap();
        let ours = load(&file).map(drop);
        if ours.is_ok() != matches!(word, Taken | Looser(_)) {
            wrong.push(format!("{text:?} is here {ours:?}"));
        }
        if let Err(errors) = ours {
            assert!(errors.0.iter().all(|problem| problem.line.is_some() || text.len() < 20), "{text}: {errors}");
        }
        match &peer {
            Some(peer) if since.is_none_or(|since| since <= peer.version) => {
                let theirs = peer.check(&file);
                if theirs != Some(i32::from(!matches!(word, Taken | Stricter(_)))) {
                    wrong.push(format!("{text:?} ends there with {theirs:?}"));
                }
            }
            Some(_) => skipped += 1,
            None => {}
        }
    }
    assert!(wrong.is_empty(), "not as listed:\n{}", wrong.join("\n"));
    if let (Some(peer), 1..) = (peer, skipped) {
        support::tell(&format!("{skipped} configurations have what blackbox_exporter {} has not yet", peer.version));
    }
}

#[test]
fn the_readme_has_what_is_refused_here_only() {
    let mut table = "| | blackbox_exporter | why it is refused |\n|---|---|---|\n".to_owned();
    for listed in LISTED {
        writeln!(table, "| {} |", listed.row.join(" | ")).unwrap();
    }
    assert!(include_str!("../README.md").contains(&table), "the README's table must be:\n{table}");
}

#[test]
fn every_field_takes_the_values_that_blackbox_exporter_takes() {
    let Some(peer) = Peer::find() else { return };
    if peer.version < Version(0, 28) {
        return support::tell(&format!(
            "blackbox_exporter {} has not all fields, and is not asked for each",
            peer.version
        ));
    }
    let folder = folder();
    let cases: Vec<_> = FIELDS
        .iter()
        .flat_map(|(name, module)| VALUES.iter().map(move |value| (*name, *value, module.replace("VALUE", value))))
        .collect();
    let wrong = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for (n, cases) in cases.chunks(cases.len().div_ceil(threads)).enumerate() {
            let file = folder.path().join(format!("{n}.yml"));
            let (peer, wrong) = (&peer, &wrong);
            scope.spawn(move || {
                for (name, value, module) in cases {
                    if let Some(what) = compare(peer, &file, name, value, module) {
                        wrong.lock().unwrap().push(format!("{name}: {value} is {what}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "not as listed:\n{}", wrong.join("\n"));
}

/// What is otherwise than listed of a value of a field.
fn compare(peer: &Peer, file: &Path, name: &str, value: &str, module: &str) -> Option<String> {
    std::fs::write(file, format!("modules: {{m: {{{module}}}}}\n")).unwrap();
    let listed = STRICTER.iter().any(|(fields, values, _)| fields.contains(&name) && values.contains(&value));
    match (peer.check(file), load(file).map(drop), listed) {
        (Some(0), Ok(()), false) | (Some(1), Err(_), false) | (Some(0), Err(_), true) => None,
        (theirs, ours, listed) => Some(format!("{theirs:?} there and {ours:?} here; listed: {listed}")),
    }
}
