//! HTTP/3, with a server of its own, and with ones that do not speak it.

#![expect(clippy::disallowed_methods, reason = "the test's own servers, which probe nothing")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use h3::server::RequestStream;
use h3_quinn::BidiStream;
use http::Response;
use quinn::crypto::rustls::QuicServerConfig;

use super::*;
use crate::net::quic;

type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

/// What a server does with a request, whose extensions have its connection.
trait Treat: Clone + Send + 'static {
    fn treat(self, request: http::Request<()>, stream: Stream) -> impl Future<Output = Option<()>> + Send;
}

impl<F, T> Treat for F
where
    F: Fn(http::Request<()>, Stream) -> T + Clone + Send + 'static,
    T: Future<Output = Option<()>> + Send,
{
    fn treat(self, request: http::Request<()>, stream: Stream) -> impl Future<Output = Option<()>> + Send {
        self(request, stream)
    }
}

/// A server of HTTP/3 in a thread of its own; it tells how each connection ended.
fn serve_http3(
    ip: IpAddr,
    mut config: ServerConfig,
    treat: impl Treat,
) -> (SocketAddr, mpsc::Receiver<quinn::ConnectionError>) {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h3".to_vec()];
    }
    config.max_early_data_size = u32::MAX;
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, ends) = mpsc::channel();
    spawn_server(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let endpoint = quinn::Endpoint::new(
                quinn::EndpointConfig::default(),
                Some(config),
                socket,
                Arc::new(quinn::TokioRuntime),
            );
            let endpoint = endpoint.unwrap();
            while let Some(incoming) = endpoint.accept().await {
                let (treat, sender) = (treat.clone(), sender.clone());
                tokio::spawn(async move {
                    let connection = incoming.await.ok()?;
                    let mut http =
                        h3::server::Connection::new(h3_quinn::Connection::new(connection.clone())).await.ok()?;
                    while let Ok(Some(resolver)) = http.accept().await {
                        let treat = treat.clone();
                        let (mut request, stream) = resolver.resolve_request().await.ok()?;
                        request.extensions_mut().insert(connection.clone());
                        tokio::spawn(treat.treat(request, stream));
                    }
                    sender.send(connection.closed().await).ok()
                });
            }
        });
    });
    (address, ends)
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Answers in a moment.
async fn well(_: http::Request<()>, mut stream: Stream) -> Option<()> {
    stream.send_response(Response::new(())).await.ok()?;
    stream.send_data(Bytes::from_static(b"well")).await.ok()?;
    stream.finish().await.ok()
}

/// Delays what a client and a server say to each other, each way, by milliseconds.
fn delayed(server: SocketAddr, delay: u64) -> SocketAddr {
    let outer = UdpSocket::bind((server.ip(), 0)).unwrap();
    let address = outer.local_addr().unwrap();
    let inner = UdpSocket::bind((server.ip(), 0)).unwrap();
    inner.connect(server).unwrap();
    let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let (from_client, to_client) = (outer.try_clone().unwrap(), outer);
    let (from_server, to_server) = (inner.try_clone().unwrap(), inner);
    let known = client.clone();
    let (queue, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let (back, due_back) = mpsc::channel::<(Instant, Vec<u8>)>();
    let wait =
        move |at: Instant| thread::sleep((at + Duration::from_millis(delay)).saturating_duration_since(Instant::now()));
    spawn_server(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = from_client.recv_from(&mut buffer) {
            *known.lock().unwrap() = Some(peer);
            queue.send((Instant::now(), buffer[..length].to_vec())).unwrap();
        }
    });
    spawn_server(move || {
        due.iter().for_each(|(at, bytes)| {
            wait(at);
            let _ = to_server.send(&bytes);
        })
    });
    spawn_server(move || {
        let mut buffer = [0; 2048];
        while let Ok(length) = from_server.recv(&mut buffer) {
            back.send((Instant::now(), buffer[..length].to_vec())).unwrap();
        }
    });
    spawn_server(move || {
        due_back.iter().for_each(|(at, bytes)| {
            wait(at);
            let client = client.lock().unwrap().unwrap();
            let _ = to_client.send_to(&bytes, client);
        });
    });
    address
}

fn over_http3(ca: Option<String>) -> Settings {
    let tls = trusting(ca, &["h3"]);
    Settings { http3: quic::client(&tls), tls, ..settings() }
}

