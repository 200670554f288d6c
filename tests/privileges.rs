//! What works without privileges does, and what does not says what it lacks: of an ordinary user, of root without capabilities, and in user
//! namespaces.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test talks to the exporter, it is no probe; a test ends where its helpers find what cannot be"
)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::health::serve_health;
use support::{Running, get, program, skip, until};
use uplink_exporter::lab::Namespace;

const PROBES: &str = "
isps:
  marked: {fwmark: 7}
  addressed: {source_ip: 127.0.0.2}
  device: {interface: lo}
modules:
  http: {prober: http}
  http3: {prober: http, http: {enable_http3: true, enable_http2: false}}
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp: {prober: icmp}
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  icmp_datagram: {prober: icmp, icmp: {raw: false}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp}}
  dns: {prober: dns, dns: {query_name: example.org}}
  dns_tcp: {prober: dns, dns: {query_name: example.org, transport_protocol: tcp}}
  grpc: {prober: grpc}
  websocket: {prober: websocket}
  unix: {prober: unix}
  stun: {prober: stun}
  stun_tcp: {prober: stun, stun: {transport_protocol: tcp}}
";

/// Where the servers of [`serve`] are.
const WEB: &str = "127.0.0.1:7080";
const HEALTH: &str = "127.0.0.1:7081";
/// Where none is.
const NOBODY: &str = "127.0.0.1:7082";

const RAW: &str = "give the program CAP_NET_RAW";
const MARK: &str = "SO_MARK is not permitted, give the program CAP_NET_RAW";
const PING: &str = "net.ipv4.ping_group_range allows this program no datagram sockets for ICMP";

/// Modules, their targets, and what comes of them without privileges: success (``), a reason, or what is lacking. `SOCKET` is in the folder
/// of the test, `PING` what [`PING`] is where such sockets are not allowed.
const WITHOUT: [(&str, &str, &str); 18] = [
    ("http", "http://127.0.0.1:7080/", ""),
    // A closed port says so, which shows that the datagram left.
    ("http3", "https://127.0.0.1:7082/", "port_unreachable"),
    ("tcp", WEB, ""),
    ("half_open", WEB, ""),
    ("half_open_raw", WEB, RAW),
    ("icmp", "127.0.0.1", "PING"),
    ("icmp_raw", "127.0.0.1", RAW),
    ("icmp_datagram", "127.0.0.1", "PING"),
    ("trace_icmp", "127.0.0.1", RAW),
    ("trace_udp", "127.0.0.1", RAW),
    ("trace_tcp", "127.0.0.1:7080", RAW),
    ("dns", NOBODY, "port_unreachable"),
    ("dns_tcp", NOBODY, "connection_refused"),
    ("grpc", HEALTH, ""),
    ("websocket", "ws://127.0.0.1:7080/", "http_status_unexpected:2xx"),
    ("unix", "SOCKET", ""),
    ("stun", NOBODY, "port_unreachable"),
    ("stun_tcp", NOBODY, "connection_refused"),
];

/// A network of the test's own, with servers, and a folder that everybody may look into.
struct Site {
    network: Namespace,
    folder: tempfile::TempDir,
    program: PathBuf,
    _unix: UnixListener,
}

impl Site {
    fn start() -> Option<Self> {
        ["setpriv", "unshare", "ip"].map(program).into_iter().collect::<Option<Vec<_>>>()?;
        let network = match Namespace::create("network", || Ok(())) {
            Ok((network, ())) => network,
            Err(why) => {
                skip(&why.to_string());
                return None;
            }
        };
        let mut lo = Command::new("ip");
        assert!(network.spawn(lo.args(["link", "set", "lo", "up"])).unwrap().wait().unwrap().success());
        network.run(serve).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Where the program was built need not be open to others.
        let program = folder.path().join("uplink_exporter");
        let built = env!("CARGO_BIN_EXE_uplink_exporter");
        fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        fs::write(folder.path().join("probes.yml"), PROBES).unwrap();
        fs::write(folder.path().join("shipped.yml"), include_str!("../probes.yml")).unwrap();
        let socket = folder.path().join("socket");
        let unix = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        Some(Self { network, folder, program, _unix: unix })
    }

