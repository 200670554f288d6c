//! The sockets that packets leave by and answers come in at: one per source, family and protocol, kept.
//!
//! A driver task reads what a socket's kernel filter lets through and gives it to who waits for it. Packets are stamped by the kernel
//! when they leave and when they arrive; stamps of departure come from the socket's error queue, by number.

mod reset;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Protocol, Socket};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::mpsc;

use super::conversation::{Answer, Reply};
use super::filter::Filter;
use super::options::{learn_no_mtu, report_device};
use super::sys::{self, ExtendedError, Origin, Received, SendOptions, Stamp};
use super::table::{Key, Name, Table, Waiter};
use super::{Family, Source, SourceError, clock};
use crate::wire::icmp::{Echo, Message};
use crate::wire::tcp::Incoming;
use crate::wire::{Quote, Transport, ip};
use reset::Resets;
pub use reset::TIME as RESETS;

/// What a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Echo, and what routers say about the packets of all raw kinds.
    Icmp,
    /// SYNs, and what answers them.
    Tcp,
    /// Datagrams; only sends, since answers come by ICMP.
    Udp,
    /// Echo by a datagram socket, without privileges.
    Ping,
}

/// Whose answers a channel hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// Those to all packets from ports and with identifiers that are given out; of the latter, of a block.
    Ours {
        /// The bits of the identifiers under [`super::ports::BLOCK_MASK`].
        block: u16,
    },
    /// Those to packets of one flow, whose connection is gone: whatever its other end still says of it is answered by a reset, as the kernel
    /// would, and, while its SYNs are waited for, by some more: there is reason to think that packets are lost.
    Flow {
        /// Our address and port.
        local: SocketAddr,
        /// The other end's.
        remote: SocketAddr,
    },
}

/// What distinguishes the replies to our echo requests from those to another process with the same identifiers.
pub(super) type Cookie = [u8; 8];

/// A socket with its stamps of departure and those who wait for answers.
#[derive(Debug)]
pub(super) struct Channel {
    socket: AsyncFd<Socket>,
    kind: Kind,
    family: Family,
    hears: Hears,
    cookie: Cookie,
    table: Arc<Table>,
    sending: Mutex<Sending>,
    /// The sequence number of the next echo request of a datagram socket.
    sequence: AtomicU16,
    /// What was said of late to who thinks that there is a connection.
    resets: Resets,
}

/// A packet on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departing<'a> {
    /// From its transport header on.
    pub(super) bytes: &'a [u8],
    /// The hop limit; nothing leaves the kernel's.
    pub(super) hop_limit: Option<u8>,
    /// Whether it may not be split on the way.
    pub(super) dont_fragment: bool,
    /// What names it.
    pub(super) key: Key,
    /// What else does, in some of its answers.
    pub(super) aliases: [Option<Key>; 2],
    /// Its number in the conversation.
    pub(super) number: u32,
}

/// The state of the sending side. Sends go one at a time, so that the numbers of the kernel's stamps are known.
#[derive(Debug, Default)]
struct Sending {
    /// The number of the packet at the front of `unstamped`.
    front: u32,
    /// Packets whose stamp has not been read, by their number from `front` on; nothing where the stamp is of no use.
    unstamped: VecDeque<Option<Key>>,
}

/// How many stamps are waited for. A device that takes none would let them pile up.
const MAX_UNSTAMPED: usize = 4096;
/// What a socket may hold for us, in bytes; the kernel takes less where it must.
const SOCKET_BUFFER: usize = 4 << 20;
/// The longest ICMP error (RFC 4443, section 2.4 (c)), at whose end there may be MPLS labels. Nothing else is looked at so far in.
const RECEIVED: usize = 1280;
/// How many packets are read before other tasks get their turn.
const BATCH: usize = 64;

