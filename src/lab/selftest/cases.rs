//! What the self-test injects, and what it expects to be measured: data.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::lab::topology::{Action, Binding, Isp, Topology};
use crate::net::tls::Tls;
use crate::net::{Family, Source};
use crate::probe::resolve::Preference;
use crate::probe::tcp::Open;
use crate::probe::{Module, Prober, dns, grpc, http as http_probe, icmp, tcp, traceroute, websocket};
use crate::re2::Regex;
use crate::verdict::{Evidence, Late, Reason};
use crate::wire::dns::codes;
use crate::wire::dns::message::Query;
use crate::wire::dns::name::DomainName;

/// One line of the self-test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The probe.
    pub kind: Kind,
    /// Through whom.
    pub isp: Isp,
    /// In which family.
    pub family: Family,
    /// What binds its sockets.
    pub binding: Binding,
    /// What is done to it.
    pub injected: Injected,
    /// What must come of it.
    pub expect: Expect,
}

/// A kind of probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `http` without TLS.
    Http,
    /// `http` over TLS.
    Https,
    /// `tcp`, full open.
    Tcp,
    /// `tcp`, half open by the kernel.
    HalfOpen,
    /// `tcp`, half open by a raw socket.
    HalfOpenRaw,
    /// `icmp` over a raw socket.
    IcmpRaw,
    /// `icmp` over a datagram socket.
    IcmpDatagram,
    /// `dns` by UDP.
    Dns,
    /// `traceroute`.
    Trace(traceroute::Protocol),
    /// `grpc` without TLS.
    Grpc,
    /// `websocket` without TLS, with a message.
    Websocket,
}

/// What is done to a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Injected {
    /// Nothing.
    Nothing,
    /// A fault for the probe's target.
    Fault(Action),
    /// Nobody listens on the port.
    ClosedPort,
    /// The ISP's device is down.
    LinkDown,
    /// The source address is on no device.
    StrangeSource,
    /// The link to a hop (from 1) loses packets with this probability.
    Loss(usize, f64),
}