    /// Says who may make datagram sockets for ICMP; false where that cannot be said.
    fn allow_ping(&self, range: &str) -> bool {
        let file = "/proc/sys/net/ipv4/ping_group_range";
        let set = self.network.run(|| fs::write(file, range)).unwrap();
        set.map_err(|why| skip(&format!("{file} cannot be {range}: {why}"))).is_ok()
    }

    /// Runs the program to its end as somebody, in the network.
    fn output(&self, who: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new(who[0]);
        command.args(&who[1..]).arg(&self.program).args(arguments).current_dir(self.folder.path());
        self.network.run(|| command.stdin(Stdio::null()).output()).unwrap().unwrap()
    }

    /// What a probe by the command line tells as JSON; `isp` may be empty.
    fn probe(&self, who: &[&str], module: &str, isp: &str, target: &str) -> String {
        let isp = format!("--isp={isp}");
        let mut arguments = vec!["probe", "--config.file=probes.yml", "--output=json", "--module", module, target];
        if isp != "--isp=" {
            arguments.push(&isp);
        }
        let done = self.output(who, &arguments);
        let told = String::from_utf8(done.stdout).unwrap();
        let code = if told.contains("\"failure\"") { 1 } else { 0 };
        assert_eq!(done.status.code(), Some(code), "{told}{}", String::from_utf8_lossy(&done.stderr));
        told
    }

    /// Serves a configuration as somebody; runs `work` in the network then.
    fn serving(&self, who: &[&str], configuration: &str, work: impl FnOnce(SocketAddr) + Send) {
        let address = SocketAddr::from(([127, 0, 0, 1], 7115));
        let mut command = Command::new(who[0]);
        command.args(&who[1..]).arg(&self.program).current_dir(self.folder.path());
        command.args([format!("--config.file={configuration}"), format!("--web.listen-address={address}")]);
        let exporter = Running(self.network.spawn(&mut command).unwrap());
        self.network
            .run(|| {
                until("the exporter serves", || std::net::TcpStream::connect(address).is_ok());
                work(address);
            })
            .unwrap();
        drop(exporter);
    }
}

/// A web server and one of gRPC.
fn serve() {
    serve_health(HEALTH.parse().unwrap());
    let listener = TcpListener::bind(WEB).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
                }
            });
        }
    });
}

/// Ourselves, without any capability.
const CAPLESS: [&str; 4] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];

/// An ordinary user: `nobody`, where we may become that, or else ourselves without any capability.
fn ordinary() -> Vec<&'static str> {
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let tried = Command::new(nobody[0]).args(&nobody[1..]).arg("true").stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) { nobody.into() } else { CAPLESS.into() }
}

/// What is wrong with what a probe told.
fn check(told: &str, expected: &str, what: &str) {
    let right = match expected {
        "" => !told.contains("\"failure\""),
        reason if !reason.contains(' ') => told.contains(&format!("\"reason\": \"{reason}\"")),
        lacking => told.contains("\"reason\": \"prober_config_error\"") && told.contains(lacking),
    };
    assert!(right, "{what}, not {expected:?}: {told}");
}