/// A server's configuration, and settings that trust it.
fn trusted() -> (ServerConfig, Settings) {
    let authority = authority();
    (server_config(identity(params(), Some(&authority))), over_http3(Some(authority.pem())))
}

#[tokio::test]
async fn every_phase_of_http3_is_told_once() {
    for ip in BOTH {
        let (config, settings) = trusted();
        let treat = |request: http::Request<()>, mut stream: Stream| async move {
            assert_eq!(request.uri().path_and_query().unwrap(), "/a?b=c");
            assert_eq!(request.uri().authority().unwrap(), "localhost:1");
            assert_eq!(request.headers()["authorization"], "Basic bWU6cHc=");
            pause(80).await;
            let response = Response::builder().header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT").body(());
            stream.send_response(response.unwrap()).await.unwrap();
            stream.send_data(Bytes::from_static(b"01234")).await.unwrap();
            pause(50).await;
            stream.send_data(Bytes::from_static(b"56789")).await.unwrap();
            stream.finish().await.ok()
        };
        let (server, _) = serve_http3(ip, config, treat);
        let address = delayed(server, 20);
        let settings = Settings { host: Some("localhost:1".into()), ..settings };
        let report = get(settings, format!("https://me:pw@{address}/a?b=c"), PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Connect, 39..100);
        check_phase(&report, Phase::Tls, 0..40);
        check_phase(&report, Phase::Processing, 119..160);
        // A head that the relay delivers late is the nearer to the end.
        check_phase(&report, Phase::Transfer, 30..90);
        let both = [Phase::Processing, Phase::Transfer].map(|phase| seconds(&report, phase).unwrap());
        assert!(both.iter().sum::<f64>() > 0.169, "{both:?}");
        let measured = measured(&report);
        let facts = measured.tls.as_ref().unwrap();
        assert_eq!((facts.version, facts.alpn.as_deref(), &facts.cipher), (Some("TLS 1.3"), Some("h3"), &None));
        assert!(facts.chain.len() == 1 && facts.chain_expiry.is_some());
        assert_eq!((measured.version, measured.ssl, measured.body_length), (Some(3.0), Some(true), Some(10)));
        assert_eq!((measured.content_length, measured.last_modified.is_some()), (Some(-1), true));
        let request = &measured.requests[0];
        assert_eq!((request.handshake.remote, request.handshake.rtt), (Some(address), None));
        assert_eq!(request.handshake.local.map(|local| local.ip()), Some(ip));
        let traffic = request.traffic.unwrap();
        assert!(traffic.sent > 1200 && traffic.received > 1200, "{traffic:?}");
    }
}

#[tokio::test]
async fn a_body_is_sent_and_interim_responses_are_not_the_one() {
    let (config, settings) = trusted();
    let treat = |request: http::Request<()>, mut stream: Stream| async move {
        assert_eq!(
            (request.method().as_str(), &request.headers()["content-length"]),
            ("POST", &"100000".parse().unwrap())
        );
        let mut received = 0;
        while let Some(data) = stream.recv_data().await.ok()? {
            received += bytes::Buf::remaining(&data);
        }
        stream.send_response(Response::builder().status(103).body(()).unwrap()).await.ok()?;
        pause(40).await;
        let right = received == 100_000 && request.headers().get("connection").is_none();
        let status = if right { 200 } else { 400 };
        stream
            .send_response(Response::builder().status(status).header("content-length", "0").body(()).unwrap())
            .await
            .ok()?;
        stream.finish().await.ok()
    };
    let (server, ends) = serve_http3(V4, config, treat);
    let settings = Settings { method: Method::POST, body: Bytes::from(vec![b'x'; 100_000]), ..settings };
    let report = get(settings, format!("localhost:{}", server.port()), PATIENCE).await;
    check_success(&report);
    check_phase(&report, Phase::Processing, 39..90);
    let measured = measured(&report);
    assert_eq!((measured.status, measured.content_length), (Some(200), Some(0)));
    let end = ends.recv_timeout(Duration::from_millis(500)).unwrap();
    assert!(
        matches!(&end, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 0x100_u32.into()),
        "{end}"
    );
}

