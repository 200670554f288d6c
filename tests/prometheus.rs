//! The real Prometheus scrapes the exporter through the relabelling of the README, and has the series.

#![expect(clippy::disallowed_methods, reason = "the test asks Prometheus, it is no probe")]
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::SanType;
use serde_json::Value;
use support::lab::Site;
use support::tls::Authority;
use support::{Exporter, Running, free_port, get, program, until};
use uplink_exporter::lab::{self, Isp, Topology};
use uplink_exporter::net::Family;

const PROBES: &str = "
isps:
  a: {source_ip: 127.0.0.2}
  b: {source_ip: 127.0.0.3}
modules:
  tcp_connect: {prober: tcp}
  icmp: {prober: icmp}
";

/// A running Prometheus.
struct Prometheus {
    _process: Running,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with a scrape configuration, which `promtool` takes, in a folder that also has its log; `spawn` gets the command. It is not
    /// yet waited for.
    fn start(text: &str, folder: &Path, spawn: impl FnOnce(&mut Command) -> Child) -> Option<Self> {
        let (prometheus, promtool) = (program("prometheus")?, program("promtool")?);
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, text).unwrap();
        let checked = Command::new(promtool).args(["check", "config"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stderr));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Running(spawn(
            Command::new(prometheus)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdin(Stdio::null())
                .stderr(File::create(folder.join("log")).unwrap()),
        ));
        Some(Self { _process: process, address })
    }

    /// Waits until it serves.
    fn wait(&self) {
        until("Prometheus serves", || std::net::TcpStream::connect(self.address).is_ok());
    }

    /// What its API says under a path.
    fn says(&self, path: &str) -> Value {
        let (_, body) = get(self.address, &format!("/api/v1/{path}"));
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        answer["data"].clone()
    }

    fn series(&self, query: &str) -> Vec<Value> {
        let answer = self.says(&format!("query?query={}", percent_encoded(query)));
        answer["result"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until a query has one result, with this value.
    fn one(&self, query: &str, expected: &str) {
        until(&format!("{query} is {expected}"), || {
            let found = self.series(query);
            found.len() == 1 && found[0]["value"][1] == expected
        });
    }
}

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
    let exporter = Exporter::start(PROBES);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();

    let folder = tempfile::tempdir().unwrap();
    let text = scrape_configuration()
        .replace("https://api.example.com/", &target)
        .replace("https://www.example.org/", "127.0.0.1:1")
        .replace("http_2xx", "tcp_connect")
        .replace("192.0.2.10", "127.0.0.1")
        .replace("127.0.0.1:9115", &exporter.address.to_string())
        .replace("scrape_interval: 30s", "scrape_interval: 1s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 1s");
    let started = Prometheus::start(&text, folder.path(), |command| command.spawn().unwrap());
    let Some(prometheus) = started else { return };
    prometheus.wait();

    for isp in ["a", "b"] {
        let one = |query: &str, expected: &str| prometheus.one(query, expected);
        one(&format!("probe_success{{isp=\"{isp}\",module=\"tcp_connect\",target=\"{target}\"}}"), "1");
        one(&format!("probe_success{{isp=\"{isp}\",module=\"tcp_connect\",target=\"127.0.0.1:1\"}}"), "0");
        one(&format!("probe_success{{isp=\"{isp}\",module=\"icmp\",target=\"127.0.0.1\"}}"), "1");
        one(&format!("probe_tcp_syn_retransmits{{isp=\"{isp}\",target=\"{target}\"}}"), "0");
        one(&format!("probe_failure_info{{isp=\"{isp}\",reason=\"connection_refused\",phase=\"connect\"}}"), "1");
        one(&format!("count(probe_phase_duration_seconds{{isp=\"{isp}\",target=\"{target}\"}})"), "2");
        one(&format!("up{{isp=\"{isp}\",module=\"icmp\",target=\"127.0.0.1\"}}"), "1");
        // The exporter exposes none of the labels that belong to the scrape, so nothing had to be renamed.
        assert_eq!(prometheus.series("{__name__=~\".+\",exported_isp!=\"\"}"), Vec::<Value>::new());
        assert_eq!(prometheus.series("{__name__=~\".+\",exported_instance!=\"\"}"), Vec::<Value>::new());
    }
}

/// The modules of the README's scrape and more, and a target of each at the far end of the lab, with the phases that a probe of it has.
const EVERY: [(&str, &str, &[&str]); 6] = [
    ("http_2xx", "https://198.51.100.10/", &["resolve", "connect", "tls", "processing", "transfer"]),
    ("http_2xx", "https://[2001:db8:100::10]/missing", &["resolve", "connect", "tls", "processing", "transfer"]),
    ("icmp", "198.51.100.10", &["resolve", "setup", "rtt"]),
    ("tcp_connect", "198.51.100.10:443", &["resolve", "connect"]),
    ("tcp_half_open", "[2001:db8:100::10]:80", &["resolve", "connect"]),
    ("traceroute", "198.51.100.10", &["resolve", "setup", "trace"]),
];

