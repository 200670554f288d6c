//! The sockets that the process keeps between probes.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::channel::{Channel, Cookie, Hears, Kind, Opened, unspecified};
use super::conversation::{Conversation, Refusal, Speech, Syns, payload};
use super::flow::{Ended, Transport};
use super::ports::{Identifiers, Ports, Use};
use super::table::Table;
use super::way::{Home, Way, Ways};
use super::{Family, Heading, Source, SourceError, clock, sys};
use crate::fnv::Fnv;
use crate::wire::{self, tcp};

/// The sockets that the process keeps between probes: one per source, family and protocol, opened when it is first needed, and kept for
/// as long as the configuration has the source.
///
/// It belongs to the runtime that its first conversation is opened on, whose tasks read the sockets.
#[derive(Debug)]
pub struct Network {
    uplinks: Mutex<HashMap<Source, Arc<Uplink>>>,
    identifiers: Arc<Identifiers>,
    ports: Ports,
    ways: Ways,
    cookie: Cookie,
    /// The kernel stamps packets while a socket anywhere asks for it, and begins with a delay: without this one, the first answer
    /// of a probe on a quiet host has no stamp.
    _stamping: Option<Socket>,
}

/// Which of the flows to a destination the packets of a conversation are: routers that spread flows over several paths send those of one
/// along one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Another one each time.
    Next,
    /// The same one for the same number, from the same address, as long as no other conversation has its identifier or port.
    Same(u64),
}

impl Flow {
    /// Where the identifier or port is looked for.
    fn place(self, local: IpAddr) -> Option<u16> {
        match self {
            Self::Next => None,
            // Addresses that one firewall translates into one are not to have the same.
            Self::Same(number) => {
                let mut hash = Fnv::salted(number);
                hash.add_address(local);
                Some(hash.finish() as u16)
            }
        }
    }
}

/// The largest packet that an Ethernet frame takes.
const ETHERNET: u16 = 1500;

/// The first number of a conversation's packets: milliseconds. No conversation sends more than a packet per millisecond, so that the next one of
/// its flow has other numbers, which a late answer to this one is not taken for.
fn first_number() -> u16 {
    clock::now().as_millis() as u16
}

/// The first sequence number of SYNs: initial ones follow a clock of 4 µs (RFC 9293, section 3.4.1).
fn first_sequence() -> u32 {
    (clock::now().as_micros() / 4) as u32
}

/// The largest segment that SYNs offer by themselves.
fn usual_mss(family: Family) -> u16 {
    tcp::mss_within(ETHERNET, family == Family::V6)
}

/// A cookie of a random number, whose words add up to nothing: the checksum, by which some routers choose a path, is the same after a restart.
fn cookie(random: u64) -> Cookie {
    let mut cookie = random.to_be_bytes();
    let (others, last) = cookie.split_at_mut(size_of::<Cookie>() - 2);
    let words = others.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    last.copy_from_slice(&(!words.fold(0, wire::add)).to_be_bytes());
    cookie
}

/// What is kept for a source. Its sockets are read as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    tables: [Arc<Table>; 2],
    channels: Mutex<HashMap<(Family, Kind), Kept>>,
    /// By family, when all was read last without being woken for it.
    looked: [Mutex<Option<Instant>>; 2],
}

/// How long all counts as read: many who share the sockets of a source look at the same time, each before every packet that it sends.
const READ_FOR: Duration = Duration::from_millis(1);

impl Uplink {
    /// Reads all that has arrived at its sockets of a family until `due`, which is over, without being woken for it.
    pub(super) fn read_now(&self, family: Family, due: Instant) {
        let now = Instant::now();
        let mut looked = self.looked[family as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|looked| looked >= due && now.saturating_duration_since(looked) < READ_FOR) {
            return;
        }
        let kept = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = kept.iter().filter(|((of, _), _)| *of == family);
        let channels: Vec<_> = channels.map(|(_, kept)| Arc::clone(&kept.opened.channel)).collect();
        drop(kept);
        for channel in channels {
            channel.read_now();
        }
        *looked = Some(now);
    }