#[tokio::test]
async fn redirects_are_followed_over_http3_and_not_to_plain_text() {
    let (config, settings) = trusted();
    let treat = |request: http::Request<()>, stream: Stream| async move {
        let location = match request.uri().path() {
            "/1" => "/2",
            "/plain" => "http://localhost/",
            _ => return well(request, stream).await,
        };
        let mut stream = stream;
        let response = Response::builder().status(302).header("location", location).body(()).unwrap();
        stream.send_response(response).await.ok()?;
        stream.finish().await.ok()
    };
    let (server, _) = serve_http3(V4, config, treat);
    let request = request(Prober::Http(Box::new(settings)), format!("https://{server}/1"), PATIENCE);
    let report = probe(&request).await;
    check_success(&report);
    let versions: Vec<_> = measured(&report).requests.iter().map(|request| request.version).collect();
    assert_eq!(versions, [Some(3.0), Some(3.0)]);
    let plain = crate::probe::Request { target: format!("https://{server}/plain"), ..request.clone() };
    let report = probe(&plain).await;
    assert_eq!(report.failure.as_ref().map(|failure| failure.reason), Some(Reason::HttpProtocolError), "{report:#?}");
    assert!(report.failure.unwrap().detail.contains("under TLS"));
    // As for blackbox_exporter, a target of plain text is one of TLS.
    let plain = crate::probe::Request { target: format!("HTTP://{server}/"), ..request };
    let report = probe(&plain).await;
    check_success(&report);
    assert_eq!(measured(&report).requests[0].url, format!("https://{server}/"));
}

#[tokio::test]
async fn a_closed_port_refuses_at_once_and_a_silent_one_never_answers() {
    for ip in BOTH {
        let closed = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
        let report = get(over_http3(None), format!("https://{closed}/"), PATIENCE).await;
        check_failure(&report, Phase::Connect, Reason::PortUnreachable);
        check_phase(&report, Phase::Connect, 0..100);
        assert_eq!(report.failure.unwrap().offender, Some(ip));
    }
    let silent = UdpSocket::bind((V4, 0)).unwrap();
    let report =
        get(over_http3(None), format!("https://{}/", silent.local_addr().unwrap()), Duration::from_millis(300)).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionTimeout);
    check_phase(&report, Phase::Connect, 250..301);
    assert!(report.failure.unwrap().detail.contains("QUIC"));
    assert_eq!(silent.recv(&mut [0; 2048]).unwrap(), 1200);
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_told_with_its_facts() {
    let authority = authority();
    let mut expired = params();
    expired.not_after = date_time_ymd(2020, 1, 1);
    let serve = |config| serve_http3(V4, config, well).0;
    let server = serve(server_config(identity(expired, Some(&authority))));
    let report = get(over_http3(Some(authority.pem())), format!("https://{server}/"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::Expired));
    assert_eq!(measured(&report).tls.as_ref().unwrap().chain.len(), 1);

    let server = serve(server_config(identity(params(), Some(&authority))));
    let report = get(over_http3(None), format!("https://{server}/"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::UnknownCa));

    let mut other = server_config(identity(params(), Some(&authority)));
    other.alpn_protocols = vec![b"doq".to_vec()];
    let report = get(over_http3(Some(authority.pem())), format!("https://{}/", serve(other)), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(120));

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let own = identity(params(), Some(&authority));
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.with_client_cert_verifier(clients.build().unwrap()).with_single_cert(own.chain, own.key).unwrap();
    let report = get(over_http3(Some(authority.pem())), format!("https://{}/", serve(config)), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsClientCertRejected);
}

#[tokio::test]
async fn a_response_over_http3_that_breaks_off_or_stalls_is_told_so() {
    let silent = |_: http::Request<()>, stream: Stream| async move {
        pause(1000).await;
        drop(stream);
        None
    };
    let reset = |_: http::Request<()>, mut stream: Stream| async move {
        stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
        pause(100).await;
        None
    };
    let cut = |_: http::Request<()>, mut stream: Stream| async move {
        stream.send_response(Response::new(())).await.ok()?;
        stream.send_data(Bytes::from_static(b"we")).await.ok()?;
        pause(30).await;
        stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
        pause(100).await;
        None
    };
    let stalled = |_: http::Request<()>, mut stream: Stream| async move {
        stream.send_response(Response::new(())).await.ok()?;
        stream.send_data(Bytes::from_static(b"we")).await.ok()?;
        pause(1000).await;
        drop(stream);
        None
    };
    let short = Duration::from_millis(400);
    let (config, settings) = trusted();
    let report = get(settings, format!("https://{}/", serve_http3(V4, config, silent).0), short).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Unknown));
    let (config, settings) = trusted();
    let report = get(settings, format!("https://{}/", serve_http3(V4, config, reset).0), PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::HttpStreamReset);
    let (config, settings) = trusted();
    let report = get(settings, format!("https://{}/", serve_http3(V4, config, cut).0), PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::HttpStreamReset);
    assert_eq!((measured(&report).status, measured(&report).body_length), (Some(200), Some(2)));
    let (config, settings) = trusted();
    let (server, ends) = serve_http3(V4, config, stalled);
    let report = get(settings, format!("https://{server}/"), short).await;
    check_failure(&report, Phase::Transfer, Reason::HttpResponseTimeout(Late::Unknown));
    check_phase(&report, Phase::Transfer, 300..401);
    let end = ends.recv_timeout(Duration::from_millis(500)).unwrap();
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "also when it is cut, it says goodbye: {end}");
}

