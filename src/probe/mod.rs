//! Probes: one target × one module × one ISP, once, ending in a report.

mod budget;
mod compare;
mod connection;
pub mod conversation;
mod deadline;
pub mod dns;
mod drive;
pub mod egress;
mod failed_flow;
mod failures;
pub mod grpc;
mod half_open_raw;
mod host;
pub mod http;
pub mod icmp;
pub mod identity;
mod judge;
mod legacy;
mod packets;
mod plain;
mod report;
mod request;
pub mod resolve;
mod routes;
mod running;
mod services;
pub mod stun;
mod tasks;
pub mod tcp;
#[cfg(test)]
mod testing;
mod timeline;
mod tls;
pub mod traceroute;
pub mod unix;
mod way_out;
pub mod websocket;

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use budget::Budget;
pub use compare::{Comparison, Outcome, Wanted};
pub use connection::Handshake;
use deadline::until_deadline;
pub use failed_flow::{Cause, End, FailedFlow, Tracing};
pub(crate) use host::header as host_header;
pub(crate) use report::SECRET;
pub use report::{LogLine, Measurement, Report};
pub use request::{Isp, Isps, Module, Request};
pub use routes::{Route, Way};
pub use running::Probe;
pub use timeline::SharedTimeline;
pub use way_out::WayOut;

use crate::verdict::Reason;

/// What a module measures. A new prober is one file and one line in each list.
#[derive(Debug)]
pub enum Prober {
    /// HTTP and HTTPS.
    Http(Box<http::Settings>),
    /// TCP, full or half open.
    Tcp(tcp::Settings),
    /// ICMP echo.
    Icmp(icmp::Settings),
    /// DNS.
    Dns(Box<dns::Settings>),
    /// The path.
    Traceroute(traceroute::Settings),
    /// Sockets of this host.
    Unix(unix::Settings),
    /// Health of gRPC services.
    Grpc(grpc::Settings),
    /// WebSocket.
    Websocket(websocket::Settings),
    /// Shares of the ISPs.
    Egress(egress::Settings),
    /// The public address.
    Stun(stun::Settings),
}

impl Prober {
    /// The name in `prober:`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Icmp(_) => "icmp",
            Self::Dns(_) => "dns",
            Self::Traceroute(_) => "traceroute",
            Self::Unix(_) => "unix",
            Self::Grpc(_) => "grpc",
            Self::Websocket(_) => "websocket",
            Self::Egress(_) => "egress",
            Self::Stun(_) => "stun",
        }
    }

    /// How many packets of our own making a probe sends at most, as far as that is known before: that routers or a failure will ask for more is not.
    #[must_use]
    pub fn packets(&self) -> u32 {
        match self {
            Self::Icmp(settings) => settings.count,
            Self::Traceroute(settings) => settings.packets(),
            Self::Egress(settings) => settings.packets(),
            // A SYN, and what refuses its answer.
            Self::Tcp(tcp::Settings { open: tcp::Open::Half { raw: true }, .. }) => 2,
            Self::Tcp(_)
            | Self::Http(_)
            | Self::Dns(_)
            | Self::Unix(_)
            | Self::Grpc(_)
            | Self::Websocket(_)
            | Self::Stun(_) => 0,
        }
    }

    /// Says why no probe of this kind can be made of `target`, in one sentence.
    ///
    /// # Errors
    /// That sentence.
    pub fn check_target(&self, target: &str) -> Result<(), String> {
        match self {
            Self::Http(_) => http::check_target(target),
            Self::Tcp(_) => tcp::check_target(target),
            Self::Icmp(_) => icmp::check_target(target),
            Self::Dns(settings) => dns::check_target(settings, target),
            Self::Traceroute(settings) => traceroute::check_target(settings, target),
            Self::Unix(_) => unix::check_target(target),
            Self::Grpc(_) => grpc::check_target(target),
            Self::Websocket(_) => websocket::check_target(target),
            Self::Egress(settings) => egress::check_target(settings, target),
            Self::Stun(settings) => stun::check_target(settings, target),
        }
    }

    /// What a target looks like.
    #[must_use]
    pub fn example(&self) -> &'static str {
        match self {
            Self::Http(_) => "https://example.org/",
            Self::Tcp(_) | Self::Grpc(_) => "example.org:443",
            Self::Icmp(_) | Self::Traceroute(_) => "example.org",
            Self::Dns(settings) if settings.transport == dns::Transport::Https => "https://dns.example/dns-query",
            Self::Dns(_) => "192.0.2.53:53",
            Self::Unix(_) => "/run/app.sock",
            Self::Websocket(_) => "wss://example.org/",
            Self::Egress(_) => "192.0.2.1,198.51.100.1",
            Self::Stun(_) => "stun.example.org:3478",
        }
    }

    /// The zone of a target's address: the interface that leads to it, by its name or its index.
    #[must_use]
    pub fn zone<'a>(&self, target: &'a str) -> Option<Cow<'a, str>> {
        let of_url = || host::without_zone(target).1.map(Cow::Owned);
        match self {
            Self::Http(_) | Self::Websocket(_) => of_url(),
            Self::Dns(settings) if settings.transport == dns::Transport::Https => of_url(),
            Self::Tcp(_) | Self::Icmp(_) | Self::Dns(_) | Self::Traceroute(_) | Self::Grpc(_) | Self::Stun(_) => {
                host::zone(target).map(Cow::Borrowed)
            }
            Self::Unix(_) | Self::Egress(_) => None,
        }
    }

    /// What the name in `hostname=` means to this prober, as it is to be said to the server; nothing where it has no use for one.
    ///
    /// # Errors
    /// One sentence, where it cannot be said.
    pub fn hostname(&self, hostname: &str) -> Result<Option<String>, String> {
        match self {
            Self::Http(settings) => host::hostname(settings.host.as_deref(), hostname).map(Some),
            Self::Tcp(settings) => tcp::hostname(settings, hostname),
            Self::Grpc(settings) => grpc::hostname(settings, hostname),
            Self::Websocket(settings) => host::hostname(settings.host.as_deref(), hostname).map(Some),
            Self::Icmp(_) | Self::Dns(_) | Self::Traceroute(_) | Self::Unix(_) | Self::Egress(_) | Self::Stun(_) => {
                Ok(None)
            }
        }
    }

    /// A target for people, its password hidden.
    #[must_use]
    pub fn shown(&self, target: &str) -> String {
        match self {
            Self::Http(_) => http::shown(target),
            Self::Websocket(_) => websocket::shown(target),
            // Their targets have no place for one.
            Self::Tcp(_)
            | Self::Icmp(_)
            | Self::Dns(_)
            | Self::Traceroute(_)
            | Self::Unix(_)
            | Self::Grpc(_)
            | Self::Egress(_)
            | Self::Stun(_) => target.to_owned(),
        }
    }

    /// When the flow of a connection is traced; nothing never does.
    pub(crate) fn tracing(&self) -> Option<&Tracing> {
        match self {
            Self::Http(settings) => settings.tracing.as_ref(),
            Self::Tcp(settings) => settings.tracing.as_ref(),
            Self::Icmp(_)
            | Self::Dns(_)
            | Self::Traceroute(_)
            | Self::Unix(_)
            | Self::Grpc(_)
            | Self::Websocket(_)
            | Self::Egress(_)
            | Self::Stun(_) => None,
        }
    }

    /// Whether an ISP has a part in it.
    pub(crate) fn leaves_this_host(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Http(_)
            | Self::Tcp(_)
            | Self::Icmp(_)
            | Self::Dns(_)
            | Self::Traceroute(_)
            | Self::Grpc(_)
            | Self::Websocket(_)
            | Self::Egress(_)
            | Self::Stun(_) => true,
        }
    }
}

