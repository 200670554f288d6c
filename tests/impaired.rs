//! What is this host's own fault is blamed on no ISP, and is told.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "what is not the program's leaves by no ISP of its")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use support::lab::Site;
use support::{Exporter, program, skip};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::net::Family;

struct Host {
    site: Site,
    exporter: Exporter,
}

fn start() -> Option<Host> {
    let path = |isp| Path::straight(isp, &[1_000; 3], 1_000);
    let topology = Topology { seed: 5, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let site = Site::start(topology, "  icmp: {prober: icmp}\n")?;
    let configuration = "isps:
  a: {source_ip: 10.1.0.2, source_ip6: 'fd00:a::2', interface: ispa}
  b: {source_ip: 10.2.0.2, source_ip6: 'fd00:b::2', interface: ispb}
modules:
  tcp: {prober: tcp, timeout: 800ms}
  icmp: {prober: icmp, timeout: 800ms}
";
    let exporter = Exporter::start_by(configuration, |command| site.lab.prober().spawn(command).unwrap());
    site.lab.prober().run(|| exporter.wait()).unwrap();
    Some(Host { site, exporter })
}

impl Host {
    /// The verdict on a module, why, and the reasons by ISP (`` for a success).
    fn ask(&self, module: &str) -> (String, String, [String; 2]) {
        let there = target(Family::V4, 10);
        let there = if module == "icmp" { there.to_string() } else { SocketAddr::new(there, 80).to_string() };
        let path = format!("/probe?module={module}&isp=a,b&target={there}&format=json");
        let json: Value =
            serde_json::from_str(&self.site.lab.prober().run(|| self.exporter.get(&path)).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reason = |index: usize| text(&json["probes"][index]["failure"]["reason"]);
        assert!(json.get("blamed_isps").is_none() || json["verdict"] != "prober_impaired", "{json}");
        (text(&json["verdict"]), text(&json["because"]), [reason(0), reason(1)])
    }

    /// Runs a program where the prober is.
    fn run(&self, program: &str, arguments: &str) {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).stdin(Stdio::null());
        let done = self.site.lab.prober().spawn(&mut command).unwrap().wait().unwrap();
        assert!(done.success(), "{program} {arguments}");
    }
}

#[test]
fn packets_that_our_own_queue_drops_are_no_fault_of_the_isp() {
    if program("tc").is_none() {
        return;
    }
    let Some(host) = start() else { return };
    let (verdict, because, _) = host.ask("tcp");
    assert_eq!(verdict, "ok", "{because}");
    // No packet is as small as what this queue takes.
    host.run("tc", "qdisc replace dev ispa root tbf rate 1kbit burst 10 limit 10");
    for (module, reason) in [("tcp", "connection_timeout"), ("icmp", "icmp_timeout")] {
        let (verdict, because, reasons) = host.ask(module);
        assert_eq!((verdict.as_str(), &reasons), ("prober_impaired", &[reason.to_owned(), String::new()]), "{because}");
        assert!(because.contains("this host's queue of ispa dropped "), "{because}");
    }
    host.run("tc", "qdisc del dev ispa root");
    // The same silence, while the queue is in order.
    let of = Matches { isp: Some(Isp::A), ..Matches::default() };
    host.site.lab.change(|topology| topology.faults = vec![Fault { of, action: Action::Drop }]);
    let (verdict, because, _) = host.ask("tcp");
    assert_eq!(verdict, "isp_path_down", "{because}");
}

/// An attribute of netlink, in the place of which others may stand.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [(4 + value.len() as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Enters so many connections, for ten minutes, which nobody is evicted for: `IPCTNL_MSG_CT_NEW` (linux/netfilter/nfnetlink_conntrack.h).
fn enter(connections: usize) {
    const NESTED: u16 = 0x8000;
    let socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_NETFILTER))).unwrap();
    let mut batch = Vec::new();
    for number in 0..connections as u32 {
        let [_, network, host, port] = number.to_be_bytes();
        let (one, other) = ([10, 9, network, host], [10, 8, 0, 1]);
        let (port, discard) = (1_000 + u16::from(port), 9_u16);
        let tuple = |kind, (from, from_port): ([u8; 4], u16), (to, to_port): ([u8; 4], u16)| {
            let addresses = [attribute(1, &from), attribute(2, &to)].concat();
            let udp = attribute(1, &[libc::IPPROTO_UDP as u8]);
            let ports = [udp, attribute(2, &from_port.to_be_bytes()), attribute(3, &to_port.to_be_bytes())].concat();
            attribute(kind | NESTED, &[attribute(1 | NESTED, &addresses), attribute(2 | NESTED, &ports)].concat())
        };
        // Seen both ways, assured, confirmed.
        let status = attribute(3, &14_u32.to_be_bytes());
        let timeout = attribute(7, &600_u32.to_be_bytes());
        let family = vec![libc::AF_INET as u8, 0, 0, 0];
        let both = [tuple(1, (one, port), (other, discard)), tuple(2, (other, discard), (one, port))].concat();
        let body = [family, both, status, timeout].concat();
        batch.extend((16 + body.len() as u32).to_ne_bytes());
        batch.extend((1_u16 << 8).to_ne_bytes());
        batch.extend(((libc::NLM_F_REQUEST | libc::NLM_F_CREATE) as u16).to_ne_bytes());
        batch.extend([0; 8]);
        batch.extend(body);
        if batch.len() > 30_000 || number as usize + 1 == connections {
            socket.send(&std::mem::take(&mut batch)).unwrap();
        }
    }
}