#[test]
fn prometheus_takes_every_series_of_tls_and_of_traces_without_a_warning() {
    let path = |isp| lab::Path::straight(isp, &[1_000, 1_000, 2_000], 2_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let Some(site) = Site::start(topology, "  none: {prober: icmp}\n") else { return };
    let probes = format!(
        "
isps:
  a: {{source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', interface: ispa}}
  b: {{source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', interface: ispb}}
modules:
  http_2xx: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}
  tcp_connect: {{prober: tcp}}
  tcp_half_open: {{prober: tcp, tcp: {{half_open: true}}}}
  icmp: {{prober: icmp}}
  traceroute: {{prober: traceroute}}
",
        site.folder.path().join("ca.pem").display()
    );
    let exporter = Exporter::start_by(&probes, |command| site.lab.prober().spawn(command).unwrap());
    // The README's two modules are scraped as it says, the others likewise.
    let [good, missing, ping, others @ ..] = EVERY.map(|(_, target, _)| target);
    let mut more = String::new();
    for ((module, ..), target) in EVERY[EVERY.len() - others.len()..].iter().zip(others) {
        for isp in ["a", "b"] {
            more += &format!("      - targets: ['{target}']\n        labels: {{module: {module}, isp: {isp}}}\n");
        }
    }
    let text = scrape_configuration()
        .replace("[https://api.example.com/, https://www.example.org/]", &format!("['{good}', '{missing}']"))
        .replace("192.0.2.10", ping)
        .replace("    relabel_configs:\n", &format!("{more}    relabel_configs:\n"))
        .replace("127.0.0.1:9115", &exporter.address.to_string())
        .replace("    scrape_interval: 30s\n    scrape_timeout: 10s\n", "")
        .replace("scrape_configs:", "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:");
    let folder = tempfile::tempdir().unwrap();
    let started = Prometheus::start(&text, folder.path(), |command| site.lab.prober().spawn(command).unwrap());
    let Some(prometheus) = started else { return };
    let measured = || {
        exporter.wait();
        prometheus.wait();
        for isp in ["a", "b"] {
            for (module, target, phases) in EVERY {
                let of = format!("{{isp=\"{isp}\",module=\"{module}\",target=\"{target}\",instance=\"{target}\"}}");
                prometheus.one(&format!("up{of}"), "1");
                prometheus.one(&format!("probe_success{of}"), if target == missing { "0" } else { "1" });
                for phase in phases {
                    let of = of.replace('}', &format!(",phase=\"{phase}\"}}"));
                    prometheus.one(&format!("count(probe_phase_duration_seconds{of} >= 0)"), "1");
                }
                if module == "http_2xx" {
                    prometheus.one(&format!("count(probe_ssl_earliest_cert_expiry{of} > time())"), "1");
                    prometheus.one(&format!("count(probe_tls_version_info{of})"), "1");
                }
                if module == "traceroute" {
                    prometheus.one(&format!("count(count by (hop) (probe_traceroute_hop_rtt_best_seconds{of}))"), "4");
                    for (hop, isp) in (1..=3).zip([if isp == "a" { Isp::A } else { Isp::B }; 3]) {
                        let address = isp.router(hop).address(Family::V4);
                        let of = of.replace('}', &format!(",hop=\"{hop:02}\",address=\"{address}\"}}"));
                        prometheus.one(&format!("probe_traceroute_hop_info{of}"), "1");
                    }
                }
            }
        }
        // With the exporter's own.
        prometheus.one("count(up == 1)", &(2 * EVERY.len() + 1).to_string());
        assert_eq!(prometheus.series("up != 1"), Vec::<Value>::new());
        let (missing, at) =
            (format!("target=\"{missing}\""), "reason=\"http_status_unexpected:4xx\",phase=\"transfer\"");
        prometheus.one(&format!("count(probe_failure_info{{{missing},{at}}})"), "2");
        assert_eq!(prometheus.series("{__name__=~\".+\",exported_isp!=\"\"}"), Vec::<Value>::new());
        // It knows what each series is: in OpenMetrics, `_info` is no part of the name of what has the type and the help.
        let known = prometheus.says("metadata");
        let unknown = |name: &str| {
            let said = &known[name.strip_suffix("_info").unwrap_or(name)][0];
            said["help"].as_str().unwrap_or_default().is_empty() || said["type"] == "unknown"
        };
        let names = prometheus.says("label/__name__/values");
        let names: Vec<_> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let probes: Vec<_> = names.into_iter().filter(|name| name.starts_with("probe_")).collect();
        assert!(probes.len() > 50, "{probes:?}");
        assert_eq!(probes.into_iter().filter(|name| unknown(name)).collect::<Vec<_>>(), Vec::<&str>::new());
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("Server is ready"), "{log}");
        let complaints: Vec<_> = log.lines().filter(|line| !line.contains(" level=info ")).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    };
    site.lab.prober().run(measured).unwrap();
}

#[test]
fn prometheus_scrapes_over_tls_with_a_certificate_and_a_password() {
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
    let scrape = block_with("scheme: https");
    let text = format!("scrape_configs:\n{scrape}")
        .replace("/etc/prometheus/", "")
        .replace("uplink.example:9115", &exporter.address.to_string())
        .replace(
            "job_name: uplink_exporter",
            "job_name: uplink_exporter\n    scrape_interval: 1s\n    scrape_timeout: 1s",
        );
    let started = Prometheus::start(&text, folder.path(), |command| command.spawn().unwrap());
    let Some(prometheus) = started else { return };
    prometheus.wait();
    prometheus.one("uplink_exporter_probes_in_flight", "0");
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
