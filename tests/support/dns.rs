//! A name server whose replies the first label of the name asks for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Records of many types as the wire has them, and as Go's miekg/dns writes them.
pub(crate) fn records() -> Vec<(Vec<u8>, &'static str)> {
    let lines = include_str!("../fixtures/dns/presentation.txt").lines().filter(|line| !line.starts_with('#'));
    let record = |line: &'static str| {
        let (hex, text) = line.split_once(' ').unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        ((0..hex.len()).step_by(2).map(byte).collect(), text)
    };
    lines.map(record).collect()
}

/// Where a name server listens.
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    tls: TcpListener,
    https: TcpListener,
}

impl Sockets {
    /// Binds them on ports for plain questions, for TLS and for HTTPS; 0 is any.
    pub(crate) fn bind(ip: IpAddr, [plain, tls, https]: [u16; 3]) -> Self {
        let listen = |port| TcpListener::bind((ip, port)).unwrap();
        // Of any ports, one that both protocols have free.
        let both = || {
            let tcp = listen(plain);
            UdpSocket::bind(tcp.local_addr().unwrap()).ok().map(|udp| (udp, tcp))
        };
        let (udp, tcp) = std::iter::repeat_with(both).take(20).flatten().next().expect("a port for UDP and TCP");
        Self { udp, tcp, tls: listen(tls), https: listen(https) }
    }
}

/// A running name server; it runs until the test ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameServer {
    /// For questions by UDP and TCP.
    pub(crate) plain: SocketAddr,
    /// For questions over TLS.
    pub(crate) tls: SocketAddr,
    /// For questions over HTTPS, at `/dns-query`; over HTTP/2, unless the configuration names protocols itself.
    pub(crate) https: SocketAddr,
}

impl NameServer {
    pub(crate) fn start(sockets: Sockets, config: ServerConfig) -> Self {
        let Sockets { udp, tcp, tls, https } = sockets;
        let addresses = [udp.local_addr(), tls.local_addr(), https.local_addr()].map(Result::unwrap);
        let [plain, over_tls, over_https] = addresses;
        thread::spawn(move || serve_datagrams(&udp));
        thread::spawn(move || accept(&tcp, converse));
        let for_tls = Arc::new(config.clone());
        thread::spawn(move || {
            accept(&tls, move |stream| {
                converse(StreamOwned::new(ServerConnection::new(for_tls.clone()).unwrap(), stream));
            });
        });
        let mut for_https = config;
        if for_https.alpn_protocols.is_empty() {
            for_https.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        thread::spawn(move || serve_https(https, for_https));
        Self { plain, tls: over_tls, https: over_https }
    }
}

/// A configuration of TLS with a certificate and its key, in PEM.
pub(crate) fn server_config(certificate: &[u8], key: &[u8]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).unwrap()).unwrap()
}

/// What the server does upon a question.
enum Deed {
    /// Sends a message.
    Send(Vec<u8>),
    /// Sends a message's length, and less of it, and then nothing. By datagrams it sends nothing at all.
    SendPart(Vec<u8>, usize),
    /// Waits for so many milliseconds.
    Wait(u64),
    /// Ends the connection.
    Close,
}

/// A question as the server reads it.
struct Question<'a> {
    bytes: &'a [u8],
    label: String,
    ty: u16,
    class: u16,
    /// The end of the question section.
    end: usize,
    edns: bool,
}