impl Channel {
    /// Opens a channel and starts the task that reads it.
    pub(super) fn open(
        source: &Source,
        family: Family,
        kind: Kind,
        hears: Hears,
        cookie: Cookie,
        table: Arc<Table>,
    ) -> Result<Opened, SourceError> {
        let socket = match (kind, family) {
            (Kind::Ping, _) => source.ping(family),
            (Kind::Icmp, Family::V4) => source.raw(family, Protocol::ICMPV4),
            (Kind::Icmp, Family::V6) => source.raw(family, Protocol::ICMPV6),
            (Kind::Tcp, _) => source.raw(family, Protocol::TCP),
            (Kind::Udp, _) => source.raw(family, Protocol::UDP),
        }?;
        prepare(&socket, family, kind, hears).map_err(|error| SourceError::Other("setting up the socket", error))?;
        let socket = sys::register(socket).map_err(|error| SourceError::Other("registering the socket", error))?;
        let channel = Arc::new(Self {
            socket,
            kind,
            family,
            hears,
            cookie,
            table,
            sending: Mutex::default(),
            sequence: AtomicU16::new(0),
            resets: Resets::default(),
        });
        let driver = tokio::spawn(drive(Arc::clone(&channel)));
        Ok(Opened { channel, driver: driver.abort_handle() })
    }

    /// The next sequence number of a datagram socket's echo requests to a destination; nothing while all are in flight.
    pub(super) fn sequence(&self, remote: IpAddr) -> Option<u16> {
        let local = unspecified(self.family);
        (0..=u16::MAX)
            .map(|_| self.sequence.fetch_add(1, Ordering::Relaxed))
            .find(|sequence| !self.table.contains(&Key { local, remote, name: Name::Ping { sequence: *sequence } }))
    }

    /// Sends a packet whose answers go to `inbox`; returns when it left, by the kernel's stamp if that is there already, else by the
    /// same clock just before. Whoever sends must remove its key from the table in the end.
    pub(super) fn send(self: &Arc<Self>, packet: &Departing<'_>, inbox: &mpsc::Sender<Answer>) -> io::Result<Stamp> {
        let mut sending = self.lock();
        if packet.dont_fragment {
            set_dont_fragment(self.socket.get_ref(), self.family, true)?;
        }
        let before = clock::now();
        let waiter =
            Waiter { number: packet.number, departed: None, before, sender: Arc::clone(self), inbox: inbox.clone() };
        for alias in packet.aliases.into_iter().flatten() {
            self.table.insert(alias, waiter.clone());
        }
        self.table.insert(packet.key, waiter);
        let source = match self.kind {
            Kind::Ping => None,
            Kind::Icmp | Kind::Tcp | Kind::Udp => Some(packet.key.local),
        };
        let options = SendOptions { hop_limit: packet.hop_limit, source, interface: None };
        let mut sent = self.transmit(packet.bytes, packet.key.remote, options);
        if packet.dont_fragment {
            sent = sent.and(set_dont_fragment(self.socket.get_ref(), self.family, false));
        }
        if let Err(error) = sent {
            self.table.remove([packet.key].into_iter().chain(packet.aliases.into_iter().flatten()));
            self.read_errors(&mut sending, None);
            self.renumber(&mut sending);
            return Err(error);
        }
        sending.expect(Some(packet.key));
        // With most devices the stamp is taken, and queued, before sendmsg returns.
        self.read_errors(&mut sending, Some(&packet.key));
        drop(sending);
        Ok(self.table.get(&packet.key).and_then(|waiter| waiter.departed).unwrap_or(before))
    }

    fn transmit(&self, bytes: &[u8], to: IpAddr, options: SendOptions) -> io::Result<()> {
        let socket = self.socket.get_ref();
        let to = SocketAddr::new(to, 0);
        let mut result = sys::send(socket, bytes, to, options);
        // Only this host's own firewall says that something is not permitted.
        let is_own = |error: &io::Error| error.raw_os_error() == Some(libc::EPERM);
        if self.kind == Kind::Ping && result.as_ref().is_err_and(|error| !is_own(error)) {
            // What an earlier packet met is reported to whoever uses the socket next, and is gone then; what this packet met stays.
            result = sys::send(socket, bytes, to, options);
        }
        result.map(drop)
    }

