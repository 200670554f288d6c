//! Configurations: the sample is right, and everything that can be wrong is told with its place.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

use std::path::Path;
use std::time::Duration;

use uplink_exporter::config::{load, load_str};
use uplink_exporter::net::Family;
use uplink_exporter::probe::dns::Transport;
use uplink_exporter::probe::tcp::Open;
use uplink_exporter::probe::traceroute::Protocol;
use uplink_exporter::probe::{Prober, stun};

/// Every `tests/fixtures/config/*.yml` is wrong; the file `*.errors` beside it says what must be told of it.
/// With UPDATE_FIXTURES=1 in the environment, the files are written instead.
#[test]
fn every_wrong_configuration_has_its_exact_messages() {
    let folder = Path::new("tests/fixtures/config");
    let mut checked = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let found = match load_str(&text, name) {
            Ok(_) => panic!("{name} loads"),
            Err(errors) => format!("{errors}\n"),
        };
        assert!(!found.contains("s3cret"), "{name} tells a secret:\n{found}");
        let expected = path.with_extension("errors");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}");
        checked += 1;
    }
    assert!(checked > 30, "{checked} fixtures");
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_told() {
    let errors = load(Path::new("tests/no-such.yml")).unwrap_err();
    assert_eq!(errors.to_string(), "tests/no-such.yml: cannot be read: No such file or directory (os error 2)");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"modules: {\xff: 1}").unwrap();
    let errors = load(file.path()).unwrap_err();
    assert!(errors.to_string().contains(": is not UTF-8: invalid utf-8 sequence of 1 bytes from index 10"), "{errors}");
}

#[test]
fn the_sample_configuration_is_right() {
    let config = load(Path::new("probes.yml")).unwrap();
    let modules: Vec<_> = config.modules.keys().map(String::as_str).collect();
    assert_eq!(
        modules,
        ["dns", "grpc", "http_2xx", "icmp", "stun", "tcp_connect", "tcp_half_open", "traceroute", "unix", "websocket"]
    );
    assert!(!config.isps.is_empty() && config.isps.values().all(|isp| !isp.source.is_unbound()));
}

