use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;
use crate::net::tls::TlsOptions;
use crate::probe::testing::*;
use crate::probe::{Isp, Prober, Report};
use crate::re2::Regex;
use crate::verdict::CertificateFault;

const PATIENCE: Duration = Duration::from_secs(5);

/// A server at a path that treats every connection in the same way.
fn serve_at(path: &Path, treat: impl Fn(UnixStream) + Send + Sync + 'static) -> String {
    let listener = UnixListener::bind(path).unwrap();
    let treat = Arc::new(treat);
    spawn_server(move || {
        for stream in listener.incoming() {
            let (stream, treat) = (stream.unwrap(), treat.clone());
            spawn_server(move || treat(stream));
        }
    });
    path.display().to_string()
}

fn talk(query_response: Vec<Step>) -> Prober {
    let tls_config = Arc::new(Tls::new(TlsOptions::default()).unwrap());
    Prober::Unix(Settings { tls: false, tls_config, query_response })
}

fn expect(pattern: &str) -> Step {
    Step { expect: Some(Regex::new(pattern).unwrap()), ..Step::default() }
}

fn measured(report: &Report) -> &Measurement {
    match &report.measurement {
        crate::probe::Measurement::Unix(measured) => measured,
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_are_names_of_sockets() {
    let longest = format!("/{}", "x".repeat(106));
    let abstract_longest = format!("@{}", "x".repeat(107));
    for target in ["/run/app.sock", "app.sock", "@app", "@a", &longest, &abstract_longest] {
        assert_eq!(check_target(target), Ok(()), "{target}");
    }
    for target in ["", "@", "/run/a\0b", &format!("{longest}x"), &format!("{abstract_longest}x")] {
        let sentence = check_target(target).unwrap_err();
        assert!(sentence.contains("; the path of a socket is expected"), "{target}: {sentence}");
    }
}

#[tokio::test]
async fn a_conversation_has_its_phases_and_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = serve_at(&folder.path().join("app.sock"), |mut stream| {
        sleep(50);
        say(&mut stream, "220 local\n");
        assert_eq!(hear(&mut stream), "EHLO local\n");
        say(&mut stream, "25");
        sleep(20);
        say(&mut stream, "0 ok\n");
    });
    let greeted =
        Step { send: Some("EHLO ${1}".into()), labels: vec![("host".into(), "${1}".into())], ..expect(r"^220 (\S+)$") };
    let mut request = request(talk(vec![greeted, expect("^250 ok$")]), &path, PATIENCE);
    let isp = Isp { name: "a".into(), ..Isp::default() };
    request.isp = Some(Arc::new(isp));
    let report = probe(&request).await;
    check_success(&report);
    assert!(report.resolution.is_none() && report.isp.is_none(), "{report:#?}");
    let phases: Vec<_> = report.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Connect, Phase::Query]);
    check_phase(&report, Phase::Connect, 0..20);
    check_phase(&report, Phase::Query, 69..200);
    assert_eq!(measured(&report).heard.expect_info, [("host".to_owned(), "local".to_owned())]);
    assert_eq!(measured(&report).heard.failed_due_to_regex, Some(false));
    assert_eq!(measured(&report).traffic, Some(Traffic { sent: 11, received: 17 }));
    assert!(report.log.iter().any(|line| line.text.contains("through no ISP")), "{:?}", report.log);
}

#[tokio::test]
async fn an_abstract_name_begins_with_an_at() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("uplink_exporter-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let report = probe(&request(talk(vec![]), format!("@{name}"), PATIENCE)).await;
    check_success(&report);
    assert!(listener.accept().is_ok());
    assert_eq!(measured(&report).traffic, Some(Traffic::default()));
}

#[tokio::test]
async fn what_cannot_be_connected_to_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(UnixListener::bind(at("stale")).unwrap());
    let _datagrams = UnixDatagram::bind(at("datagrams")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    let cases = [
        ("none", Reason::ConnectionRefused, "there is no such socket"),
        ("stale", Reason::ConnectionRefused, "nobody listens"),
        ("file", Reason::ProberConfigError, "it is not a socket:"),
        ("datagrams", Reason::ProberConfigError, "it is not a socket of streams"),
        ("file/below", Reason::ProberConfigError, "the path cannot be followed"),
    ];
    for (name, reason, why) in cases {
        let report = probe(&request(talk(vec![]), at(name).display(), PATIENCE)).await;
        check_failure(&report, Phase::Connect, reason);
        assert!(report.failure.as_ref().unwrap().detail.contains(why), "{report:#?}");
        assert_eq!(*measured(&report), Measurement::default());
    }
    // Root may do everything, so the kernel cannot be asked for this one here.
    let request = request(talk(vec![]), "/x", PATIENCE);
    let probe = Probe::start(&request);
    let failure = connect_failure(&probe, "/x", &io::Error::from_raw_os_error(libc::EACCES));
    assert_eq!(failure.reason, Reason::ProberConfigError);
    assert!(failure.detail.contains("must be allowed to write"), "{failure}");
}

