//! HTTP/3.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use uplink_exporter::lab::{Isp, Path, Topology, target};
use uplink_exporter::net::Family;

use crate::support::lab::{Site, host};
use crate::support::pcap::{Capture, Packet};
use crate::{BINDINGS, captures, forget_source_addresses, number, told_source, topology};

const HTTP3: &str =
    "  http_3: {prober: http, http: {enable_http3: true, enable_http2: false, tls_config: {ca_file: CA}}}\n";

/// A server of HTTP/3 at every address of the far end. It answers `/big` at length, and everything else in a word.
fn serve_http3(site: &Site) {
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
                            stream.send_response(http::Response::new(())).await.ok()?;
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

#[test]
fn no_datagram_of_http3_leaves_through_the_wrong_isp() {
    let Some(site) = Site::start(topology(), HTTP3) else { return };
    serve_http3(&site);
    let captures = captures(&site);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let target = format!("https://{}/big", host(family, number(isp, binding)));
                requests.push(site.request(
                    "http_3",
                    &format!("{}_{by}", isp.name()),
                    &target,
                    Duration::from_secs(20),
                ));
            }
        }
        for report in site.run_all(requests) {
            assert_eq!(report.failure, None, "{} {:?}: {:#?}", report.target, report.isp, report.log);
            let family = Family::of(report.resolution.as_ref().unwrap().address.unwrap());
            assert_eq!(told_source(&report), Some(isp.source(family)), "{}", report.target);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let to = |packet: &&Packet| packet.destination == target(family, number(isp, binding));
                assert_eq!(wrong.iter().filter(to).count(), 0, "through the wrong ISP by {by}");
                let sent: Vec<_> = right.iter().filter(to).filter(|packet| packet.protocol == 17).collect();
                assert!(sent.len() > 10 && sent.iter().all(|packet| packet.source == isp.source(family)), "by {by}");
            }
        }
    }
}

#[test]
fn no_datagram_of_http3_that_comes_too_late_is_refused_through_the_wrong_isp() {
    let path = |isp| Path::straight(isp, &[1_000, 19_000, 20_000], 20_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let Some(site) = Site::start(topology, HTTP3) else { return };
    serve_http3(&site);
    forget_source_addresses(&site);
    let captures = captures(&site);
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let mut requests = Vec::new();
        for (binding, by) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let target = format!("https://{}/big", host(family, number(isp, binding)));
                for timeout in [20, 50, 80, 110, 140, 170, 200, 20_000] {
                    let timeout = Duration::from_millis(timeout);
                    requests.push(site.request("http_3", &format!("{}_{by}", isp.name()), &target, timeout));
                }
            }
        }
        let reports = site.run_all(requests);
        let cut = reports.iter().filter(|report| report.failure.is_some()).count();
        assert!(cut > reports.len() / 4 && cut < reports.len(), "{cut} of {}", reports.len());
        thread::sleep(Duration::from_millis(3_500));
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, wrong) in [(Isp::A, &through_b), (Isp::B, &through_a)] {
        for (binding, by) in (1..).zip(&BINDINGS[1..]) {
            for family in [Family::V4, Family::V6] {
                let to = |packet: &&Packet| packet.destination == target(family, number(isp, binding));
                let strays: Vec<_> = wrong.iter().filter(to).map(|p| (p.protocol, p.ports(), p.source)).collect();
                assert!(strays.is_empty(), "through the wrong ISP by {by}: {strays:?}");
            }
        }
    }
}
