#![expect(clippy::disallowed_methods, reason = "the name servers of the tests, which probe nothing")]

mod system;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

use super::*;
use crate::net::Source;
use crate::probe::Isp;
use crate::probe::testing::*;
use crate::probe::{Prober, Report, tcp};

const PATIENCE: Duration = Duration::from_secs(5);
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// Probes port 9 of `host`, through an ISP; what becomes of the name stands in the report.
async fn look_up(
    host: &str,
    servers: &[SocketAddr],
    source: Source,
    preference: Preference,
    timeout: Duration,
) -> Report {
    let prober = Prober::Tcp(tcp::Settings { open: tcp::Open::Half { raw: false }, preference, tracing: None });
    let mut request = request(prober, format!("{host}:9"), timeout);
    request.isp = Some(isp(source, servers));
    probe(&request).await
}

fn isp(source: Source, servers: &[SocketAddr]) -> Arc<Isp> {
    Arc::new(Isp { name: "a".into(), site: "x".into(), source, resolvers: servers.to_vec(), ..Isp::default() })
}

async fn ask(servers: &[SocketAddr]) -> Report {
    look_up("www.example", servers, Source::default(), Preference::default(), PATIENCE).await
}

#[tokio::test]
async fn how_long_it_took_is_told_beside_the_phase() {
    let server = serve_dns(|ty, message| {
        std::thread::sleep(Duration::from_millis(40));
        let name = message.queries[0].name.clone();
        if ty == RecordType::A {
            message.add_answer(Record::from_rdata(name, 60, IpAddr::V4(std::net::Ipv4Addr::LOCALHOST).into()));
        }
        true
    });
    let report = ask(&[server]).await;
    let phase = report.phases.iter().find(|(phase, _)| *phase == Phase::Resolve).unwrap().1;
    let took = report.resolution.as_ref().and_then(|resolution| resolution.took);
    assert_eq!(took, Some(phase), "{report:#?}");
    assert!(phase >= Duration::from_millis(40));
}

#[tokio::test]
async fn an_answer_by_tcp_came_when_it_came() {
    let server = serve_dns(|ty, message| {
        // Only by TCP, the second time that it is asked for, it takes its time.
        message.metadata.truncation = true;
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        if ASKED.fetch_add(1, Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(80));
        }
        both(ty, message)
    });
    let stall = stall();
    let preference = Preference { family: Family::V4, fallback: false };
    let report = look_up("www.example", &[server], Source::default(), preference, PATIENCE).await;
    stall.await.unwrap();
    assert_eq!(address(&report), Some(Ipv4Addr::new(127, 0, 0, 7).into()), "{report:#?}");
    check_phase(&report, Phase::Resolve, 79..105);
}

fn address(report: &Report) -> Option<IpAddr> {
    report.resolution.as_ref().and_then(|resolution| resolution.address)
}

/// A name server; `answer` changes the empty answer to a question, or says that there is none.
fn serve_dns(answer: impl Fn(RecordType, &mut Message) -> bool + Send + Sync + 'static) -> SocketAddr {
    serve_dns_on(([127, 0, 0, 1], 0).into(), answer)
}

/// The same on an address.
fn serve_dns_on(
    address: SocketAddr,
    answer: impl Fn(RecordType, &mut Message) -> bool + Send + Sync + 'static,
) -> SocketAddr {
    let answer = Arc::new(answer);
    // The kernel chooses a port for UDP, which another test may have for TCP.
    let (socket, listener) = std::iter::repeat_with(|| {
        let socket = UdpSocket::bind(address).unwrap();
        TcpListener::bind(socket.local_addr().unwrap()).ok().map(|listener| (socket, listener))
    })
    .find_map(|pair| pair)
    .unwrap();
    let address = socket.local_addr().unwrap();
    let respond = move |question: &[u8], by_tcp: bool| {
        let mut message = Message::from_vec(question).unwrap().into_response();
        let ty = message.queries[0].query_type;
        let answers = answer(ty, &mut message);
        if by_tcp {
            message.metadata.truncation = false;
        }
        answers.then(|| message.to_vec().unwrap())
    };
    let by_tcp = respond.clone();
    spawn_server(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).unwrap();
            let message = by_tcp(&question, true).unwrap();
            stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&message).unwrap();
        }
    });
    spawn_server(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            let (socket, respond, question) = (socket.try_clone().unwrap(), respond.clone(), buffer[..length].to_vec());
            spawn_server(move || {
                // Somebody guesses, and guesses wrong.
                let mut forged = question.clone();
                (forged[0], forged[2]) = (forged[0].wrapping_add(1), 0x80);
                socket.send_to(&forged, peer).unwrap();
                if let Some(message) = respond(&question, false) {
                    socket.send_to(&message, peer).unwrap();
                }
            });
        }
    });
    address
}