#[test]
fn without_privileges_only_raw_packets_and_marks_fail_and_say_what_they_lack() {
    let Some(site) = Site::start() else { return };
    let socket = site.folder.path().join("socket").display().to_string();
    for who in [ordinary(), CAPLESS.into()] {
        let group = gid_of(&who);
        for (range, ping) in [(format!("{group} {group}"), ""), ("1 0".to_owned(), PING)] {
            if !site.allow_ping(&range) {
                continue;
            }
            site.serving(&who, "probes.yml", |address| {
                let check = |module: &str, isp: &str, expected: &str| {
                    let target = WITHOUT.iter().find(|(known, ..)| *known == module).unwrap().1;
                    let target = target.replace("SOCKET", &socket);
                    let isp = if isp.is_empty() { String::new() } else { format!("&isp={isp}") };
                    let path = format!("/probe?module={module}&target={target}{isp}&format=json");
                    let (status, told) = get(address, &path);
                    assert_eq!(status, 200, "{told}");
                    check(&told, expected, &format!("{path} with {range} as {who:?}"));
                };
                for (module, _, expected) in WITHOUT {
                    let expected = if expected == "PING" { ping } else { expected };
                    for isp in ["", "addressed", "device"] {
                        check(module, isp, expected);
                    }
                    let marked = match expected {
                        // What is lacking for the socket itself is found first.
                        RAW | PING => expected,
                        // No ISP has a part in it.
                        _ if module == "unix" => "",
                        _ => MARK,
                    };
                    check(module, "marked", marked);
                }
            });
        }
    }
}

#[test]
fn nobody_is_told_to_get_what_the_module_does_not_ask_for() {
    let Some(site) = Site::start() else { return };
    if !site.allow_ping("1 0") {
        return;
    }
    for who in [vec!["env"], ordinary()] {
        let told = site.probe(&who, "icmp_datagram", "", "127.0.0.1");
        check(&told, PING, "icmp_datagram");
        assert!(told.contains("`raw: false`") && !told.contains("CAP_NET_RAW"), "{told}");
    }
    let told = site.probe(&ordinary(), "icmp", "", "127.0.0.1");
    check(&told, "a raw one needs CAP_NET_RAW", "icmp");
    assert!(told.contains(PING) && !told.contains("raw: false"), "{told}");
}

