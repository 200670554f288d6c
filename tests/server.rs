//! The HTTP surface, driven over real sockets.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the client of these tests is no probe")]

#[path = "server/client.rs"]
mod client;
#[path = "server/history.rs"]
mod history;
#[path = "server/surface.rs"]
mod surface;

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use client::{Reply, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PROMETHEUS_3_5: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

const CONFIGURATION: &str = r#"
dc: dc1
isps:
  a: {source_ip: 127.0.0.1}
  b: {fwmark: 2}
modules:
  http_2xx:
    prober: http
    http: {headers: {Authorization: s3cret}}
  ping: {prober: icmp, timeout: 200ms}
  "<b>": {prober: icmp}
  banner: {prober: tcp, timeout: 20s, tcp: {query_response: [{expect: ready}]}}
"#;

#[tokio::test]
async fn every_page_is_there_and_nothing_else() {
    let server = Server::start(CONFIGURATION).await;
    let cases = [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/config", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/-/reload", 405),
        ("DELETE", "/-/reload", 405),
        ("POST", "/-/reload", 200),
        ("PUT", "/-/reload", 200),
        ("GET", "/probe?target=127.0.0.1&module=ping", 200),
        ("HEAD", "/probe?target=127.0.0.1&module=ping", 200),
        ("POST", "/probe?target=127.0.0.1&module=ping", 200),
        ("DELETE", "/probe?target=127.0.0.1&module=ping", 405),
        ("GET", "/probe", 400),
        ("GET", "/probe/", 404),
        ("GET", "/-/", 404),
        ("GET", "/logs", 400),
        ("POST", "/logs?id=0", 405),
        ("GET", "/debug/pprof/", 404),
    ];
    for (method, path, status) in cases {
        let reply = server.fetch(method, path, &[]).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        match status {
            405 => assert!(reply.header("allow").is_some(), "{method} {path}"),
            404 => assert_eq!(reply.text(), "there is nothing here; / lists what there is\n"),
            _ => {}
        }
        if method == "HEAD" {
            assert!(reply.body.is_empty() && reply.header("content-length") != Some("0"), "{method} {path}");
        }
    }
    let reply = server.fetch("GET", "/-/reload", &[]).await;
    assert_eq!(reply.header("allow"), Some("POST,PUT"));
}