fn v4(message: &mut Message, last: u8) {
    let name = message.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name, 1, RData::A(A::new(127, 0, 0, last))));
}

fn v6(message: &mut Message) {
    let name = message.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name, 1, RData::AAAA(AAAA(V6))));
}

fn both(ty: RecordType, message: &mut Message) -> bool {
    match ty {
        RecordType::A => v4(message, 7),
        _ => v6(message),
    }
    true
}

#[tokio::test]
async fn the_preferred_family_is_taken_where_the_isp_has_it() {
    let server = serve_dns(both);
    let (four, six) = (IpAddr::from(Ipv4Addr::new(127, 0, 0, 7)), IpAddr::V6(V6));
    let only_v4 = || Source { v4: Some(Ipv4Addr::LOCALHOST), ..Source::default() };
    let prefer = |family, fallback| Preference { family, fallback };
    let cases = [
        (Source::default(), prefer(Family::V6, true), Some(six)),
        (Source::default(), prefer(Family::V4, true), Some(four)),
        (only_v4(), prefer(Family::V6, true), Some(four)),
        (only_v4(), prefer(Family::V6, false), None),
    ];
    for (source, preference, expected) in cases {
        let report = look_up("www.example", &[server], source, preference, PATIENCE).await;
        assert_eq!(address(&report), expected, "{preference:?}");
        if expected.is_none() {
            check_failure(&report, Phase::Resolve, Reason::SourceAddressUnavailable);
        }
    }
    let report = look_up("[::1]", &[], only_v4(), Preference::default(), PATIENCE).await;
    check_failure(&report, Phase::Resolve, Reason::SourceAddressUnavailable);
}

#[tokio::test]
async fn the_other_family_does_where_the_preferred_one_has_none() {
    let server = serve_dns(|ty, message| {
        if ty == RecordType::A {
            sleep(50);
            v4(message, 8);
            v4(message, 9);
        }
        true
    });
    let report = ask(&[server]).await;
    assert_eq!(address(&report), Some(Ipv4Addr::new(127, 0, 0, 8).into()));
    check_phase(&report, Phase::Resolve, 49..150);
}

#[tokio::test]
async fn an_answer_for_the_preferred_family_needs_no_other() {
    let server = serve_dns(|ty, message| {
        sleep(if ty == RecordType::A { 500 } else { 30 });
        both(ty, message)
    });
    let report = ask(&[server]).await;
    assert_eq!(address(&report), Some(IpAddr::V6(V6)));
    check_phase(&report, Phase::Resolve, 29..150);
}

/// Every prober that resolves names, what its section needs, and a target.
const PROBERS: [(&str, &str, &str); 7] = [
    ("http", "", "http://www.example:9/"),
    ("tcp", "", "www.example:9"),
    ("icmp", "", "www.example"),
    ("dns", "query_name: a.example,", "www.example:9"),
    ("traceroute", "", "www.example"),
    ("grpc", "", "www.example:9"),
    ("websocket", "", "ws://www.example:9/"),
];

/// A name server that tells who asks it.
fn serve_askers() -> (SocketAddr, std::sync::mpsc::Receiver<IpAddr>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (tell, askers) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            both(message.queries[0].query_type, &mut message);
            // The test may have ended.
            let _ = tell.send(peer.ip());
            socket.send_to(&message.to_vec().unwrap(), peer).unwrap();
        }
    });
    (address, askers)
}

