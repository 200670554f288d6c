//! gRPC health checks of a real implementation (tonic's). What blackbox_exporter says of the same is in `parity.rs`.

mod support;

use support::health::serve_health;
use support::{Exporter, value};

/// A module for each question.
const MODULES: &str = "modules:
  whole: {prober: grpc, timeout: 5s, grpc: {preferred_ip_protocol: ip4}}
  up: {prober: grpc, timeout: 5s, grpc: {service: up, preferred_ip_protocol: ip4}}
  down: {prober: grpc, timeout: 5s, grpc: {service: down, preferred_ip_protocol: ip4}}
  strange: {prober: grpc, timeout: 5s, grpc: {service: strange, preferred_ip_protocol: ip4}}
  none: {prober: grpc, timeout: 5s, grpc: {service: none, preferred_ip_protocol: ip4}}
";

#[test]
fn a_real_server_says_of_its_services_what_they_are() {
    let server = serve_health(([127, 0, 0, 1], 0).into());
    let exporter = Exporter::start(MODULES);
    let serving = |status| format!("probe_grpc_healthcheck_response{{serving_status=\"{status}\"}}");
    let cases = [
        ("whole", Some("SERVING"), 0.0),
        ("up", Some("SERVING"), 0.0),
        ("down", Some("NOT_SERVING"), 0.0),
        ("strange", Some("UNKNOWN"), 0.0),
        ("none", None, 5.0),
    ];
    for (module, said, code) in cases {
        let metrics = exporter.get(&format!("/probe?module={module}&target={server}"));
        let is = |series: &str| value(&metrics, series);
        assert_eq!(is("probe_success"), Some(f64::from(u8::from(said == Some("SERVING")))), "{module}: {metrics}");
        assert_eq!(is("probe_grpc_status_code"), Some(code), "{module}");
        for status in ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] {
            let expected = f64::from(u8::from(said == Some(status)));
            assert_eq!(is(&serving(status)), Some(expected), "{module}: {status}");
        }
    }
}