    /// Starts the kernel's numbers again: whether a failed send took one depends on the kernel and on where it failed.
    fn renumber(&self, sending: &mut Sending) {
        sending.front = 0;
        sending.unstamped.clear();
        if let Err(error) = enable_stamps(self.socket.get_ref()) {
            tracing::warn!(%error, "packets leave without time stamps");
        }
    }

    /// Reads the error queue: stamps of departure, up to that of a packet, and for datagram sockets what routers said.
    fn read_errors(&self, sending: &mut Sending, up_to: Option<&Key>) {
        let mut buffer = [0; RECEIVED];
        while let Ok(received) = sys::receive(self.socket.get_ref(), &mut buffer, libc::MSG_ERRQUEUE) {
            let Some(error) = received.error else { continue };
            match error.origin {
                Origin::Timestamping => {
                    if let (Some(key), Some(stamp)) = (sending.stamped(error.data), received.stamp) {
                        self.table.departed(&key, stamp, clock::now());
                        if up_to == Some(&key) {
                            return;
                        }
                    }
                }
                Origin::Icmp | Origin::Icmp6 => self.deliver_queued(&received, &error, &buffer[..received.len]),
                Origin::Local | Origin::Other(_) => {}
            }
        }
    }

    /// Reads a batch of what has arrived; says whether that was all.
    fn read_batch(self: &Arc<Self>, buffer: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match sys::receive(self.socket.get_ref(), buffer, 0) {
                Ok(received) => self.deliver(&received, &buffer[..received.len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // An earlier packet's error, reported once; what waits is still there.
                Err(_) => {}
            }
        }
        false
    }

    /// Reads all that has arrived, without being woken for it.
    pub(super) fn read_now(self: &Arc<Self>) {
        if self.kind == Kind::Ping {
            self.read_errors(&mut self.lock(), None);
        }
        let mut buffer = [0; RECEIVED];
        while !self.read_batch(&mut buffer) {}
    }

    /// Gives a received packet to who waits for it.
    fn deliver(self: &Arc<Self>, received: &Received, bytes: &[u8]) {
        let Some(peer) = received.peer.map(|peer| peer.ip()) else { return };
        let arrived = received.stamp.unwrap_or_else(clock::now);
        let (bytes, local, hop_limit) = match (self.kind, self.family) {
            (Kind::Ping, _) => (bytes, unspecified(self.family), received.hop_limit),
            (Kind::Icmp | Kind::Tcp | Kind::Udp, Family::V4) => match ip::parse_v4(bytes) {
                Some((header, rest)) => (rest, header.destination, Some(header.hop_limit)),
                None => return,
            },
            (Kind::Icmp | Kind::Tcp | Kind::Udp, Family::V6) => match received.local {
                Some(local) => (bytes, local, received.hop_limit),
                None => return,
            },
        };
        let found = match self.kind {
            Kind::Icmp | Kind::Ping => self.of_icmp(local, peer, bytes),
            Kind::Tcp => self.of_tcp(local, peer, bytes),
            Kind::Udp => None,
        };
        if let Some((key, reply)) = found {
            self.answer(&key, |waiter, departed| Answer {
                number: waiter.number,
                from: peer,
                departed,
                arrived,
                hop_limit,
                interface: received.interface,
                reply,
            });
        }
    }

    fn of_icmp(&self, local: IpAddr, peer: IpAddr, bytes: &[u8]) -> Option<(Key, Reply)> {
        let message = match self.family {
            Family::V4 => Message::parse_v4(bytes),
            Family::V6 => Message::parse_v6(bytes),
        };
        match message? {
            Message::EchoReply(Echo { id, sequence, payload }) => {
                let name = match self.kind {
                    Kind::Ping => Name::Ping { sequence },
                    Kind::Icmp | Kind::Tcp | Kind::Udp => Name::Echo { id, sequence },
                };
                let ours = payload.iter().zip(&self.cookie).all(|(left, right)| left == right);
                ours.then_some((Key { local, remote: peer, name }, Reply::Echo))
            }
            Message::Error(error) => {
                let quote = match self.family {
                    Family::V4 => Quote::parse_v4(error.quoted),
                    Family::V6 => Quote::parse_v6(error.quoted),
                }?;
                let (name, mss) = match quote.transport {
                    Transport::Echo { id, sequence } => (Name::Echo { id, sequence }, None),
                    Transport::Udp(header) => {
                        let (local, remote) = (header.source_port, header.destination_port);
                        (Name::Udp { local, remote, checksum: header.checksum }, None)
                    }
                    Transport::Tcp { source_port, destination_port, sequence, mss } => {
                        (Name::Tcp { local: source_port, remote: destination_port, sequence }, mss)
                    }
                    Transport::Other(_) => return None,
                };
                // A NAT on the way that does not restore what is quoted leaves its own address in the quote; but the
                // message itself reached the address that the packet left from.
                let key = Key { local, remote: quote.destination, name };
                let mtu = error.mtu(self.family == Family::V6);
                Some((key, Reply::Error { ty: error.ty, code: error.code, labels: error.labels(), mtu, mss }))
            }
            Message::EchoRequest(_) | Message::Other { .. } => None,
        }
    }

    fn of_tcp(self: &Arc<Self>, local: IpAddr, remote: IpAddr, bytes: &[u8]) -> Option<(Key, Reply)> {
        let answer = Incoming::parse(bytes)?;
        let sequence = answer.acknowledgement?.wrapping_sub(1);
        let name = Name::Tcp { local: answer.destination_port, remote: answer.source_port, sequence };
        let key = Key { local, remote, name };
        match (answer.reset, answer.syn) {
            (true, _) => Some((key, Reply::Reset)),
            (false, true) if self.table.contains(&key) => {
                self.reset(local, remote, &answer);
                Some((key, Reply::SynAck { clock: answer.echoed, mss: answer.mss }))
            }
            // Of a connection that there is not (RFC 9293, section 3.5.2), though its other end may think so: of a SYN before, where the reset was
            // lost. As long as it does, it answers no other.
            (false, _) if self.is_of_flow(local, remote, &answer) => {
                self.reset_stray(local, remote, &answer);
                let name = Name::Flow { local: answer.destination_port, remote: answer.source_port };
                let flow = Key { local, remote, name };
                let answers = answer.bare && matches!(self.hears, Hears::Flow { .. }) && self.table.contains(&flow);
                answers.then(|| {
                    self.reset_again(flow, &answer);
                    (flow, Reply::Acknowledgement)
                })
            }
            (false, _) => None,
        }
    }

    /// Whether a segment is of a flow of ours: one whose SYNs are waited for, or the one that is heard. Their ports may have other connections, to others.
    fn is_of_flow(&self, local: IpAddr, remote: IpAddr, answer: &Incoming) -> bool {
        let name = Name::Flow { local: answer.destination_port, remote: answer.source_port };
        let is_waited_for = self.table.contains(&Key { local, remote, name });
        let ends = (SocketAddr::new(local, answer.destination_port), SocketAddr::new(remote, answer.source_port));
        is_waited_for
            || matches!(self.hears, Hears::Flow { local, remote } if {
                ends == (SocketAddr::new(local.ip(), local.port()), SocketAddr::new(remote.ip(), remote.port()))
            })
    }

    /// What a router said about a datagram socket's packet, with the packet's ICMP header as payload.
    fn deliver_queued(&self, received: &Received, error: &ExtendedError, payload: &[u8]) {
        let message = match self.family {
            Family::V4 => Message::parse_v4(payload),
            Family::V6 => Message::parse_v6(payload),
        };
        let (Some(peer), Some(Message::EchoRequest(echo)), Some(from)) = (received.peer, message, error.offender)
        else {
            return;
        };
        let local = unspecified(self.family);
        let key = Key { local, remote: peer.ip(), name: Name::Ping { sequence: echo.sequence } };
        let arrived = received.stamp.unwrap_or_else(clock::now);
        if let Some(waiter) = self.table.get(&key) {
            hand_over(&waiter, |waiter, departed| Answer {
                number: waiter.number,
                from,
                departed,
                arrived,
                hop_limit: received.hop_limit,
                // Of what waits in its queue, the kernel tells neither.
                interface: None,
                reply: Reply::Error { ty: error.ty, code: error.code, labels: Vec::new(), mtu: None, mss: None },
            });
        }
    }

    /// Gives an answer to who waits for it, if someone does, once the packet's departure is known.
    fn answer(&self, key: &Key, answer: impl FnOnce(&Waiter, Stamp) -> Answer) {
        let Some(mut waiter) = self.table.get(key) else { return };
        if waiter.departed.is_none() {
            waiter.sender.read_errors(&mut waiter.sender.lock(), None);
            waiter.departed = self.table.get(key).and_then(|waiter| waiter.departed);
        }
        hand_over(&waiter, answer);
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A full inbox loses the answer: nobody reads it, or someone floods it with duplicates.
fn hand_over(waiter: &Waiter, answer: impl FnOnce(&Waiter, Stamp) -> Answer) {
    if waiter.inbox.try_send(answer(waiter, waiter.departed.unwrap_or(waiter.before))).is_err() {
        tracing::debug!(number = waiter.number, "nobody took the answer");
    }
}

impl Sending {
    /// A packet left, and its stamp will come.
    fn expect(&mut self, key: Option<Key>) {
        self.unstamped.push_back(key);
        if self.unstamped.len() > MAX_UNSTAMPED {
            self.unstamped.pop_front();
            self.front = self.front.wrapping_add(1);
        }
    }

    /// Whose stamp the one with this number is.
    fn stamped(&mut self, number: u32) -> Option<Key> {
        let index = number.wrapping_sub(self.front) as usize;
        let key = self.unstamped.get_mut(index)?.take();
        while let Some(None) = self.unstamped.front() {
            self.unstamped.pop_front();
            self.front = self.front.wrapping_add(1);
        }
        key
    }
}

/// A channel that is read as long as this lives.
#[derive(Debug)]
pub(super) struct Opened {
    /// The channel.
    pub(super) channel: Arc<Channel>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Reads a channel for ever. Of a raw socket's error queue, which has only stamps, who sends a packet reads its own, and who answers one that came
/// late.
async fn drive(channel: Arc<Channel>) {
    let mut buffer = [0; RECEIVED];
    let interest = match channel.kind {
        Kind::Ping => Interest::READABLE | Interest::ERROR,
        Kind::Icmp | Kind::Tcp | Kind::Udp => Interest::READABLE,
    };
    loop {
        let mut guard = match channel.socket.ready(interest).await {
            Ok(guard) => guard,
            Err(error) => {
                tracing::error!(%error, "the socket is not read any more");
                return;
            }
        };
        if guard.ready().is_error() {
            channel.read_errors(&mut channel.lock(), None);
            // The errno of what was just read, which the next operation would report as its own.
            let _ = channel.socket.get_ref().take_error();
            guard.clear_ready_matching(Ready::ERROR);
        }
        if !guard.ready().is_readable() {
            continue;
        }
        if channel.read_batch(&mut buffer) {
            guard.clear_ready_matching(Ready::READABLE);
        }
    }
}

/// Sets a socket up for stamps, for what comes with a packet, and for much at once.
fn prepare(socket: &Socket, family: Family, kind: Kind, hears: Hears) -> io::Result<()> {
    match (kind, hears) {
        (Kind::Icmp, Hears::Ours { block }) => Filter::Icmp { block }.attach(socket, family)?,
        (Kind::Icmp, Hears::Flow { local, .. }) => Filter::ErrorsOf(local.port()).attach(socket, family)?,
        (Kind::Tcp, Hears::Ours { .. }) => Filter::Tcp.attach(socket, family)?,
        (Kind::Tcp, Hears::Flow { local, .. }) => Filter::TcpTo(local.port()).attach(socket, family)?,
        (Kind::Udp, _) => Filter::Nothing.attach(socket, family)?,
        // The kernel gives a datagram socket only what is its own.
        (Kind::Ping, _) => {}
    }
    if (kind, family) == (Kind::Icmp, Family::V4) {
        // Keeps the kernel from copying every echo request for the filter to drop it.
        let wanted = [0, 3, 11, 12].into_iter().fold(0, |bits, ty| bits | 1_u32 << ty);
        sys::set_option(socket, libc::SOL_RAW, ICMP_FILTER, (!wanted).cast_signed())?;
    }
    match family {
        Family::V4 => {
            sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
            if kind == Kind::Ping {
                sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
            }
        }
        Family::V6 => {
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            // The kernel would choose labels; one label for all keeps a trace one flow.
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_AUTOFLOWLABEL, 0)?;
            if kind == Kind::Ping {
                sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
            }
        }
    }
    set_dont_fragment(socket, family, false)?;
    report_device(socket, family)?;
    let size = SOCKET_BUFFER as libc::c_int;
    if sys::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    }
    if sys::set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size).is_err() {
        socket.set_send_buffer_size(SOCKET_BUFFER)?;
    }
    enable_stamps(socket)
}

/// `linux/icmp.h`
const ICMP_FILTER: libc::c_int = 1;

/// Has the kernel stamp what arrives and what leaves, the latter numbered from 0 on.
fn enable_stamps(socket: &Socket) -> io::Result<()> {
    let stamps = libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    for flags in [stamps, stamps | libc::SOF_TIMESTAMPING_OPT_ID] {
        sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags.cast_signed())?;
    }
    Ok(())
}