#[tokio::test]
async fn prometheus_gets_openmetrics_and_others_get_text() {
    let server = Server::start(CONFIGURATION).await;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let cases = [
        (Some(PROMETHEUS_2_42), "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (Some(PROMETHEUS_3_5), "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"),
        (None, text),
        (Some("*/*"), text),
        (Some("application/json"), text),
    ];
    for path in ["/probe?target=127.0.0.1&module=ping", "/metrics"] {
        for (accept, content_type) in cases {
            let headers: Vec<_> = accept.iter().map(|accept| ("Accept", *accept)).collect();
            let reply = server.fetch("GET", path, &headers).await;
            assert_eq!(reply.header("content-type"), Some(content_type), "{path} {accept:?}");
            assert_eq!(reply.header("vary"), Some("Accept, Accept-Encoding"), "{path} {accept:?}");
            let body = reply.text();
            assert_eq!(body.ends_with("# EOF\n"), content_type != text, "{path} {accept:?}");
            check_exposition(&body, content_type != text);
        }
    }
}

/// Every sample follows the HELP and TYPE of its family, and nothing else stands between.
fn check_exposition(body: &str, openmetrics: bool) {
    let (mut help, mut ty) = (String::new(), String::new());
    for line in body.lines().filter(|line| *line != "# EOF") {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", family, text] if !text.is_empty() => help = (*family).to_owned(),
            ["#", "TYPE", family, _] => ty = (*family).to_owned(),
            _ => {
                assert!(!line.starts_with('#') && !line.is_empty() && help == ty, "{line}");
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = name.strip_prefix(&ty).unwrap_or_else(|| panic!("{line} in family {ty}"));
                let histogram = ["_bucket", "_sum", "_count"].contains(&suffix);
                let openmetrics_only = ["_total", "_info"].contains(&suffix);
                assert!(suffix.is_empty() || histogram || (openmetrics && openmetrics_only), "{line} in family {ty}");
            }
        }
    }
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_asked_for() {
    let server = Server::start(CONFIGURATION).await;
    let plain = server.fetch("GET", "/config", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = server.fetch("GET", "/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    for reply in [&plain, &packed] {
        assert_eq!(reply.header("vary"), Some("Accept, Accept-Encoding"));
    }
    let mut body = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut body).unwrap();
    assert_eq!(body, server.fetch("GET", "/", &[("Accept-Encoding", "gzip;q=0")]).await.text());
    let small = server.fetch("GET", "/-/healthy", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!((small.header("content-encoding"), small.text().as_str()), (None, "Healthy\n"));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_one_sentence() {
    let server = Server::start(CONFIGURATION).await;
    let cases = [
        (
            "",
            "the target parameter is missing; of module \"http_2xx\" it looks like https://example.org/; known parameters: target, module, isp, hostname, debug, format",
        ),
        (
            "?module=ping",
            "the target parameter is missing; of module \"ping\" it looks like example.org; known parameters: target, module, isp, hostname, debug, format",
        ),
        ("?target=x&module=pnig", "unknown module \"pnig\"; known modules: <b>, banner, http_2xx, ping"),
        (
            "?target=x&module=ping&isp=c",
            "unknown ISP \"c\"; known ISPs: a, b; several have commas between them, or are \"all\"",
        ),
        (
            "?target=x&module=ping&ips=b",
            "unknown parameter \"ips\"; known parameters: target, module, isp, hostname, debug, format",
        ),
        (
            "?target=x&target=y",
            "the parameter target is there twice; each of target, module, isp, hostname, debug, format is given once",
        ),
        ("?target=x&module=ping&debug=yes", "debug is true or false, not \"yes\""),
        ("?target=x&module=ping&format=yaml", "format is json or mtr, not \"yaml\"; without it the answer is metrics"),
    ];
    for (query, sentence) in cases {
        let reply = server.fetch("GET", &format!("/probe{query}"), &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (400, format!("{sentence}\n").as_str()), "{query}");
    }
    let metrics = server.metrics().await;
    for (cause, count) in [
        ("missing_target", 2),
        ("unknown_module", 1),
        ("unknown_isp", 1),
        ("unknown_parameter", 1),
        ("repeated_parameter", 1),
        ("bad_value", 2),
    ] {
        let line = format!("uplink_exporter_requests_rejected_total{{cause=\"{cause}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn a_target_that_is_no_host_is_refused_by_every_prober_without_being_repeated() {
    let modules = "isps: {a: {source_ip: 127.0.0.1, networks: [192.0.2.0/24]}}\n\
        modules: {http: {prober: http}, tcp: {prober: tcp}, icmp: {prober: icmp}, egress: {prober: egress}, \
        trace: {prober: traceroute, traceroute: {protocol: tcp}}}";
    let server = Server::start(modules).await;
    let label = "a".repeat(70);
    let name = "a.".repeat(3000);
    let hosts = [
        "a..b",
        "10.0.0.256",
        "ex%0aample",
        "ex%00ample",
        "foo%2525bar",
        &label,
        &name,
        "us:TARGETPW9@a..b",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
    ];
    let bare = hosts.into_iter().flat_map(|host| ["icmp", "trace", "egress"].map(|module| (module, host.to_owned())));
    let tcp = hosts.into_iter().map(|host| ("tcp", format!("{host}:80")));
    let http = hosts.into_iter().map(|host| ("http", format!("http://{host}/")));
    let others = [
        ("icmp", "127.1"),
        ("tcp", "127.1:80"),
        ("tcp", "x:%2B80"),
        ("tcp", "us:TARGETPW9@127.0.0.1:80"),
        ("trace", "https://us:TARGETPW9@127.0.0.1"),
        ("tcp", "%E4%BE%8B.jp:80"),
        ("icmp", "%E4%BE%8B.jp"),
        ("egress", "192.0.2.1,a..b"),
        ("egress", "192.0.2.1,[fe80::1%25lo]:80"),
        ("http", "ht!tps://us:TARGETPW9@127.0.0.1/"),
    ];
    let others = others.map(|(module, target)| (module, target.to_owned()));
    for (module, target) in bare.chain(tcp).chain(http).chain(others) {
        let reply = server.fetch("GET", &format!("/probe?module={module}&target={target}"), &[]).await;
        let sentence = reply.text();
        assert_eq!((reply.status, sentence.lines().count()), (400, 1), "{module} {target}: {sentence}");
        assert!(!sentence.contains("TARGETPW9") && sentence.len() < 300, "{module} {target}: {sentence}");
    }
}

#[tokio::test]
async fn the_timeout_is_the_smaller_of_the_modules_and_the_scrapes() {
    let server = Server::start(CONFIGURATION).await;
    let path = |module: &str| format!("/probe?target=127.0.0.1:1&module={module}");
    let cases = [
        ("banner", None, "20"),
        ("banner", Some(""), "20"),
        ("banner", Some("10"), "9.5"),
        ("banner", Some("1.5"), "1"),
        ("banner", Some("0.6"), "0.3"),
        ("banner", Some("0.1"), "0.05"),
        ("banner", Some("60"), "20"),
    ];
    for (module, header, expected) in cases {
        let headers: Vec<_> = header.iter().map(|value| ("X-Prometheus-Scrape-Timeout-Seconds", *value)).collect();
        let reply = server.fetch("GET", &path(module), &headers).await;
        assert!(reply.text().contains(&format!("probe_timeout_seconds {expected}\n")), "{header:?} {}", reply.text());
    }
    for value in ["NaN", "inf", "-1", "soon"] {
        let reply = server.fetch("GET", &path("banner"), &[("X-Prometheus-Scrape-Timeout-Seconds", value)]).await;
        let sentence =
            format!("the header x-prometheus-scrape-timeout-seconds is a number of seconds, not {value:?}\n");
        assert_eq!((reply.status, reply.text()), (400, sentence));
    }
}

#[tokio::test]
async fn a_report_is_there_as_metrics_as_json_and_for_people() {
    let server = Server::start(CONFIGURATION).await;
    let probe = "/probe?target=http://127.0.0.1:1/&module=http_2xx&isp=a";
    let metrics = server.fetch("GET", probe, &[]).await.text();
    assert!(metrics.contains("probe_isp_info{name=\"a\",site=\"dc1\",source_ip=\"127.0.0.1\","), "{metrics}");
    let json = server.fetch("GET", &format!("{probe}&format=json"), &[]).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
    assert_eq!((&json["target"], &json["isp"]["name"]), (&"http://127.0.0.1:1/".into(), &"a".into()));
    assert_eq!(json.get("log"), None);
    let request = &json["http"]["requests"][0];
    assert_eq!((&request["url"], &request["remote"]), (&"http://127.0.0.1:1/".into(), &"127.0.0.1:1".into()));
    assert_eq!((request.get("status_code"), &request["phases_seconds"]), (None, &json["phases_seconds"]));
    let debug = server.fetch("GET", &format!("{probe}&debug=true"), &[]).await;
    assert_eq!(debug.header("content-type"), Some("text/plain; charset=utf-8"));
    let debug = debug.text();
    for part in [
        "Logs for the probe:\n",
        "Metrics that would have been returned:\n# HELP probe_success ",
        "Module configuration:\nprober: http\n",
        "Authorization: <secret>\n",
    ] {
        assert!(debug.contains(part), "{part}: {debug}");
    }
    assert!(!debug.contains("s3cret"));
}

#[tokio::test]
async fn the_password_of_a_target_is_told_nowhere() {
    let server = Server::start(CONFIGURATION).await;
    let probe = "/probe?target=http://us:TARGETPW9@127.0.0.1:1/r&module=http_2xx";
    for format in ["", "&format=json", "&debug=true", "&format=json&debug=true"] {
        let text = server.fetch("GET", &format!("{probe}{format}"), &[]).await.text();
        assert!(!text.contains("TARGETPW9"), "{text}");
        let shown = "\"target\": \"http://us:<secret>@127.0.0.1:1/r\"";
        assert_eq!(text.contains(shown), format.contains("json"), "{text}");
    }
}

#[tokio::test]
async fn pages_escape_names_and_hide_secrets() {
    let server = Server::start(CONFIGURATION).await;
    let page = server.fetch("GET", "/", &[]).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<option>&lt;b&gt;</option>") && !page.text().contains("<b>"), "{}", page.text());
    let config = server.fetch("GET", "/config", &[]).await.text();
    assert!(config.contains("Authorization: <secret>") && !config.contains("s3cret"), "{config}");
}

#[tokio::test]
async fn a_reload_swaps_the_configuration_whole_or_keeps_the_old_one() {
    let server = Server::start(CONFIGURATION).await;
    let probe = "/probe?target=127.0.0.1&module=added";
    assert_eq!(server.fetch("GET", probe, &[]).await.status, 400);

    server.write(&format!("{CONFIGURATION}  added: {{prober: icmp}}\n"));
    assert_eq!(server.fetch("POST", "/-/reload", &[]).await.status, 200);
    assert_eq!(server.fetch("GET", probe, &[]).await.status, 200);
    let metrics = server.metrics().await;
    assert!(metrics.contains("uplink_exporter_config_last_reload_successful 1\n"), "{metrics}");

    server.write("modules:\n  a: {prober: x}\n  b: {}\n");
    let reply = server.fetch("POST", "/-/reload", &[]).await;
    assert_eq!(reply.status, 500);
    let file = server.file.display();
    assert_eq!(
        reply.text(),
        format!(
            "the configuration in force stays, the new one is wrong:\n\
             {file}:2: module \"a\": prober: \"x\" is not known; known: http, tcp, icmp, dns, traceroute, unix, grpc, websocket, egress, stun\n\
             {file}:3: module \"b\": prober is missing; known: http, tcp, icmp, dns, traceroute, unix, grpc, websocket, egress, stun\n"
        )
    );
    assert_eq!(server.fetch("GET", probe, &[]).await.status, 200);
    let metrics = server.metrics().await;
    assert!(metrics.contains("uplink_exporter_config_last_reload_successful 0\n"), "{metrics}");
}

#[tokio::test]
async fn probes_are_counted() {
    let server = Server::start(CONFIGURATION).await;
    for _ in 0..3 {
        server.fetch("GET", "/probe?target=http://127.0.0.1:1/&module=http_2xx&isp=b", &[]).await;
    }
    let metrics = server.metrics().await;
    for line in [
        "uplink_exporter_probes_total{module=\"http_2xx\",isp=\"b\"} 3\n",
        "uplink_exporter_probe_failures_total{module=\"http_2xx\",isp=\"b\",reason=",
        "uplink_exporter_probe_duration_seconds_count{module=\"http_2xx\",isp=\"b\"} 3\n",
        "uplink_exporter_probes_in_flight 0\n",
        "uplink_exporter_build_info{version=",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// A server that takes connections and says nothing.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_probe_whatever_it_said_behind_its_request() {
    let server = Server::start(CONFIGURATION).await;
    let (listener, target) = silent().await;
    let path = format!("/probe?target={target}&module=banner");
    let another = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (headers, behind) in [(&[][..], ""), (&[], another.as_str()), (&[("Content-Length", "10")], "12345")] {
        let mut client = server.send("GET", &path, headers).await;
        client.write_all(behind.as_bytes()).await.unwrap();
        let (mut probe, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
        server.until("uplink_exporter_probes_in_flight 1\n").await;
        drop(client);
        server.until("uplink_exporter_probes_in_flight 0\n").await;
        // The probe's socket is closed, or reset, but not left open.
        let read = timeout(Duration::from_secs(5), probe.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    // They count, by what ended them.
    let metrics = server.metrics().await;
    let aborted = "uplink_exporter_probe_failures_total{module=\"banner\",isp=\"\",reason=\"aborted\"} 3\n";
    assert!(metrics.contains(aborted), "{metrics}");
}

#[tokio::test]
async fn a_request_behind_another_waits_for_its_turn() {
    let server = Server::start(CONFIGURATION).await;
    let (listener, target) = silent().await;
    let get = |path: &str, end: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n");
    let probe = get(&format!("/probe?target={target}&module=banner"), "");
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let both = probe + &get("/-/healthy", "Connection: close\r\n");
    client.write_all(both.as_bytes()).await.unwrap();
    let (mut probe, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    probe.write_all(b"ready\n").await.unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("probe_success 1\n") && said.ends_with("Healthy\n"), "{said}");
}

#[tokio::test]
async fn a_probe_that_runs_may_end_after_the_shutdown_began() {
    let mut server = Server::start(CONFIGURATION).await;
    let (listener, target) = silent().await;
    let client = server.send("GET", &format!("/probe?target={target}&module=banner"), &[]).await;
    let (mut probe, _) = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "new connections are refused");
    probe.write_all(b"ready\n").await.unwrap();
    let reply = Reply::read(client).await;
    assert!(reply.text().contains("probe_success 1\n"), "{}", reply.text());
    timeout(Duration::from_secs(1), server.ended()).await.unwrap();
}

#[tokio::test]
async fn a_probe_that_does_not_end_is_cut_after_the_grace() {
    let mut server = Server::start(CONFIGURATION).await;
    let (listener, target) = silent().await;
    let _client = server.send("GET", &format!("/probe?target={target}&module=banner"), &[]).await;
    let _probe = timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    server.stop();
    let began = std::time::Instant::now();
    timeout(Duration::from_secs(5), server.ended()).await.unwrap();
    assert!(began.elapsed() > client::GRACE / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_shutdown() {
    let mut server = Server::start(CONFIGURATION).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let _silent = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    idle.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    server.stop();
    timeout(client::GRACE / 2, server.ended()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_asks_is_sent_away() {
    let server = Server::start(CONFIGURATION).await;
    for words in [&b""[..], b"GET /metrics HTTP/1.1\r\nHo"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(words).await.unwrap();
        let mut rest = Vec::new();
        timeout(Duration::from_secs(120), client.read_to_end(&mut rest)).await.unwrap().unwrap();
    }
}
