//! What a report looks like from outside: metrics, JSON, debug text. Golden files stand in `tests/golden`; with UPDATE_GOLDEN=1 in
//! the environment they are written instead.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

#[path = "render/reports.rs"]
mod reports;
#[path = "render/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use uplink_exporter::flight::Phase;
use uplink_exporter::metrics::{CATALOGUE, of_outcome, of_report};
use uplink_exporter::net::Source;
use uplink_exporter::probe::{Comparison, Isp, Measurement, Outcome, Report, Route, Way};
use uplink_exporter::render;
use uplink_exporter::verdict::{Judgement, Trouble, Verdict};

const SCHEMA: &str = include_str!("../src/render/report.schema.json");
const COMPARISON_SCHEMA: &str = include_str!("../src/render/comparison.schema.json");

fn check(name: &str, found: &str) {
    let path = Path::new("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

fn json(report: &Report) -> String {
    render::json(&Outcome::One(Box::new(report.clone())), true)
}

fn person(report: &Report) -> String {
    let source = report.isp.as_ref().map(|isp| isp.source.clone()).unwrap_or_default();
    render::person(report, &source, true)
}

#[test]
fn reports_look_as_they_did() {
    for (name, report) in reports::all() {
        check(&format!("{name}.openmetrics"), &render::openmetrics(&of_report(&report)));
        check(&format!("{name}.json"), &json(&report));
        check(&format!("{name}.person"), &person(&report));
    }
    let (_, http) = &reports::all()[0];
    check("http_success.text", &render::text(&of_report(http)));
    check("http_success.debug", &render::debug_report(http, "prober: http\n"));
    for (name, report) in reports::all() {
        match render::mtr(&report, "prober.example") {
            Some(text) => check(&format!("{name}.mtr"), &text),
            None => assert!(!name.starts_with("traceroute"), "{name}"),
        }
    }
}

/// The report of a name, through an ISP of another one.
fn through(name: &str, isp: &str) -> Report {
    let report = reports::all().into_iter().find(|(known, _)| *known == name).unwrap().1;
    let isp = report.isp.as_ref().map(|known| Isp { name: isp.to_owned(), ..Isp::clone(known) });
    Report { isp: isp.map(Arc::new), ..report }
}

/// A probe of each of two ISPs, of which one is to blame.
fn comparison() -> Comparison {
    Comparison {
        reports: vec![through("tcp_refused", "a"), through("tcp_success", "b")],
        judgement: Judgement {
            verdict: Verdict::IspPathDown,
            blamed: vec![0],
            because: "through a: connection_refused in connect; through b it succeeded".to_owned(),
        },
        routes: Vec::new(),
    }
}

/// Traces through two ISPs, of which one is slow.
fn traces() -> Comparison {
    let way = Way { diverges: Some(2), rejoins: Some(5), trouble_is_shared: Some(false) };
    let other = Way { diverges: None, rejoins: None, trouble_is_shared: None };
    let route = |beside, trouble, reroute_helps| Route { beside, trouble, reroute_helps };
    Comparison {
        reports: vec![through("traceroute_success", "a"), through("traceroute_success", "b")],
        judgement: Judgement {
            verdict: Verdict::IspSlow,
            blamed: vec![0],
            because: "through a, rtt took 0.15 s, through b 0.02 s".to_owned(),
        },
        routes: vec![
            (0, route(vec![(1, way)], Some(Trouble::Delay), Some(true))),
            (1, route(vec![(0, other)], None, None)),
        ],
    }
}

#[test]
fn comparisons_look_as_they_did() {
    for (name, comparison) in [("comparison", comparison()), ("comparison_traces", traces())] {
        let comparison = Outcome::Several(comparison);
        check(&format!("{name}.openmetrics"), &render::openmetrics(&of_outcome(&comparison)));
        check(&format!("{name}.json"), &render::json(&comparison, false));
        let sources = comparison.reports().iter().map(|report| report.isp.as_ref().unwrap().source.clone());
        check(&format!("{name}.person"), &render::people(&comparison, sources.collect::<Vec<_>>().iter(), true));
    }
    let comparison = Outcome::Several(comparison());
    check("comparison.text", &render::text(&of_outcome(&comparison)));
    check("comparison.debug", &render::debug(&comparison, "prober: tcp\n"));
}

#[test]
fn every_series_of_a_comparison_has_its_isp_and_is_there_once() {
    let mut comparison = comparison();
    for report in &mut comparison.reports {
        let Measurement::Tcp(measured) = &mut report.measurement else { panic!() };
        measured.heard.expect_info = vec![("isp".to_owned(), "the peer's".to_owned())];
    }
    let outcome = Outcome::Several(comparison);
    let mut series = BTreeSet::new();
    for family in of_outcome(&outcome) {
        let of_all = ["probe_verdict", "probe_blamed_isp"].contains(&family.name);
        for sample in &family.samples {
            let isps: Vec<_> = sample.labels.iter().filter(|(label, _)| label == "isp").collect();
            assert_eq!(isps.len(), usize::from(family.name != "probe_verdict"), "{} {:?}", family.name, sample.labels);
            assert!(of_all || sample.labels[0].0 == "isp");
            assert!(series.insert((family.name, sample.labels.clone())), "{} twice", family.name);
        }
    }
    let own: Vec<_> =
        series.iter().filter(|(name, _)| *name == "probe_expect_info").map(|(_, labels)| labels).collect();
    let labels =
        own.iter().map(|labels| labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>());
    assert_eq!(
        labels.collect::<Vec<_>>(),
        [["isp=a", "exported_isp=the peer's"], ["isp=b", "exported_isp=the peer's"]]
    );
    let each: usize = outcome
        .reports()
        .iter()
        .map(|report| of_report(report).iter().map(|family| family.samples.len()).sum::<usize>())
        .sum();
    assert_eq!(series.len(), each + Verdict::ALL.len() + 1, "the verdict, and who is to blame");
}

#[test]
fn every_metric_is_of_the_catalogue_and_the_catalogue_has_no_other() {
    let mut seen = BTreeSet::new();
    for (name, report) in reports::all() {
        let families = of_report(&report);
        let mut series = BTreeSet::new();
        for family in &families {
            let metric = CATALOGUE.iter().find(|metric| metric.name == family.name).unwrap();
            assert_eq!((metric.help, metric.kind), (family.help, family.kind));
            assert!(!family.samples.is_empty(), "{name}: {}", family.name);
            for sample in &family.samples {
                let labels: Vec<_> = sample.labels.iter().map(|(label, _)| label.as_ref()).collect();
                if family.name != "probe_expect_info" {
                    assert_eq!(labels, metric.labels, "{name}: {}", family.name);
                }
                assert!(series.insert((family.name, sample.labels.clone())), "{name}: {} twice", family.name);
                assert!(sample.value.is_finite(), "{name}: {}", family.name);
            }
        }
        let names: BTreeSet<_> = families.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), families.len(), "{name}: a family is there twice");
        seen.extend(names);
    }
    for comparison in [comparison(), traces()] {
        seen.extend(of_outcome(&Outcome::Several(comparison)).iter().map(|family| family.name));
    }
    let all: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(seen, all);
}

