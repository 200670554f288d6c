//! What blackbox_exporter refuses is refused, and what it takes is taken, unless no probe could succeed with it or it says something
//! else than what it means. Debian's is the witness; it is older than what modules are written for, and some fields it has not yet.

mod support;

use std::process::{Command, Stdio};

use Word::{Looser, Refused, Stricter, Taken};
use support::program;
use uplink_exporter::config::load_str;

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
    ("prober: icmp, icmp: {preferred_ip_protocol: ipv4}", Stricter("any such word would be ip4, ipv6 too")),
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
    ("prober: tcp, tcp: {query_response: [{expect_bytes: a}]}", Looser("a field of 0.28")),
    ("prober: tcp, tcp: {query_response: [{send_bytes: a}]}", Looser("a field of ours")),
    // TLS.
    ("prober: tcp, tcp: {tls_config: }", Taken),
    ("prober: tcp, tcp: {tls_config: {ca_file: '', cert_file: '', key_file: '', server_name: ''}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: TLS12, max_version: TLS13}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: ~}}", Taken),
    ("prober: tcp, tcp: {tls_config: {min_version: ''}}", Refused),
    ("prober: tcp, tcp: {tls_config: {min_version: '1.2'}}", Refused),
    ("prober: tcp, tcp: {tls_config: {insecure: true}}", Refused),
    ("prober: tcp, tcp: {tls_config: {cert_file: /etc/hostname}}", Stricter("0.28 refuses it, too")),
    ("prober: tcp, tcp: {tls_config: {key_file: /etc/hostname}}", Stricter("0.28 refuses it, too")),
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

#[test]
fn what_blackbox_exporter_says_of_a_configuration_is_said_here() {
    let modules = MODULES.iter().map(|(module, word)| (format!("modules: {{m: {{{module}}}}}\n"), *word));
    let cases = FILES.iter().map(|(file, word)| ((*file).to_owned(), *word)).chain(modules);
    let cases: Vec<(String, Word)> = cases.collect();
    for (text, word) in &cases {
        let ours = load_str(text, "blackbox.yml").map(drop);
        assert_eq!(ours.is_ok(), matches!(word, Taken | Looser(_)), "{text}: {ours:?}");
        if let Err(errors) = ours {
            assert!(errors.0.iter().all(|problem| problem.line.is_some() || text.len() < 20), "{text}: {errors}");
        }
    }
    let Some(peer) = program("prometheus-blackbox-exporter") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackbox.yml");
    let mut wrong = Vec::new();
    for (text, word) in &cases {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&peer);
        command.arg("--config.check").arg(format!("--config.file={}", file.display())).current_dir(folder.path());
        let theirs = command.stderr(Stdio::null()).status().unwrap().success();
        if theirs != matches!(word, Taken | Stricter(_)) {
            wrong.push(format!("{text:?} is taken: {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "of what blackbox_exporter says, this is otherwise: {}", wrong.join("\n"));
}
