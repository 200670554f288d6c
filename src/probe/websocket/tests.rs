use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::net::tls::TlsOptions;
use crate::probe::testing::*;
use crate::probe::{Prober, Report};
use crate::verdict::{CertificateFault, Late, StatusClass};

const PATIENCE: Duration = Duration::from_secs(5);

fn settings(query_response: Vec<Step>) -> Settings {
    Settings {
        headers: Vec::new(),
        host: None,
        query_response,
        preference: Preference::default(),
        tls: trusting(None, &["http/1.1"]),
    }
}

fn expect(pattern: &str) -> Step {
    Step { expect: Some(Regex::new(pattern).unwrap()), ..Step::default() }
}

fn send(text: &str) -> Step {
    Step { send: Some(text.into()), ..Step::default() }
}

async fn talk(settings: Settings, target: impl ToString, timeout: Duration) -> Report {
    probe(&super::super::testing::request(Prober::Websocket(settings), target, timeout)).await
}

fn measured(report: &Report) -> &Measurement {
    match &report.measurement {
        crate::probe::Measurement::Websocket(measured) => measured,
        other => panic!("{other:?}"),
    }
}

fn detail(report: &Report) -> &str {
    &report.failure.as_ref().unwrap().detail
}

/// Reads the head of a request.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn header_of<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// The answer to a handshake.
fn welcome(head: &str) -> String {
    let accept = wire::accept(header_of(head, "sec-websocket-key")[0]);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Accepts a handshake; returns its head.
fn greet(stream: &mut (impl Read + Write)) -> String {
    let head = head(stream);
    say(stream, &welcome(&head));
    head
}

/// A frame of a client: its first byte, its mask and its payload in clear; nothing at the end of the connection.
fn frame_of(stream: &mut impl Read) -> Option<(u8, [u8; 4], Vec<u8>)> {
    let mut start = [0; 2];
    stream.read_exact(&mut start).ok()?;
    assert_ne!(start[1] & 0x80, 0, "frames of clients are masked");
    let length = match start[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length).into()
        }
        short @ 0..126 => short.into(),
        _ => panic!("no test sends that much"),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).unwrap();
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((start[0], mask, payload))
}

/// Sends a frame of a server.
fn put(stream: &mut impl Write, first: u8, payload: &[u8]) {
    let head = [first, u8::try_from(payload.len()).unwrap()];
    assert!(head[1] < 126);
    let _ = stream.write_all(&[&head, payload].concat()).and_then(|()| stream.flush());
}

/// A server that greets and then treats each connection in the same way.
fn serve_messages(treat: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let address = serve(V4, move |mut stream| {
        greet(&mut stream);
        treat(stream);
    });
    format!("ws://{address}/")
}

#[test]
fn targets_are_urls_of_websockets() {
    for target in ["ws://a.example", "wss://a.example:8443/path?query=1", "WS://192.0.2.1/", "ws://[2001:db8::1]:80/"] {
        assert_eq!(check_target(target), Ok(()), "{target}");
    }
    let bad = [
        ("", "another scheme"),
        ("a.example", "another scheme"),
        ("a.example:80", "another scheme"),
        ("http://a.example", "another scheme"),
        ("ws://", "is none"),
        ("ws://a.example:0/", "port 0"),
        ("ws://a.example:99999/", "is none"),
        ("ws://me:s3cret@a.example/", "has a user"),
        ("ws://s3cret@a.example/", "has a user"),
        ("ws://a.example/#part", "fragment"),
        ("ws://0.0.0.0/", "no single host"),
        ("ws://a.example/\nx", "control character"),
    ];
    for (target, why) in bad {
        let sentence = check_target(target).unwrap_err();
        assert!(sentence.contains(why) && !sentence.contains("s3cret"), "{target}: {sentence}");
    }
    assert_eq!(shown("ws://a.example/?q"), "ws://a.example/?q");
    assert_eq!(shown("ws://me:s3cret@a.example/"), SECRET);
}

