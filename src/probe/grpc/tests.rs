use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use rustls::ServerConfig;
use tokio::time::{Sleep, sleep as pause};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::tls::TlsOptions;
use crate::probe::testing::*;
use crate::probe::{Prober, Report};
use crate::verdict::{CertificateFault, Late, StatusClass};

const PATIENCE: Duration = Duration::from_secs(5);
const SERVES: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// What a test's server answers with: frames, and a pause before each.
struct Answer {
    frames: VecDeque<Frame<Bytes>>,
    pause: Duration,
    pausing: Option<Pin<Box<Sleep>>>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let wait = self.pause;
        let pausing = self.pausing.get_or_insert_with(|| Box::pin(pause(wait)));
        ready!(pausing.as_mut().poll(cx));
        self.pausing = None;
        Poll::Ready(self.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let headers = headers.iter();
    headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// An answer with a head, parts of a body, and trailers; without trailers, its body or its head is its end.
fn answer(
    status: u16,
    head: &[(&'static str, &'static str)],
    body: &[&'static [u8]],
    end: &[(&'static str, &'static str)],
) -> Response<Answer> {
    let body = body.iter().map(|part| Frame::data(Bytes::from_static(part)));
    let trailers = (!end.is_empty()).then(|| Frame::trailers(headers(end)));
    let frames = body.chain(trailers).collect();
    let mut response = Response::new(Answer { frames, pause: Duration::ZERO, pausing: None });
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = headers(head);
    response
}

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");
const ENVOY: (&str, &str) = ("server", "envoy");

fn well() -> Response<Answer> {
    answer(200, &[GRPC], &[SERVES], &[("grpc-status", "0")])
}

/// A server of HTTP/2, over TLS where that is configured.
fn serve_calls(
    ip: IpAddr,
    tls: Option<ServerConfig>,
    handle: impl Fn(&Request<Bytes>) -> Response<Answer> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let handle = Arc::new(handle);
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (handle, acceptor) = (handle.clone(), acceptor.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(handle(&Request::from_parts(head, body)))
                }
            });
            tokio::spawn(async move {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                match acceptor {
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        server.serve_connection(TokioIo::new(stream), service).await.ok();
                    }
                    None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                }
            });
        }
    };
    spawn_server(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve);
    });
    address
}

fn settings() -> Settings {
    Settings {
        service: String::new(),
        tls: false,
        tls_config: trusting(None, &["h2"]),
        metadata: Vec::new(),
        preference: Preference::default(),
    }
}

async fn check(settings: Settings, target: impl ToString, timeout: Duration) -> Report {
    probe(&request(Prober::Grpc(settings), target, timeout)).await
}