#[tokio::test]
async fn the_modules_name_servers_are_asked_before_the_isps_and_from_its_source() {
    let (of_isp, asked_of_isp) = serve_askers();
    let bound = Source { v4: Some(Ipv4Addr::new(127, 0, 0, 8)), ..Source::default() };
    let isp = isp(bound, &[of_isp]);
    let short = Duration::from_millis(300);
    for (prober, fields, target) in PROBERS {
        // From an ISP's source, from the module's own, where there may be one, and from none.
        let own = "source_ip_address: 127.0.0.9";
        let has_own = ["tcp", "icmp", "dns", "traceroute"].contains(&prober);
        for (isp, own, expected) in [
            (Some(&isp), "", [127, 0, 0, 8]),
            (Some(&isp), own, [127, 0, 0, 8]),
            (None, own, [127, 0, 0, 9]),
            (None, "", [127, 0, 0, 1]),
        ] {
            if !has_own && !own.is_empty() {
                continue;
            }
            let (of_module, asked) = serve_askers();
            let module = format!("{{prober: {prober}, resolvers: ['{of_module}'], {prober}: {{{fields}{own}}}}}");
            let mut request = configured(&module, target, short);
            request.isp = isp.cloned();
            let report = probe(&request).await;
            assert!(address(&report).is_some(), "{module}: {report:#?}");
            let askers: Vec<_> = asked.try_iter().collect();
            assert!(!askers.is_empty() && askers.iter().all(|asker| *asker == IpAddr::from(expected)), "{askers:?}");
        }
        assert_eq!(asked_of_isp.try_iter().count(), 0);
        let module = format!("{{prober: {prober}, {prober}: {{{fields}}}}}");
        let mut request = configured(&module, target, short);
        request.isp = Some(Arc::clone(&isp));
        assert!(address(&probe(&request).await).is_some(), "{module}");
        let askers: Vec<_> = asked_of_isp.try_iter().collect();
        assert_eq!(askers, [IpAddr::from([127, 0, 0, 8])], "an ISP's are asked where the module has none");
    }
}

#[tokio::test]
async fn of_the_modules_name_servers_those_are_asked_that_an_isp_can_reach() {
    let good = serve_dns(both);
    let unreachable: SocketAddr = "[::1]:53".parse().unwrap();
    let isp = isp(Source { v4: Some(Ipv4Addr::LOCALHOST), ..Source::default() }, &[]);
    let look_up = async |servers: &[SocketAddr]| {
        let module =
            format!("{{prober: tcp, resolvers: {:?}}}", servers.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut request = configured(&module, "www.example:9", PATIENCE);
        request.isp = Some(Arc::clone(&isp));
        probe(&request).await
    };
    let report = look_up(&[unreachable, good]).await;
    assert_eq!(address(&report), Some(Ipv4Addr::new(127, 0, 0, 7).into()));
    check_phase(&report, Phase::Resolve, 0..500);
    let report = look_up(&[unreachable]).await;
    check_failure(&report, Phase::Resolve, Reason::SourceAddressUnavailable);
    let detail = &report.failure.as_ref().unwrap().detail;
    assert!(detail.starts_with("asking the name server [::1]:53: there is no IPv6 source"), "{detail}");
}

#[tokio::test]
async fn what_does_not_fit_comes_by_tcp() {
    let server = serve_dns(|ty, message| {
        message.metadata.truncation = true;
        both(ty, message)
    });
    assert_eq!(address(&ask(&[server]).await), Some(IpAddr::V6(V6)));
}

/// Without EDNS it may not have more than 512 bytes, and some servers do not care.
#[tokio::test]
async fn an_answer_may_fill_a_packet() {
    let server = serve_dns(|ty, message| {
        (0..50).for_each(|_| v6(message));
        ty == RecordType::AAAA
    });
    assert_eq!(address(&ask(&[server]).await), Some(IpAddr::V6(V6)));
}

#[tokio::test]
async fn the_next_server_helps_where_one_is_silent_or_fails() {
    let good = serve_dns(both);
    let silent = serve_dns(|_, _| false);
    let failing = serve_dns(|_, message| {
        message.metadata.response_code = ResponseCode::ServFail;
        true
    });
    assert_eq!(address(&ask(&[failing, closed(), good]).await), Some(IpAddr::V6(V6)));
    let report = ask(&[silent, good]).await;
    assert_eq!(address(&report), Some(IpAddr::V6(V6)));
    check_phase(&report, Phase::Resolve, 999..1200);
}

#[tokio::test]
async fn a_look_up_that_fails_says_how() {
    let code = |code| {
        serve_dns(move |_, message| {
            message.metadata.response_code = code;
            true
        })
    };
    let cases = [
        (code(ResponseCode::NXDomain), Reason::DnsNxdomain),
        (code(ResponseCode::NoError), Reason::DnsNodata),
        (code(ResponseCode::ServFail), Reason::DnsServfail),
        (code(ResponseCode::Refused), Reason::DnsRefused),
        (closed(), Reason::PortUnreachable),
    ];
    for (server, reason) in cases {
        let report = ask(&[server]).await;
        check_failure(&report, Phase::Resolve, reason);
        assert_eq!(address(&report), None);
        assert!(report.resolution.is_some());
    }
    let silent = serve_dns(|_, _| false);
    let short = Duration::from_millis(300);
    let report = look_up("www.example", &[silent], Source::default(), Preference::default(), short).await;
    check_failure(&report, Phase::Resolve, Reason::DnsTimeout);
    check_phase(&report, Phase::Resolve, 290..301);
}

/// Where nobody listens, and the kernel says so.
fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn only_what_a_server_says_of_a_name_is_told_as_its_word() {
    let refusing = serve_dns(|_, message| {
        message.metadata.response_code = ResponseCode::Refused;
        true
    });
    // The network's word, and who said it.
    let report = ask(&[closed(), closed()]).await;
    check_failure(&report, Phase::Resolve, Reason::PortUnreachable);
    assert_eq!(report.failure.unwrap().offender, Some(Ipv4Addr::LOCALHOST.into()));
    // A server's word tells more, wherever it stands.
    for servers in [[closed(), refusing], [refusing, closed()]] {
        check_failure(&ask(&servers).await, Phase::Resolve, Reason::DnsRefused);
    }
    // What it sends in place of an answer that fits: by TCP.
    let by_tcp = |reply: Option<&'static [u8]>| {
        let (socket, listener) = std::iter::repeat_with(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            TcpListener::bind(socket.local_addr().unwrap()).ok().map(|listener| (socket, listener))
        })
        .find_map(|pair| pair)
        .unwrap();
        let server = socket.local_addr().unwrap();
        spawn_server(move || {
            let mut buffer = [0; 512];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).unwrap();
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                message.metadata.truncation = true;
                socket.send_to(&message.to_vec().unwrap(), peer).unwrap();
            }
        });
        if let Some(reply) = reply {
            spawn_server(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    let mut length = [0; 2];
                    stream.read_exact(&mut length).unwrap();
                    stream.read_exact(&mut vec![0; u16::from_be_bytes(length).into()]).unwrap();
                    stream.write_all(reply).unwrap();
                }
            });
        }
        server
    };
    for (reply, reason) in [
        (None, Reason::ConnectionRefused),
        (Some(&b""[..]), Reason::ConnectionTerminated),
        (Some(&b"\0\x02no"[..]), Reason::DnsAnswerUnexpected),
    ] {
        check_failure(&ask(&[by_tcp(reply)]).await, Phase::Resolve, reason);
    }
}