#[tokio::test]
async fn a_handshake_is_a_success_with_its_phases_and_is_closed() {
    for ip in BOTH {
        let address = serve(ip, |mut stream| {
            let head = head(&mut stream);
            assert!(head.starts_with("GET /a/../chat%2F?room='1' HTTP/1.1\r\n"), "{head}");
            assert_eq!(header_of(&head, "host"), [stream.local_addr().unwrap().to_string()]);
            assert_eq!(header_of(&head, "upgrade"), ["websocket"]);
            assert_eq!(header_of(&head, "connection"), ["Upgrade"]);
            assert_eq!(header_of(&head, "sec-websocket-version"), ["13"]);
            assert_eq!(header_of(&head, "user-agent"), [USER_AGENT]);
            sleep(80);
            say(&mut stream, &welcome(&head));
            let (first, _, payload) = frame_of(&mut stream).unwrap();
            assert_eq!((first, &payload[..]), (0x88, &[3, 0xe8][..]));
            sleep(40);
            put(&mut stream, 0x88, &payload);
        });
        let report = talk(settings(vec![]), format!("ws://{address}/a/../chat%2F?room='1'"), PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Connect, 0..20);
        check_phase(&report, Phase::Processing, 79..140);
        check_phase(&report, Phase::Query, 39..90);
        let measured = measured(&report);
        assert_eq!((measured.status, measured.upgraded), (Some(101), Some(true)));
        assert_eq!((measured.failed_due_to_regex, measured.close_code), (Some(false), Some(1000)));
        assert_eq!(measured.handshake.remote, Some(address));
        assert_eq!(report.resolution.as_ref().unwrap().address, Some(ip));
    }
}

#[tokio::test]
async fn keys_and_masks_are_never_the_same() {
    let (seen, all) = std::sync::mpsc::channel();
    let address = serve(V4, move |mut stream| {
        let head = greet(&mut stream);
        seen.send(header_of(&head, "sec-websocket-key")[0].to_owned()).unwrap();
        while let Some((_, mask, _)) = frame_of(&mut stream) {
            seen.send(format!("{mask:?}")).unwrap();
        }
    });
    for _ in 0..3 {
        let steps = vec![send("one"), send("two")];
        check_success(&talk(settings(steps), format!("ws://{address}/"), PATIENCE).await);
    }
    let mut seen: Vec<_> = (0..12).map(|_| all.recv_timeout(PATIENCE).unwrap()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 12);
}

#[tokio::test]
async fn headers_are_as_the_module_has_them() {
    let address = serve(V4, |mut stream| {
        let head = head(&mut stream);
        assert_eq!(header_of(&head, "host"), ["virtual.example"]);
        assert_eq!(header_of(&head, "user-agent"), ["mine"]);
        assert_eq!(header_of(&head, "x-key"), ["one", "two"]);
        assert_eq!(header_of(&head, "authorization"), ["Bearer token"]);
        let answer = welcome(&head).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
        say(&mut stream, &answer);
        drop(hear(&mut stream));
    });
    let header = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers = vec![
        header("user-agent", "mine"),
        header("x-key", "one"),
        header("x-key", "two"),
        header("authorization", "Bearer token"),
        header("sec-websocket-protocol", "talk, chat"),
    ];
    let host = Some("virtual.example".to_owned());
    let report = talk(Settings { headers, host, ..settings(vec![]) }, format!("ws://{address}"), PATIENCE).await;
    check_success(&report);
}

#[tokio::test]
async fn a_hostname_is_the_host_and_the_name_in_tls() {
    let authority = authority();
    let certificate = rcgen::CertificateParams::new(vec!["virtual.example".to_owned()]).unwrap();
    let config = Arc::new(server_config(identity(certificate, Some(&authority))));
    let address = serve(V4, move |stream| {
        let mut stream = under_tls(&config, stream);
        let head = greet(&mut stream);
        assert_eq!(header_of(&head, "host"), ["virtual.example:81"]);
        drop(hear(&mut stream));
    });
    let settings = Settings { tls: trusting(Some(authority.pem()), &["http/1.1"]), ..settings(vec![]) };
    let own = Prober::Websocket(Settings { host: Some("own.example".to_owned()), ..super::tests::settings(vec![]) });
    assert_eq!(own.hostname("OWN.example"), Ok(Some("OWN.example".to_owned())));
    assert!(own.hostname("other.example").unwrap_err().contains("(own.example)"));
    let prober = Prober::Websocket(settings);
    assert_eq!(prober.hostname("virtual.example:81"), Ok(Some("virtual.example:81".to_owned())));
    assert!(prober.hostname("a b").is_err());
    let mut request = super::super::testing::request(prober, format!("wss://{address}/"), PATIENCE);
    request.hostname = Some("virtual.example:81".to_owned());
    check_success(&probe(&request).await);
}