impl<'a> Question<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut end = 12;
        while bytes[end] != 0 {
            end += usize::from(bytes[end]) + 1;
        }
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let label = &bytes[13..][..usize::from(bytes[12])];
        let label = String::from_utf8(label.to_ascii_lowercase()).unwrap();
        Self { bytes, label, ty: half(end + 1), class: half(end + 3), end: end + 5, edns: half(10) > 0 }
    }

    /// A reply with flags and a response code, and so many records in each section as are given.
    fn reply(&self, flags: u16, [answer, authority, additional]: [Vec<Vec<u8>>; 3]) -> Vec<u8> {
        let mut message = self.bytes[..self.end].to_vec();
        let flags = 0x8000 | u16::from(message[2] & 1) << 8 | flags;
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        for (n, section) in [answer, authority, additional].into_iter().enumerate() {
            message[6 + 2 * n..8 + 2 * n].copy_from_slice(&(section.len() as u16).to_be_bytes());
            message.extend(section.concat());
        }
        message
    }

    /// The reply where nothing is wrong.
    fn full(&self) -> Vec<u8> {
        let name = |text: &str| {
            text.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect::<Vec<_>>()
        };
        // The name that is asked for.
        let asked = [0xc0, 12];
        let answer = match (self.ty, self.class) {
            (16, 3) => vec![record(&asked, 16, 3, 0, b"\x05chaos")],
            (6, _) => vec![],
            _ => vec![record(&asked, 1, 1, 300, &[127, 0, 0, 1]), record(&asked, 1, 1, 60, &[127, 0, 0, 2])],
        };
        let servers = ["ns1.test.", "ns2.test."].map(name);
        let authority = servers.iter().map(|server| record(&name("test."), 2, 1, 7200, server)).collect();
        let [first, _] = &servers;
        let loopback = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mut additional = vec![record(first, 1, 1, 7200, &[127, 0, 0, 1]), record(first, 28, 1, 7200, &loopback)];
        if self.edns {
            // Takes 4096 bytes; has an extended error of 22 ("No Reachable Authority").
            additional.push(record(&[0], 41, 4096, 0, b"\0\x0f\0\x06\0\x16help"));
        }
        self.reply(0x0480, [answer, authority, additional])
    }

    /// What happens.
    fn deeds(&self) -> Vec<Deed> {
        let asked = [0xc0, 12];
        let address = || record(&asked, 1, 1, 300, &[127, 0, 0, 1]);
        let none = || [Vec::new(), Vec::new(), Vec::new()];
        let mut changed = self.full();
        let message = match self.label.as_str() {
            "silent" => return vec![Deed::Wait(20_000)],
            "close" => return vec![Deed::Close],
            "slow" => return vec![Deed::Wait(100), Deed::Send(changed)],
            // All of the answer, and of the authorities only the first.
            "half" => return vec![Deed::SendPart(changed, self.end + 2 * 16 + 30), Deed::Wait(20_000)],
            "brokenoff" => return vec![Deed::SendPart(changed, self.end + 2 * 16 + 30), Deed::Close],
            "wrongid" | "stubborn" => {
                changed[0] = !changed[0];
                let wrong = Deed::Send(changed);
                return if self.label == "wrongid" { vec![wrong, Deed::Send(self.full())] } else { vec![wrong] };
            }
            "otherquestion" => {
                changed[13] ^= 1;
                return vec![Deed::Send(changed), Deed::Send(self.full())];
            }
            "garbage" => {
                return vec![
                    Deed::Send(vec![7; 5]),
                    Deed::Send(b"garbage of more than a header".to_vec()),
                    Deed::Send(self.full()),
                ];
            }
            "truncated" => self.reply(0x0200, [vec![address()], vec![], vec![]]),
            "fewer" => {
                let mut message = self.reply(0, [vec![address()], vec![], vec![]]);
                message[7] = 3;
                message
            }
            "broken" => {
                let mut message = self.reply(0, [vec![address(), address()], vec![], vec![]]);
                message.truncate(message.len() - 3);
                message
            }
            "malformed" => {
                self.reply(0, [vec![address(), record(&asked, 1, 1, 5, &[127, 0, 0]), address()], vec![], vec![]])
            }
            "headeronly" => {
                let mut message = self.reply(5, none());
                message.truncate(12);
                message
            }
            "soa" => {
                let data = [&[0xc0, 12, 0xc0, 12][..], &2_026_112_001_u32.to_be_bytes(), &[0; 16]].concat();
                self.reply(0x0400, [vec![record(&asked, 6, 1, 10, &data)], vec![], vec![]])
            }
            "types" => self.reply(0, [records().into_iter().map(|(wire, _)| wire).collect(), vec![], vec![]]),
            label => match label.strip_prefix("rcode") {
                Some(code) => self.reply(code.parse().unwrap(), none()),
                None => changed,
            },
        };
        vec![Deed::Send(message)]
    }
}