#[tokio::test]
async fn interim_responses_over_http3_are_no_response() {
    let hints = |_: http::Request<()>, mut stream: Stream| async move {
        let head = |status: u16| Response::builder().status(status).body(()).unwrap();
        for status in [103, 103, 200] {
            pause(40).await;
            stream.send_response(head(status)).await.ok()?;
        }
        pause(60).await;
        stream.send_data(Bytes::from_static(b"well")).await.ok()?;
        stream.finish().await.ok()
    };
    let (config, settings) = trusted();
    let report = get(settings, format!("https://{}/", serve_http3(V4, config, hints).0), PATIENCE).await;
    check_success(&report);
    assert_eq!((measured(&report).status, measured(&report).body_length), (Some(200), Some(4)));
    check_phase(&report, Phase::Processing, 119..170);
    check_phase(&report, Phase::Transfer, 59..100);
}

#[tokio::test]
async fn whoever_ends_a_connection_of_http3_does_not_break_the_protocol_unless_he_says_so() {
    use h3::error::Code;
    for (code, is_violation) in [
        (Code::H3_NO_ERROR, false),
        (Code::H3_EXCESSIVE_LOAD, false),
        (Code::H3_FRAME_ERROR, true),
        (Code::QPACK_DECOMPRESSION_FAILED, true),
    ] {
        for begun in [false, true] {
            let end = move |request: http::Request<()>, mut stream: Stream| async move {
                if begun {
                    stream.send_response(Response::new(())).await.ok()?;
                    stream.send_data(Bytes::from_static(b"we")).await.ok()?;
                    pause(30).await;
                }
                let connection = request.extensions().get::<quinn::Connection>()?;
                connection.close(quinn::VarInt::from_u64(code.value()).ok()?, b"");
                pause(100).await;
                Some(())
            };
            let (config, settings) = trusted();
            let report = get(settings, format!("https://{}/", serve_http3(V4, config, end).0), PATIENCE).await;
            let (phase, broken_off) = match begun {
                true => (Phase::Transfer, Reason::HttpResponseIncomplete),
                false => (Phase::Processing, Reason::ConnectionTerminated),
            };
            check_failure(&report, phase, if is_violation { Reason::HttpProtocolError } else { broken_off });
        }
    }
}

#[tokio::test]
async fn expectations_and_limits_hold_over_http3() {
    let (config, settings) = trusted();
    let (server, _) = serve_http3(V4, config, well);
    let url = format!("https://{server}/");
    let with = |expectations, body_size_limit| Settings {
        http3: settings.http3.clone(),
        tls: settings.tls.clone(),
        body_size_limit,
        ..expecting(expectations)
    };
    let body = |text: &str, forbids| {
        let rule = BodyRule { regex: crate::re2::Regex::new(text).unwrap(), forbids };
        let rules = BodyRules { text: vec![rule], json: vec![] };
        Expectations { body: Arc::new(rules), ..Expectations::default() }
    };
    let versions = |version: &str| Expectations { versions: vec![version.into()], ..Expectations::default() };
    check_success(&get(with(versions("HTTP/3.0"), None), &url, PATIENCE).await);
    check_success(&get(with(body("^well$", false), None), &url, PATIENCE).await);
    let report = get(with(body("ell", true), None), &url, PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
    let report = get(with(Expectations::default(), Some(3)), &url, PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::HttpResponseBodySize);
    let report = get(with(Expectations { no_tls: true, ..Default::default() }, None), &url, PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::AssertionFailedTls);
}
