//! The sockets that the process keeps between probes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::Socket;

use super::channel::{Channel, Cookie, Kind, Opened, unspecified};
use super::conversation::{Conversation, Refusal, Speech, Syns, payload};
use super::ports::{Identifiers, Ports, Use};
use super::table::Table;
use super::{Family, Source, SourceError, clock, sys};

/// The sockets that the process keeps between probes: one per source, family and protocol, opened when it is first needed.
///
/// It belongs to the runtime that its first conversation is opened on, whose tasks read the sockets.
#[derive(Debug)]
pub struct Network {
    uplinks: Mutex<HashMap<Source, Uplink>>,
    identifiers: Arc<Identifiers>,
    ports: Ports,
    cookie: Cookie,
    /// The kernel stamps packets while a socket anywhere asks for it, and begins with a delay: without this one, the first answer
    /// of a probe on a quiet host has no stamp.
    _stamping: Option<Socket>,
}

/// What is kept for a source.
#[derive(Debug, Default)]
struct Uplink {
    tables: [Arc<Table>; 2],
    channels: HashMap<(Family, Kind), Kept>,
}

/// A channel, and the index that its source's interface had when it was opened.
#[derive(Debug)]
struct Kept {
    opened: Opened,
    interface: Option<u32>,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// Nothing is open but a socket that keeps the kernel's stamping on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            uplinks: Mutex::default(),
            identifiers: Arc::new(Identifiers::claim()),
            ports: Ports::new(),
            cookie: RandomState::new().build_hasher().finish().to_be_bytes(),
            _stamping: stamping(),
        }
    }

    /// Echo requests to a destination by a raw socket, of one identifier and one checksum, with `size` bytes of payload. Numbers
    /// are sequence numbers.
    ///
    /// # Errors
    /// A [`Refusal`]; `NotPermitted` without CAP_NET_RAW.
    pub fn echo(&self, source: &Source, destination: IpAddr, size: usize) -> Result<Conversation, Refusal> {
        let (channel, table) = self.channel(source, Family::of(destination), Kind::Icmp)?;
        let local = source.address_towards(destination)?;
        let id = self.identifiers.take(local).ok_or(Refusal::Exhausted("4,096 echo conversations of one address"))?;
        let speech = Speech::Echo { id, payload: payload(&self.cookie, size) };
        Ok(Conversation::new(channel, table, source.clone(), local, destination, speech))
    }

    /// The same by a datagram socket, which needs no privileges where `net.ipv4.ping_group_range` allows it.
    ///
    /// # Errors
    /// A [`Refusal`]; `NotPermitted` where it is not allowed.
    pub fn ping(&self, source: &Source, destination: IpAddr, size: usize) -> Result<Conversation, Refusal> {
        let family = Family::of(destination);
        let (channel, table) = self.channel(source, family, Kind::Ping)?;
        let speech = Speech::Ping { payload: payload(&self.cookie, size) };
        Ok(Conversation::new(channel, table, source.clone(), unspecified(family), destination, speech))
    }

    /// Datagrams to a port by a raw socket, from one port, told apart by their checksum.
    ///
    /// # Errors
    /// As [`Network::echo`].
    pub fn datagrams(&self, source: &Source, destination: SocketAddr) -> Result<Conversation, Refusal> {
        let (family, remote) = (Family::of(destination.ip()), destination.port());
        let (channel, table) = self.channel(source, family, Kind::Udp)?;
        self.channel(source, family, Kind::Icmp)?;
        let local = source.address_towards(destination.ip())?;
        let port = self.ports.take(source, family, Use::Udp)?.ok_or(Refusal::Exhausted("4,536 source ports"))?;
        let speech = Speech::Udp { port, remote };
        Ok(Conversation::new(channel, table, source.clone(), local, destination.ip(), speech))
    }

    /// SYNs to a port by a raw socket, from one port. What answers with SYN-ACK is sent a reset, from the source.
    ///
    /// # Errors
    /// As [`Network::echo`].
    pub fn syns(&self, source: &Source, destination: SocketAddr, syns: Syns) -> Result<Conversation, Refusal> {
        let (family, remote) = (Family::of(destination.ip()), destination.port());
        let (channel, table) = self.channel(source, family, Kind::Tcp)?;
        self.channel(source, family, Kind::Icmp)?;
        let local = source.address_towards(destination.ip())?;
        let port = self.ports.take(source, family, Use::Tcp)?.ok_or(Refusal::Exhausted("4,536 source ports"))?;
        // RFC 9293, section 3.4.1: initial sequence numbers follow a clock of 4 µs.
        let first = (clock::now().as_micros() / 4) as u32;
        let speech = Speech::Tcp { port, remote, first, syns };
        Ok(Conversation::new(channel, table, source.clone(), local, destination.ip(), speech))
    }

    /// The channel of a source, opened where there is none, or where the interface that it is bound to was made anew since.
    fn channel(&self, source: &Source, family: Family, kind: Kind) -> Result<(Arc<Channel>, Arc<Table>), SourceError> {
        let interface = source.interface.as_deref().and_then(sys::interface_index);
        let mut uplinks = self.uplinks.lock().unwrap_or_else(PoisonError::into_inner);
        let uplink = uplinks.entry(source.clone()).or_default();
        let table = &uplink.tables[family as usize];
        if let Some(kept) = uplink.channels.get(&(family, kind))
            && kept.interface == interface
        {
            return Ok((Arc::clone(&kept.opened.channel), Arc::clone(table)));
        }
        let opened = Channel::open(source, family, kind, self.identifiers.block(), self.cookie, Arc::clone(table))?;
        let channel = Arc::clone(&opened.channel);
        uplink.channels.insert((family, kind), Kept { opened, interface });
        Ok((channel, Arc::clone(table)))
    }
}

/// A socket for which the kernel stamps what arrives. It needs no source: it never sends.
fn stamping() -> Option<Socket> {
    let any = Source::default();
    let socket = any.udp(Family::V4, 0).or_else(|_| any.udp(Family::V6, 0)).ok()?;
    let flags = libc::SOF_TIMESTAMPING_SOFTWARE | libc::SOF_TIMESTAMPING_RX_SOFTWARE;
    sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags.cast_signed()).ok()?;
    Some(socket)
}