#[tokio::test]
async fn messages_are_heard_and_said() {
    let target = serve_messages(|mut stream| {
        put(&mut stream, 0x81, b"not this");
        put(&mut stream, 0x01, b"hello ");
        put(&mut stream, 0x89, b"there?");
        let (first, _, payload) = frame_of(&mut stream).unwrap();
        assert_eq!((first, &payload[..]), (0x8a, &b"there?"[..]));
        sleep(30);
        put(&mut stream, 0x80, b"world");
        let (first, _, payload) = frame_of(&mut stream).unwrap();
        assert_eq!((first, &payload[..]), (0x81, &b"hi world, $1"[..]));
        let (first, _, payload) = frame_of(&mut stream).unwrap();
        assert_eq!((first, &payload[..]), (0x82, &[0, 0xff][..]));
        put(&mut stream, 0x82, &[1, 2, 3]);
        let (first, _, payload) = frame_of(&mut stream).unwrap();
        assert_eq!((first, payload.len()), (0x81, 300));
        put(&mut stream, 0x81, b"bye");
        assert_eq!(frame_of(&mut stream).unwrap().0, 0x88);
        put(&mut stream, 0x88, &[]);
    });
    let steps = vec![
        Step { send: Some("hi ${1}, $$1".into()), ..expect("^hello (.*)$") },
        Step { send_bytes: Some(Bytes::from_static(&[0, 0xff])), ..Step::default() },
        expect(r"^\x01\x02"),
        send(&"x".repeat(300)),
        expect("bye"),
    ];
    let report = talk(settings(steps), target, PATIENCE).await;
    check_success(&report);
    check_phase(&report, Phase::Query, 29..200);
    assert_eq!((measured(&report).failed_due_to_regex, measured(&report).close_code), (Some(false), None));
}

#[tokio::test]
async fn what_comes_with_the_answer_is_not_lost() {
    let address = serve(V4, |mut stream| {
        let head = head(&mut stream);
        let mut answer = welcome(&head).into_bytes();
        answer.extend([0x81, 2, b'h', b'i']);
        stream.write_all(&answer).unwrap();
        drop(hear(&mut stream));
    });
    check_success(&talk(settings(vec![expect("^hi$")]), format!("ws://{address}/"), PATIENCE).await);
}

#[tokio::test]
async fn a_server_that_does_not_close_its_side_is_not_waited_for_long() {
    let target = serve_messages(|stream| drop((sleep(3000), stream)));
    let report = talk(settings(vec![]), &target, PATIENCE).await;
    check_success(&report);
    check_phase(&report, Phase::Query, 490..501);
    let report = talk(settings(vec![]), &target, Duration::from_millis(300)).await;
    check_success(&report);
    check_phase(&report, Phase::Query, 100..151);
}