#[tokio::test]
async fn a_name_of_no_single_host_is_not_probed() {
    let addresses: [IpAddr; 3] = ["0.0.0.0".parse().unwrap(), "ff02::1".parse().unwrap(), "::".parse().unwrap()];
    for wrong in addresses {
        let server = serve_dns(move |_, message| {
            let name = message.queries[0].name.clone();
            message.answers.push(Record::from_rdata(name, 60, wrong.into()));
            true
        });
        let preference = Preference { family: Family::of(wrong), fallback: false };
        let report = look_up("www.example", &[server], Source::default(), preference, PATIENCE).await;
        check_failure(&report, Phase::Resolve, Reason::DestinationIpProhibited);
        assert_eq!(address(&report), Some(wrong));
    }
}

#[tokio::test]
async fn an_address_of_the_wrong_family_is_no_address() {
    let only = Preference { family: Family::V6, fallback: false };
    let report = look_up("127.0.0.1", &[], Source::default(), only, PATIENCE).await;
    check_failure(&report, Phase::Resolve, Reason::ProberConfigError);
}

#[tokio::test]
async fn a_mapped_address_is_the_one_that_it_means() {
    for host in ["[::ffff:127.0.0.1]", "127.0.0.1"] {
        let report = look_up(host, &[], Source::default(), Preference::default(), PATIENCE).await;
        assert_eq!(address(&report), Some(Ipv4Addr::LOCALHOST.into()), "{host}");
        assert!(seconds(&report, Phase::Resolve).is_some_and(|span| span > 0.0), "{report:#?}");
    }
}