fn record(name: &[u8], ty: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let numbers = [&ty.to_be_bytes()[..], &class.to_be_bytes(), &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes()];
    [name, &numbers.concat(), data].concat()
}

fn serve_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        let (socket, bytes) = (socket.try_clone().unwrap(), buffer[..length].to_vec());
        thread::spawn(move || {
            for deed in Question::read(&bytes).deeds() {
                match deed {
                    Deed::Send(message) => drop(socket.send_to(&message, peer)),
                    Deed::Wait(milliseconds) => thread::sleep(Duration::from_millis(milliseconds)),
                    Deed::SendPart(..) | Deed::Close => {}
                }
            }
        });
    }
}

fn accept(listener: &TcpListener, converse: impl Fn(TcpStream) + Send + Sync + 'static) {
    let converse = Arc::new(converse);
    for stream in listener.incoming().flatten() {
        let converse = converse.clone();
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || converse(stream));
    }
}

/// Answers one question over a connection. What the client thinks of that is its business.
fn converse(mut stream: impl std::io::Read + Write) {
    let mut length = [0; 2];
    if stream.read_exact(&mut length).is_err() {
        return;
    }
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    if stream.read_exact(&mut bytes).is_err() {
        return;
    }
    for deed in Question::read(&bytes).deeds() {
        let (message, length) = match deed {
            Deed::Send(message) => (message.clone(), message.len()),
            Deed::SendPart(message, length) => (message, length),
            Deed::Wait(milliseconds) => {
                thread::sleep(Duration::from_millis(milliseconds));
                continue;
            }
            Deed::Close => return,
        };
        let framed = [&(message.len() as u16).to_be_bytes(), &message[..length]].concat();
        if stream.write_all(&framed).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn serve_https(listener: TcpListener, config: ServerConfig) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let server = auto::Builder::new(TokioExecutor::new());
                let served = server.serve_connection(TokioIo::new(stream), service_fn(respond)).into_owned();
                drop(served.await);
            });
        }
    });
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let is = |name, value| head.headers.get(name).is_some_and(|is: &http::HeaderValue| is == value);
    let (media, right) = ("application/dns-message", head.method == Method::POST && head.uri.path() == "/dns-query");
    if !right || !is("content-type", media) || !is("accept", media) {
        return Ok(Response::builder().status(404).body(Full::default()).unwrap());
    }
    // A client that went away meanwhile asks nothing.
    let Ok(question) = body.collect().await else { return Ok(Response::new(Full::default())) };
    let question = question.to_bytes();
    assert_eq!(question[..2], [0, 0], "the id of a question over HTTPS is 0");
    let question = Question::read(&question);
    let response = Response::builder().header("content-type", media);
    let response = match question.label.as_str() {
        "page" => Response::builder().header("content-type", "text/html; charset=utf-8"),
        "busy" => response.status(429),
        _ => response,
    };
    for deed in question.deeds() {
        match deed {
            Deed::Wait(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            Deed::Send(message) => return Ok(response.body(Full::from(message)).unwrap()),
            Deed::SendPart(message, length) => {
                return Ok(response.body(Full::from(message[..length].to_vec())).unwrap());
            }
            Deed::Close => break,
        }
    }
    Ok(response.body(Full::default()).unwrap())
}

/// The series of an exposition and their values.
pub(crate) fn series(exposition: &str) -> BTreeMap<String, f64> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}