/// Runs a probe. It always ends in a report, within the request's timeout.
pub async fn run(request: &Request) -> Report {
    let probe = Probe::start(request);
    let (measurement, failure) = match &request.module.prober {
        Prober::Http(settings) => {
            let measured = http::Measurement::default();
            until_deadline(&probe, measured, Measurement::Http, async |m| http::measure(settings, &probe, m).await)
                .await
        }
        Prober::Tcp(settings) => {
            let measured = tcp::Measurement::default();
            until_deadline(&probe, measured, Measurement::Tcp, async |m| tcp::measure(settings, &probe, m).await).await
        }
        Prober::Icmp(settings) => {
            let measured = icmp::Measurement::of(settings);
            until_deadline(&probe, measured, Measurement::Icmp, async |m| icmp::measure(settings, &probe, m).await)
                .await
        }
        Prober::Dns(settings) => {
            let measured = dns::Measurement::of(settings);
            until_deadline(&probe, measured, Measurement::Dns, async |m| dns::measure(settings, &probe, m).await).await
        }
        Prober::Traceroute(settings) => {
            let measured = traceroute::Measurement::of(settings);
            let measure = async |m: &mut _| traceroute::measure(settings, &probe, m).await;
            until_deadline(&probe, measured, Measurement::Traceroute, measure).await
        }
        Prober::Unix(settings) => {
            let measured = unix::Measurement::default();
            until_deadline(&probe, measured, Measurement::Unix, async |m| unix::measure(settings, &probe, m).await)
                .await
        }
        Prober::Grpc(settings) => {
            let measured = grpc::Measurement::default();
            until_deadline(&probe, measured, Measurement::Grpc, async |m| grpc::measure(settings, &probe, m).await)
                .await
        }
        Prober::Websocket(settings) => {
            let measured = websocket::Measurement::default();
            let measure = async |m: &mut _| websocket::measure(settings, &probe, m).await;
            until_deadline(&probe, measured, Measurement::Websocket, measure).await
        }
        Prober::Egress(settings) => {
            let measured = egress::Measurement::of(settings);
            let measure = async |m: &mut _| egress::measure(settings, &probe, m).await;
            until_deadline(&probe, measured, Measurement::Egress, measure).await
        }
        Prober::Stun(settings) => {
            let measured = stun::Measurement::of(settings);
            until_deadline(&probe, measured, Measurement::Stun, async |m| stun::measure(settings, &probe, m).await)
                .await
        }
    };
    let mut report = probe.report(measurement, failure);
    if let Some(tracing) = request.module.prober.tracing() {
        // Most probes have none, and need not have the room for it.
        Box::pin(failed_flow::follow(&probe, tracing, &mut report)).await;
    }
    report
}