#[test]
fn json_is_as_its_schema_says_and_the_schema_says_no_more() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut used = BTreeSet::new();
    for (name, report) in reports::all() {
        let json = json(&report);
        assert!(!json.contains("null"), "{name}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(schema::problems(&schema, &json, &mut used), Vec::<String>::new(), "{name}");
    }
    let phases = schema["properties"]["phases_seconds"]["properties"].as_object().unwrap();
    let unused: Vec<_> = schema::keys(&schema).into_iter().filter(|key| !used.contains(key)).collect();
    assert_eq!(unused, Vec::<String>::new(), "the schema has keys that no golden report has");
    let names: BTreeSet<_> = Phase::ALL.iter().map(|phase| phase.name()).collect();
    assert_eq!(phases.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
}

#[test]
fn json_of_a_comparison_is_as_its_schema_says_and_has_reports() {
    let [of_reports, mut of_comparisons] =
        [SCHEMA, COMPARISON_SCHEMA].map(|text| serde_json::from_str::<Value>(text).unwrap());
    let verdicts: Vec<_> = of_comparisons["properties"]["verdict"]["enum"].as_array().unwrap().clone();
    assert!(verdicts.iter().map(|name| name.as_str().unwrap()).eq(Verdict::ALL.map(Verdict::name)));
    let probes = of_comparisons["properties"].as_object_mut().unwrap().remove("probes").unwrap();
    assert_eq!(probes["items"]["$ref"], "report.schema.json");
    of_comparisons["required"].as_array_mut().unwrap().retain(|key| key != "probes");
    let mut used = BTreeSet::new();
    for comparison in [comparison(), traces()] {
        let text = render::json(&Outcome::Several(comparison), true);
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let probes = json.as_object_mut().unwrap().remove("probes").unwrap();
        assert_eq!(probes.as_array().unwrap().len(), 2);
        for probe in probes.as_array().unwrap() {
            assert_eq!(schema::problems(&of_reports, probe, &mut BTreeSet::new()), [""; 0]);
        }
        assert_eq!(schema::problems(&of_comparisons, &json, &mut used), [""; 0]);
    }
    let unused: Vec<_> = schema::keys(&of_comparisons).into_iter().filter(|key| !used.contains(key)).collect();
    assert_eq!(unused, [""; 0]);
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (_, report) = &reports::all()[0];
    let good: Value = serde_json::from_str(&json(report)).unwrap();
    let found = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        schema::problems(&schema, &json, &mut BTreeSet::new())
    };
    assert_eq!(found(&|json| json["oops"] = 1.into()), ["/oops: unknown key"]);
    assert_eq!(
        found(&|json| json["tls"]["certificates"][1]["oops"] = 1.into()),
        ["/tls/certificates/1/oops: unknown key"]
    );
    assert_eq!(found(&|json| json["http"]["status_code"] = "200".into()), ["/http/status_code: not of type integer"]);
    assert_eq!(found(&|json| json["http"]["status_code"] = Value::Null), ["/http/status_code: not of type integer"]);
    assert_eq!(found(&|json| json["prober"] = "ftp".into()), ["/prober: not one of the enum"]);
    assert_eq!(found(&|json| drop(json.as_object_mut().unwrap().remove("target"))), ["/target: missing"]);
}

