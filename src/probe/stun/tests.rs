use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use super::*;
use crate::flight::Phase;
use crate::probe::testing::*;
use crate::probe::{Measurement as Any, Report};
use crate::wire::stun::{HEADER, request as asked, response};

const PATIENCE: Duration = Duration::from_secs(5);

/// A server of datagrams; `answers`: the datagrams that it sends upon one, of which it is told the number, from 0, and where it came from.
fn serve_datagrams(
    ip: IpAddr,
    answers: impl Fn(usize, &[u8], SocketAddr) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let socket = bind(ip);
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        for number in 0.. {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in answers(number, &buffer[..length], from) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "a server of a test")]
fn bind(ip: IpAddr) -> UdpSocket {
    UdpSocket::bind((ip, 0)).unwrap()
}

async fn probe(module: &str, target: impl ToString, timeout: Duration) -> (Report, Measurement) {
    let report = crate::probe::run(&configured(module, target, timeout)).await;
    let Any::Stun(measured) = report.measurement.clone() else { panic!("{report:?}") };
    (report, measured)
}

fn well(message: &[u8], from: SocketAddr) -> Vec<u8> {
    response(&asked(message).unwrap(), from)
}

fn reason(report: &Report) -> String {
    report.failure.as_ref().map(|failure| failure.reason.name().into_owned()).unwrap_or_default()
}

#[test]
fn a_request_is_sent_again_when_the_rfc_says_so() {
    let due: Vec<_> = (1..=9).map(|requests| datagram::patience(requests).as_millis()).collect();
    // Section 6.2.1: 0 ms, 500 ms, …, 31500 ms, and 39500 ms for the end.
    assert_eq!(due, [500, 1500, 3500, 7500, 15_500, 31_500, 39_500, 39_500, 39_500]);
}

#[tokio::test]
async fn the_address_that_the_server_sees_is_told_with_its_round_trip() {
    for ip in BOTH {
        let server = serve_datagrams(ip, |_, message, from| vec![well(message, from)]);
        let (report, measured) = probe("{prober: stun}", server, PATIENCE).await;
        assert_eq!(report.failure, None, "{report:#?}");
        assert_eq!(measured.mapped.map(|mapped| Some(mapped.address)), Some(measured.handshake.local));
        assert_eq!((report.public_ip(), report.public_ip_expected()), (Some(ip), None));
        assert_eq!(measured.requests, 1);
        let query = report.phases.iter().find(|(phase, _)| *phase == Phase::Query).unwrap().1;
        assert_eq!(measured.rtt, Some(query), "the phase is the round trip");
        let length = if ip.is_ipv4() { 40 } else { 52 };
        assert_eq!(measured.traffic, Some(Traffic { sent: 28, received: length }));
    }
}

#[tokio::test]
async fn a_request_that_is_lost_is_sent_again_and_has_no_round_trip() {
    let server = serve_datagrams(V4, |number, message, from| match number {
        0 => vec![],
        _ => vec![well(message, from)],
    });
    let (report, measured) = probe("{prober: stun}", server, PATIENCE).await;
    assert_eq!((reason(&report).as_str(), measured.requests, measured.rtt), ("", 2, None));
    let took = report.duration.as_millis();
    assert!((500..1500).contains(&took), "{took} ms");
}

/// A late answer to the first of two requests looks as one to the second.
#[tokio::test]
async fn nobody_is_told_a_round_trip_that_may_be_that_of_another_request() {
    let server = serve_datagrams(V4, |number, message, from| {
        if number == 0 {
            thread::sleep(Duration::from_millis(600));
        }
        vec![well(message, from)]
    });
    let (report, measured) = probe("{prober: stun}", server, PATIENCE).await;
    assert_eq!((reason(&report).as_str(), measured.requests, measured.rtt), ("", 2, None));
}

#[tokio::test]
async fn what_is_no_answer_is_passed_over() {
    let server = serve_datagrams(V4, |_, message, from| {
        let mut other = well(message, from);
        other[HEADER - 1] ^= 1;
        let mut no_cookie = well(message, from);
        no_cookie[4] ^= 1;
        vec![b"hello".to_vec(), other, no_cookie, message.to_vec(), well(message, from)]
    });
    let (report, measured) = probe("{prober: stun}", server, PATIENCE).await;
    assert_eq!((reason(&report).as_str(), measured.requests), ("", 1), "{report:#?}");
    let passed_over = report.log.iter().filter(|line| line.text.starts_with("passed over")).count();
    assert_eq!(passed_over, 4, "{:#?}", report.log);
}

#[tokio::test]
async fn an_answer_from_somebody_else_is_not_heard() {
    for ip in BOTH {
        let other = bind(ip);
        let server = serve_datagrams(ip, move |_, message, from| {
            other.send_to(&well(message, from), from).unwrap();
            vec![]
        });
        let (report, measured) = probe("{prober: stun}", server, Duration::from_millis(300)).await;
        assert_eq!((reason(&report).as_str(), measured.mapped), ("connection_timeout", None));
    }
}

#[tokio::test]
async fn every_request_has_another_transaction() {
    let (seen, transactions) = std::sync::mpsc::channel();
    let server = serve_datagrams(V4, move |_, message, from| {
        seen.send(message[8..HEADER].to_vec()).unwrap();
        vec![well(message, from)]
    });
    for _ in 0..20 {
        assert_eq!(reason(&probe("{prober: stun}", server, PATIENCE).await.0), "");
    }
    let transactions: Vec<_> = transactions.try_iter().collect();
    let different: std::collections::BTreeSet<_> = transactions.iter().collect();
    assert_eq!((transactions.len(), different.len()), (20, 20));
    // No byte of them is always the same.
    assert!((0..12).all(|at| transactions.iter().any(|one| one[at] != transactions[0][at])));
}