/// The report of a probe that cannot be made, since something is wrong with what its module names.
fn refused(request: &Request, why: String) -> Report {
    let probe = Probe::start(request);
    let failure = probe.failure(Reason::ProberConfigError, why);
    probe.report(Measurement::nothing(&request.module.prober), Some(failure))
}

/// What probes call themselves where nobody says otherwise.
const USER_AGENT: &str = concat!("uplink_exporter/", env!("CARGO_PKG_VERSION"));

/// Locks; a panic elsewhere leaves the data usable, since every change of it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::flight::Phase;

    #[test]
    fn the_example_of_a_target_is_one() {
        for (prober, fields) in [
            ("http", ""),
            ("tcp", ""),
            ("icmp", ""),
            ("dns", "query_name: a.example"),
            ("dns", "query_name: a.example, transport_protocol: https"),
            ("traceroute", ""),
            ("traceroute", "protocol: udp"),
            ("unix", ""),
            ("grpc", ""),
            ("websocket", ""),
            ("egress", ""),
            ("stun", ""),
            ("stun", "transport_protocol: tcp"),
        ] {
            let isp = "isps: {a: {source_ip: 127.0.0.1, networks: [192.0.2.0/24]}}";
            let module = format!("{isp}\nmodules: {{m: {{prober: {prober}, {prober}: {{{fields}}}}}}}");
            let module = Arc::clone(&crate::config::load_str(&module, "test.yml").unwrap().modules["m"]);
            let example = module.prober.example();
            assert_eq!(module.prober.check_target(example), Ok(()), "{prober} {fields} {example}");
        }
    }

    #[tokio::test]
    async fn a_probe_leaves_from_the_modules_own_address_unless_an_isp_is_named() {
        let isp = "isps: {a: {source_ip: 127.0.0.6}}\nmodules: {m: {prober: icmp}}";
        let isp = Arc::clone(&crate::config::load_str(isp, "test.yml").unwrap().isps["a"]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for (module, target) in [
            ("{prober: tcp, tcp: {source_ip_address: 127.0.0.5}}", format!("localhost:{port}")),
            ("{prober: tcp, tcp: {source_ip_address: 127.0.0.5, half_open: true}}", format!("localhost:{port}")),
            (
                "{prober: tcp, tcp: {source_ip_address: 127.0.0.5, half_open: true, raw: true}}",
                format!("localhost:{port}"),
            ),
            ("{prober: icmp, icmp: {source_ip_address: 127.0.0.5}}", "localhost".to_owned()),
            ("{prober: traceroute, traceroute: {source_ip_address: 127.0.0.5}}", "localhost".to_owned()),
            ("{prober: traceroute, traceroute: {source_ip_address: 127.0.0.5, protocol: udp}}", "localhost".to_owned()),
            ("{prober: traceroute, traceroute: {source_ip_address: 127.0.0.5, protocol: tcp}}", "localhost".to_owned()),
        ] {
            for (isp, expected) in [(None, "127.0.0.5"), (Some(&isp), "127.0.0.6")] {
                let request = testing::configured(module, &target, Duration::from_secs(2));
                let request = Request { isp: isp.cloned(), ..request };
                let report = run(&request).await;
                if packets::tests::not_permitted(&report) {
                    continue;
                }
                // The name has an address of IPv6, too, which the source cannot reach.
                assert_eq!(report.failure, None, "{module}: {report:#?}");
                let told = match &report.measurement {
                    Measurement::Tcp(measured) => measured.handshake.local.map(|local| local.ip()),
                    Measurement::Icmp(measured) => measured.source,
                    Measurement::Traceroute(measured) => measured.source,
                    other => panic!("{other:?}"),
                };
                assert_eq!(told, expected.parse().ok(), "{module}");
                if !module.contains("open") && matches!(report.measurement, Measurement::Tcp(_)) {
                    let (_, peer) = listener.accept().unwrap();
                    assert_eq!(peer.ip().to_string(), expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_target_of_another_family_than_the_modules_own_address_is_told_so() {
        let module = "{prober: tcp, tcp: {source_ip_address: 127.0.0.5}}";
        let request = testing::configured(module, "[::1]:80", Duration::from_secs(2));
        let failure = run(&request).await.failure.unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::SourceAddressUnavailable, Phase::Resolve));
        assert!(failure.detail.contains("source_ip_address"), "{failure}");
    }
}