#[test]
fn what_was_not_measured_is_absent() {
    let (_, report) = reports::all().into_iter().find(|(name, _)| *name == "http_dns_failure").unwrap();
    let text = render::text(&of_report(&report));
    for absent in [
        "probe_http_status_code",
        "probe_http_version",
        "phase=\"connect\"",
        "probe_ssl",
        "probe_http_ssl",
        "probe_ip",
        "probe_http_redirects",
    ] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
}

#[test]
fn a_trace_costs_no_more_series_than_the_readme_says() {
    let series =
        |hops: u8| -> usize { of_report(&reports::widest_trace(hops)).iter().map(|family| family.samples.len()).sum() };
    let told: BTreeSet<_> = of_report(&reports::widest_trace(30)).iter().map(|family| family.name).collect();
    let of_one = CATALOGUE.iter().filter(|metric| metric.labels.first() != Some(&"isp"));
    let of_traces = of_one.map(|metric| metric.name).filter(|name| {
        ["probe_traceroute_", "probe_path_", "probe_tcp_mss_"].iter().any(|of_traces| name.starts_with(of_traces))
    });
    assert_eq!(of_traces.filter(|name| !told.contains(name)).collect::<Vec<_>>(), [""; 0]);
    let per_hop = series(31) - series(30);
    let others = series(30) - 30 * per_hop;
    assert_eq!(series(255), others + 255 * per_hop);
    let told = format!(
        "A trace costs at most {others} series, and {per_hop} for each of its hops: {} with 30, the most by default.",
        series(30)
    );
    assert!(include_str!("../README.md").contains(&told), "the README must say: {told}");
}