#[tokio::test]
async fn a_listener_whose_queue_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy");
    #[expect(clippy::disallowed_methods, reason = "it is no probe's")]
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let shown = path.display().to_string();
    let mut queued = Vec::new();
    // A connection that does not block says when the queue is full.
    let full = loop {
        #[expect(clippy::disallowed_methods, reason = "it is no probe's")]
        match tokio::net::UnixStream::connect(&path).await {
            Ok(stream) => queued.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let report = probe(&request(talk(vec![]), &shown, Duration::from_millis(200))).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionTimeout);
    check_phase(&report, Phase::Connect, 190..201);

    let accepting = thread::spawn(move || {
        sleep(100);
        (listener.accept().unwrap(), listener)
    });
    let report = probe(&request(talk(vec![]), &shown, PATIENCE)).await;
    check_success(&report);
    check_phase(&report, Phase::Connect, 95..300);
    drop(accepting.join().unwrap());
}

#[tokio::test]
async fn a_conversation_that_fails_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let fast = Duration::from_millis(300);
    let silent = serve_at(&folder.path().join("silent"), |stream| drop((sleep(1000), stream)));
    let report = probe(&request(talk(vec![expect("^220")]), &silent, fast)).await;
    check_failure(&report, Phase::Query, Reason::ConnectionReadTimeout);
    check_phase(&report, Phase::Query, 290..301);

    let filling = Step { send: Some("x".repeat(4 << 20)), ..Step::default() };
    let report = probe(&request(talk(vec![filling]), &silent, fast)).await;
    check_failure(&report, Phase::Query, Reason::ConnectionWriteTimeout);

    let ending = serve_at(&folder.path().join("ending"), drop);
    let report = probe(&request(talk(vec![expect("^220")]), &ending, PATIENCE)).await;
    check_failure(&report, Phase::Query, Reason::ConnectionTerminated);
    assert_eq!(measured(&report).heard.failed_due_to_regex, Some(true));

    let other = serve_at(&folder.path().join("other"), |mut stream| say(&mut stream, "421 no\n"));
    let report = probe(&request(talk(vec![expect("^220")]), &other, PATIENCE)).await;
    check_failure(&report, Phase::Query, Reason::AssertionFailedBody);
}

#[tokio::test]
async fn tls_has_the_name_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let path = serve_at(&folder.path().join("tls"), move |stream| {
        let mut stream = under_tls(&config, stream);
        hear(&mut stream);
        let name = stream.conn.server_name().map(str::to_owned);
        say(&mut stream, &format!("{name:?}\n"));
    });
    let over_tls = |server_name: Option<&str>, insecure_skip_verify, asks: &str| {
        let options = TlsOptions {
            ca: Some(authority.pem().into_bytes()),
            server_name: server_name.map(str::to_owned),
            insecure_skip_verify,
            ..TlsOptions::default()
        };
        let steps = vec![Step { send: Some("who".into()), ..Step::default() }, expect(asks)];
        Prober::Unix(Settings { tls: true, tls_config: Arc::new(Tls::new(options).unwrap()), query_response: steps })
    };
    let report = probe(&request(over_tls(Some("localhost"), false, "^Some..localhost..$"), &path, PATIENCE)).await;
    check_success(&report);
    let facts = measured(&report).tls.as_ref().unwrap();
    assert_eq!((facts.chain.len(), facts.chain_expiry), (1, Some(facts.chain[0].not_after)));
    assert!(seconds(&report, Phase::Tls).is_some());
    let report = probe(&request(over_tls(None, true, "^None$"), &path, PATIENCE)).await;
    check_success(&report);
    let report = probe(&request(over_tls(Some("other.example"), false, "."), &path, PATIENCE)).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::NameMismatch));
    assert!(measured(&report).tls.is_some());
}