#[tokio::test]
async fn an_answer_that_is_no_handshake_is_told() {
    let status = |class| Reason::HttpStatusUnexpected(class);
    let wrong = Reason::HttpProtocolError;
    type Answer = fn(&str) -> String;
    let cases: [(Answer, Reason, &str, Option<u16>); 14] = [
        (
            |_| "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(),
            status(StatusClass::Success),
            "200 OK",
            Some(200),
        ),
        (|_| "HTTP/1.1 301 x\r\nLocation: /\r\n\r\n".into(), status(StatusClass::Redirection), "301", Some(301)),
        (|_| "HTTP/1.1 403 x\r\n\r\n".into(), status(StatusClass::ClientError), "403", Some(403)),
        (|_| "HTTP/1.1 502 x\r\n\r\n".into(), status(StatusClass::ServerError), "502", Some(502)),
        (|_| "HTTP/1.1 429 x\r\n\r\n".into(), Reason::HttpRateLimited { by_envoy: false }, "429", Some(429)),
        (
            |_| "HTTP/1.1 503 x\r\nProxy-Status: edge; error=dns_error\r\n\r\n".into(),
            Reason::HttpUpstreamUnhealthy,
            "not 101, and a proxy says: edge; error=dns_error",
            Some(503),
        ),
        (
            |_| "HTTP/1.1 404 x\r\nServer: envoy\r\nContent-Length: 0\r\n\r\n".into(),
            Reason::HttpNoRoute,
            "404",
            Some(404),
        ),
        (|head| welcome(head).replace("WebSocket\r\n", "h2c\r\n"), wrong, "its Upgrade", Some(101)),
        (|head| welcome(head).replace(", Upgrade", ""), wrong, "its Connection", Some(101)),
        (|head| welcome(head).replace("Accept: ", "Accept: x"), wrong, "Sec-WebSocket-Accept", Some(101)),
        (|head| welcome(head).replace("Sec-WebSocket-Accept", "X"), wrong, "Sec-WebSocket-Accept", Some(101)),
        (
            |head| welcome(head).replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            wrong,
            "an extension",
            Some(101),
        ),
        (
            |head| welcome(head).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
            wrong,
            "a subprotocol",
            Some(101),
        ),
        (|_| "SSH-2.0-OpenSSH\r\n\r\n".into(), wrong, "no answer", None),
    ];
    for (answer, reason, why, code) in cases {
        let address = serve(V4, move |mut stream| {
            let answer = answer(&head(&mut stream));
            say(&mut stream, &answer);
            sleep(100);
        });
        let report = talk(settings(vec![]), format!("ws://{address}/"), PATIENCE).await;
        check_failure(&report, Phase::Processing, reason);
        assert!(detail(&report).contains(why), "{why}: {report:#?}");
        let measured = measured(&report);
        assert_eq!((measured.status, measured.upgraded), (code, code.map(|_| false)));
        assert_eq!(measured.failed_due_to_regex, None);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_told_by_its_phase() {
    let fast = Duration::from_millis(300);
    let closed = closed(V4);
    let report = talk(settings(vec![]), format!("ws://{closed}/"), PATIENCE).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionRefused);

    let silent = serve(V4, |stream| drop((sleep(1000), stream)));
    let report = talk(settings(vec![]), format!("ws://{silent}/"), fast).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));
    check_phase(&report, Phase::Processing, 280..301);
    assert_eq!((measured(&report).status, measured(&report).upgraded), (None, None));
    let report = talk(settings(vec![]), format!("wss://{silent}/"), fast).await;
    check_failure(&report, Phase::Tls, Reason::TlsTimeout);

    let ending = serve(V4, |mut stream| drop(hear(&mut stream)));
    let report = talk(settings(vec![]), format!("ws://{ending}/"), PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);
    let reset = serve(V4, |mut stream| {
        hear(&mut stream);
        sleep(20);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let report = talk(settings(vec![]), format!("ws://{reset}/"), PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);
    let half = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 101 Switching");
    });
    let report = talk(settings(vec![]), format!("ws://{half}/"), PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);

    // Blackbox_exporter would wait for ever.
    let speechless = serve_messages(|stream| drop((sleep(2000), stream)));
    let report = talk(settings(vec![expect("never")]), &speechless, fast).await;
    check_failure(&report, Phase::Query, Reason::ConnectionReadTimeout);
    check_phase(&report, Phase::Query, 280..301);
    assert_eq!((measured(&report).upgraded, measured(&report).failed_due_to_regex), (Some(true), Some(false)));
    let report = talk(settings(vec![send(&"x".repeat(5 << 20))]), &speechless, Duration::from_millis(900)).await;
    check_failure(&report, Phase::Query, Reason::ConnectionWriteTimeout);
}

