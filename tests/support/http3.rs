//! A server of HTTP/3 in the lab.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::lab::Site;

/// A server of HTTP/3 at every address of the far end. It answers `/big` at length, everything else in a word, and `/moved` with a redirect to `/`.
pub(crate) fn serve_http3(site: &Site) {
    let read = |name: &str| std::fs::read(site.folder.path().join(name)).unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).unwrap()));
    for any in [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])] {
        let address = SocketAddr::new(any, 443);
        let bind = || {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None).unwrap();
            if any.is_ipv6() {
                socket.set_only_v6(true).unwrap();
            }
            socket.bind(&address.into()).unwrap();
            UdpSocket::from(socket)
        };
        let socket = site.lab.far().run(bind).unwrap();
        let config = config.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let runtime = Arc::new(quinn::TokioRuntime);
                let endpoint = quinn::Endpoint::new(Default::default(), Some(config), socket, runtime).unwrap();
                while let Some(incoming) = endpoint.accept().await {
                    tokio::spawn(async move {
                        let connection = h3_quinn::Connection::new(incoming.await.ok()?);
                        let mut http = h3::server::Connection::<_, bytes::Bytes>::new(connection).await.ok()?;
                        while let Ok(Some(resolver)) = http.accept().await {
                            let (request, mut stream) = resolver.resolve_request().await.ok()?;
                            let response = match request.uri().path() {
                                "/moved" => http::Response::builder().status(302).header("location", "/"),
                                _ => http::Response::builder(),
                            };
                            stream.send_response(response.body(()).unwrap()).await.ok()?;
                            let length = if request.uri().path() == "/big" { 1 << 20 } else { 4 };
                            stream.send_data(vec![b'.'; length].into()).await.ok()?;
                            stream.finish().await.ok()?;
                        }
                        Some(())
                    });
                }
            });
        });
    }
}