fn measured(report: &Report) -> &Measurement {
    match &report.measurement {
        crate::probe::Measurement::Grpc(measured) => measured,
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_are_host_and_port() {
    let good = [
        ("a.example:50051", ("a.example", Some(50051))),
        ("[2001:db8::1]:443", ("2001:db8::1", Some(443))),
        ("http://a.example:80", ("a.example", Some(80))),
        ("https://192.0.2.1:443/", ("192.0.2.1", Some(443))),
        ("a.example", ("a.example", None)),
        ("http://[2001:db8::1]/a/b:c?d", ("2001:db8::1", None)),
    ];
    for (target, expected) in good {
        assert_eq!(host_and_port(target), Ok(expected));
    }
    let bad = ["", "a:0", ":80", "http://", "ftp://a:80", "https://me:s3cret@a:443", "me:s3cret@a", "0.0.0.0:1"];
    for target in bad {
        let sentence = check_target(target).unwrap_err();
        assert!(!sentence.contains("s3cret"), "{target}: {sentence}");
    }
}

#[tokio::test]
async fn a_service_that_serves_is_a_success_with_its_phases() {
    for ip in BOTH {
        let address = serve_calls(ip, None, |request| {
            assert_eq!((request.method(), request.uri().path()), (&Method::POST, grpc::CHECK));
            assert_eq!(request.uri().scheme_str(), Some("http"));
            assert_eq!(&request.body()[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
            let get = |name| request.headers().get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(get("te"), ["trailers"]);
            assert_eq!(get("content-type"), ["application/grpc"]);
            assert_eq!(get("user-agent"), [USER_AGENT]);
            assert_eq!(get("x-key"), ["one", "two"]);
            sleep(80);
            let mut answer = well();
            answer.body_mut().pause = Duration::from_millis(25);
            answer
        });
        let metadata = ["one", "two"].map(|value| (HeaderName::from_static("x-key"), HeaderValue::from_static(value)));
        let settings = Settings { service: "a.B".into(), metadata: metadata.to_vec(), ..settings() };
        let report = check(settings, address, PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Connect, 0..20);
        check_phase(&report, Phase::Processing, 79..140);
        check_phase(&report, Phase::Transfer, 49..110);
        let measured = measured(&report);
        assert_eq!((measured.status, measured.serving), (Some(0), Some(Serving::Serving)));
        assert_eq!((measured.ssl, measured.http_status), (Some(false), Some(200)));
        assert_eq!(measured.handshake.remote, Some(address));
        assert!(measured.traffic.unwrap().received > 0 && measured.tls.is_none());
        assert_eq!(report.resolution.as_ref().unwrap().address, Some(ip));
    }
}

#[tokio::test]
async fn a_service_that_does_not_serve_says_what_it_is() {
    let cases: [(&'static [u8], Serving); 4] = [
        (&[0, 0, 0, 0, 0], Serving::Unknown),
        (&[0, 0, 0, 0, 2, 8, 2], Serving::NotServing),
        (&[0, 0, 0, 0, 2, 8, 3], Serving::ServiceUnknown),
        (&[0, 0, 0, 0, 2, 8, 9], Serving::Other(9)),
    ];
    for (body, serving) in cases {
        let address = serve_calls(V4, None, move |_| answer(200, &[GRPC], &[body], &[("grpc-status", "0")]));
        let report = check(Settings { service: "a".into(), ..settings() }, address, PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
        assert_eq!((measured(&report).status, measured(&report).serving), (Some(0), Some(serving)));
        let detail = &report.failure.as_ref().unwrap().detail;
        assert!(detail.ends_with(&format!("the service \"a\" says that it is {}", serving.name())), "{detail}");
        let families = crate::metrics::of_report(&report);
        let told = families.iter().find(|family| family.name == "probe_grpc_healthcheck_response").unwrap();
        let true_ones = told.samples.iter().filter(|sample| sample.value == 1.0);
        let true_ones: Vec<_> = true_ones.map(|sample| sample.labels[0].1.as_str()).collect();
        assert_eq!(true_ones, [serving.name()]);
    }
}

#[tokio::test]
async fn every_status_is_told_from_the_head_and_from_the_end() {
    for code in 1..=17 {
        let text: &'static str = Box::leak(code.to_string().into_boxed_str());
        let status = [("grpc-status", text), ("grpc-message", "no%20such service: %ed%95%9c")];
        let at_once = serve_calls(V4, None, move |_| answer(200, &[GRPC, status[0], status[1]], &[], &[]));
        let at_end = serve_calls(V4, None, move |_| answer(200, &[GRPC], &[SERVES], &status));
        for address in [at_once, at_end] {
            let report = check(settings(), address, PATIENCE).await;
            check_failure(&report, Phase::Transfer, Reason::AssertionFailedHeader);
            let measured = measured(&report);
            assert_eq!((measured.status, measured.serving), (Some(code), None));
            assert_eq!(measured.message.as_deref(), Some("no such service: 한"));
            let name = grpc::code_name(code).unwrap_or("no code that has a name");
            let said = format!("the check of the server ended with the status {code}, {name}: no such service: 한");
            assert_eq!(report.failure.as_ref().unwrap().detail, said);
        }
    }
}

#[tokio::test]
async fn what_a_gateway_says_in_the_words_of_grpc_is_told_from_what_the_server_says() {
    const SAID: (&str, &str) = ("proxy-status", "edge; error=destination_unavailable");
    const SERVED: (&str, &str) = ("x-envoy-upstream-service-time", "3");
    const WHY: (&str, &str) = ("grpc-message", "no healthy upstream");
    type Head = &'static [(&'static str, &'static str)];
    let cases: [(u32, Head, Reason); 8] = [
        (14, &[ENVOY, WHY], Reason::HttpUpstreamUnhealthy),
        (14, &[SAID], Reason::HttpUpstreamUnhealthy),
        (14, &[ENVOY, SERVED, WHY], Reason::AssertionFailedHeader),
        (14, &[WHY], Reason::AssertionFailedHeader),
        (12, &[ENVOY], Reason::HttpNoRoute),
        (12, &[ENVOY, WHY], Reason::AssertionFailedHeader),
        (12, &[], Reason::AssertionFailedHeader),
        (5, &[ENVOY], Reason::AssertionFailedHeader),
    ];
    for (code, head, reason) in cases {
        let text: &'static str = Box::leak(code.to_string().into_boxed_str());
        let at_once = [&[GRPC, ("grpc-status", text)], head].concat();
        let report = check(settings(), serve_calls(V4, None, move |_| answer(200, &at_once, &[], &[])), PATIENCE).await;
        check_failure(&report, Phase::Transfer, reason);
        assert_eq!(measured(&report).status, Some(code));
        let detail = &report.failure.as_ref().unwrap().detail;
        assert_eq!(detail.ends_with(", and a proxy says: edge; error=destination_unavailable"), head.contains(&SAID));
        assert_eq!(detail.contains("no healthy upstream"), head.contains(&WHY), "{detail}");
        // What comes at the end is the server's.
        let at_end = [&[("grpc-status", text)], head].concat();
        let address = serve_calls(V4, None, move |_| answer(200, &[GRPC, ENVOY], &[SERVES], &at_end));
        check_failure(&check(settings(), address, PATIENCE).await, Phase::Transfer, Reason::AssertionFailedHeader);
    }
}

#[tokio::test]
async fn what_is_no_answer_of_grpc_is_told() {
    let status = &[("grpc-status", "0")];
    let html = ("content-type", "text/html");
    let wrong = Reason::HttpProtocolError;
    let unavailable = Reason::HttpStatusUnexpected(StatusClass::ServerError);
    type Made = Box<dyn Fn() -> Response<Answer> + Send + Sync>;
    let cases: Vec<(Made, Reason, &str)> = vec![
        (Box::new(move || answer(200, &[html], &[b"<html>"], &[])), wrong, "content type is \"text/html\""),
        (Box::new(|| answer(200, &[], &[b"x"], &[])), wrong, "content type is \"\""),
        (Box::new(move || answer(503, &[html], &[b"busy"], &[])), unavailable, "its HTTP status is 503"),
        (Box::new(|| answer(429, &[], &[], &[])), Reason::HttpRateLimited { by_envoy: false }, "429"),
        (Box::new(move || answer(503, &[html, ENVOY], &[b"no"], &[])), Reason::HttpUpstreamUnhealthy, "503"),
        (Box::new(|| answer(404, &[ENVOY], &[], &[])), Reason::HttpNoRoute, "404"),
        (Box::new(|| answer(200, &[GRPC], &[SERVES], &[])), wrong, "no grpc-status at its end"),
        (Box::new(|| answer(200, &[GRPC], &[SERVES], &[("x", "y")])), wrong, "no grpc-status at its end"),
        (Box::new(|| answer(200, &[GRPC], &[SERVES], &[("grpc-status", "+1")])), wrong, "grpc-status is no number"),
        (Box::new(|| answer(200, &[GRPC], &[SERVES], &[("grpc-status", "")])), wrong, "grpc-status is no number"),
        (Box::new(|| answer(200, &[GRPC], &[], status)), wrong, "no message"),
        (Box::new(|| answer(200, &[GRPC, ("grpc-status", "0")], &[], &[])), wrong, "no message"),
        (Box::new(|| answer(200, &[GRPC], &[SERVES, SERVES], status)), wrong, "another length"),
        (Box::new(|| answer(200, &[GRPC], &[&[1, 0, 0, 0, 0]], status)), wrong, "compressed"),
        (
            Box::new(|| answer(200, &[GRPC], &[&[0; 40_000], &[0; 40_000]], status)),
            Reason::HttpResponseBodySize,
            "more than 65536 bytes",
        ),
    ];
    for (made, reason, why) in cases {
        let address = serve_calls(V4, None, move |_| made());
        let report = check(settings(), address, PATIENCE).await;
        check_failure(&report, Phase::Transfer, reason);
        assert!(report.failure.as_ref().unwrap().detail.contains(why), "{why}: {report:#?}");
        assert_eq!((measured(&report).serving, measured(&report).status), (None, None), "{why}");
    }
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let address = serve_calls(V4, None, |_| {
        let mut answer = answer(200, &[GRPC], &[&SERVES[..1], &SERVES[1..6], &SERVES[6..]], &[("grpc-status", "0")]);
        answer.body_mut().pause = Duration::from_millis(5);
        answer
    });
    check_success(&check(settings(), address, PATIENCE).await);
}

#[tokio::test]
async fn tls_has_its_phase_and_its_facts() {
    let authority = authority();
    let server = |protocols: &[&str]| {
        let mut config = server_config(identity(params(), Some(&authority)));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    };
    let address = serve_calls(V4, Some(server(&["h2"])), |request| {
        assert_eq!(request.uri().scheme_str(), Some("https"));
        assert_eq!(request.uri().authority().unwrap().as_str(), "localhost");
        well()
    });
    let over_tls = || Settings { tls: true, tls_config: trusting(Some(authority.pem()), &["h2"]), ..settings() };
    let report = check(over_tls(), format!("localhost:{}", address.port()), PATIENCE).await;
    check_success(&report);
    assert_eq!(measured(&report).ssl, Some(true));
    let facts = measured(&report).tls.as_ref().unwrap();
    assert_eq!((facts.version, facts.alpn.as_deref()), (Some("TLS 1.3"), Some("h2")));
    assert_eq!(facts.chain_expiry, Some(facts.chain[0].not_after));
    assert!(seconds(&report, Phase::Tls).is_some());

    let strict = Settings { tls: true, tls_config: trusting(None, &["h2"]), ..settings() };
    let report = check(strict, address, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::UnknownCa));
    assert!(measured(&report).tls.is_some() && measured(&report).ssl.is_none());
    let options = TlsOptions { insecure_skip_verify: true, alpn: vec![b"h2".to_vec()], ..TlsOptions::default() };
    let lenient = Settings { tls_config: Arc::new(crate::net::tls::Tls::new(options).unwrap()), ..over_tls() };
    let by_address = serve_calls(BOTH[1], Some(server(&["h2"])), |request| {
        assert_eq!(request.uri().authority().unwrap().as_str(), "[::1]");
        well()
    });
    check_success(&check(lenient, by_address, PATIENCE).await);

    let other = serve_calls(V4, Some(server(&["http/1.1"])), |_| well());
    let report = check(over_tls(), other, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(120));
    let none = serve_calls(V4, Some(server(&[])), |_| well());
    let report = check(over_tls(), none, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::HttpProtocolError);
    assert!(report.failure.as_ref().unwrap().detail.contains("ALPN"), "{report:#?}");

    let plain = serve_calls(V4, None, |_| well());
    let report = check(over_tls(), plain, PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsProtocolError);

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = demanding(version, &authority);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let closed_shop = serve_calls(V4, Some(config), |_| well());
        let report = check(over_tls(), closed_shop, PATIENCE).await;
        check_failure(&report, Phase::Tls, Reason::TlsClientCertRejected);
    }
}

#[tokio::test]
async fn a_hostname_is_the_name_in_tls() {
    let authority = authority();
    let certificate = rcgen::CertificateParams::new(vec!["virtual.example".to_owned()]).unwrap();
    let mut config = server_config(identity(certificate, Some(&authority)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = serve_calls(V4, Some(config), |request| {
        assert_eq!(request.uri().authority().unwrap().as_str(), "virtual.example");
        well()
    });
    let tls_config = trusting(Some(authority.pem()), &["h2"]);
    let settings = Settings { tls: true, tls_config, ..settings() };
    assert_eq!(hostname(&super::tests::settings(), "virtual.example"), Ok(None));
    assert!(hostname(&settings, "a b").is_err());
    let name = hostname(&settings, "virtual.example").unwrap();
    let mut request = request(Prober::Grpc(settings), address, PATIENCE);
    request.hostname = name;
    check_success(&probe(&request).await);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_told_by_its_phase() {
    let fast = Duration::from_millis(300);
    let closed = closed(V4);
    let report = check(settings(), closed, PATIENCE).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionRefused);
    assert_eq!(measured(&report).ssl, None);

    let silent = serve(V4, |stream| drop((sleep(1000), stream)));
    let report = check(settings(), silent, fast).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));
    check_phase(&report, Phase::Processing, 280..301);
    assert_eq!((measured(&report).status, measured(&report).ssl), (None, Some(false)));
    let report = check(Settings { tls: true, ..settings() }, silent, fast).await;
    check_failure(&report, Phase::Tls, Reason::TlsTimeout);

    let thinking = serve_calls(V4, None, |_| {
        sleep(1000);
        well()
    });
    let report = check(settings(), thinking, fast).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));
    check_phase(&report, Phase::Processing, 280..301);

    let endless = serve_calls(V4, None, |_| {
        let mut answer = well();
        answer.body_mut().pause = Duration::from_secs(1);
        answer
    });
    let report = check(settings(), endless, fast).await;
    check_failure(&report, Phase::Transfer, Reason::HttpResponseTimeout(Late::Unknown));
    assert_eq!(measured(&report).http_status, Some(200));
}

#[tokio::test]
async fn what_comes_instead_of_an_answer_came_when_it_came() {
    let settings_of_server = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let reset = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    let goodbye = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    for words in [&reset[..], &goodbye, b"HTTP/1.1 400 x\r\n\r\n"] {
        let words = words.to_vec();
        let server = serve(V4, move |mut stream| {
            hear(&mut stream);
            std::io::Write::write_all(&mut stream, &settings_of_server).unwrap();
            sleep(80);
            std::io::Write::write_all(&mut stream, &words).unwrap();
            sleep(200);
        });
        let stall = stall();
        let report = check(settings(), server, PATIENCE).await;
        stall.await.unwrap();
        assert!(!report.success(), "{report:#?}");
        check_phase(&report, Phase::Processing, 79..105);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_one_that_speaks_otherwise() {
    let ending = serve(V4, |mut stream| drop(hear(&mut stream)));
    let report = check(settings(), ending, PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);

    let reset = serve(V4, |mut stream| {
        hear(&mut stream);
        sleep(20);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let report = check(settings(), reset, PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);

    let of_http1 = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        sleep(200);
    });
    let report = check(settings(), of_http1, PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::HttpProtocolError);

    // Settings, and then the call is reset with REFUSED_STREAM.
    let refusing = serve(V4, |mut stream| {
        hear(&mut stream);
        let frames = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7]].concat();
        std::io::Write::write_all(&mut stream, &frames).unwrap();
        sleep(200);
    });
    let report = check(settings(), refusing, PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::HttpStreamReset);

    // Settings, and then the server goes away with ENHANCE_YOUR_CALM.
    let leaving = serve(V4, |mut stream| {
        hear(&mut stream);
        let frames = [&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]].concat();
        std::io::Write::write_all(&mut stream, &frames).unwrap();
        sleep(200);
    });
    let report = check(settings(), leaving, PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);

    // The head of an answer (":status: 200" and "content-type: application/grpc", not compressed), and nothing after it.
    for reset in [true, false] {
        let breaking = serve(V4, move |mut stream| {
            hear(&mut stream);
            let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 32, 1, 4, 0, 0, 0, 1, 0x88, 0, 12];
            frames.extend(b"content-type\x10application/grpc");
            std::io::Write::write_all(&mut stream, &frames).unwrap();
            sleep(50);
            if reset {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        let report = check(settings(), breaking, PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::HttpResponseIncomplete);
        assert_eq!(measured(&report).http_status, Some(200));
    }
}
