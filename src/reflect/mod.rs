//! The reflector: a server of HTTP and of STUN that tells its callers which address they come from, and nothing else.
//!
//! It needs no privileges, keeps nothing, and asks nobody.

mod http;
mod stun;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::net::{Family, Source, SourceError};
use crate::path::Prefix;
use crate::server;

/// How many connections are open at a time, over each of HTTP and STUN; others wait to be accepted.
const CONNECTIONS: usize = 512;

/// How long a connection of HTTP may take in all, and one of STUN for its next request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what was begun may take when the reflector is told to end.
const GRACE: Duration = Duration::from_secs(2);

/// The pause after a failed `accept()`: without descriptors the next one would fail at once, and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What it listens on, and whom it believes.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Addresses of HTTP: `host:port`, `[address]:port`, or `:port` for all interfaces.
    pub http: Vec<String>,
    /// Addresses of STUN, over UDP and TCP.
    pub stun: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed; nobody else's is.
    pub trusted: Vec<Prefix>,
}

/// A reflector that listens.
#[derive(Debug)]
pub struct Reflector {
    http: Vec<TcpListener>,
    stun: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    trusted: Arc<[Prefix]>,
}

/// One of its sockets, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
}

impl Reflector {
    /// Listens.
    ///
    /// # Errors
    /// As `bind(2)`, with the address and its flag.
    pub fn open(options: &Options) -> io::Result<Self> {
        let listen = |addresses: &[String], flag| {
            let listeners = addresses.iter().map(|address| TcpListener::from_std(server::listen(address, flag)?));
            listeners.collect::<io::Result<Vec<_>>>()
        };
        let stun = listen(&options.stun, "--listen-stun")?;
        let mut datagrams = Vec::new();
        for listener in &stun {
            datagrams.extend(beside(listener.local_addr()?)?);
        }
        Ok(Self {
            http: listen(&options.http, "--listen-http")?,
            stun,
            datagrams,
            trusted: options.trusted.as_slice().into(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        let streams = |protocol, listeners: &[TcpListener]| {
            let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
            addresses.map(|address| Listening { protocol, address }).collect::<Vec<_>>()
        };
        let datagrams = self.datagrams.iter().filter_map(|socket| socket.local_addr().ok());
        let datagrams = datagrams.map(|address| Listening { protocol: "STUN over UDP", address });
        [streams("HTTP", &self.http), streams("STUN over TCP", &self.stun), datagrams.collect()].concat()
    }

    /// Answers until `shutdown`; what was begun by then may end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (end, ending) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for socket in self.datagrams {
            tasks.spawn(stun::answer_datagrams(socket, ending.clone()));
        }
        let (of_http, of_stun) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
        for listener in self.http {
            let (trusted, ending) = (Arc::clone(&self.trusted), ending.clone());
            let serve = move |stream, peer| http::serve(stream, peer, Arc::clone(&trusted), ending.clone());
            tasks.spawn(accept(listener, Arc::clone(&of_http), end.subscribe(), serve));
        }
        for listener in self.stun {
            let ending = ending.clone();
            let serve = move |stream, peer| stun::serve(stream, peer, ending.clone());
            tasks.spawn(accept(listener, Arc::clone(&of_stun), end.subscribe(), serve));
        }
        shutdown.await;
        end.send_replace(true);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            warn!("not all answers were taken within {GRACE:?}; the rest is cut");
        }
    }
}

/// The sockets of datagrams on the address that a listener got: of each family where it is of both. A datagram is answered from the address that it
/// came to.
fn beside(address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let sources = match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![(Family::V6, Source::default()), (Family::V4, Source::default())]
        }
        IpAddr::V4(ip) if ip.is_unspecified() => vec![(Family::V4, Source::default())],
        IpAddr::V6(ip) => vec![(Family::V6, Source { v6: Some(ip), ..Source::default() })],
        IpAddr::V4(ip) => vec![(Family::V4, Source { v4: Some(ip), ..Source::default() })],
    };
    let explain = |error: SourceError| {
        let port = address.port();
        io::Error::other(format!("cannot listen on port {port} of UDP (--listen-stun): {error}"))
    };
    let open = |(family, source): (Family, Source)| {
        let socket = source.udp(family, address.port()).map_err(explain)?;
        crate::net::options::report_device(&socket, family)?;
        UdpSocket::from_std(socket.into())
    };
    sources.into_iter().map(open).collect()
}

/// Accepts connections until the end, and has each of them served; then waits for those.
async fn accept<S>(
    listener: TcpListener,
    room: Arc<Semaphore>,
    mut ending: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, SocketAddr) -> S,
) where
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // Nobody closes it.
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = over(&mut ending) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = serve(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = served.await {
                        debug!("the connection of {peer} ended early: {error}");
                    }
                });
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the reflector is to end.
async fn over(ending: &mut watch::Receiver<bool>) {
    // Without a sender, it has ended.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// What comes of some work within a time; nothing where it did not end.
async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let ended = tokio::time::timeout(limit, pin!(work)).await;
    ended.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {limit:?}"))))
}
