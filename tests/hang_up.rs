//! Clients that go away, or that never come to the point, over TLS and HTTP/2: nothing stays behind.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the client of these tests is no probe")]
#![expect(dead_code, reason = "of the client, this uses its part")]

#[path = "server/client.rs"]
mod client;
mod support;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use client::Server;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::tls::Authority;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uplink_exporter::server::{Guard, Options};

const CONFIGURATION: &str = "modules: {banner: {prober: tcp, timeout: 20s, tcp: {query_response: [{expect: ready}]}}}";

/// A server that speaks TLS, and who trusts it.
struct Secured {
    server: Server,
    trust: RootCertStore,
    silent: TcpListener,
}

type Body = Empty<Bytes>;

/// A connection of a client.
trait Client: AsyncRead + AsyncWrite + Unpin {}
impl<C: AsyncRead + AsyncWrite + Unpin> Client for C {}

impl Secured {
    async fn start() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("the authority"));
        authority.server("server").write(folder.path(), "server");
        let file = folder.path().join("web.yml");
        std::fs::write(&file, "tls_server_config: {cert_file: server.pem, key_file: server.key}").unwrap();
        let server = Server::start_behind(Guard::open(Some(&file)).unwrap(), CONFIGURATION, Options::default()).await;
        let mut trust = RootCertStore::empty();
        trust.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { server, trust, silent }
    }

    /// A connection on which nothing is said yet.
    async fn connect(&self, protocol: &str) -> TlsStream<TcpStream> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(self.trust.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    }

    /// A connection of HTTP/2, and the task that drives it.
    async fn http2(&self) -> (http2::SendRequest<Body>, tokio::task::JoinHandle<()>) {
        let stream = TokioIo::new(self.connect("h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        (sender, tokio::spawn(async { drop(connection.await) }))
    }

    fn probe(&self) -> Request<Body> {
        let target = self.silent.local_addr().unwrap();
        self.request(&format!("/probe?module=banner&target={target}"))
    }

    fn request(&self, path: &str) -> Request<Body> {
        Request::get(format!("https://localhost{path}")).body(Body::new()).unwrap()
    }

    /// The next probe that reaches its target.
    async fn reached(&self) -> TcpStream {
        timeout(Duration::from_secs(5), self.silent.accept()).await.unwrap().unwrap().0
    }

    /// The exporter's own metrics, over a connection of their own.
    async fn metrics(&self) -> String {
        let stream = TokioIo::new(self.connect("http/1.1").await);
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        let task = tokio::spawn(connection);
        let answer = sender.send_request(self.request("/metrics")).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        let _ = task.await;
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn until(&self, line: &str) {
        for _ in 0..100 {
            if self.metrics().await.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{line} did not come");
    }

    /// A probe was cut: nothing of it is left, and none came to its end.
    async fn cancelled(&self, mut probe: TcpStream) {
        self.until("uplink_exporter_probes_in_flight 0\n").await;
        let read = timeout(Duration::from_secs(5), probe.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        let metrics = self.metrics().await;
        let count = |series: &str| support::value(&metrics, &format!("uplink_exporter_{series}"));
        let aborted = count("probe_failures_total{module=\"banner\",isp=\"\",reason=\"aborted\"}");
        assert!(aborted.is_some() && aborted == count("probes_total{module=\"banner\",isp=\"\"}"), "{metrics}");
    }
}

#[tokio::test]
async fn a_client_of_http1_over_tls_takes_its_probe_with_it_whatever_it_said_behind() {
    let secured = Secured::start().await;
    let path = format!("/probe?module=banner&target={}", secured.silent.local_addr().unwrap());
    let another = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (headers, behind) in [("", ""), ("", another.as_str()), ("Content-Length: 10\r\n", "12345")] {
        for with_a_word in [true, false] {
            let mut client = secured.connect("http/1.1").await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{behind}");
            client.write_all(request.as_bytes()).await.unwrap();
            let probe = secured.reached().await;
            secured.until("uplink_exporter_probes_in_flight 1\n").await;
            if with_a_word {
                // close_notify, and then the end of the connection.
                client.shutdown().await.unwrap();
            }
            drop(client);
            secured.cancelled(probe).await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_takes_its_probe_with_it_and_no_other() {
    let secured = Secured::start().await;
    let (sender, _task) = secured.http2().await;
    let ask = || tokio::spawn(sender.clone().send_request(secured.probe()));
    let gone = ask();
    let cut = secured.reached().await;
    let stays = ask();
    let mut kept = secured.reached().await;
    secured.until("uplink_exporter_probes_in_flight 2\n").await;
    // hyper resets the stream of an answer that nobody waits for.
    gone.abort();
    secured.until("uplink_exporter_probes_in_flight 1\n").await;
    kept.write_all(b"ready\n").await.unwrap();
    let answer = timeout(Duration::from_secs(5), stays).await.unwrap().unwrap().unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("probe_success 1\n"));
    secured.until("uplink_exporter_probes_in_flight 0\n").await;
    let mut cut = cut;
    assert!(matches!(timeout(Duration::from_secs(5), cut.read(&mut [0; 16])).await.unwrap(), Ok(0) | Err(_)));
    let metrics = secured.metrics().await;
    let count = |series: &str| support::value(&metrics, &format!("uplink_exporter_{series}"));
    assert_eq!(count("probes_total{module=\"banner\",isp=\"\"}"), Some(2.0));
    assert_eq!(count("probe_failures_total{module=\"banner\",isp=\"\",reason=\"aborted\"}"), Some(1.0));
}

#[tokio::test]
async fn a_connection_of_http2_that_ends_takes_all_its_probes_with_it() {
    let secured = Secured::start().await;
    let stream = secured.connect("h2").await;
    let beneath = std::net::TcpStream::from(stream.get_ref().0.as_fd().try_clone_to_owned().unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let _task = tokio::spawn(connection);
    let asked: Vec<_> = (0..3).map(|_| tokio::spawn(sender.clone().send_request(secured.probe()))).collect();
    let probes = [secured.reached().await, secured.reached().await, secured.reached().await];
    secured.until("uplink_exporter_probes_in_flight 3\n").await;
    beneath.shutdown(std::net::Shutdown::Both).unwrap();
    for probe in probes {
        secured.cancelled(probe).await;
    }
    for asked in asked {
        assert!(asked.await.unwrap().is_err(), "none has an answer");
    }
}

#[tokio::test]
async fn a_probe_over_http2_may_end_after_the_shutdown_began() {
    let mut secured = Secured::start().await;
    let (mut sender, _task) = secured.http2().await;
    let asked = tokio::spawn(sender.send_request(secured.probe()));
    let mut probe = secured.reached().await;
    secured.server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(secured.server.address).await.is_err(), "new connections are refused");
    probe.write_all(b"ready\n").await.unwrap();
    let answer = timeout(Duration::from_secs(5), asked).await.unwrap().unwrap().unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("probe_success 1\n"));
    timeout(client::GRACE / 2, secured.server.ended()).await.unwrap();
}

#[tokio::test]
async fn idle_connections_and_half_handshakes_do_not_hold_the_shutdown() {
    let mut secured = Secured::start().await;
    let _silent = TcpStream::connect(secured.server.address).await.unwrap();
    let _http1 = secured.connect("http/1.1").await;
    let _unspoken = secured.connect("h2").await;
    let (_idle, _task) = secured.http2().await;
    secured.server.stop();
    timeout(client::GRACE / 2, secured.server.ended()).await.unwrap();
}

#[tokio::test]
async fn half_a_request_does_not_hold_the_shutdown() {
    let mut plain = Server::start(CONFIGURATION).await;
    let (mut clients, mut secure_clients) = (Vec::new(), Vec::new());
    let whole = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut secured = Secured::start().await;
    for half in ["G", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        for before in ["", whole] {
            let mut client = TcpStream::connect(plain.address).await.unwrap();
            let mut secure_client = secured.connect("http/1.1").await;
            for client in [&mut client as &mut dyn Client, &mut secure_client] {
                client.write_all(before.as_bytes()).await.unwrap();
                if !before.is_empty() {
                    let mut answer = [0; 4096];
                    let count = timeout(Duration::from_secs(5), client.read(&mut answer)).await.unwrap().unwrap();
                    assert!(String::from_utf8_lossy(&answer[..count]).ends_with("Healthy\n"));
                }
                client.write_all(half.as_bytes()).await.unwrap();
                client.flush().await.unwrap();
            }
            clients.push(client);
            secure_clients.push(secure_client);
        }
    }
    plain.stop();
    secured.server.stop();
    timeout(client::GRACE / 2, plain.ended()).await.unwrap();
    timeout(client::GRACE / 2, secured.server.ended()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_began_before_the_shutdown_is_answered_whatever_follows_it() {
    let mut plain = Server::start(CONFIGURATION).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = format!("/probe?module=banner&target={}", silent.local_addr().unwrap());
    let mut client = TcpStream::connect(plain.address).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\nGET / HT").as_bytes()).await.unwrap();
    let (mut probe, _) = timeout(Duration::from_secs(5), silent.accept()).await.unwrap().unwrap();
    plain.stop();
    tokio::time::sleep(client::GRACE / 2).await;
    probe.write_all(b"ready\n").await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(5), client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.contains("probe_success 1\n"), "{answer}");
    timeout(client::GRACE / 2, plain.ended()).await.unwrap();
}

/// Reads until the other end has had enough; whether that was by an error does not matter.
async fn ends(mut stream: impl AsyncReadExt + Unpin, within: Duration) {
    let mut rest = Vec::new();
    let _ = timeout(within, stream.read_to_end(&mut rest)).await.expect("the connection ends");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_comes_to_the_point_is_sent_away() {
    let secured = Secured::start().await;
    for words in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET /metrics HTTP/1.1\r\nHo"] {
        let mut client = TcpStream::connect(secured.server.address).await.unwrap();
        client.write_all(words).await.unwrap();
        ends(client, Duration::from_secs(120)).await;
    }
    for protocol in ["http/1.1", "h2"] {
        ends(secured.connect(protocol).await, Duration::from_secs(120)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_http2_ends_after_a_while_and_a_busy_one_does_not() {
    let secured = Secured::start().await;
    let (mut sender, task) = secured.http2().await;
    for _ in 0..3 {
        // Longer together than a connection may be idle.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(sender.send_request(secured.request("/-/healthy")).await.unwrap().status(), 200);
    }
    timeout(Duration::from_secs(120), task).await.expect("the connection ends").unwrap();
}