#[tokio::test]
async fn silence_and_closed_ports_are_told_apart() {
    let server = serve_datagrams(V4, |_, _, _| vec![]);
    let (report, measured) = probe("{prober: stun}", server, Duration::from_millis(700)).await;
    assert_eq!((reason(&report).as_str(), measured.requests), ("connection_timeout", 2));
    let said = report.failure.as_ref().unwrap().to_string();
    assert_eq!(said, "query failed: no answer from the STUN server within 0.7 s (connection_timeout)");
    for ip in BOTH {
        let closed = bind(ip).local_addr().unwrap();
        let begun = Instant::now();
        let (report, measured) = probe("{prober: stun}", closed, PATIENCE).await;
        assert_eq!((reason(&report).as_str(), measured.requests), ("port_unreachable", 1));
        assert!(begun.elapsed() < Duration::from_millis(400));
    }
}

/// An answer of these attributes, without a fingerprint.
fn answer(message: &[u8], ty: u16, attributes: &[u8]) -> Vec<u8> {
    let length = (attributes.len() as u16).to_be_bytes();
    [&ty.to_be_bytes()[..], &length, &message[4..HEADER], attributes].concat()
}

const ALTERNATE: &[u8] = b"\0\x09\0\x11\0\0\x03\0Try Alternate\0\0\0\x80\x23\0\x08\0\x01\x0d\x97\xc0\0\x02\x09";

#[tokio::test]
async fn errors_are_told_as_such_and_nobody_else_is_asked() {
    for (attributes, expected) in [
        (
            ALTERNATE,
            "query failed: the server answers with the error 300 \"Try Alternate\" (ALTERNATE-SERVER 192.0.2.9:3479), who is not asked (stun_error:3xx)",
        ),
        (
            b"\0\x09\0\x10\0\0\x04\x01Unauthorized",
            "query failed: the server answers with the error 401 \"Unauthorized\" (stun_error:4xx)",
        ),
        (b"\0\x09\0\x04\0\0\x05\0", "query failed: the server answers with the error 500 (stun_error:5xx)"),
    ] {
        let server = serve_datagrams(V4, move |_, message, _| vec![answer(message, 0x0111, attributes)]);
        let (report, measured) = probe("{prober: stun}", server, PATIENCE).await;
        assert_eq!(report.failure.as_ref().unwrap().to_string(), expected);
        assert!(measured.refusal.is_some() && report.public_ip().is_none());
    }
}

#[tokio::test]
async fn an_old_servers_address_counts_and_what_cannot_be_used_is_no_answer() {
    let old =
        serve_datagrams(V4, |_, message, _| vec![answer(message, 0x0101, b"\0\x01\0\x08\0\x01\x04\xd2\xc0\0\x02\x07")]);
    let (report, measured) = probe("{prober: stun}", old, PATIENCE).await;
    let mapped = Mapped { address: "192.0.2.7:1234".parse().unwrap(), in_clear: true };
    assert_eq!((reason(&report).as_str(), measured.mapped), ("", Some(mapped)));
    let empty = serve_datagrams(V4, |_, message, _| vec![answer(message, 0x0101, b"")]);
    let (report, measured) = probe("{prober: stun}", empty, PATIENCE).await;
    assert_eq!((reason(&report).as_str(), measured.requests), ("stun_answer_unexpected", 1));
    let changed = serve_datagrams(V4, |_, message, from| {
        let mut answer = well(message, from);
        answer[HEADER + 8] ^= 1;
        vec![answer]
    });
    let (report, _) = probe("{prober: stun}", changed, PATIENCE).await;
    assert!(report.failure.unwrap().detail.contains("it was changed on the way"));
}

/// Serves one connection: reads a request, says something, and, unless it is to hang up, waits for the end.
fn serve_connection(
    ip: IpAddr,
    hang_up: bool,
    say: impl Fn(&[u8], SocketAddr) -> Vec<u8> + Send + 'static,
) -> SocketAddr {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let mut message = [0; 28];
        stream.read_exact(&mut message).unwrap();
        // In two segments, since a stream has no messages.
        let said = say(&message, from);
        let (start, end) = said.split_at(said.len() / 2);
        stream.write_all(start).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(end).unwrap();
        if !hang_up {
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    address
}

#[tokio::test]
async fn a_connection_carries_the_same() {
    const TCP: &str = "{prober: stun, stun: {transport_protocol: tcp}}";
    for ip in BOTH {
        let server = serve_connection(ip, false, well);
        let (report, measured) = probe(TCP, server, PATIENCE).await;
        assert_eq!(reason(&report), "", "{report:#?}");
        assert_eq!(measured.mapped.map(|mapped| Some(mapped.address)), Some(measured.handshake.local));
        assert_eq!((measured.requests, measured.rtt), (1, None));
        assert!(measured.handshake.rtt.is_some());
    }
    for (hang_up, said, expected) in [
        (true, &b""[..], "connection_terminated"),
        (true, b"\x01\x01\0\x0c", "connection_terminated"),
        (false, b"HTTP/1.1 400 Bad Request\r\n\r\n", "stun_answer_unexpected"),
        (false, b"", "connection_read_timeout"),
    ] {
        let server = serve_connection(V4, hang_up, |_, _| said.to_vec());
        let (report, _) = probe(TCP, server, Duration::from_millis(500)).await;
        assert_eq!(reason(&report), expected, "{report:#?}");
    }
    let other = serve_connection(V4, false, |message, from| {
        let mut answer = well(message, from);
        answer[HEADER - 1] ^= 1;
        answer
    });
    let (report, _) = probe(TCP, other, PATIENCE).await;
    assert_eq!(report.failure.unwrap().detail, "the answer is none: it has another transaction id");
}