#[test]
fn a_probe_costs_no_more_series_than_the_readme_says() {
    let series = |report: &Report| -> usize { of_report(report).iter().map(|family| family.samples.len()).sum() };
    let widest = reports::widest_http();
    let most = series(&widest);
    let told = of_report(&widest).into_iter().map(|family| family.name).collect::<BTreeSet<_>>();
    let of_http = CATALOGUE.iter().map(|metric| metric.name).filter(|name| {
        ["probe_http_", "probe_ssl_", "probe_tls_", "probe_egress_info", "probe_egress_verified", "probe_failure_"]
            .iter()
            .any(|of_http| name.starts_with(of_http))
    });
    assert_eq!(of_http.filter(|name| !told.contains(name)).collect::<Vec<_>>(), [""; 0]);
    // All that a report of another prober has, and what any probe may have beside it.
    let any = [
        "probe_isp_info",
        "probe_egress_info",
        "probe_egress_verified",
        "probe_return_mismatch",
        "probe_failure_info",
        "probe_dns_lookup_time_seconds",
        "probe_ip_protocol",
        "probe_ip_addr_hash",
    ];
    let mut by_prober: HashMap<_, BTreeMap<&str, usize>> = HashMap::new();
    for (_, report) in reports::all() {
        if matches!(report.measurement, Measurement::Traceroute(_) | Measurement::Egress(_)) {
            continue;
        }
        let kind = std::mem::discriminant(&report.measurement);
        let all = by_prober.entry(kind).or_insert_with(|| any.map(|name| (name, 1)).into());
        for family in of_report(&Report { failed_flow: None, ..report }) {
            let known = all.entry(family.name).or_default();
            *known = family.samples.len().max(*known);
        }
    }
    for all in by_prober.values() {
        assert!(all.values().sum::<usize>() <= most, "{all:?}");
    }
    let of_flow = series(&Report { failed_flow: reports::widest_flow(), ..widest }) - most;
    let told = format!(
        "A probe has at most {most} series, [a trace more](#roles-and-series), `egress` 4 more for each ISP,
`on_failure: trace` {of_flow} more."
    );
    assert!(include_str!("../README.md").contains(&told), "the README must say: {told}");
}

#[test]
fn waterfalls_fit_a_terminal() {
    for (name, report) in reports::all() {
        let text = person(&report);
        let bars: Vec<&str> = text.lines().filter(|line| line.contains(" ms  ")).collect();
        assert!(!bars.is_empty(), "{name}");
        for bar in bars {
            assert!(bar.len() <= 80 && bar.contains('#'), "{name}: {bar}");
        }
    }
}

#[test]
fn what_others_say_moves_no_terminal_and_makes_no_line() {
    for (name, mut report) in reports::all() {
        let Some(failure) = &mut report.failure else { continue };
        let lines = |report: &Report| {
            let text = person(report);
            assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{name}: {text:?}");
            text.lines().count()
        };
        failure.detail = "it's \"so\"".to_owned();
        let expected = lines(&report);
        report.failure.as_mut().unwrap().detail = "so\x1b[2J\u{9b}1m\u{202e}\r\nresult   success".to_owned();
        assert_eq!(lines(&report), expected);
    }
}

#[test]
fn an_address_of_the_modules_own_is_not_called_an_isps() {
    let (_, mut report) = reports::all().swap_remove(3);
    report.isp = None;
    let source = Source { v4: Some("10.0.0.1".parse().unwrap()), ..Source::default() };
    let text = render::person(&report, &source, false);
    assert!(text.contains("\nISP      none, from 10.0.0.1 (the module's)\n"), "{text}");
}
