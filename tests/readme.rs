//! The README's tables say what the program has: metrics, fields, flags, reasons; and its alerts are rules.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use support::{Exporter, get, program};
use uplink_exporter::config;
use uplink_exporter::metrics::{CATALOGUE, Metric};

const README: &str = include_str!("../README.md");

/// The part of the README from one text on to another.
fn part(from: &str, to: &str) -> &'static str {
    let (_, rest) = README.split_once(from).unwrap_or_else(|| panic!("the README has no {from:?}"));
    rest.split_once(to).map_or(rest, |(part, _)| part)
}

/// What stands between backticks in the first cell of each row of a table.
fn first_cells(part: &str) -> BTreeSet<&str> {
    let rows = part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.flat_map(backticked).collect()
}

fn backticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn row(name: &str, labels: &[impl AsRef<str>], help: &str) -> String {
    let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.as_ref())).collect();
    format!("| `{name}` | {} | {help} |\n", labels.join(" "))
}

#[test]
fn the_table_of_metrics_is_the_catalogue() {
    let mut table = String::new();
    for Metric { name, help, labels, .. } in CATALOGUE {
        table += &row(name, labels, help);
    }
    assert!(README.contains(&table), "the README's table of metrics must be:\n{table}");
}

#[test]
fn the_table_of_the_exporters_own_metrics_is_what_it_returns() {
    let exporter = Exporter::start(
        "isps: {a: {source_ip: 127.0.0.1, packets_per_second: 1}}\nmodules: {tcp: {prober: tcp}, icmp: {prober: icmp, icmp: {count: 9}}}\n",
    );
    exporter.get("/probe?module=tcp&isp=a&target=127.0.0.1:1");
    // It takes nine seconds until there are packets again.
    let pings = [(); 2].map(|()| get(exporter.address, "/probe?module=icmp&isp=a&target=127.0.0.1").0);
    assert_eq!(pings, [200, 503]);
    assert_eq!(get(exporter.address, "/probe").0, 400);
    let metrics = exporter.get("/metrics");
    let mut table = String::new();
    for line in metrics.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) else { continue };
        let sample = metrics.lines().find(|line| line.starts_with(name)).expect("a series of every metric");
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        let labels: Vec<_> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").collect();
        table += &row(name, &labels, help.trim_end_matches('.'));
    }
    assert!(README.contains(&table), "the README's table of the exporter's own metrics must be:\n{table}");
}

#[test]
fn the_tables_of_fields_are_what_the_configuration_knows() {
    let sections = [
        ("### Top level\n", "zzz: 1", "zzz"),
        ("### `asn`\n", "asn: {zzz: 1}", "asn.zzz"),
        ("### `zones` of `asn`\n", "asn: {source: dns, zones: {zzz: 1}}", "asn.zones.zzz"),
        ("### An ISP\n", "isps: {a: {source_ip: 127.0.0.1, zzz: 1}}", "zzz"),
        ("### A module\n", "modules: {m: {prober: icmp, zzz: 1}}", "zzz"),
        ("### `http`\n", "modules: {m: {prober: http, http: {zzz: 1}}}", "http.zzz"),
        (
            "### `oauth2`\n",
            "modules: {m: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://t', zzz: 1}}}}",
            "http.oauth2.zzz",
        ),
        ("### `tls_config`\n", "modules: {m: {prober: http, http: {tls_config: {zzz: 1}}}}", "http.tls_config.zzz"),
        ("### `tcp`\n", "modules: {m: {prober: tcp, tcp: {zzz: 1}}}", "tcp.zzz"),
        (
            "A step of `query_response`:\n",
            "modules: {m: {prober: tcp, tcp: {query_response: [{zzz: 1}]}}}",
            "tcp.query_response[0].zzz",
        ),
        ("### `icmp`\n", "modules: {m: {prober: icmp, icmp: {zzz: 1}}}", "icmp.zzz"),
        ("### `dns`\n", "modules: {m: {prober: dns, dns: {zzz: 1}}}", "dns.zzz"),
        (
            "What is wanted of the records of a section;",
            "modules: {m: {prober: dns, dns: {validate_answer_rrs: {zzz: 1}}}}",
            "dns.validate_answer_rrs.zzz",
        ),
        ("### `traceroute`\n", "modules: {m: {prober: traceroute, traceroute: {zzz: 1}}}", "traceroute.zzz"),
        ("### `egress`\n", "modules: {m: {prober: egress, egress: {zzz: 1}}}", "egress.zzz"),
        ("### `stun`\n", "modules: {m: {prober: stun, stun: {zzz: 1}}}", "stun.zzz"),
        ("### `unix`\n", "modules: {m: {prober: unix, unix: {zzz: 1}}}", "unix.zzz"),
        ("### `grpc`\n", "modules: {m: {prober: grpc, grpc: {zzz: 1}}}", "grpc.zzz"),
        ("### `websocket`\n", "modules: {m: {prober: websocket, websocket: {zzz: 1}}}", "websocket.zzz"),
        (
            "### `http_config` of `websocket`\n",
            "modules: {m: {prober: websocket, websocket: {http_config: {zzz: 1}}}}",
            "websocket.http_config.zzz",
        ),
    ];
    let of_every_prober = first_cells(part("Every prober but `unix` has\n", "###"));
    for (heading, yaml, key) in sections {
        let errors = config::load_str(yaml, "test.yml").expect_err("zzz is no key").to_string();
        let (_, known) =
            errors.split_once(&format!("{key}: unknown key; known keys: ")).expect("it says what is known");
        let known: BTreeSet<_> = known.lines().next().unwrap_or_default().split(", ").collect();
        let end = if heading.starts_with("###") { "\n#" } else { "\n\n#" };
        let of_heading = part(heading, end).split("A step of").next().unwrap();
        let mut told = first_cells(of_heading.split("What is wanted of the records").next().unwrap());
        if known.contains("preferred_ip_protocol") {
            told.extend(&of_every_prober);
        }
        if heading == "### A module\n" {
            told.retain(|name| !of_every_prober.contains(name));
        }
        assert_eq!(told, known, "{heading}");
    }
}

