//! The system's names: files of the tests, and name servers on loopback.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::probe::{Measurement, Request, until_deadline};

/// A system with these two files; its name servers listen on `port`.
fn system(hosts: &str, resolv_conf: &str, port: u16) -> (System, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hosts"), hosts).unwrap();
    std::fs::write(folder.path().join("resolv.conf"), resolv_conf).unwrap();
    (System::new(folder.path(), folder.path().join("hostname"), port), folder)
}

fn request_for(host: &str, timeout: Duration) -> Request {
    let preference = Preference::default();
    request(
        Prober::Tcp(tcp::Settings { open: tcp::Open::Half { raw: false }, preference, tracing: None }),
        host,
        timeout,
    )
}

/// Looks a name up, and does no more.
async fn look_up_on(system: &System, request: &Request, preference: Preference) -> Report {
    watch(async {
        let probe = Probe::start(request);
        let measured = tcp::Measurement::default();
        let (measurement, failure) = until_deadline(&probe, measured, Measurement::Tcp, async |_| {
            let families = families(preference).filter(|family| probe.source().supports(*family)).collect();
            resolve_on(system, &probe, &request.target, preference, families).await.map(drop)
        })
        .await;
        probe.report(measurement, failure)
    })
    .await
}

async fn ask_on(system: &System, host: &str) -> Report {
    look_up_on(system, &request_for(host, PATIENCE), Preference::default()).await
}

/// The names that a server was asked for, as they come.
type Asked = Receiver<String>;