#[test]
fn what_is_written_is_what_is_meant() {
    let text = r#"
dc: dc1
isps:
  a: {source_ip: 192.0.2.1, source_ip6: "2001:db8::1", resolvers: [9.9.9.9, "[2620:fe::fe]:5353"]}
  b: {interface: eth1, fwmark: 0x65, dc: dc2}
base: &base {preferred_ip_protocol: ip4, ip_protocol_fallback: no}
modules: {}
"#;
    let errors = load_str(text, "x.yml").unwrap_err();
    assert_eq!(errors.to_string(), "x.yml:6: base: unknown key; known keys: dc, asn, isps, modules");

    let text = r#"
dc: dc1
isps:
  a: {source_ip: 192.0.2.1, source_ip6: "2001:db8::1", resolvers: [9.9.9.9, "[2620:fe::fe]:5353"]}
  b: {interface: eth1, fwmark: 0x65, dc: dc2, networks: [100.64.0.0/10, "2001:db8:b::/48", 192.0.2.9], asns: [4766, 64_512]}
modules:
  web:
    prober: http
    timeout: 1m30s
    isp: a
    http: &http
      method: POST
      headers: {X: true, Y: 5, Z:, host: example.net}
      body: !!binary aGVsbG8=
      valid_status_codes: [200, 404]
      valid_http_versions: [HTTP/1.1, HTTP/2]
      follow_redirects: off
      enable_http2: No
      fail_if_ssl: yes
      preferred_ip_protocol: ip4
  web2: {prober: http, timeout: 0s, resolvers: [9.9.9.9, "[2620:fe::fe]:5353"], http: {<<: *http, method: HEAD}}
  plain: {prober: http, http: }
  smtp:
    prober: tcp
    tcp:
      query_response:
        - {expect: "^220 (.*)", labels: [{name: banner, value: "${1}"}], send: EHLO x}
        - starttls: true
        - send: !!binary AAAACATSFi8=
  half: {prober: tcp, tcp: {half_open: true, raw: true}}
  ping: {prober: icmp}
  ping0: {prober: icmp, icmp: {ttl: 0, count: 10, interval: 1s, payload_size: 1_000, raw: false}}
  trace: {prober: traceroute, traceroute: {protocol: tcp}}
  names:
    prober: dns
    http: *http
    dns: &dns
      query_name: WWW.example
      query_type: HTTPS
      query_class: CH
      recursion_desired: false
      transport_protocol: tcp
      dns_over_tls: true
      valid_rcodes: [NXDOMAIN, NOTIMPL]
      edns_udp_size: 1232
      source_ip_address: 2001:db8::1
      validate_answer_rrs: {fail_if_matches_regexp: [a, b], fail_if_none_matches_regexp: [""]}
  names2: {prober: dns, dns: {<<: *dns, transport_protocol: https, dns_over_tls: false}}
  root: {prober: dns}
"#;
    let config = load_str(text, "x.yml").unwrap();
    let (a, b) = (&config.isps["a"], &config.isps["b"]);
    assert_eq!((a.site.as_str(), b.site.as_str()), ("dc1", "dc2"));
    assert_eq!(a.resolvers, ["9.9.9.9:53".parse().unwrap(), "[2620:fe::fe]:5353".parse().unwrap()]);
    assert_eq!((b.source.mark, b.source.interface.as_deref()), (Some(101), Some("eth1")));

    let networks: Vec<_> = b.territory.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["100.64.0.0/10", "2001:db8:b::/48", "192.0.2.9/32"]);
    assert_eq!((b.territory.asns.as_slice(), &a.territory), (&[4766, 64_512][..], &Default::default()));

    let Prober::Http(web) = &config.modules["web"].prober else { panic!("web") };
    assert_eq!(config.modules["web"].timeout, Some(Duration::from_secs(90)));
    assert_eq!(config.modules["web"].isp.as_deref(), Some("a"));
    let headers: Vec<_> = web.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("x", "true"), ("y", "5"), ("z", "")]);
    assert_eq!((web.host.as_deref(), &web.body[..]), (Some("example.net"), &b"hello"[..]));
    assert_eq!((web.method.as_str(), &web.expectations.status_codes[..]), ("POST", &[200, 404][..]));
    assert_eq!(web.expectations.versions, ["HTTP/1.1", "HTTP/2.0"]);
    assert!(!web.follow_redirects && !web.enable_http2 && web.expectations.no_tls && !web.expectations.tls);
    assert_eq!((web.preference.family, web.preference.fallback), (Family::V4, true));

    let Prober::Http(web) = &config.modules["web2"].prober else { panic!("web2") };
    assert_eq!((web.method.as_str(), &web.body[..]), ("HEAD", &b"hello"[..]));
    assert_eq!(config.modules["web2"].timeout, None);
    assert_eq!((&config.modules["web2"].resolvers, config.modules["web"].resolvers.len()), (&a.resolvers, 0));
    let Prober::Http(plain) = &config.modules["plain"].prober else { panic!("plain") };
    assert_eq!((plain.method.as_str(), plain.preference.family), ("GET", Family::V6));
    assert!(plain.follow_redirects && plain.enable_http2);

    let Prober::Tcp(smtp) = &config.modules["smtp"].prober else { panic!("smtp") };
    let Open::Full { tls: false, query_response, .. } = &smtp.open else { panic!("{:?}", smtp.open) };
    assert_eq!(query_response[0].labels, [("banner".to_owned(), "${1}".to_owned())]);
    assert_eq!(query_response[0].send.as_deref(), Some("EHLO x"));
    assert!(query_response[1].starttls);
    assert_eq!(query_response[2].send_bytes.as_deref(), Some(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f][..]));
    let Prober::Tcp(half) = &config.modules["half"].prober else { panic!("half") };
    assert!(matches!(half.open, Open::Half { raw: true }));

    let Prober::Icmp(ping) = &config.modules["ping"].prober else { panic!("ping") };
    assert_eq!((ping.count, ping.payload_size, ping.ttl, ping.raw), (1, 56, Some(64), None));
    let Prober::Icmp(ping) = &config.modules["ping0"].prober else { panic!("ping0") };
    assert_eq!((ping.count, ping.payload_size, ping.ttl, ping.raw), (10, 1000, None, Some(false)));
    let Prober::Traceroute(trace) = &config.modules["trace"].prober else { panic!("trace") };
    assert_eq!((trace.protocol, trace.port, trace.count, trace.max_hops), (Protocol::Tcp, 443, 3, 30));

    let Prober::Dns(names) = &config.modules["names"].prober else { panic!("names") };
    assert_eq!((names.transport, names.query.question().as_str()), (Transport::Tls, "WWW.example. CH HTTPS"));
    assert_eq!((names.query.recursion_desired, names.query.edns_udp_size), (false, Some(1232)));
    assert_eq!(
        (names.valid_rcodes.as_slice(), config.modules["names"].source.v6),
        (&[3, 4][..], "2001:db8::1".parse().ok())
    );
    assert_eq!((names.answer.fail_if_matches.len(), names.answer.fail_if_none_matches.len()), (2, 1));
    assert!(names.answer.fail_if_all_match.is_empty() && names.authority.fail_if_matches.is_empty());
    let Prober::Dns(names) = &config.modules["names2"].prober else { panic!("names2") };
    assert_eq!(names.transport, Transport::Https);
    let Prober::Dns(root) = &config.modules["root"].prober else { panic!("root") };
    assert_eq!((root.transport, root.query.question().as_str()), (Transport::Udp, ". IN ANY"));
    assert!(
        root.query.recursion_desired
            && root.query.edns_udp_size.is_none()
            && config.modules["root"].source.is_unbound()
    );
    assert_eq!(root.valid_rcodes, [0]);
}