/// What must come of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It succeeds, and its round-trip time is the path's within a millisecond; a trace has every hop of the path, with its time.
    Path,
    /// It succeeds after so many SYNs were sent again.
    Retransmits(u32),
    /// It fails for this reason, reported by this hop (from 1) where one is given.
    Fails(Reason, Option<usize>),
    /// It succeeds, and lost what the internet lost, which is about as much as it was told to.
    Loss,
    /// It is a trace in which this hop (from 1) answered exactly as often as it did.
    LossyHop(usize),
    /// It is a trace, and several of them meet both routers of this hop (from 1), each only one.
    Routers(usize),
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Http,
        Self::Https,
        Self::Tcp,
        Self::HalfOpen,
        Self::HalfOpenRaw,
        Self::IcmpRaw,
        Self::IcmpDatagram,
        Self::Dns,
        Self::Trace(traceroute::Protocol::Icmp),
        Self::Trace(traceroute::Protocol::Udp),
        Self::Trace(traceroute::Protocol::Tcp),
        Self::Grpc,
        Self::Websocket,
    ];

    /// The word for a person.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::HalfOpen => "half-open",
            Self::HalfOpenRaw => "half-open raw",
            Self::IcmpRaw => "icmp raw",
            Self::IcmpDatagram => "icmp datagram",
            Self::Dns => "dns",
            Self::Trace(traceroute::Protocol::Icmp) => "trace icmp",
            Self::Trace(traceroute::Protocol::Udp) => "trace udp",
            Self::Trace(traceroute::Protocol::Tcp) => "trace tcp",
            Self::Grpc => "grpc",
            Self::Websocket => "websocket",
        }
    }

    /// The port that it probes at the far end. Half-open checks have one of their own, where nothing else is ever accepted.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Http | Self::Grpc | Self::Websocket => Some(80),
            Self::Https => Some(443),
            Self::Tcp => Some(7),
            Self::HalfOpen | Self::HalfOpenRaw => Some(25),
            Self::Dns => Some(53),
            Self::IcmpRaw | Self::IcmpDatagram | Self::Trace(_) => None,
        }
    }

    /// The `target=` for an address.
    #[must_use]
    pub fn target(self, address: IpAddr, port: Option<u16>) -> String {
        match (self, port) {
            (_, None) => address.to_string(),
            (Self::Http, Some(port)) => format!("http://{}/", SocketAddr::new(address, port)),
            (Self::Websocket, Some(port)) => format!("ws://{}/socket", SocketAddr::new(address, port)),
            (Self::Https, Some(port)) => format!("https://{}/", SocketAddr::new(address, port)),
            (_, Some(port)) => SocketAddr::new(address, port).to_string(),
        }
    }

    /// A module of the kind. `count` is of echo requests, or of rounds.
    #[must_use]
    pub fn module(self, family: Family, count: u32, tls: &Arc<Tls>) -> Module {
        let preference = Preference { family, fallback: false };
        let interval = Duration::from_millis(10);
        let prober = match self {
            Self::Http | Self::Https => Prober::Http(Box::new(http_probe::Settings {
                preference,
                ..http_probe::Settings::new(Arc::clone(tls))
            })),
            Self::Tcp => {
                let open = Open::Full { tls: false, tls_config: Arc::clone(tls), query_response: Vec::new() };
                Prober::Tcp(tcp::Settings { open, preference, tracing: None })
            }
            Self::HalfOpen => Prober::Tcp(tcp::Settings { open: Open::Half { raw: false }, preference, tracing: None }),
            Self::HalfOpenRaw => {
                Prober::Tcp(tcp::Settings { open: Open::Half { raw: true }, preference, tracing: None })
            }
            Self::IcmpRaw | Self::IcmpDatagram => Prober::Icmp(icmp::Settings {
                count,
                interval,
                payload_size: 56,
                ttl: None,
                dont_fragment: false,
                raw: Some(self == Self::IcmpRaw),
                preference,
            }),
            Self::Dns => Prober::Dns(Box::new(dns::Settings {
                transport: dns::Transport::Udp,
                tls: Arc::clone(tls),
                query: Query {
                    name: DomainName::root(),
                    ty: codes::ANY,
                    class: codes::IN,
                    recursion_desired: true,
                    edns_udp_size: None,
                },
                valid_rcodes: vec![codes::NOERROR],
                answer: dns::Validator::default(),
                authority: dns::Validator::default(),
                additional: dns::Validator::default(),
                preference,
            })),
            Self::Trace(protocol) => Prober::Traceroute(traceroute::Settings {
                protocol,
                port: if protocol == traceroute::Protocol::Udp { 33_434 } else { 80 },
                flows: traceroute::Flows::Count(1),
                count,
                interval,
                wait: Duration::from_millis(300),
                first_hop: 1,
                max_hops: 20,
                preference,
                names: false,
                pmtu: false,
                registry: None,
            }),
            Self::Grpc => Prober::Grpc(grpc::Settings {
                service: String::new(),
                tls: false,
                tls_config: Arc::clone(tls),
                metadata: Vec::new(),
                preference,
            }),
            Self::Websocket => Prober::Websocket(websocket::Settings {
                headers: Vec::new(),
                host: None,
                query_response: vec![
                    websocket::Step { send: Some("ping".to_owned()), ..Default::default() },
                    websocket::Step { expect: Regex::new("^ping$").ok(), ..Default::default() },
                ],
                preference,
                tls: Arc::clone(tls),
            }),
        };
        Module {
            name: self.name().to_owned(),
            prober,
            source: Source::default(),
            timeout: None,
            isp: None,
            resolvers: Vec::new(),
            slow: crate::verdict::Slow::default(),
            yaml: String::new(),
        }
    }
}

impl Case {
    /// Echo requests, or rounds of a trace: enough for a median, or for chance to show.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self.expect {
            Expect::Loss | Expect::LossyHop(_) => 60,
            Expect::Path | Expect::Retransmits(_) | Expect::Fails(..) | Expect::Routers(_) => 3,
        }
    }

    /// How often the probe runs.
    #[must_use]
    pub fn repeats(&self) -> usize {
        match self.expect {
            Expect::Path => 5,
            Expect::Routers(_) => 12,
            Expect::Retransmits(_) | Expect::Fails(..) | Expect::Loss | Expect::LossyHop(_) => 1,
        }
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self.expect {
            Expect::Fails(..) => Duration::from_secs(1),
            Expect::Path | Expect::Retransmits(_) | Expect::Loss | Expect::LossyHop(_) | Expect::Routers(_) => {
                Duration::from_secs(5)
            }
        }
    }
}