#[tokio::test]
async fn a_conversation_that_fails_says_how() {
    let code = |code: u16, reason: &str| [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    type Frames = Vec<(u8, Vec<u8>)>;
    let cases: Vec<(Frames, Reason, &str, Option<u16>)> = vec![
        (vec![(0x88, code(1011, "no room"))], Reason::ConnectionTerminated, "code 1011 (no room) without", Some(1011)),
        (vec![(0x88, vec![])], Reason::ConnectionTerminated, "without a code without an answer", None),
        (vec![], Reason::ConnectionTerminated, "ended the connection without closing it", None),
        (vec![(0x81, b"no".to_vec())], Reason::AssertionFailedBody, "no message matched", None),
        (vec![(0x81, b"no".to_vec()), (0x88, code(1000, ""))], Reason::AssertionFailedBody, "code 1000", Some(1000)),
        (vec![(0xc1, b"x".to_vec())], Reason::HttpProtocolError, "reserved bits", None),
        (vec![(0x83, vec![])], Reason::HttpProtocolError, "opcode", None),
        (vec![(0x81, vec![0xff])], Reason::HttpProtocolError, "not UTF-8", None),
        (vec![(0x80, vec![])], Reason::HttpProtocolError, "did not begin", None),
        (vec![(0x88, code(1005, ""))], Reason::HttpProtocolError, "a code that may not be sent", None),
    ];
    for (frames, reason, why, close_code) in cases {
        let target = serve_messages(move |mut stream| {
            frames.iter().for_each(|(first, payload)| put(&mut stream, *first, payload));
            // What the probe says meanwhile must not turn the end into a reset.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            while frame_of(&mut stream).is_some() {}
        });
        let report = talk(settings(vec![expect("never")]), target, PATIENCE).await;
        check_failure(&report, Phase::Query, reason);
        assert!(detail(&report).contains(why), "{why}: {report:#?}");
        assert_eq!(measured(&report).close_code, close_code);
        let of_regex = reason != Reason::HttpProtocolError;
        assert_eq!(measured(&report).failed_due_to_regex, Some(of_regex), "{report:#?}");
    }

    let reset = serve_messages(|stream| {
        sleep(20);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let report = talk(settings(vec![expect("never")]), reset, PATIENCE).await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_before_it_has_come() {
    let (seen, told) = std::sync::mpsc::channel();
    let target = serve_messages(move |mut stream| {
        stream.write_all(&[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1]).unwrap();
        seen.send(frame_of(&mut stream)).unwrap();
    });
    let report = talk(settings(vec![expect("never")]), target, PATIENCE).await;
    check_failure(&report, Phase::Query, Reason::HttpResponseBodySize);
    assert!(detail(&report).ends_with("is longer than what is taken, 1048576 bytes"), "{report:#?}");
    let (first, _, payload) = told.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((first, &payload[..]), (0x88, &wire::close(wire::TOO_LONG)[..]));
}

#[tokio::test]
async fn bytes_that_were_heard_are_no_part_of_a_text() {
    let target = serve_messages(|mut stream| {
        put(&mut stream, 0x82, &[0xff]);
        drop(hear(&mut stream));
    });
    let step = Step { send: Some("${1}".into()), ..expect(r"(?s)^(.)$") };
    let report = talk(settings(vec![step]), target, PATIENCE).await;
    check_failure(&report, Phase::Query, Reason::AssertionFailedBody);
}

#[tokio::test]
async fn tls_has_its_phase_and_its_facts() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let address = serve(V4, move |stream| {
        sleep(50);
        let mut stream = under_tls(&config, stream);
        if head_is_there(&mut stream) {
            put(&mut stream, 0x81, b"secret");
            drop(hear(&mut stream));
        }
    });
    let trusting = |server_name: Option<&str>| {
        let options = TlsOptions {
            ca: Some(authority.pem().into_bytes()),
            server_name: server_name.map(str::to_owned),
            alpn: vec![b"http/1.1".to_vec()],
            ..TlsOptions::default()
        };
        Settings { tls: Arc::new(Tls::new(options).unwrap()), ..settings(vec![expect("secret")]) }
    };
    let target = format!("wss://localhost:{}/", address.port());
    let report = talk(trusting(None), &target, PATIENCE).await;
    check_success(&report);
    check_phase(&report, Phase::Tls, 49..150);
    let facts = measured(&report).tls.as_ref().unwrap();
    assert_eq!((facts.version, facts.chain_expiry), (Some("TLS 1.3"), Some(facts.chain[0].not_after)));

    let report = talk(trusting(Some("other.example")), &target, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::NameMismatch));
    assert!(measured(&report).tls.is_some() && measured(&report).status.is_none());
    let report = talk(settings(vec![]), &target, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::UnknownCa));
    let plain = serve_messages(drop).replace("ws:", "wss:");
    let report = talk(trusting(None), plain, Duration::from_millis(500)).await;
    assert_eq!(report.failure.as_ref().map(|failure| failure.phase), Some(Phase::Tls), "{report:#?}");
}

/// Greets where a handshake comes; a client that does not trust the certificate sends none.
fn head_is_there(stream: &mut (impl Read + Write)) -> bool {
    let head = head(stream);
    if !head.is_empty() {
        say(stream, &welcome(&head));
    }
    !head.is_empty()
}