#[test]
fn what_is_written_of_unix_grpc_and_websocket_is_what_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "\n t0ken \n").unwrap();
    let text = r#"
modules:
  local: {prober: unix, unix: {query_response: [{expect: "^220", send: QUIT}]}}
  secure: {prober: unix, unix: {tls: true, tls_config: {server_name: app.example}}}
  insecure: {prober: unix, unix: {query_response: [{starttls: yes}], tls_config: {insecure_skip_verify: true}}}
  bare: {prober: grpc}
  health:
    prober: grpc
    grpc:
      service: a.B
      tls: true
      preferred_ip_protocol: ip4
      ip_protocol_fallback: false
      metadata:
        Authorization: [Bearer x]
        x-key: [one, 2, true]
        empty: []
        text-bin: [text]
        bytes-bin: [!!binary //79]
  plain: {prober: websocket}
  chat:
    prober: websocket
    websocket:
      http_config:
        authorization: {type: Token, credentials_file: token}
        tls_config: {server_name: app.example}
        follow_redirects: false
        proxy_from_environment: false
      headers:
        Origin: {values: [https://a.example, https://b.example]}
        Host: {values: [virtual.example]}
        X-Key: {values: [1], secrets: [two], files: [token]}
      query_response:
        - {expect: "^hello (.*)", send: "hi ${1}"}
        - send: !!binary //79
        - send_bytes: text
  user: {prober: websocket, websocket: {http_config: {basic_auth: {username: me, password_file: token}}}}
  bearer: {prober: websocket, websocket: {http_config: {bearer_token: t0ken}}}
"#;
    let config = load_str(text, folder.path().join("x.yml").to_str().unwrap()).unwrap();
    let unix = |name: &str| match &config.modules[name].prober {
        Prober::Unix(settings) => settings,
        other => panic!("{other:?}"),
    };
    assert_eq!((unix("local").query_response[0].send.as_deref(), unix("local").tls), (Some("QUIT"), false));
    assert_eq!(unix("secure").tls_config.server_name.as_deref(), Some("app.example"));
    assert!(unix("secure").tls && unix("insecure").tls_config.insecure_skip_verify);

    let grpc = |name: &str| match &config.modules[name].prober {
        Prober::Grpc(settings) => settings,
        other => panic!("{other:?}"),
    };
    let bare = grpc("bare");
    assert_eq!((bare.service.as_str(), bare.tls, bare.metadata.len()), ("", false, 0));
    // A section that is not there has the defaults of one that is; in blackbox_exporter it has not.
    assert_eq!((bare.preference.family, bare.preference.fallback), (Family::V6, true));
    let health = grpc("health");
    assert_eq!((health.service.as_str(), health.tls), ("a.B", true));
    assert_eq!((health.preference.family, health.preference.fallback), (Family::V4, false));
    assert_eq!(health.tls_config.config.alpn_protocols, [b"h2"]);
    let metadata = [
        ("authorization", "Bearer x"),
        ("x-key", "one"),
        ("x-key", "2"),
        ("x-key", "true"),
        ("text-bin", "dGV4dA"),
        ("bytes-bin", "//79"),
    ];
    assert_eq!(pairs(&health.metadata), metadata);

    let websocket = |name: &str| match &config.modules[name].prober {
        Prober::Websocket(settings) => settings,
        other => panic!("{other:?}"),
    };
    let plain = websocket("plain");
    assert_eq!((plain.headers.len(), &plain.host, plain.query_response.len()), (0, &None, 0));
    assert_eq!((plain.preference.family, plain.preference.fallback), (Family::V6, true));
    let chat = websocket("chat");
    let headers = [
        ("origin", "https://a.example"),
        ("origin", "https://b.example"),
        ("x-key", "1"),
        ("x-key", "two"),
        ("x-key", "t0ken"),
        ("authorization", "Token t0ken"),
    ];
    assert_eq!(pairs(&chat.headers), headers);
    assert_eq!(chat.host.as_deref(), Some("virtual.example"));
    assert_eq!(chat.tls.server_name.as_deref(), Some("app.example"));
    let [hello, binary, bytes] = chat.query_response.as_slice() else { panic!("{:?}", chat.query_response) };
    assert_eq!((hello.expect.is_some(), hello.send.as_deref()), (true, Some("hi ${1}")));
    assert_eq!((&binary.send, binary.send_bytes.as_deref()), (&None, Some(&[0xff, 0xfe, 0xfd][..])));
    assert_eq!(bytes.send_bytes.as_deref(), Some(&b"text"[..]));
    assert_eq!(pairs(&websocket("user").headers), [("authorization", "Basic bWU6dDBrZW4=")]);
    assert_eq!(pairs(&websocket("bearer").headers), [("authorization", "Bearer t0ken")]);
}

#[expect(clippy::unwrap_used, reason = "a header that is not text ends the test")]
fn pairs(headers: &[(http::HeaderName, http::HeaderValue)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[test]
fn what_works_in_blackbox_exporter_is_taken() {
    let host = |text: &str| {
        let yaml = format!("modules: {{web: {{prober: http, http: {{headers: {{Host: {text}}}}}}}}}");
        let config = load_str(&yaml, "x.yml").unwrap();
        let Prober::Http(web) = &config.modules["web"].prober else { panic!("{text}") };
        web.host.clone()
    };
    let cases = [
        ("a_b.example", Some("a_b.example")),
        ("'a.example:8080'", Some("a.example:8080")),
        ("'[2001:db8::1]:80'", Some("[2001:db8::1]:80")),
        ("例え.jp", Some("xn--r8jz45g.jp")),
        ("'例え.jp:81'", Some("xn--r8jz45g.jp:81")),
        ("''", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(host(text).as_deref(), expected, "{text}");
    }
    for module in [
        "{body: hello, headers: {content-length: 5}}",
        "{headers: {Content-Length: 0}, method: POST}",
        "{fail_if_ssl: true, fail_if_not_ssl: false}",
        "{method: post}",
    ] {
        let loaded = load_str(&format!("modules: {{web: {{prober: http, http: {module}}}}}"), "x.yml");
        assert!(loaded.is_ok(), "{module}: {loaded:?}");
    }
}

const WRONG_IN_EVERY_WAY: &str = include_str!("fixtures/config/wrong_in_every_way.errors");

/// Certificates for the configuration with every field, in its folder; its text with them.
fn everything(folder: &Path) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["example.net".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let files = [("ca.pem", &certificate), ("certificate.pem", &certificate), ("key.pem", &key)];
    files.into_iter().for_each(|(name, pem)| std::fs::write(folder.join(name), pem).unwrap());
    std::fs::write(folder.join("secret"), "s3cret").unwrap();
    let quoted = |pem: &str| serde_json::Value::from(pem).to_string();
    let text = include_str!("fixtures/everything.yml");
    let text = text.replace("ca: CA", &format!("ca: {}", quoted(&certificate)));
    text.replace("cert: CERTIFICATE", &format!("cert: {}", quoted(&certificate)))
        .replace("key: KEY", &format!("key: {}", quoted(&key)))
}

#[test]
fn a_configuration_with_every_field_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probes.yml");
    let text = everything(folder.path());
    std::fs::write(&path, &text).unwrap();
    let config = load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(!config.to_yaml().contains("s3cret"), "{}", config.to_yaml());

    // Every key that is known anywhere is in it: a key that is not known tells which are.
    let (_, probers) = WRONG_IN_EVERY_WAY.split_once("\"pgin\" is not known; known: ").unwrap();
    let probers = probers.lines().next().unwrap().split(", ");
    let of_probers = probers.map(|prober| {
        let text = format!("modules: {{m: {{prober: {prober}, {prober}: {{zzz: 1}}}}}}");
        load_str(&text, "x.yml").unwrap_err().to_string()
    });
    let errors: Vec<String> = of_probers.chain([WRONG_IN_EVERY_WAY.to_owned()]).collect();
    let lines = errors.iter().flat_map(|errors| errors.lines());
    let sections: Vec<_> = lines.filter_map(|line| line.split_once("unknown key; known keys: ")).collect();
    assert!(sections.len() >= 4 + 8, "{errors:?}");
    for (place, keys) in sections {
        for key in keys.split(", ") {
            let found = text.match_indices(&format!("{key}:")).any(|(at, _)| text[..at].ends_with([' ', '{', '\n']));
            assert!(found, "everything.yml has no {key}, which is known in {place}");
        }
    }

    let module = |name: &str| &config.modules[name];
    assert!(["tcp", "dns"].into_iter().all(|name| module(name).source.v6 == "2001:db8::1".parse().ok()));
    assert_eq!((module("icmp").source.v4, module("icmp").source.v6), ("192.0.2.1".parse().ok(), None));
    assert!(["http", "shared", "icmp_bare"].into_iter().all(|name| module(name).source.is_unbound()));
    let sources: Vec<_> = config.sources().filter(|source| !source.is_unbound()).collect();
    assert_eq!(sources.len(), 2 + 7);
    let public_ips: Vec<_> = config.isps["b"].public_ips.iter().map(ToString::to_string).collect();
    assert_eq!(public_ips, ["203.0.113.7/32", "2001:db8:b:7::/64"]);
    let stun = |name: &str| match &module(name).prober {
        Prober::Stun(settings) => (settings.transport, settings.preference.family, settings.preference.fallback),
        other => panic!("{other:?}"),
    };
    assert_eq!(stun("stun"), (stun::Transport::Tcp, Family::V4, false));
    assert_eq!(stun("stun_bare"), (stun::Transport::Udp, Family::V6, true));
    let reads = ["http_public_ip", "http"].map(|name| match &module(name).prober {
        Prober::Http(settings) => settings.public_ip,
        other => panic!("{other:?}"),
    });
    assert_eq!(reads, [true, false]);
    let Prober::Icmp(shared) = &module("shared").prober else { panic!("shared") };
    assert_eq!(shared.ttl, None);
    let Prober::Tcp(tcp) = &module("tcp").prober else { panic!("tcp") };
    let Open::Full { query_response, .. } = &tcp.open else { panic!("tcp") };
    let sent: Vec<_> = query_response.iter().map(|step| (step.send.as_deref(), step.send_bytes.as_deref())).collect();
    let expected = [
        (None, None),
        (Some("EHLO prober"), None),
        (None, None),
        (None, Some(&b"STARTTLS\r\n"[..])),
        (None, Some(b"QUIT\r\n")),
    ];
    assert_eq!(sent, expected);
}

#[test]
fn files_are_sought_from_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("body.pem"), "").unwrap();
    let path = folder.path().join("probes.yml");
    let text = "modules: {web: {prober: http, http: {tls_config: {ca_file: none.pem}}}}";
    std::fs::write(&path, text).unwrap();
    let errors = load(&path).unwrap_err().to_string();
    assert!(errors.ends_with(
        "probes.yml:1: module \"web\": http.tls_config.ca_file: \"none.pem\" cannot be read: \
         No such file or directory (os error 2)"
    ));
}

#[test]
fn what_is_shown_has_no_secrets_and_loads_again() {
    let text = "modules:\n  web:\n    prober: http\n    http: {headers: {Host: x, X-Key: s3cret}, body: s3cret}\n";
    let config = load_str(text, "x.yml").unwrap();
    let shown = config.to_yaml();
    assert!(!shown.contains("s3cret") && shown.contains("X-Key: <secret>"), "{shown}");
    assert_eq!(load_str(&shown, "x.yml").unwrap().to_yaml(), shown);
    assert!(config.modules["web"].yaml.starts_with("prober: http\nhttp:\n  headers:\n"));
}