/// The internet that the cases start from.
#[must_use]
pub fn topology() -> Topology {
    Topology::demo()
}

/// Every kind × family × ISP × means of binding, over a path where nothing is wrong for the target.
#[must_use]
pub fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for family in [Family::V4, Family::V6] {
            for isp in Isp::ALL {
                for binding in Binding::ALL {
                    let (injected, expect) = (Injected::Nothing, Expect::Path);
                    cases.push(Case { kind, isp, family, binding, injected, expect });
                }
            }
        }
    }
    cases
}

/// Everything that can go wrong.
#[must_use]
pub fn faults() -> Vec<Case> {
    use Expect::Fails;
    use Injected::{ClosedPort, Fault, LinkDown, Loss, Nothing, StrangeSource};

    let trace = Kind::Trace(traceroute::Protocol::Icmp);
    let mut table = vec![
        (Kind::Tcp, Fault(Action::DropSyn(1)), Expect::Retransmits(1)),
        (Kind::Tcp, Fault(Action::DropSyn(2)), Expect::Retransmits(2)),
        (Kind::HalfOpen, Fault(Action::DropSyn(1)), Expect::Retransmits(1)),
        (Kind::Tcp, ClosedPort, Fails(Reason::ConnectionRefused, None)),
        (Kind::HalfOpen, ClosedPort, Fails(Reason::ConnectionRefused, None)),
        (Kind::HalfOpenRaw, ClosedPort, Fails(Reason::ConnectionRefused, None)),
        (Kind::Tcp, Fault(Action::Reset), Fails(Reason::ConnectionRefused, None)),
        (Kind::Https, Fault(Action::ResetAfterHandshake), Fails(Reason::ConnectionResetHandshake, None)),
        (Kind::Http, Fault(Action::ResetAfterHandshake), Fails(Reason::ConnectionTerminated, None)),
        (Kind::Tcp, Fault(Action::Drop), Fails(Reason::ConnectionTimeout, None)),
        (Kind::HalfOpen, Fault(Action::Drop), Fails(Reason::ConnectionTimeout, None)),
        (Kind::HalfOpenRaw, Fault(Action::Drop), Fails(Reason::ConnectionTimeout, None)),
        (Kind::IcmpRaw, Fault(Action::Drop), Fails(Reason::IcmpTimeout, None)),
        (Kind::IcmpDatagram, Fault(Action::Drop), Fails(Reason::IcmpTimeout, None)),
        (trace, Fault(Action::Drop), Fails(Reason::IcmpTimeout, None)),
        (Kind::Https, Fault(Action::Stall), Fails(Reason::TlsTimeout, None)),
        (Kind::Http, Fault(Action::Stall), Fails(Reason::HttpResponseTimeout(Late::Network), None)),
        (Kind::Grpc, Fault(Action::Stall), Fails(Reason::HttpResponseTimeout(Late::Network), None)),
        (Kind::Grpc, Fault(Action::ResetAfterHandshake), Fails(Reason::ConnectionTerminated, None)),
        (Kind::Grpc, ClosedPort, Fails(Reason::ConnectionRefused, None)),
        (Kind::Websocket, Fault(Action::Stall), Fails(Reason::HttpResponseTimeout(Late::Network), None)),
        (Kind::Websocket, Fault(Action::Drop), Fails(Reason::ConnectionTimeout, None)),
        (Kind::IcmpRaw, Fault(Action::Loop { hop: 4 }), Fails(Reason::TtlExceeded, None)),
        (Kind::Tcp, LinkDown, Fails(Reason::LocalLinkDown, None)),
        (Kind::IcmpRaw, StrangeSource, Fails(Reason::SourceAddressUnavailable, None)),
        (Kind::Http, StrangeSource, Fails(Reason::SourceAddressUnavailable, None)),
        (Kind::Dns, ClosedPort, Fails(Reason::PortUnreachable, None)),
        (Kind::Dns, Fault(Action::Drop), Fails(Reason::DnsTimeout, None)),
        (Kind::IcmpRaw, Loss(4, 0.2), Expect::Loss),
        (Kind::IcmpDatagram, Loss(4, 0.2), Expect::Loss),
        (trace, Nothing, Expect::LossyHop(5)),
        (Kind::Trace(traceroute::Protocol::Udp), Nothing, Expect::Routers(6)),
        (Kind::Trace(traceroute::Protocol::Tcp), Nothing, Expect::Routers(6)),
    ];
    let v4 = UNREACHABLE_V4.map(|(code, reason)| (Evidence::Icmp { ty: 3, code }, reason));
    let v6 = UNREACHABLE_V6.map(|(code, reason)| (Evidence::Icmp6 { ty: 1, code }, reason));
    for (says, reason) in v4.into_iter().chain(v6) {
        // From a hop that answers whatever it is asked.
        let fault = Fault(Action::Unreachable { hop: 4, says });
        table.extend([Kind::Tcp, Kind::IcmpRaw].map(|kind| (kind, fault, Fails(reason, Some(4)))));
    }
    let case = |(number, (kind, injected, expect)): (usize, (Kind, Injected, Expect))| Case {
        kind,
        isp: Isp::ALL[number / 2 % 2],
        family: match injected {
            Fault(Action::Unreachable { says: Evidence::Icmp { .. }, .. }) => Family::V4,
            Fault(Action::Unreachable { says: Evidence::Icmp6 { .. }, .. }) => Family::V6,
            _ if number / 4 % 2 == 0 => Family::V4,
            _ => Family::V6,
        },
        binding: match injected {
            // Bound by anything else it would leave by the other device's default route.
            LinkDown => Binding::Interface,
            StrangeSource => Binding::Address,
            _ => Binding::ALL[number % 3],
        },
        injected,
        expect,
    };
    table.into_iter().enumerate().map(case).collect()
}