    /// Who waits for answers in a family.
    pub(super) fn table(&self, family: Family) -> &Arc<Table> {
        &self.tables[family as usize]
    }
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
            ways: Ways::default(),
            cookie: cookie(RandomState::new().build_hasher().finish()),
            _stamping: stamping(),
        }
    }

    /// Forgets the sockets of all sources but these, and but those of no ISP. Conversations that still run keep theirs until they end.
    ///
    /// Whoever opens a conversation from another source afterwards (a probe that began before a reload) brings it back until the next
    /// call.
    pub fn keep<'a>(&self, sources: impl IntoIterator<Item = &'a Source>) {
        let sources: HashSet<&Source> = sources.into_iter().collect();
        self.lock().retain(|source, _| source.is_unbound() || sources.contains(source));
    }

    /// Echo requests to a destination by a raw socket, of one identifier and one checksum, with `size` bytes of payload. Numbers
    /// are sequence numbers, from a first one.
    ///
    /// # Errors
    /// A [`Refusal`]; `NotPermitted` without CAP_NET_RAW.
    pub fn echo(&self, source: &Source, destination: IpAddr, size: usize, flow: Flow) -> Result<Conversation, Refusal> {
        let uplink = self.uplink(source)?;
        let channel = self.channel(&uplink, source, Family::of(destination), Kind::Icmp, self.ours())?;
        let local = source.address_towards(destination)?;
        let id = self
            .identifiers
            .take(local, destination, flow.place(local))
            .ok_or(Refusal::Exhausted("4,096 identifiers of echo requests between two addresses"))?;
        let speech = Speech::Echo { id, first: first_number(), payload: payload(&self.cookie, size) };
        Ok(Conversation::new(uplink, channel, source.clone(), local, destination, speech))
    }

    /// The same by a datagram socket, which needs no privileges where `net.ipv4.ping_group_range` allows it.
    ///
    /// # Errors
    /// A [`Refusal`]; `PingNotAllowed` where it is not.
    pub fn ping(&self, source: &Source, destination: IpAddr, size: usize) -> Result<Conversation, Refusal> {
        let family = Family::of(destination);
        let uplink = self.uplink(source)?;
        source.check_way(destination)?;
        let channel = self.channel(&uplink, source, family, Kind::Ping, self.ours())?;
        let speech = Speech::Ping { payload: payload(&self.cookie, size) };
        Ok(Conversation::new(uplink, channel, source.clone(), unspecified(family), destination, speech))
    }

    /// Datagrams to a port by a raw socket, from one port, told apart by their checksum.
    ///
    /// # Errors
    /// As [`Network::echo`].
    pub fn datagrams(&self, source: &Source, destination: SocketAddr, flow: Flow) -> Result<Conversation, Refusal> {
        let (family, remote) = (Family::of(destination.ip()), destination.port());
        let uplink = self.uplink(source)?;
        let channel = self.channel(&uplink, source, family, Kind::Udp, self.ours())?;
        self.channel(&uplink, source, family, Kind::Icmp, self.ours())?;
        let local = source.address_towards(destination.ip())?;
        let port = self.ports.take(source, family, Use::Udp, destination.ip(), flow.place(local))?;
        let port = Arc::new(port.ok_or(Refusal::Exhausted("4,536 source ports towards this destination"))?);
        let speech = Speech::Udp { port, remote, first: first_number() };
        Ok(Conversation::new(uplink, channel, source.clone(), local, destination.ip(), speech))
    }

    /// SYNs to a port by a raw socket, from one port. What answers with SYN-ACK is sent a reset, from the source.
    ///
    /// # Errors
    /// As [`Network::echo`].
    pub fn syns(
        &self,
        source: &Source,
        destination: SocketAddr,
        syns: Syns,
        flow: Flow,
    ) -> Result<Conversation, Refusal> {
        let (family, remote) = (Family::of(destination.ip()), destination.port());
        let uplink = self.uplink(source)?;
        let channel = self.channel(&uplink, source, family, Kind::Tcp, self.ours())?;
        self.channel(&uplink, source, family, Kind::Icmp, self.ours())?;
        let local = source.address_towards(destination.ip())?;
        let port = self.ports.take(source, family, Use::Tcp, destination.ip(), flow.place(local))?;
        let port = Arc::new(port.ok_or(Refusal::Exhausted("4,536 source ports towards this destination"))?);
        let speech = Speech::Tcp { port, remote, first: first_sequence(), syns, mss: usual_mss(family) };
        Ok(Conversation::new(uplink, channel, source.clone(), local, destination.ip(), speech))
    }

    /// Packets of a flow whose connection is gone: SYNs that each ask for a new one, or datagrams. Its sockets are its own, and end with it.
    ///
    /// # Errors
    /// As [`Network::echo`].
    pub fn again(&self, ended: Ended) -> Result<Conversation, Refusal> {
        let Ended { transport, source, local, remote, port } = ended;
        let family = Family::of(remote.ip());
        let uplink = Arc::<Uplink>::default();
        let hears = Hears::Flow { local, remote };
        let kind = match transport {
            Transport::Tcp => Kind::Tcp,
            Transport::Udp => Kind::Udp,
        };
        let bound = source.clone().with_address(local.ip());
        let channel = self.channel(&uplink, &bound, family, kind, hears)?;
        self.channel(&uplink, &bound, family, Kind::Icmp, hears)?;
        let speech = match transport {
            Transport::Tcp => {
                let (first, mss) = (first_sequence(), usual_mss(family));
                Speech::Tcp { port, remote: remote.port(), first, syns: Syns::Sequence, mss }
            }
            Transport::Udp => Speech::Udp { port, remote: remote.port(), first: first_number() },
        };
        Ok(Conversation::new(uplink, channel, source, local.ip(), remote.ip(), speech))
    }

    /// Which way the kernel sends packets from a source, and from an address of its choice, by its routes and rules as they are now.
    ///
    /// # Errors
    /// What the kernel says; that there is no way is one of it.
    pub fn way(&self, source: &Source, local: Option<IpAddr>, heading: &Heading) -> io::Result<Way> {
        self.ways.of(source, local, heading)
    }

    /// The same for a socket that is still to be connected: where its source has no address, the kernel chooses that first, and then the
    /// way from there.
    ///
    /// # Errors
    /// As [`Network::way`].
    pub fn way_of_new(&self, source: &Source, heading: &Heading) -> io::Result<Way> {
        let way = self.ways.of(source, None, heading)?;
        match (source.address(Family::of(heading.destination)), way.source) {
            (None, Some(chosen)) => Ok(Way { source: way.source, ..self.ways.of(source, Some(chosen), heading)? }),
            (Some(_), _) | (_, None) => Ok(way),
        }
    }

    /// Whether that is the only way that there is. Among several, the kernel chooses by what it knows of a packet: for a raw socket's without its ports,
    /// and for TCP, from Linux 6.15 on, by chance, before it chooses the port (`ip_route_connect`), which it tells nobody.
    ///
    /// # Errors
    /// As [`Network::way`].
    pub fn has_one_way(&self, source: &Source, local: Option<IpAddr>, heading: &Heading) -> io::Result<bool> {
        self.ways.only(source, local, heading).map(|way| way.is_some())
    }

    /// The only way that there is for a socket that is still to be connected; nothing where there are several.
    ///
    /// # Errors
    /// As [`Network::way`].
    pub fn only_way_of_new(&self, source: &Source, heading: &Heading) -> io::Result<Option<Way>> {
        let only = self.ways.only(source, None, heading)?;
        match (only, source.address(Family::of(heading.destination))) {
            (Some(_), None) => self.way_of_new(source, heading).map(Some),
            (only, _) => Ok(only),
        }
    }

    /// The largest packet that a device takes, in bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mtu(&self, device: u32) -> io::Result<u32> {
        self.ways.mtu(device)
    }

    /// The device that an address of this host is on; nothing where that leads nowhere, as loopback does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn home(&self, address: IpAddr) -> io::Result<Option<Home>> {
        self.ways.home(address)
    }

    /// Whether the way of packets from a source was chosen for them by a rule, and is not that of packets from nobody.
    ///
    /// # Errors
    /// As [`Network::way`].
    pub fn is_chosen_for(&self, source: &Source, destination: IpAddr) -> io::Result<bool> {
        self.ways.is_chosen_for(source, destination)
    }

    /// Whether a way leaves by the device that an address of this host is on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_from_home(&self, way: &Way, address: IpAddr) -> io::Result<bool> {
        self.ways.is_from_home(way, address)
    }

    /// Whose answers the channels hear that are kept.
    fn ours(&self) -> Hears {
        Hears::Ours { block: self.identifiers.block() }
    }

    /// What is kept for a source. Nothing is of one whose interface there is not, since targets may name any (their zone).
    fn uplink(&self, source: &Source) -> Result<Arc<Uplink>, SourceError> {
        if let Some(name) = source.interface.as_ref().filter(|name| sys::interface_index(name).is_none()) {
            return Err(SourceError::NoInterface(name.clone(), io::Error::from_raw_os_error(libc::ENODEV)));
        }
        Ok(Arc::clone(self.lock().entry(source.clone()).or_default()))
    }

    /// A channel of an uplink, opened where there is none, or where the interface that its source is bound to was made anew since.
    fn channel(
        &self,
        uplink: &Uplink,
        source: &Source,
        family: Family,
        kind: Kind,
        hears: Hears,
    ) -> Result<Arc<Channel>, SourceError> {
        let interface = source.interface.as_deref().and_then(sys::interface_index);
        let mut channels = uplink.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = channels.get(&(family, kind))
            && kept.interface == interface
        {
            return Ok(Arc::clone(&kept.opened.channel));
        }
        let table = Arc::clone(uplink.table(family));
        let opened = Channel::open(source, family, kind, hears, self.cookie, table)?;
        let channel = Arc::clone(&opened.channel);
        channels.insert((family, kind), Kept { opened, interface });
        Ok(channel)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Arc<Uplink>>> {
        self.uplinks.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Weak;

    use pnet_packet::util;

    use super::*;
    use crate::net::Shape;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn source(mark: u32) -> Source {
        Source { mark: Some(mark), ..Source::default() }
    }

    /// An echo conversation; nothing, and a word why, where it is not permitted. With `UPLINK_REQUIRE_LAB=1`, that is an error.
    fn echo(network: &Network, source: &Source) -> Option<Conversation> {
        match network.echo(source, LOOPBACK, 56, Flow::Next) {
            Err(Refusal::Source(SourceError::NotPermitted(what, error))) => {
                crate::testing::skip(&format!("{what}: {error}"));
                None
            }
            conversation => Some(conversation.unwrap()),
        }
    }

    /// The channel that a source has, without keeping it.
    fn channel(network: &Network, source: &Source) -> Weak<Channel> {
        Arc::downgrade(
            &network.channel(&network.uplink(source).unwrap(), source, Family::V4, Kind::Icmp, network.ours()).unwrap(),
        )
    }

    #[test]
    fn cookies_of_all_processes_have_one_checksum() {
        let sum = |random| util::checksum(&payload(&cookie(random), 8), 4);
        let sums = [0, 1, u64::MAX, 0x1234_5678_9abc_def0, 0xffff_ffff_ffff_0000].map(sum);
        assert_eq!(sums, [sums[0]; 5]);
        assert_ne!(cookie(1 << 16), cookie(2 << 16));
    }

    /// Lets the tasks end that were told to.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_source_that_is_not_kept_loses_its_sockets() {
        let network = Network::new();
        if echo(&network, &source(1)).is_none() {
            return;
        }
        let [one, other, unbound] = [source(1), source(2), Source::default()].map(|source| channel(&network, &source));
        settle().await;
        network.keep([&source(2)]);
        settle().await;
        assert_eq!((one.strong_count() > 0, other.strong_count() > 0), (false, true));
        assert!(unbound.strong_count() > 0, "probes through no ISP are possible with every configuration");
    }

    #[tokio::test]
    async fn a_conversation_that_runs_hears_its_answers_to_the_end() {
        let network = Network::new();
        let Some(mut conversation) = echo(&network, &source(3)) else { return };
        let channel = channel(&network, &source(3));
        network.keep([]);
        settle().await;
        conversation.send(0, Shape::default()).unwrap();
        let answer = conversation.answer_until(std::time::Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(answer.map(|answer| answer.number), Some(0));
        drop(conversation);
        settle().await;
        assert_eq!(channel.strong_count(), 0);
    }
}
