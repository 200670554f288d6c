//! A server of HTTP/3.

use std::net::{Ipv6Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;

use super::web::gzip;
use crate::support::dns::server_config;

/// Serves on a port, over both families, with the certificate `NAME.pem` of a folder.
pub(super) fn serve_http3(folder: &Path, name: &str, port: u16) {
    let read = |ending| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    let mut config = server_config(&read("pem"), &read("key"));
    config.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let runtime = Arc::new(quinn::TokioRuntime);
            let endpoint = quinn::Endpoint::new(Default::default(), Some(config), socket, runtime).unwrap();
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(treat(incoming));
            }
        });
    });
}

/// Answers the requests of a connection. What the client thinks of it is its business.
async fn treat(incoming: quinn::Incoming) -> Option<()> {
    let connection = h3_quinn::Connection::new(incoming.await.ok()?);
    let mut http = h3::server::Connection::<_, Bytes>::new(connection).await.ok()?;
    while let Ok(Some(resolver)) = http.accept().await {
        let (request, mut stream) = resolver.resolve_request().await.ok()?;
        while stream.recv_data().await.ok()?.is_some() {}
        let path = request.uri().path();
        if path == "/silent" {
            std::future::pending::<()>().await;
        }
        let response = http::Response::builder().header("content-length", "4").header("x-is", "h3");
        let response = match path {
            "/missing" => response.status(404),
            // Four bytes come.
            "/cut" => http::Response::builder().header("content-length", "9"),
            "/long" => http::Response::builder().header("content-length", "2"),
            "/nothing" => http::Response::builder().status(204),
            "/moved" => response.status(302).header("location", "/"),
            // Whether it would be: no body is told by its length.
            "/compressed" if request.headers().contains_key("accept-encoding") => {
                http::Response::builder().header("content-encoding", "gzip")
            }
            "/trailer" => response.header("trailer", "x"),
            "/to_http" => response.status(302).header("location", "http://both.test:8443/"),
            _ => response,
        };
        let is_compressed = response.headers_ref().is_some_and(|headers| headers.contains_key("content-encoding"));
        let body = if is_compressed { gzip(b"well").into() } else { "well".into() };
        stream.send_response(response.body(()).unwrap()).await.ok()?;
        if path != "/nothing" {
            stream.send_data(body).await.ok()?;
        }
        stream.finish().await.ok()?;
    }
    Some(())
}