/// What the codes of ICMP's "destination unreachable" mean (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1). Without 4,
/// "fragmentation needed", which a TCP heeds and goes on.
const UNREACHABLE_V4: [(u8, Reason); 13] = [
    (0, Reason::NetUnreachable),
    (1, Reason::HostUnreachable),
    (2, Reason::ProtocolUnreachable),
    (3, Reason::PortUnreachable),
    (5, Reason::HostUnreachable),
    (6, Reason::NetUnreachable),
    (7, Reason::HostUnreachable),
    (8, Reason::HostUnreachable),
    (9, Reason::AdminProhibited),
    (10, Reason::AdminProhibited),
    (11, Reason::NetUnreachable),
    (12, Reason::HostUnreachable),
    (13, Reason::AdminProhibited),
];

/// The same of ICMPv6 (RFC 4443, section 3.1).
const UNREACHABLE_V6: [(u8, Reason); 7] = [
    (0, Reason::NetUnreachable),
    (1, Reason::AdminProhibited),
    (2, Reason::HostUnreachable),
    (3, Reason::HostUnreachable),
    (4, Reason::PortUnreachable),
    (5, Reason::AdminProhibited),
    (6, Reason::AdminProhibited),
];

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("the path"),
            Self::ClosedPort => f.write_str("nobody listens"),
            Self::LinkDown => f.write_str("the link is down"),
            Self::StrangeSource => f.write_str("a source that is not here"),
            Self::Loss(hop, loss) => write!(f, "{:.0} % lost at hop {hop}", loss * 100.0),
            Self::Fault(action) => match action {
                Action::Drop => f.write_str("all packets lost"),
                Action::DropFirst(n) => write!(f, "{n} packets lost"),
                Action::DropSyn(n) => write!(f, "{n} SYNs lost"),
                Action::DropReset => f.write_str("resets lost"),
                Action::DropLarger(bytes) => write!(f, "packets of more than {bytes} bytes lost"),
                Action::Reset => f.write_str("SYN answered by a reset"),
                Action::ResetAfterHandshake => f.write_str("reset after the handshake"),
                Action::Stall => f.write_str("no data after the handshake"),
                Action::Redirect { hop } => write!(f, "a redirect from hop {hop}"),
                Action::Loop { hop } => write!(f, "a loop at hop {hop}"),
                Action::Delay(extra) => write!(f, "{:.0} ms more", extra.as_secs_f64() * 1e3),
                Action::Unreachable { hop, says: Evidence::Icmp { ty, code } } => {
                    write!(f, "ICMP {ty}/{code} from hop {hop}")
                }
                Action::Unreachable { hop, says: Evidence::Icmp6 { ty, code } } => {
                    write!(f, "ICMPv6 {ty}/{code} from hop {hop}")
                }
            },
        }
    }
}