#[test]
fn the_tables_of_the_web_configuration_are_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    for (heading, yaml) in [
        ("### Web configuration\n", "zzz: 1"),
        ("### `tls_server_config`\n", "tls_server_config: {zzz: 1}"),
        ("### `http_server_config`\n", "http_server_config: {zzz: 1}"),
        ("### `rate_limit`\n", "rate_limit: {zzz: 1}"),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let errors = config::WebFile::open(&file).expect_err("zzz is no key").to_string();
        let (_, known) = errors.split_once("zzz: unknown key; known keys: ").expect("it says what is known");
        let known: BTreeSet<_> = known.lines().next().unwrap_or_default().split(", ").collect();
        assert_eq!(first_cells(part(heading, "\n\n#").split("\n\nA ").next().unwrap()), known, "{heading}");
    }
}

#[test]
fn the_tables_of_flags_are_the_programs() {
    let flags = |arguments: &[&str]| -> BTreeSet<String> {
        let help = Command::new(env!("CARGO_BIN_EXE_uplink_exporter")).args(arguments).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next());
        flags.map(|flag| format!("--{flag}")).collect()
    };
    let told =
        |heading| -> BTreeSet<String> { first_cells(part(heading, "\n\n")).into_iter().map(str::to_owned).collect() };
    let of_server = flags(&["--help"]);
    assert_eq!(told("| flag | default | what it is |\n"), of_server);
    // Beside its own, `probe` takes those of the server that its text names.
    let taken = part("Flags of `probe`, beside ", ":\n");
    let taken: BTreeSet<String> = backticked(taken).map(str::to_owned).collect();
    let of_probe = flags(&["probe", "--help"]);
    assert!(taken.is_subset(&of_server), "{taken:?}");
    assert_eq!(&told("| flag of `probe` | default | what it is |\n") | &taken, of_probe);
    let of_every: BTreeSet<String> = ["--log.level", "--log.prober", "--log.format"].map(str::to_owned).into();
    assert_eq!(&told("| flag of `reflect` | default | what it is |\n") | &of_every, flags(&["reflect", "--help"]));
}

#[test]
fn the_table_of_reasons_is_the_closed_list() {
    let table = part("| where | reasons |\n", "\n\n");
    let told: BTreeSet<_> = table.lines().filter_map(|row| row.split(" | ").nth(1)).flat_map(backticked).collect();
    let source = include_str!("../src/verdict/reason.rs");
    let (_, names) = source.split_once("pub fn name(self)").unwrap();
    let names = names.split_once("\n    }\n").unwrap().0;
    let reasons = names.split('"').skip(1).step_by(2);
    let reasons: BTreeSet<_> = reasons.map(|name| name.replace("{alert}", "<number>")).collect();
    assert_eq!(told.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), reasons);
}

#[test]
fn the_alerts_are_rules() {
    let Some(promtool) = program("promtool") else { return };
    let rules = part("## Alert\n\n```yaml\n", "```");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    let checked =
        Command::new(promtool).args(["check", "rules", "--lint=all", "--lint-fatal"]).arg(&file).output().unwrap();
    let mut said = String::from_utf8_lossy(&checked.stdout).into_owned();
    write!(said, "{}", String::from_utf8_lossy(&checked.stderr)).unwrap();
    assert!(checked.status.success(), "{said}");
    let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    let words = |text: &'static str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for word in words(rules).chain(words(part("## Look\n", "## "))) {
        let metric = word.starts_with("probe_");
        assert!(!metric || names.contains(word), "{word} is no metric");
    }
}
