//! What blackbox_exporter says of a target behind a proxy, this program says, too, and both ask the proxy for the same.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the servers of the test, which ends where it finds what cannot be"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::peer::Peer;
use support::{Exporter, free_port, get};

/// Serves every connection by itself, on loopback.
fn serve(treat: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> SocketAddr {
    ([127, 0, 0, 1], support::serve(0, treat)).into()
}

fn head(stream: &mut impl Read) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn answer(mut stream: impl Read + Write) -> Option<()> {
    head(&mut stream)?;
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\nwell";
    stream.write_all(text.as_bytes()).ok()?;
    stream.flush().ok()
}

/// A web server under TLS of one cipher suite, and the PEM of its certificate's authority.
fn secure_server() -> (SocketAddr, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "parity CA");
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let config = ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let address =
        serve(move |stream| answer(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)));
    (address, authority.pem())
}

/// A proxy that notes the first line and the credentials of what it is asked.
fn proxy(server: SocketAddr, heard: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    serve(move |mut client| {
        let head = head(&mut client)?;
        let credentials = head.lines().find(|line| line.starts_with("Proxy-Authorization: ")).unwrap_or_default();
        heard.lock().unwrap().push(format!("{} {credentials}", head.lines().next()?));
        let mut beyond = TcpStream::connect(server).ok()?;
        match head.starts_with("CONNECT ") {
            true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?,
            false => beyond.write_all(head.as_bytes()).ok()?,
        }
        let (mut from_client, mut to_beyond) = (client.try_clone().ok()?, beyond.try_clone().ok()?);
        thread::spawn(move || std::io::copy(&mut from_client, &mut to_beyond));
        std::io::copy(&mut beyond, &mut client).ok().map(drop)
    })
}

/// The series of an exposition of text, and their values.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

#[test]
fn a_proxied_target_has_blackbox_exporters_series() {
    let Some(peer) = Peer::find() else { return };
    let (secure, ca) = secure_server();
    let plain = serve(answer);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tunnels = proxy(secure, Arc::clone(&heard));
    let forwards = proxy(plain, Arc::clone(&heard));
    let refuses = serve(|mut client| {
        head(&mut client)?;
        client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").ok()
    });
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    let module = |name: &str, proxy: SocketAddr, more: &str| {
        format!(
            "  {name}: {{prober: http, timeout: 5s, http: {{preferred_ip_protocol: ip4, proxy_url: 'http://me:pw@{proxy}', \
             tls_config: {{ca_file: '{}'}}{more}}}}}\n",
            ca_file.display()
        )
    };
    let skip = ", skip_resolve_phase_with_proxy: true";
    let modules = [
        "modules:\n".to_owned(),
        module("tunnel", tunnels, ""),
        module("tunnel_skip", tunnels, skip),
        module("forward", forwards, ""),
        module("forward_skip", forwards, skip),
        module("refused", refuses, ""),
        module("closed", closed, ""),
    ]
    .concat();
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, &modules).unwrap();
    let theirs = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let _peer = peer.start(&file, theirs);
    let exporter = Exporter::start(&modules);

    let secure = format!("https://localhost:{}/x", secure.port());
    let cases = [
        ("tunnel", &*secure, true),
        ("tunnel_skip", &secure, true),
        ("forward", "http://localhost:81/x", true),
        ("forward_skip", "http://localhost:81/x", true),
        ("refused", &secure, false),
        ("closed", &secure, false),
    ];
    for (module, target, succeeds) in cases {
        let mut said = Vec::new();
        for exporter in [theirs, exporter.address] {
            let (status, body) = get(exporter, &format!("/probe?module={module}&target={target}"));
            assert_eq!(status, 200, "{body}");
            said.push((series(&body), heard.lock().unwrap().split_off(0)));
        }
        let [(theirs, asked_by_them), (ours, asked_by_us)] = <[_; 2]>::try_from(said).unwrap();
        assert_eq!(ours["probe_success"], f64::from(u8::from(succeeds)), "{module}: {ours:#?}");
        assert_eq!((asked_by_us.len(), &asked_by_us), (usize::from(succeeds), &asked_by_them), "{module}");
        for (name, value) in &theirs {
            let told = ours.get(name);
            if name.starts_with("probe_http_duration_seconds") || name == "probe_dns_lookup_time_seconds" {
                // Times differ. A phase that there was not is 0 there, and absent here, whether the probe fails or has no TLS.
                assert!(told.is_some() || *value == 0.0, "{module}: {name} {value} is missing");
            } else if let Some(labels) = name.strip_prefix("probe_ssl_last_chain_info{") {
                // Before 0.26 there is no serial number.
                let told = ours.keys().find_map(|name| name.strip_prefix("probe_ssl_last_chain_info{")).unwrap();
                let mut labels = labels.trim_end_matches('}').split(',');
                assert!(labels.all(|label| told.contains(label)), "{module}: {name}: {told}");
            } else if name == "probe_duration_seconds" {
                assert!(told.is_some(), "{module}: {name} is missing");
            } else if succeeds {
                assert_eq!(told, Some(value), "{module}: {name}");
            } else {
                // What never came is 0 there.
                assert!(told == Some(value) || (told.is_none() && *value == 0.0), "{module}: {name} {value}, {told:?}");
            }
        }
        let phases = |of: &BTreeMap<String, f64>| {
            let phases = of.keys().filter(|name| name.starts_with("probe_http_duration_seconds"));
            phases.cloned().collect::<Vec<_>>()
        };
        for name in phases(&ours) {
            assert!(phases(&theirs).contains(&name), "{module}: {name} is more than they have");
        }
    }
}
