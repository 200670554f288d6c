//! Proxies, and token servers behind them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::HeaderMap;
use uplink_exporter::lab::{Isp, target};
use uplink_exporter::net::Family;
use uplink_exporter::probe::http::Proxy;
use uplink_exporter::probe::{self, Measurement};

use crate::support::lab::{Site, host};
use crate::support::pcap::{Capture, Packet};
use crate::{BINDINGS, captures, number, told_source, topology};

/// The port of a server at the far end that is a proxy of HTTP and of SOCKS, and a token server.
const PROXY: u16 = 3128;

/// A target that only proxies connect to.
const BEYOND: u8 = 35;

/// Serves one connection to [`PROXY`], by what it begins with. What goes wrong is the client's to tell.
fn be_asked(mut client: TcpStream) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut first = [0; 1];
    client.peek(&mut first).ok()?;
    let beyond = if first == [5] {
        let (mut greeting, mut request) = ([0; 3], [0; 4]);
        client.read_exact(&mut greeting).ok()?;
        client.write_all(&[5, 0]).ok()?;
        client.read_exact(&mut request).ok()?;
        let mut rest = vec![0; if request[3] == 1 { 4 + 2 } else { 16 + 2 }];
        client.read_exact(&mut rest).ok()?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
        let family = if request[3] == 1 { Family::V4 } else { Family::V6 };
        let port = u16::from_be_bytes(rest[rest.len() - 2..].try_into().ok()?);
        TcpStream::connect((target(family, BEYOND), port)).ok()?
    } else {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let wanted = head.split(' ').nth(1)?;
        if let Some(url) = wanted.strip_prefix("http://") {
            let mut beyond = TcpStream::connect((url.split('/').next()?.trim_matches(['[', ']']), 80)).ok()?;
            beyond.write_all(head.as_bytes()).ok()?;
            beyond
        } else if head.starts_with("CONNECT ") {
            let beyond = TcpStream::connect(wanted.parse::<SocketAddr>().ok()?).ok()?;
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            beyond
        } else {
            let mut form = [0; 29];
            client.read_exact(&mut form).ok()?;
            let token = r#"{"access_token":"t","expires_in":3600}"#;
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{token}", token.len())
                .ok()?;
            return Some(());
        }
    };
    let (mut from_client, mut to_beyond) = (client.try_clone().ok()?, beyond.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_beyond);
        let _ = to_beyond.shutdown(std::net::Shutdown::Write);
    });
    let mut beyond = beyond;
    std::io::copy(&mut beyond, &mut client).ok().map(drop)
}

#[test]
fn no_packet_to_a_proxy_or_a_token_server_leaves_through_the_wrong_isp() {
    let mut modules = String::new();
    let mut cases = Vec::new();
    for isp in Isp::ALL {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let proxy = host(family, number(isp, binding));
                let name = format!("{}_{by}_{family:?}", isp.name());
                let kinds = [
                    ("tunnel", "https", format!("proxy_url: 'http://{proxy}:{PROXY}'")),
                    ("forward", "http", format!("proxy_url: 'http://{proxy}:{PROXY}'")),
                    ("socks", "http", format!("proxy_url: 'socks5://{proxy}:{PROXY}'")),
                    (
                        "token",
                        "http",
                        format!(
                            "proxy_url: 'http://{proxy}:{PROXY}', \
                             oauth2: {{client_id: me, token_url: 'http://{proxy}:{PROXY}/token'}}"
                        ),
                    ),
                    // The proxy is the ISP's.
                    ("isp", "https", "follow_redirects: true".to_owned()),
                ];
                for (kind, scheme, fields) in kinds {
                    modules += &format!(
                        "  {kind}_{name}: {{prober: http, http: {{tls_config: {{ca_file: CA}}, {fields}}}}}\n"
                    );
                    let target = format!("{scheme}://{}/", host(family, BEYOND));
                    let of_isp = (kind == "isp").then(|| format!("http://{proxy}:{PROXY}"));
                    cases.push((isp, format!("{kind}_{name}"), format!("{}_{by}", isp.name()), target, of_isp));
                }
            }
        }
    }
    let Some(site) = Site::start(topology(), &modules) else { return };
    let captures = captures(&site);
    let serve = || {
        for any in [IpAddr::from([0; 4]), IpAddr::from([0_u16; 8])] {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(SocketAddr::new(any, PROXY)),
                socket2::Type::STREAM,
                None,
            );
            let socket = socket.unwrap();
            if any.is_ipv6() {
                socket.set_only_v6(true).unwrap();
            }
            socket.bind(&SocketAddr::new(any, PROXY).into()).unwrap();
            socket.listen(128).unwrap();
            let listener = TcpListener::from(socket);
            // Threads stay in the namespace of the one that starts them.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    thread::spawn(move || be_asked(client));
                }
            });
        }
    };
    site.lab.far().run(serve).unwrap();
    for isp in Isp::ALL {
        site.lab.default_route(isp.other()).unwrap();
        let of_isp = cases.iter().filter(|(of, ..)| *of == isp);
        let requests = of_isp.map(|(_, module, by, target, proxy)| {
            let mut request = site.request(module, by, target, Duration::from_secs(20));
            if let Some(proxy) = proxy {
                let proxy = Proxy::new(&proxy.parse().unwrap(), None, HeaderMap::new()).unwrap();
                let bound = probe::Isp::clone(request.isp.as_ref().unwrap());
                request.isp = Some(Arc::new(probe::Isp { proxy: proxy.map(Arc::new), ..bound }));
            }
            request
        });
        for report in site.run_all(requests.collect()) {
            assert_eq!(report.failure, None, "{} {:?}: {:#?}", report.module, report.isp, report.log);
            let peer = match &report.measurement {
                Measurement::Http(measured) => measured.requests[0].handshake.remote.unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told_source(&report), Some(isp.source(Family::of(peer.ip()))), "{}", report.module);
        }
    }
    let [through_a, through_b] = captures.map(Capture::stop);
    for (isp, right, wrong) in [(Isp::A, &through_a, &through_b), (Isp::B, &through_b, &through_a)] {
        for (binding, by) in (0..).zip(BINDINGS) {
            for family in [Family::V4, Family::V6] {
                let proxy = target(family, number(isp, binding));
                let to = |packet: &&Packet| packet.destination == proxy;
                assert_eq!(wrong.iter().filter(to).count(), 0, "through the wrong ISP by {by}");
                assert!(right.iter().filter(to).all(|packet| packet.source == isp.source(family)), "by {by}");
                let syns = right.iter().filter(to).filter(|packet| packet.flags() == "S").count();
                // A tunnel, a request that is forwarded, SOCKS; a token, and what it is for; a tunnel through the ISP's proxy.
                assert_eq!(syns, 6, "to {proxy} by {by}");
            }
        }
        for family in [Family::V4, Family::V6] {
            let strays = right.iter().filter(|packet| packet.destination == target(family, BEYOND)).count();
            assert_eq!(strays, 0, "the target is the proxy's to connect to");
        }
    }
}