/// Sets whether packets may be split on the way. `PROBE` rather than `DO`: the MTU that the kernel learned from an earlier probe must
/// not decide this one; the network is to say it again. `OMIT` rather than `DONT`: what a router says to a probe of this socket, the kernel is not
/// to hold against what others send there (`ip_sk_accept_pmtu`); it asks when the message comes, so that a socket is `PROBE` only while it sends. Over
/// IPv6, `WANT`: there the kernel alone can split, and a raw socket teaches it nothing, but for ICMP (`icmpv6_err`).
fn set_dont_fragment(socket: &Socket, family: Family, dont_fragment: bool) -> io::Result<()> {
    match (family, dont_fragment) {
        (Family::V4, true) => sys::set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (Family::V4, false) => learn_no_mtu(socket, family),
        (Family::V6, true) => {
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
        }
        (Family::V6, false) => {
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)?;
            sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)
        }
    }
}

/// What stands for the local address of a datagram socket, which is given only what is its own.
pub(super) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::conversation::payload;

    #[tokio::test]
    async fn an_echo_reply_with_the_payload_of_another_program_is_not_ours() {
        let (ours, theirs) = ([1; size_of::<Cookie>()], [2; size_of::<Cookie>()]);
        let channel = match Channel::open(
            &Source::default(),
            Family::V4,
            Kind::Icmp,
            Hears::Ours { block: 0 },
            ours,
            Arc::default(),
        ) {
            Err(SourceError::NotPermitted(what, error)) => return crate::testing::skip(&format!("{what}: {error}")),
            opened => opened.unwrap(),
        };
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let heard = |cookie| {
            let payload = payload(&cookie, 56);
            let mut message = vec![0; crate::wire::icmp::HEADER + payload.len()];
            Echo { id: 7, sequence: 8, payload: &payload }.emit_v4(&mut message);
            // Of a request that makes a reply.
            message[0] = 0;
            channel.channel.of_icmp(local, local, &message).map(|(key, _)| key.name)
        };
        assert_eq!(heard(ours), Some(Name::Echo { id: 7, sequence: 8 }));
        assert_eq!(heard(theirs), None);
    }
}
