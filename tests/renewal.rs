//! Files that a module names are read again when they change: tokens and certificates are renewed by whoever keeps them.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the servers of these tests are no probes")]
#![expect(dead_code, reason = "of the client and its support, this uses its part")]

#[path = "server/client.rs"]
mod client;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use client::Server;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::tls::{Authority, Pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server whose body is the request that it got.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&request[..length]).await.unwrap();
        }
    });
    address
}

/// A server that shakes hands by a certificate, and closes.
async fn secure(pair: &Pair) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust it says so, which is no concern of this end.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.shutdown().await;
            }
        }
    });
    address
}

async fn probe(server: &Server, module: &str, target: &str) -> String {
    server.fetch("GET", &format!("/probe?module={module}&target={target}&debug=true"), &[]).await.text()
}

fn succeeded(report: &str) -> bool {
    let success = support::value(report, "probe_success");
    success.unwrap_or_else(|| panic!("{report}")) == 1.0
}

/// Puts a file in the place of another, as Kubernetes and certbot do.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_renewed_token_is_sent_without_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let [token, body] = ["token", "body"].map(|name| folder.path().join(name));
    std::fs::write(&token, "first").unwrap();
    std::fs::write(&body, "ping").unwrap();
    let server = Server::start(&format!(
        "modules:\n  m:\n    prober: http\n    http:\n      method: POST\n      bearer_token_file: {}\n      body_file: {}\n      \
         fail_if_body_not_matches_regexp: ['Bearer second']\n",
        token.display(),
        body.display()
    ))
    .await;
    let target = format!("http://{}", echo().await);
    assert!(!succeeded(&probe(&server, "m", &target).await), "the first token is sent");
    // Written over in place, at once: neither its size nor, by a coarse clock, its time says so.
    std::fs::write(&token, "second").unwrap();
    assert!(succeeded(&probe(&server, "m", &target).await), "the second token is sent");
    replace(&token, "third");
    assert!(!succeeded(&probe(&server, "m", &target).await));
    replace(&token, "second");
    assert!(succeeded(&probe(&server, "m", &target).await));

    std::fs::remove_file(&body).unwrap();
    let report = probe(&server, "m", &target).await;
    assert!(!succeeded(&report) && report.contains("reason=\"prober_config_error\""), "{report}");
    assert!(report.contains("module \"m\": http.body_file: ") && report.contains("cannot be read"), "{report}");
    std::fs::write(&body, "ping").unwrap();
    assert!(succeeded(&probe(&server, "m", &target).await));
    assert!(server.metrics().await.contains("config_last_reload_successful 1"));
}

#[tokio::test]
async fn a_token_that_is_written_over_within_a_tick_of_the_file_systems_clock_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let target = format!("http://{}", echo().await);
    for _ in 0..20 {
        std::fs::write(&token, "one").unwrap();
        let server = Server::start(&format!(
            "modules: {{m: {{prober: http, http: {{bearer_token_file: {}, fail_if_body_not_matches_regexp: [two]}}}}}}",
            token.display()
        ))
        .await;
        std::fs::write(&token, "two").unwrap();
        assert!(succeeded(&probe(&server, "m", &target).await));
    }
}

#[tokio::test]
async fn whom_a_module_trusts_follows_its_file() {
    let (folder, one, other) = (tempfile::tempdir().unwrap(), Authority::new("one"), Authority::new("other"));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, one.pem()).unwrap();
    let server = Server::start(&format!(
        "modules: {{m: {{prober: tcp, tcp: {{tls: true, tls_config: {{ca_file: {}}}}}}}}}",
        ca.display()
    ))
    .await;
    let target = secure(&one.server("server")).await.to_string();
    assert!(succeeded(&probe(&server, "m", &target).await));
    replace(&ca, &other.pem());
    let report = probe(&server, "m", &target).await;
    assert!(!succeeded(&report) && report.contains("reason=\"tls_certificate_error"), "{report}");
    replace(&ca, "nonsense");
    assert!(probe(&server, "m", &target).await.contains("reason=\"prober_config_error\""));
    replace(&ca, &one.pem());
    assert!(succeeded(&probe(&server, "m", &target).await));
}
