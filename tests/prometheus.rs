//! The real Prometheus scrapes the exporter through the relabelling of the README, and has the series.

#![expect(clippy::disallowed_methods, reason = "the test asks Prometheus, it is no probe")]

mod support;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use rcgen::SanType;
use serde_json::Value;
use support::tls::Authority;
use support::{Exporter, Running, free_port, get, program, until};

const PROBES: &str = "
isps:
  a: {source_ip: 127.0.0.2}
  b: {source_ip: 127.0.0.3}
modules:
  tcp_connect: {prober: tcp}
  icmp: {prober: icmp}
";

/// The scrape configuration of the README: its fenced block that has a `scrape_configs:`.
fn scrape_configuration() -> String {
    block_with("scrape_configs:")
}

/// The first fenced block of the README with some words.
fn block_with(words: &str) -> String {
    let readme = include_str!("../README.md");
    let mut blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(words)).unwrap_or_else(|| panic!("the README has no {words}")).to_owned()
}

#[test]
fn prometheus_has_the_series_of_every_target_through_every_isp() {
    let (Some(prometheus), Some(promtool)) = (program("prometheus"), program("promtool")) else { return };
    let exporter = Exporter::start(PROBES);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    let text = scrape_configuration()
        .replace("https://api.example.com/", &target)
        .replace("https://www.example.org/", "127.0.0.1:1")
        .replace("http_2xx", "tcp_connect")
        .replace("192.0.2.10", "127.0.0.1")
        .replace("127.0.0.1:9115", &exporter.address.to_string())
        .replace("scrape_interval: 30s", "scrape_interval: 1s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 1s");
    std::fs::write(&file, &text).unwrap();
    let checked = Command::new(promtool).args(["check", "config"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));

    let port = free_port();
    let _prometheus = Running::start(
        Command::new(prometheus)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null()),
    );
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("Prometheus serves", || std::net::TcpStream::connect(address).is_ok());

    for isp in ["a", "b"] {
        let series = |query: &str| {
            let (_, body) = get(address, &format!("/api/v1/query?query={}", percent_encoded(query)));
            let answer: Value = serde_json::from_str(&body).unwrap_or_default();
            answer["data"]["result"].as_array().cloned().unwrap_or_default()
        };
        let one = |query: &str, expected: &str| {
            until(&format!("{query} is {expected}"), || {
                let found = series(query);
                found.len() == 1 && found[0]["value"][1] == expected
            });
        };
        one(&format!("probe_success{{isp=\"{isp}\",module=\"tcp_connect\",target=\"{target}\"}}"), "1");
        one(&format!("probe_success{{isp=\"{isp}\",module=\"tcp_connect\",target=\"127.0.0.1:1\"}}"), "0");
        one(&format!("probe_success{{isp=\"{isp}\",module=\"icmp\",target=\"127.0.0.1\"}}"), "1");
        one(&format!("probe_tcp_syn_retransmits{{isp=\"{isp}\",target=\"{target}\"}}"), "0");
        one(&format!("probe_failure_info{{isp=\"{isp}\",reason=\"connection_refused\",phase=\"connect\"}}"), "1");
        one(&format!("count(probe_phase_duration_seconds{{isp=\"{isp}\",target=\"{target}\"}})"), "2");
        one(&format!("up{{isp=\"{isp}\",module=\"icmp\",target=\"127.0.0.1\"}}"), "1");
        // The exporter exposes none of the labels that belong to the scrape, so nothing had to be renamed.
        assert_eq!(series("{__name__=~\".+\",exported_isp!=\"\"}"), Vec::<Value>::new());
        assert_eq!(series("{__name__=~\".+\",exported_instance!=\"\"}"), Vec::<Value>::new());
    }
}

#[test]
fn prometheus_scrapes_over_tls_with_a_certificate_and_a_password() {
    let (Some(prometheus), Some(promtool)) = (program("prometheus"), program("promtool")) else { return };
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("the authority"));
    authority.server("exporter").write(folder.path(), "server");
    authority
        .client("prometheus", vec![SanType::DnsName("prometheus.example".try_into().unwrap())])
        .write(folder.path(), "client");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.path().join("password"), "fakepassword").unwrap();
    // The web configuration of the README, and its scrape.
    let hash = bcrypt::hash_with_result("fakepassword", 5).unwrap().to_string();
    let web = block_with("basic_auth_users:").replace("/etc/uplink_exporter/", "").replace("$2y$10$…", &hash);
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    let exporter = Exporter::start_by(PROBES, |command| {
        command.arg(format!("--web.config.file={}", folder.path().join("web.yml").display())).spawn().unwrap()
    });
    exporter.wait();
    let file = folder.path().join("prometheus.yml");
    let scrape = block_with("scheme: https");
    let text = format!("scrape_configs:\n{scrape}")
        .replace("/etc/prometheus/", "")
        .replace("uplink.example:9115", &exporter.address.to_string())
        .replace(
            "job_name: uplink_exporter",
            "job_name: uplink_exporter\n    scrape_interval: 1s\n    scrape_timeout: 1s",
        );
    std::fs::write(&file, &text).unwrap();
    let checked = Command::new(promtool).args(["check", "config"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));
    let port = free_port();
    let _prometheus = Running::start(
        Command::new(prometheus)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null()),
    );
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("Prometheus serves", || std::net::TcpStream::connect(address).is_ok());
    until("it scrapes", || {
        let (_, body) = get(address, "/api/v1/query?query=uplink_exporter_probes_in_flight");
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        answer["data"]["result"][0]["value"][1] == "0"
    });
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