#[test]
fn an_ordinary_user_with_cap_net_raw_lacks_nothing() {
    let Some(site) = Site::start() else { return };
    let who = [&ordinary()[..], &["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]].concat();
    let tried = Command::new(who[0]).args(&who[1..]).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip("CAP_NET_RAW cannot be given to an ordinary user here");
    }
    let socket = site.folder.path().join("socket").display().to_string();
    site.serving(&who, "probes.yml", |address| {
        for (module, target, expected) in WITHOUT {
            let target = target.replace("SOCKET", &socket);
            let expected = if [RAW, "PING"].contains(&expected) { "" } else { expected };
            // Who may not have datagram sockets has raw ones.
            if module == "icmp_datagram" {
                continue;
            }
            for isp in ["", "&isp=addressed", "&isp=device", "&isp=marked"] {
                let path = format!("/probe?module={module}&target={target}{isp}&format=json");
                check(&get(address, &path).1, expected, &path);
            }
        }
    });
}

/// The group that programs have as somebody.
fn gid_of(who: &[&str]) -> u32 {
    let told = Command::new(who[0]).args(&who[1..]).args(["id", "-g"]).output().unwrap().stdout;
    String::from_utf8(told).unwrap().trim().parse().unwrap()
}

#[test]
fn the_shipped_modules_are_served_by_an_ordinary_user() {
    let Some(site) = Site::start() else { return };
    let who = ordinary();
    let group = gid_of(&who);
    assert!(site.allow_ping(&format!("{group} {group}")));
    let socket = site.folder.path().join("socket").display().to_string();
    let modules = [
        ("http_2xx", "http://127.0.0.1:7080/", ""),
        ("tcp_connect", WEB, ""),
        ("tcp_half_open", WEB, ""),
        ("icmp", "127.0.0.1", ""),
        ("dns", NOBODY, "port_unreachable"),
        ("traceroute", "127.0.0.1", RAW),
        ("grpc", HEALTH, ""),
        ("websocket", "ws://127.0.0.1:7080/", "http_status_unexpected:2xx"),
        ("unix", &socket, ""),
        ("stun", NOBODY, "port_unreachable"),
    ];
    let shipped = include_str!("../probes.yml").lines().filter(|line| line.trim_start().starts_with("prober: "));
    assert_eq!(shipped.count(), modules.len(), "every module of probes.yml");
    site.serving(&who, "shipped.yml", |address| {
        for (module, target, expected) in modules {
            let (status, told) = get(address, &format!("/probe?module={module}&target={target}&format=json"));
            assert_eq!(status, 200, "{told}");
            check(&told, expected, module);
        }
        let (status, metrics) = get(address, "/metrics");
        assert_eq!(status, 200);
        for line in [
            "uplink_exporter_probe_failures_total{module=\"traceroute\",isp=\"\",reason=\"prober_config_error\"} 1",
            "uplink_exporter_probes_total{module=\"icmp\",isp=\"\"} 1",
            "process_open_fds ",
            "process_resident_memory_bytes ",
        ] {
            assert!(metrics.lines().any(|told| told.starts_with(line)), "{line}: {metrics}");
        }
        for path in ["/", "/config", "/logs?target=127.0.0.1&module=traceroute", "/-/ready"] {
            assert_eq!(get(address, path).0, 200, "{path}");
        }
    });
}

#[test]
fn root_of_a_user_namespace_has_raw_sockets_in_its_own_network_only() {
    let Some(site) = Site::start() else { return };
    let raw = || {
        let is_raw = |(_, _, expected): &&(&str, &str, &str)| *expected == RAW;
        WITHOUT.iter().filter(is_raw).map(|(module, target, _)| (*module, *target)).chain([("icmp_raw", "127.0.0.1")])
    };
    let who = [&ordinary()[..], &["unshare", "--user", "--map-root-user"]].concat();
    let tried = Command::new(who[0]).args(&who[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip("an ordinary user may make no user namespace here");
    }
    for (module, target) in raw() {
        check(&site.probe(&who, module, "", target), RAW, &format!("{module} in the network of others"));
        check(&site.probe(&who, module, "", target), "that of a user namespace", module);
    }
    check(&site.probe(&who, "tcp", "marked", WEB), MARK, "a mark in the network of others");
    // In its own there is nobody but itself.
    let script = "ip link set lo up && exec \"$@\"";
    let own = [&who[..], &["--net", "sh", "-c", script, "sh"]].concat();
    for (module, target) in raw() {
        let expected = if module == "half_open_raw" { "connection_refused" } else { "" };
        for isp in ["", "marked"] {
            check(&site.probe(&own, module, isp, target), expected, &format!("{module} in its own network {isp}"));
        }
    }
}

#[test]
fn what_an_ordinary_user_may_not_is_said_with_what_helps() {
    let Some(site) = Site::start() else { return };
    let who = ordinary();
    let told = |arguments: &[&str]| {
        let done = site.output(&who, arguments);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let folder = site.folder.path();
    let secret = folder.join("secret.yml");
    fs::write(&secret, PROBES).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    for arguments in [&["--config.file=secret.yml"][..], &["--config.file=secret.yml", "--config.check"]] {
        let said = told(arguments);
        assert!(said.contains("secret.yml: cannot be read: Permission denied"), "{said}");
    }
    let said = told(&["--config.file=probes.yml", "--web.listen-address=127.0.0.1:80"]);
    assert!(said.contains("cannot listen on") && said.contains("127.0.0.1:80"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    if opens(&who, Path::new("/dev/net/tun")) {
        return skip("/dev/net/tun is open to everybody here");
    }
    for arguments in [&["demo", "--web.listen-address=127.0.0.1:7116"][..], &["selftest"]] {
        let said = told(arguments);
        assert!(said.contains("opening /dev/net/tun: ") && said.contains("chmod 666 /dev/net/tun"), "{said}");
    }
}

/// Whether somebody may read and write a file.
fn opens(who: &[&str], file: &Path) -> bool {
    let mode = fs::metadata(file).map_or(0, |file| file.mode());
    let mut command = Command::new(who[0]);
    command.args(&who[1..]).args(["sh", "-c", "exec 3<>\"$0\""]).arg(file).stderr(Stdio::null());
    mode != 0 && command.status().is_ok_and(|status| status.success())
}