#[test]
fn a_full_table_of_connections_is_no_fault_of_the_isps() {
    if program("nft").is_none() {
        return;
    }
    let Some(host) = start() else { return };
    let most = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let most: usize = most.trim().parse().unwrap();
    if most > 2_000_000 {
        skip(&format!("a table of {most} connections is not to be filled"));
        return;
    }
    // What this test says to the exporter is in no table.
    host.run(
        "nft",
        "add table inet t; \
         add chain inet t out { type filter hook output priority 0; }; add rule inet t out ct state new accept; \
         add chain inet t to { type filter hook output priority -300; }; add rule inet t to oifname lo notrack; \
         add chain inet t from { type filter hook prerouting priority -300; }; add rule inet t from iifname lo notrack",
    );
    host.site.lab.prober().run(|| enter(most)).unwrap();
    let (verdict, because, reasons) = host.ask("tcp");
    let expected = ("prober_impaired", ["connection_timeout"; 2]);
    assert_eq!((verdict.as_str(), reasons.each_ref().map(String::as_str)), expected, "{because}");
    assert!(because.contains("table of connections (nf_conntrack) was full, which dropped "), "{because}");
}

#[test]
fn ports_and_descriptors_that_are_used_up_are_no_fault_of_the_isps() {
    let Some(host) = start() else { return };
    // One port, which somebody has.
    let there = SocketAddr::new(target(Family::V4, 10), 80);
    let held = host.site.lab.prober().run(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
        TcpStream::connect(there).unwrap()
    });
    assert_eq!(held.as_ref().unwrap().local_addr().unwrap(), "10.1.0.2:40000".parse().unwrap());
    let (verdict, because, reasons) = host.ask("tcp");
    let expected = ["source_port_exhausted".to_owned(), String::new()];
    assert_eq!((verdict.as_str(), reasons), ("prober_impaired", expected), "{because}");
    drop(held);
    host.site.lab.prober().run(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999")).unwrap().unwrap();

    // One descriptor for the question, and none for the probes.
    let process = host.exporter.process.0.id();
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    host.run("prlimit", &format!("--pid={process} --nofile={}", open + 1));
    let (verdict, because, reasons) = host.ask("tcp");
    assert_eq!(
        (verdict.as_str(), reasons),
        ("prober_impaired", ["prober_error".to_owned(), "prober_error".to_owned()]),
        "{because}"
    );
}
