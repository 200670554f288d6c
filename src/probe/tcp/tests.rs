use std::io::Write;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use super::*;
use crate::flight::{Phase, Traffic};
use crate::net::tls::TlsOptions;
use crate::probe::testing::*;
use crate::probe::{Prober, Report, Request};
use crate::re2::Regex;

const PATIENCE: Duration = Duration::from_secs(5);

fn open(query_response: Vec<Step>, tls: Option<Arc<Tls>>) -> Prober {
    let tls_config = tls.clone().unwrap_or_else(|| Arc::new(Tls::new(TlsOptions::default()).unwrap()));
    let open = Open::Full { tls: tls.is_some(), tls_config, query_response };
    Prober::Tcp(Settings { open, preference: Preference::default(), tracing: None })
}

fn half() -> Prober {
    Prober::Tcp(Settings { open: Open::Half { raw: false }, preference: Preference::default(), tracing: None })
}

fn expect(pattern: &str) -> Step {
    Step { expect: Some(Regex::new(pattern).unwrap()), ..Step::default() }
}

fn measured(report: &Report) -> &Measurement {
    match &report.measurement {
        crate::probe::Measurement::Tcp(measured) => measured,
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_are_host_and_port() {
    let good = [
        ("a.example:80", ("a.example", 80)),
        ("192.0.2.1:65535", ("192.0.2.1", 65535)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("a_b.example.:80", ("a_b.example.", 80)),
    ];
    for (target, expected) in good {
        assert_eq!(host_and_port(target), Ok(expected));
    }
    let bad = [
        "",
        "a",
        "a:",
        ":80",
        "a:0",
        "a:65536",
        "x:+80",
        "2001:db8::1",
        "2001:db8::1:80",
        "[a]:80",
        "a/b:80",
        "http://a:80",
        "a..b:80",
        "10.0.0.256:80",
        "127.1:80",
        "ex\nample:80",
        "ex\0ample:80",
        "foo%bar:80",
        "例え.jp:80",
        "0.0.0.0:80",
        "[::]:80",
        "224.0.0.1:80",
        "user:s3cret@example.org:80",
    ];
    for target in bad {
        let sentence = check_target(target).unwrap_err();
        assert!(!sentence.contains("s3cret"), "{target}: {sentence}");
    }
}

#[tokio::test]
async fn a_connection_has_the_kernels_round_trip() {
    for ip in BOTH {
        let address = serve(ip, |_| sleep(200));
        let report = probe(&request(open(vec![], None), address, PATIENCE)).await;
        check_success(&report);
        let measured = measured(&report);
        assert_eq!(measured.handshake.syn_retransmits, Some(0));
        assert!(measured.handshake.rtt.unwrap() < Duration::from_millis(5));
        assert_eq!(seconds(&report, Phase::Connect), measured.handshake.rtt.map(|rtt| rtt.as_secs_f64()));
        assert_eq!(report.resolution.as_ref().unwrap().address, Some(ip));
        assert_eq!(
            (measured.heard.failed_due_to_regex, measured.heard.failed_due_to_bytes),
            (Some(false), Some(false))
        );
        check_ends(&report, address);
        assert_eq!(measured.traffic, Some(Traffic::default()));
    }
}

/// The connection was from a port of the destination's own address, which is loopback, to the destination.
fn check_ends(report: &Report, destination: SocketAddr) {
    let Handshake { local, remote, .. } = measured(report).handshake;
    assert_eq!((local.map(|local| local.ip()), remote), (Some(destination.ip()), Some(destination)));
    assert_ne!(local.unwrap().port(), 0);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    for ip in BOTH {
        let address = closed(ip);
        for prober in [open(vec![], None), half()] {
            let report = probe(&request(prober, address, PATIENCE)).await;
            check_failure(&report, Phase::Connect, Reason::ConnectionRefused);
            assert_eq!(measured(&report).handshake.syn_retransmits, Some(0));
            check_ends(&report, address);
            assert_eq!(measured(&report).traffic, None);
        }
    }
}

/// A listener whose queue is full: its kernel does not answer SYNs.
fn full_listener(ip: IpAddr) -> (socket2::Socket, Vec<std::net::TcpStream>, SocketAddr) {
    let family = crate::net::Family::of(ip);
    let source = crate::net::Source::default();
    let listener = source.tcp(family, 0).unwrap();
    listener.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let queued = (0..4).map(|_| {
        let socket = source.tcp(family, 0).unwrap();
        let _ = socket.connect(&address.into());
        socket.into()
    });
    let queued = queued.collect();
    sleep(50);
    (listener, queued, address)
}

#[tokio::test]
async fn an_unanswered_syn_is_a_timeout_that_counts_the_syns() {
    for ip in BOTH {
        let (_listener, _queued, address) = full_listener(ip);
        for prober in [open(vec![], None), half()] {
            let report = probe(&request(prober, address, Duration::from_millis(1500))).await;
            check_failure(&report, Phase::Connect, Reason::ConnectionTimeout);
            check_phase(&report, Phase::Connect, 1480..1501);
            assert_eq!(measured(&report).handshake.syn_retransmits, Some(1), "{report:#?}");
            assert_eq!(measured(&report).handshake.rtt, None);
            check_ends(&report, address);
        }
    }
}

#[tokio::test]
async fn a_half_open_connection_is_never_accepted() {
    for ip in BOTH {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let target = listener.local_addr().unwrap();
        for _ in 0..20 {
            let report = probe(&request(half(), target, PATIENCE)).await;
            check_success(&report);
            assert!(!report.log.iter().any(|line| line.text.contains("completed")), "{:?}", report.log);
            assert!(measured(&report).handshake.rtt.is_some());
            check_ends(&report, target);
        }
        sleep(300);
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_handshake_that_the_kernel_completed_behind_our_back_is_owned_up_to() {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let request = request(half(), listener.local_addr().unwrap(), PATIENCE);
    // The only thread of this test does not look at the SYN-ACK for longer than the kernel holds its ACK back.
    let (report, ()) = tokio::join!(probe(&request), async { sleep(300) });
    check_success(&report);
    assert!(listener.accept().is_ok());
    assert!(report.log.iter().any(|line| line.text.contains("completed the handshake")), "{:?}", report.log);
}

#[tokio::test]
async fn a_conversation_survives_every_way_of_cutting_it_in_segments() {
    let address = serve(V4, |mut stream| {
        for byte in "220 mail.example ESMTP\r\nab".bytes() {
            stream.write_all(&[byte]).unwrap();
            sleep(1);
        }
        say(&mut stream, "cdefrest of the line\n");
        assert_eq!(hear(&mut stream), "EHLO mail.example\n");
        say(&mut stream, "250-x\n250 done");
    });
    let steps = vec![
        Step {
            labels: vec![("host".into(), "${1}".into()), ("kind".into(), "<$2>".into())],
            ..expect(r"^220 (\S+) (\w+)$")
        },
        Step { expect_bytes: Some("abcdef".into()), ..Step::default() },
        Step { send: Some("EHLO mail.example".into()), ..expect("^rest of the line$") },
        expect("^250 "),
    ];
    let report = probe(&request(open(steps, None), address, PATIENCE)).await;
    check_success(&report);
    let labels = vec![("host".to_owned(), "mail.example".to_owned()), ("kind".to_owned(), "<ESMTP>".to_owned())];
    assert_eq!(measured(&report).heard.expect_info, labels);
    check_phase(&report, Phase::Query, 20..1000);
}

#[tokio::test]
async fn what_is_sent_may_name_what_was_heard() {
    let address = serve(V4, |mut stream| {
        say(&mut stream, "PING 4711\n");
        assert_eq!(hear(&mut stream), "PONG 4711 $1\n");
        say(&mut stream, "ok\n");
    });
    let steps = vec![Step { send: Some("PONG ${1} $$1".into()), ..expect(r"^PING (\d+)") }, expect("^ok$")];
    let report = probe(&request(open(steps, None), address, PATIENCE)).await;
    check_success(&report);
    let [sent, received] = ["PONG 4711 $1\n", "PING 4711\nok\n"].map(|said| said.len() as u64);
    assert_eq!(measured(&report).traffic, Some(Traffic { sent, received }));
}

#[tokio::test]
async fn bytes_are_sent_as_they_are() {
    let text = "
modules:
  postgres:
    prober: tcp
    tcp:
      query_response:
        - {send_bytes: !!binary AAAACATSFi8=}
        - {expect_bytes: N, send_bytes: '${1}'}
        - {expect: (.), send_bytes: '${1}'}
        - {expect: (.), send: !!binary JHsxfQ==}
        - {expect: ^end$}
";
    let config = crate::config::load_str(text, "test.yml").unwrap();
    let address = serve(V4, |mut stream| {
        let mut request = [0; 64];
        let length = std::io::Read::read(&mut stream, &mut request).unwrap();
        assert_eq!(request[..length], [0, 0, 0, 8, 4, 210, 22, 47]);
        say(&mut stream, "N");
        for answer in ["a\n", "b\n", "end\n"] {
            assert_eq!(hear(&mut stream), "${1}");
            say(&mut stream, answer);
        }
    });
    let placeholder = request(half(), address, PATIENCE);
    let report = probe(&Request { module: Arc::clone(&config.modules["postgres"]), ..placeholder }).await;
    check_success(&report);
    assert_eq!(measured(&report).traffic.map(|traffic| traffic.sent), Some(8 + 3 * 4));
}

#[tokio::test]
async fn a_conversation_that_fails_says_how() {
    let fast = Duration::from_millis(300);
    let talk = |treat: fn(std::net::TcpStream), step: Step| {
        let steps = vec![Step { send: Some("hello".into()), ..Step::default() }, step];
        request(open(steps, None), serve(V4, treat), fast)
    };
    let bytes = || Step { expect_bytes: Some("SSH-2.0".into()), ..Step::default() };

    let report = probe(&talk(
        |mut stream| {
            hear(&mut stream);
            say(&mut stream, "hi\n");
        },
        expect("^220"),
    ))
    .await;
    check_failure(&report, Phase::Query, Reason::AssertionFailedBody);
    assert_eq!(measured(&report).heard.failed_due_to_regex, Some(true));

    let report = probe(&talk(
        |mut stream| {
            hear(&mut stream);
            say(&mut stream, "SSH-1");
            sleep(1000)
        },
        bytes(),
    ))
    .await;
    check_failure(&report, Phase::Query, Reason::AssertionFailedBody);
    assert_eq!(measured(&report).heard.failed_due_to_bytes, Some(true));
    assert!(report.duration < fast);

    let report = probe(&talk(|mut stream| drop(hear(&mut stream)), expect("^220"))).await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);

    let reset = |before: &'static str| {
        serve(V4, move |mut stream| {
            say(&mut stream, before);
            sleep(20);
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        })
    };
    let listening = |server| request(open(vec![expect("^220")], None), server, fast);
    let report = probe(&listening(reset(""))).await;
    check_failure(&report, Phase::Query, Reason::ConnectionResetHandshake);
    let report = probe(&listening(reset("hi\n"))).await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);
    let report = probe(&talk(
        |mut stream| {
            hear(&mut stream);
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        },
        expect("^220"),
    ))
    .await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);

    let report = probe(&talk(
        |mut stream| {
            hear(&mut stream);
            sleep(1000)
        },
        expect("^220"),
    ))
    .await;
    check_failure(&report, Phase::Query, Reason::ConnectionReadTimeout);
    check_phase(&report, Phase::Query, 290..301);
    assert_eq!(measured(&report).heard.failed_due_to_regex, Some(false));
}

#[tokio::test]
async fn whoever_speaks_first_and_hangs_up_has_said_what_it_said() {
    // The end of a connection on which our own line is still unread is a reset, before or behind that line.
    let hangs_up = |said: &'static str, before: u64, after: u64| {
        serve(V4, move |mut stream| {
            sleep(before);
            say(&mut stream, said);
            sleep(after);
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        })
    };
    let hello = |step: Step| vec![Step { send: Some("hello".into()), ..Step::default() }, step];
    let ask = async |server, steps| probe(&request(open(steps, None), server, PATIENCE)).await;
    for (before, after) in [(0, 0), (0, 20), (20, 0), (20, 20)] {
        for _ in 0..20 {
            let report = ask(hangs_up("hi\n", before, after), hello(expect("^220"))).await;
            check_failure(&report, Phase::Query, Reason::AssertionFailedBody);
            assert_eq!(measured(&report).heard.failed_due_to_regex, Some(true));
        }
        let report = ask(hangs_up("220\n", before, after), hello(expect("^220"))).await;
        check_success(&report);
    }
    // The line that is expected, and one more, in one segment or in two.
    for pause in [0, 20] {
        let server = serve(V4, move |mut stream| {
            say(&mut stream, "220\n");
            sleep(pause);
            say(&mut stream, "hi\n");
            hear(&mut stream);
        });
        let steps = vec![Step { send: Some("hello".into()), ..expect("^220") }, expect("^250")];
        check_failure(&ask(server, steps).await, Phase::Query, Reason::AssertionFailedBody);
    }
    // Something large that is sent last has to be taken.
    let report = ask(
        hangs_up("hi\n", 0, 0),
        vec![Step { send: Some("a".into()), ..expect("hi") }, {
            Step { send: Some("x".repeat(16 << 20)), ..Step::default() }
        }],
    )
    .await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);
}