/// A name server that knows some names (`name=code` or `name`, which has both kinds of addresses), answers NXDOMAIN for all others,
/// and tells what it is asked for the preferred family.
fn serve_names(address: SocketAddr, names: &'static [&'static str]) -> (SocketAddr, Asked) {
    let (tell, asked) = channel();
    let tell = Mutex::new(tell);
    let address = serve_dns_on(address, move |ty, message| {
        let name = message.queries[0].name.to_string().trim_end_matches('.').to_owned();
        if ty == RecordType::AAAA {
            // The test may have ended.
            let _ = tell.lock().unwrap().send(name.clone());
        }
        let known = names.iter().map(|entry| entry.split_once('=').unwrap_or((entry, "")));
        match known.into_iter().find(|(known, _)| *known == name) {
            Some((_, "")) => return both(ty, message),
            Some((_, "servfail")) => message.metadata.response_code = ResponseCode::ServFail,
            Some((_, "refused")) => message.metadata.response_code = ResponseCode::Refused,
            Some((_, "nodata")) => {}
            Some((_, "silent")) => return false,
            _ => message.metadata.response_code = ResponseCode::NXDomain,
        }
        true
    });
    (address, asked)
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn loopback(last: u8, port: u16) -> SocketAddr {
    ([127, 0, 0, last], port).into()
}

#[tokio::test]
async fn a_name_in_the_hosts_file_is_not_asked_for() {
    let (server, asked) = serve_names(ANY_PORT, &["both.example", "localhost"]);
    let hosts = "127.0.0.5 both.example four.example\n::5 BOTH.example\n127.0.0.6 four.example Localhost";
    let (system, _folder) = system(hosts, "nameserver 127.0.0.1", server.port());
    let prefer = |family, fallback| Preference { family, fallback };
    let cases = [
        ("both.example", prefer(Family::V6, true), Ok("::5")),
        ("Both.Example.", prefer(Family::V4, true), Ok("127.0.0.5")),
        ("four.example", prefer(Family::V6, true), Ok("127.0.0.5")),
        ("four.example", prefer(Family::V6, false), Err(Reason::DnsNodata)),
        ("localhost", prefer(Family::V6, true), Ok("127.0.0.6")),
        ("LOCALHOST.", prefer(Family::V4, false), Ok("127.0.0.6")),
        ("sub.localhost", prefer(Family::V6, true), Ok("::1")),
        ("sub.localhost", prefer(Family::V4, false), Ok("127.0.0.1")),
        ("::7", prefer(Family::V6, true), Ok("::7")),
    ];
    for (host, preference, expected) in cases {
        let report = look_up_on(&system, &request_for(host, PATIENCE), preference).await;
        assert_eq!(address(&report), expected.ok().map(|address| address.parse().unwrap()), "{host} {preference:?}");
        match expected {
            Ok(_) => check_success(&report),
            Err(reason) => check_failure(&report, Phase::Resolve, reason),
        }
        check_phase(&report, Phase::Resolve, 0..1);
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn without_files_localhost_is_loopback_and_this_host_is_asked() {
    let nowhere = Path::new("/nonexistent");
    let (server, asked) = serve_names(ANY_PORT, &["box.local.example"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hostname"), "me.local.example\n").unwrap();
    let system = System::new(nowhere, folder.path().join("hostname"), server.port());
    assert_eq!(address(&ask_on(&system, "localhost").await), Some(V6.into()));
    assert_eq!(address(&ask_on(&system, "box").await), Some(V6.into()));
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["box.local.example"]);
}

#[tokio::test]
async fn relative_names_are_searched_for() {
    let cases: [(&str, &str, &[&str], bool); 6] = [
        ("box", "", &["box.a.example", "box.b.example"], true),
        ("box.b.example", "", &["box.b.example"], true),
        ("box.b", "", &["box.b", "box.b.a.example", "box.b.b.example"], false),
        ("box.b", "options ndots:2", &["box.b.a.example", "box.b.b.example", "box.b"], false),
        ("box.", "", &["box"], false),
        ("deep.box", "options ndots:3", &["deep.box.a.example", "deep.box.b.example"], true),
    ];
    let (server, asked) = serve_names(ANY_PORT, &["box.b.example", "deep.box.b.example"]);
    for (host, options, names, found) in cases {
        let conf = format!("nameserver 127.0.0.1\nsearch a.example b.example\n{options}");
        let (system, _folder) = system("", &conf, server.port());
        let report = ask_on(&system, host).await;
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), names, "{host} {options}");
        assert_eq!(address(&report), found.then_some(V6.into()), "{host} {options}");
        if !found {
            check_failure(&report, Phase::Resolve, Reason::DnsNxdomain);
        }
    }
}

#[tokio::test]
async fn of_several_names_that_fail_the_one_that_was_meant_tells_why() {
    let names = &["x.example=nodata", "y.a.example=servfail", "z=refused", "w.b.example", "w.a.example=servfail"];
    let (server, _asked) = serve_names(ANY_PORT, names);
    let (system, _folder) = system("", "nameserver 127.0.0.1\nsearch a.example b.example", server.port());
    let cases = [
        // As it is first, whatever comes of the others.
        ("x.example", Some(Reason::DnsNodata)),
        ("none.example", Some(Reason::DnsNxdomain)),
        // This one might be there.
        ("y", Some(Reason::DnsServfail)),
        ("z", Some(Reason::DnsRefused)),
        ("none", Some(Reason::DnsNxdomain)),
        ("w", None),
    ];
    for (host, reason) in cases {
        let report = ask_on(&system, host).await;
        match reason {
            Some(reason) => check_failure(&report, Phase::Resolve, reason),
            None => assert_eq!(address(&report), Some(V6.into())),
        }
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_silent_or_is_not_there() {
    let (silent, asked_in_vain) = serve_names(ANY_PORT, &["box.a.example=silent", "box.b.example=silent"]);
    let (_, asked) = serve_names(loopback(2, silent.port()), &["box.b.example"]);
    let ask = async |conf: &str, timeout| {
        let (system, _folder) = system("", &format!("{conf}\nsearch a.example b.example"), silent.port());
        look_up_on(&system, &request_for("box", timeout), Preference::default()).await
    };
    // Nobody listens on 127.0.0.3, and the kernel says so.
    let report = ask("nameserver 127.0.0.3\nnameserver 127.0.0.2", PATIENCE).await;
    assert_eq!(address(&report), Some(V6.into()));
    check_phase(&report, Phase::Resolve, 0..200);
    let report = ask("nameserver 127.0.0.3", PATIENCE).await;
    check_failure(&report, Phase::Resolve, Reason::PortUnreachable);
    check_phase(&report, Phase::Resolve, 0..200);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["box.a.example", "box.b.example"]);

    // For the second name, who answered for the first is asked first.
    let report = ask("nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1", PATIENCE).await;
    assert_eq!(address(&report), Some(V6.into()));
    check_phase(&report, Phase::Resolve, 999..1300);
    assert_eq!(asked_in_vain.try_iter().collect::<Vec<_>>(), ["box.a.example"]);
    // A fourth of what is left: two servers, twice.
    let report = ask("nameserver 127.0.0.1\nnameserver 127.0.0.2", Duration::from_millis(800)).await;
    assert_eq!(address(&report), Some(V6.into()));
    check_phase(&report, Phase::Resolve, 199..400);
}

#[tokio::test]
async fn silence_ends_the_look_up_after_the_attempts_or_with_the_probe() {
    let (server, asked) = serve_names(ANY_PORT, &["box.a.example=silent"]);
    let conf = "nameserver 127.0.0.1\nsearch a.example b.example\noptions timeout:1 attempts:2";
    let (system, _folder) = system("", conf, server.port());
    let report = ask_on(&system, "box").await;
    check_failure(&report, Phase::Resolve, Reason::DnsTimeout);
    check_phase(&report, Phase::Resolve, 1999..2002);
    // Nobody is asked for another name.
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["box.a.example"; 2]);
    let report = look_up_on(&system, &request_for("box", Duration::from_millis(400)), Preference::default()).await;
    check_failure(&report, Phase::Resolve, Reason::DnsTimeout);
    check_phase(&report, Phase::Resolve, 390..401);
}

#[tokio::test]
async fn what_does_not_fit_comes_by_tcp() {
    let server = serve_dns(|ty, message| {
        message.metadata.truncation = true;
        both(ty, message)
    });
    let (system, _folder) = system("", "nameserver 127.0.0.1", server.port());
    assert_eq!(address(&ask_on(&system, "www.example").await), Some(V6.into()));
}

#[tokio::test]
async fn name_servers_are_asked_as_the_kernel_routes_whatever_the_isp() {
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let (system, _folder) = system("", "nameserver 127.0.0.1", socket.local_addr().unwrap().port());
    let mut request = request_for("www.example", Duration::from_millis(200));
    let source = Source { v4: Some(Ipv4Addr::new(127, 0, 0, 8)), ..Source::default() };
    request.isp = Some(Arc::new(Isp { name: "a".into(), site: "x".into(), source, ..Isp::default() }));
    look_up_on(&system, &request, Preference::default()).await;
    let mut question = [0; 512];
    let (length, peer) = socket.recv_from(&mut question).unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::LOCALHOST);
    let question = Message::from_vec(&question[..length]).unwrap();
    assert_eq!(question.queries[0].query_type, RecordType::A, "the ISP has no IPv6 source");
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_leaves_no_socket() {
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let (system, _folder) = system("", "nameserver 127.0.0.1", socket.local_addr().unwrap().port());
    let request = request_for("www.example", PATIENCE);
    let waited =
        tokio::time::timeout(Duration::from_millis(100), look_up_on(&system, &request, Preference::default())).await;
    assert!(waited.is_err(), "it was still waiting");
    for _ in Family::V4 as u8..=Family::V6 as u8 {
        let peer = socket.recv_from(&mut [0; 512]).unwrap().1;
        // To a port that is closed, only the first datagram can be sent: the kernel says at once that nobody is there.
        let answer = UdpSocket::bind(loopback(1, 0)).unwrap();
        answer.connect(peer).unwrap();
        answer.send(b"too late").unwrap();
        assert_eq!(answer.send(b"too late").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_name_that_is_known_does_not_wait_for_those_that_are_asked_for() {
    let silent = UdpSocket::bind(ANY_PORT).unwrap();
    let (system, _folder) =
        system("127.0.0.5 known.example", "nameserver 127.0.0.1", silent.local_addr().unwrap().port());
    let system = Arc::new(system);
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..300 {
        let system = Arc::clone(&system);
        waiting.spawn(async move { ask_on(&system, &format!("unknown{number}.example")).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let report = ask_on(&system, "known.example").await;
    assert_eq!(address(&report), Some(Ipv4Addr::new(127, 0, 0, 5).into()));
    check_phase(&report, Phase::Resolve, 0..1);
    assert!(waiting.try_join_next().is_none());
}