#[tokio::test]
async fn one_who_hangs_up_on_accepting_is_told_alike_every_time() {
    let say = |what: &str| Step { send: Some(what.into()), ..Step::default() };
    // By a reset, or by a close, which may be one, too, where something was said before.
    for by_reset in [true, false] {
        let server = serve(V4, move |stream| {
            if by_reset {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        let unsaid = if by_reset { Reason::ConnectionResetHandshake } else { Reason::ConnectionTerminated };
        let cases = [
            (vec![], None),
            (vec![expect("^220")], Some(unsaid)),
            (vec![say("hello"), expect("^220")], Some(Reason::ConnectionTerminated)),
            // Nothing is expected of it.
            (vec![say("goodbye")], None),
        ];
        for (steps, reason) in cases {
            let request = request(open(steps, None), server, PATIENCE);
            for _ in 0..200 {
                let report = probe(&request).await;
                match reason {
                    None => check_success(&report),
                    Some(reason) => {
                        check_failure(&report, Phase::Query, reason);
                        let regex = Some(reason != Reason::ConnectionResetHandshake);
                        assert_eq!(measured(&report).heard.failed_due_to_regex, regex);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_does_not_take_what_is_sent_is_not_one_that_does_not_answer() {
    let deaf = serve(V4, |stream| drop((sleep(2000), stream)));
    // More than both hosts hold; what ours holds and the other one does not take; what the other one holds unread.
    let sizes = [
        (16 << 20, Reason::ConnectionWriteTimeout),
        (1 << 20, Reason::ConnectionWriteTimeout),
        (1000, Reason::ConnectionReadTimeout),
    ];
    for (size, reason) in sizes {
        let steps = vec![Step { send: Some("x".repeat(size)), ..Step::default() }, expect("never")];
        let report = probe(&request(open(steps, None), deaf, Duration::from_millis(900))).await;
        check_failure(&report, Phase::Query, reason);
        // Writing so much takes time of ours.
        let query = seconds(&report, Phase::Query).unwrap() + report.overhead.as_secs_f64();
        assert!((0.88..1.0).contains(&query), "{report:#?}");
    }
    // The goodbye of TLS, which nobody has acknowledged yet, is no evidence.
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let mute = serve(V4, move |stream| {
        hear(&mut under_tls(&config, &stream));
        sleep(2000);
    });
    let steps = vec![Step { send: Some("hello".into()), ..expect("never") }];
    let open = open(steps, Some(trusting(Some(authority.pem()), &[])));
    let report = probe(&request(open, mute, Duration::from_millis(900))).await;
    check_failure(&report, Phase::Query, Reason::ConnectionReadTimeout);
}

#[tokio::test]
async fn tls_may_begin_at_once_or_within_the_conversation() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let trusting = trusting(Some(authority.pem()), &[]);
    let server = config.clone();
    let at_once = serve(V4, move |stream| {
        sleep(50);
        say(&mut under_tls(&server, stream), "* OK\r\n");
    });
    let within = serve(V4, move |mut stream| {
        say(&mut stream, "* OK\r\n");
        hear(&mut stream);
        say(&mut stream, "go on\n");
        say(&mut under_tls(&config, stream), "* OK under TLS\r\n");
    });
    let report = probe(&request(open(vec![expect("OK")], Some(trusting.clone())), at_once, PATIENCE)).await;
    check_success(&report);
    check_phase(&report, Phase::Tls, 49..150);
    let facts = measured(&report).tls.as_ref().unwrap();
    assert_eq!((facts.version, facts.chain.len()), (Some("TLS 1.3"), 1));
    assert!(facts.cipher.as_ref().is_some_and(|cipher| cipher.starts_with("TLS_A")), "{:?}", facts.cipher);
    assert_eq!(facts.chain_expiry, Some(facts.chain[0].not_after));

    let steps = vec![
        Step { send: Some("STARTTLS".into()), ..expect("^. OK$") },
        Step { starttls: true, ..expect("^go on$") },
        expect("under TLS"),
    ];
    let open = Open::Full { tls: false, tls_config: trusting, query_response: steps };
    let prober = Prober::Tcp(Settings { open, preference: Preference::default(), tracing: None });
    let report = probe(&request(prober, format!("localhost:{}", within.port()), PATIENCE)).await;
    check_success(&report);
    assert!(measured(&report).tls.is_some());
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_is_heard_in_tls_1_3_by_who_listens() {
    let authority = authority();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(demanding(version, &authority));
        let address = serve(V4, move |stream| {
            let mut stream = under_tls(&config, stream);
            let _ = stream.conn.complete_io(&mut stream.sock);
        });
        let told = async |steps| {
            let tls = trusting(Some(authority.pem()), &[]);
            probe(&request(open(steps, Some(tls)), address, PATIENCE)).await
        };
        let (silent, hearing) = (told(Vec::new()).await, told(vec![expect("welcome")]).await);
        check_failure(&hearing, Phase::Tls, Reason::TlsClientCertRejected);
        match version.version {
            rustls::ProtocolVersion::TLSv1_3 => check_success(&silent),
            _ => check_failure(&silent, Phase::Tls, Reason::TlsClientCertRejected),
        }
    }
}
