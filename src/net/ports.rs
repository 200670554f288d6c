//! Identifiers and source ports for packets in flight: from blocks of our own, in sequence or from where the user says, for one user and destination
//! at a time.
//!
//! They are not random: a firewall's SNAT table keys on them, and random 16-bit numbers collide (200 users of one address: 26 %).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::Socket;

use super::filter::Filter;
use super::tcp::listen_silently;
use super::{Family, Source, SourceError, options};

/// The first source port of raw TCP and UDP packets. The block, to 65535, is above Linux' ephemeral ports
/// (`net.ipv4.ip_local_port_range`, 32768 to 60999).
pub(super) const FIRST_PORT: u16 = 61000;
/// How many ports the block has.
const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// The bits of an echo identifier that say whose block it is of.
pub(super) const BLOCK_MASK: u16 = 0xf000;
/// How many identifiers a block has.
const BLOCK_SIZE: u16 = !BLOCK_MASK + 1;

/// Echo identifiers: a block of the process, used once per pair of addresses at a time.
///
/// By addresses and not by socket, because two ISPs that differ only in their mark see each other's answers.
#[derive(Debug)]
pub(super) struct Identifiers {
    block: u16,
    /// Keeps the block ours.
    _claim: Option<UnixDatagram>,
    used: Mutex<HashMap<IpAddr, Used>>,
}

/// The identifiers of a local address.
#[derive(Debug, Default)]
struct Used {
    next: u16,
    /// Those that are in flight, with where to.
    taken: HashSet<(IpAddr, u16)>,
}

impl Identifiers {
    /// Claims the first free block: the process after this one has the same identifiers, and so the same flows. An abstract Unix socket by its name keeps other processes of this network namespace out; where all are
    /// claimed, blocks are shared, and only the cookie in the payload tells processes apart.
    pub(super) fn claim() -> Self {
        let claimed = (0..16).find_map(|slot| {
            let name = UnixAddr::from_abstract_name(format!("uplink_exporter/echo-identifiers/{slot:x}")).ok()?;
            Some((slot, UnixDatagram::bind_addr(&name).ok()?))
        });
        let (slot, claim) = match claimed {
            Some((slot, claim)) => (slot, Some(claim)),
            None => (std::process::id() % 16, None),
        };
        Self { block: (slot as u16) << 12, _claim: claim, used: Mutex::default() }
    }

    /// The bits that all identifiers have under [`BLOCK_MASK`].
    pub(super) fn block(&self) -> u16 {
        self.block
    }

    /// The next free identifier for packets between two addresses, behind the last that was taken or from a place on; nothing while all are in
    /// flight.
    pub(super) fn take(self: &Arc<Self>, local: IpAddr, remote: IpAddr, from: Option<u16>) -> Option<Identifier> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = used.entry(local).or_default();
        let first = from.map_or(used.next, |from| from % BLOCK_SIZE);
        let mut places = (0..BLOCK_SIZE).map(|step| (first + step) % BLOCK_SIZE);
        let number = places.find(|number| used.taken.insert((remote, *number)))?;
        if from.is_none() {
            used.next = (number + 1) % BLOCK_SIZE;
        }
        Some(Identifier { number, local, remote, owner: Arc::clone(self) })
    }
}

/// An identifier that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Identifier {
    number: u16,
    local: IpAddr,
    remote: IpAddr,
    owner: Arc<Identifiers>,
}

impl Identifier {
    /// The identifier itself.
    pub(super) fn number(&self) -> u16 {
        self.owner.block | self.number
    }
}

impl Drop for Identifier {
    fn drop(&mut self) {
        let mut used = self.owner.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = used.get_mut(&self.local) {
            used.taken.remove(&(self.remote, self.number));
        }
    }
}

/// Source ports of raw packets.
#[derive(Debug)]
pub(super) struct Ports {
    next: AtomicU16,
    kept: Arc<Register>,
}

/// Whose port which is.
type Place = (Source, Family, Use, u16);

/// The ports that are ours.
type Register = Mutex<HashMap<Place, Kept>>;

/// A port that is ours, and the destinations that it is used for.
#[derive(Debug)]
struct Kept {
    socket: Weak<Socket>,
    remotes: HashSet<IpAddr>,
}

/// What a source port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Use {
    /// SYNs.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Ports {
    /// Begins somewhere else than the process before, so that its last connections are not met again.
    pub(super) fn new() -> Self {
        Self { next: AtomicU16::new((std::process::id() % u32::from(PORTS)) as u16), kept: Arc::default() }
    }

    /// The next free port of a source for packets to a destination, behind the last that was taken or from a place on, kept by a socket that is bound
    /// to it; nothing while all are in use.
    ///
    /// A TCP socket [listens and says nothing](listen_silently): so the kernel neither answers a SYN-ACK with a reset of its own, which
    /// would be routed without the source's mark and interface, nor accepts anything.
    pub(super) fn take(
        &self,
        source: &Source,
        family: Family,
        what: Use,
        remote: IpAddr,
        from: Option<u16>,
    ) -> Result<Option<Port>, SourceError> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut claimed = (source.clone(), family, what, 0);
        for step in 0..PORTS {
            let place = match from {
                Some(from) => from % PORTS + step,
                None => self.next.fetch_add(1, Ordering::Relaxed),
            };
            let number = FIRST_PORT + place % PORTS;
            claimed.3 = number;
            let claim = |socket, place| Port {
                number,
                socket: Some(socket),
                claim: Some((place, remote, Arc::clone(&self.kept))),
            };
            if let Some((kept, socket)) =
                all.get_mut(&claimed).and_then(|kept| kept.socket.upgrade().map(|socket| (kept, socket)))
            {
                if kept.remotes.insert(remote) {
                    return Ok(Some(claim(socket, claimed)));
                }
                continue;
            }
            let made = match what {
                Use::Tcp => source.tcp(family, number),
                Use::Udp => source.udp(family, number),
            };
            let kept = made.and_then(|socket| {
                let keep = match what {
                    Use::Tcp => listen_silently(&socket, family),
                    // What a router says to a probe is given to this socket, too.
                    Use::Udp => {
                        Filter::Nothing.attach(&socket, family).and_then(|()| options::learn_no_mtu(&socket, family))
                    }
                };
                keep.map_err(|error| SourceError::Other("keeping a source port", error)).map(|()| socket)
            });
            match kept {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    all.insert(
                        claimed.clone(),
                        Kept { socket: Arc::downgrade(&socket), remotes: HashSet::from([remote]) },
                    );
                    return Ok(Some(claim(socket, claimed)));
                }
                Err(SourceError::Other(_, error)) if is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRINUSE)
}

/// A source port that is ours, for a destination, until it is dropped.
#[derive(Debug)]
pub(super) struct Port {
    /// The port.
    pub(super) number: u16,
    /// Others may have it for other destinations.
    socket: Option<Arc<Socket>>,
    /// Whose it is of those that are given out.
    claim: Option<(Place, IpAddr, Arc<Register>)>,
}

impl Port {
    /// A port that the kernel gave to a connection, which is gone; a socket may keep it.
    pub(super) fn of_connection(number: u16, socket: Option<Socket>) -> Self {
        Self { number, socket: socket.map(Arc::new), claim: None }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let Some((place, remote, kept)) = &self.claim else { return };
        let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all.get_mut(place) {
            kept.remotes.remove(remote);
            if kept.remotes.is_empty() {
                all.remove(place);
            }
        }
        // Closed before anybody else looks for a port.
        self.socket = None;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

    #[test]
    fn identifiers_come_in_sequence_and_none_twice_while_in_flight() {
        let identifiers = Arc::new(Identifiers::claim());
        let mut taken: Vec<_> = (0..BLOCK_SIZE).map_while(|_| identifiers.take(LOCAL, REMOTE, None)).collect();
        let numbers: Vec<_> = taken.iter().map(Identifier::number).collect();
        assert!(numbers.iter().copied().eq((0..BLOCK_SIZE).map(|number| identifiers.block() | number)));
        assert!(identifiers.take(LOCAL, REMOTE, None).is_none());
        assert!(identifiers.take([192, 0, 2, 1].into(), REMOTE, None).is_some());

        drop(taken.swap_remove(1000));
        assert_eq!(identifiers.take(LOCAL, REMOTE, None).map(|identifier| identifier.number()), Some(numbers[1000]));
    }

    #[test]
    fn an_identifier_is_not_given_out_again_before_all_others_were() {
        let identifiers = Arc::new(Identifiers::claim());
        let first = identifiers.take(LOCAL, REMOTE, None).map(|identifier| identifier.number());
        let second = identifiers.take(LOCAL, REMOTE, None).map(|identifier| identifier.number());
        assert_eq!(second, first.map(|number| number + 1));
    }

    #[test]
    fn who_asks_for_an_identifier_by_its_place_gets_that_or_the_next_free_one() {
        let identifiers = Arc::new(Identifiers::claim());
        let place = |identifier: Option<Identifier>| identifier.map(|identifier| identifier.number() & !BLOCK_MASK);
        let one = identifiers.take(LOCAL, REMOTE, Some(BLOCK_SIZE + 77));
        assert_eq!(place(identifiers.take(LOCAL, REMOTE, Some(77))), Some(78));
        assert_eq!(place(one), Some(77));
        assert_eq!(
            place(identifiers.take(LOCAL, REMOTE, Some(77))),
            Some(77),
            "once it is free, it is given out again"
        );
        assert_eq!(place(identifiers.take(LOCAL, REMOTE, None)), Some(0), "the sequence of the others goes on");
    }

    #[test]
    fn an_identifier_is_free_for_other_destinations() {
        let identifiers = Arc::new(Identifiers::claim());
        let take =
            |remote| identifiers.take(LOCAL, remote, Some(77)).map(|identifier| (identifier.number(), identifier));
        let (one, other) = (take(REMOTE).unwrap(), take(OTHER).unwrap());
        assert!(one.0 == other.0 && take(OTHER).is_some_and(|next| next.0 != one.0));
    }

    #[test]
    fn two_processes_have_two_blocks() {
        let (one, other) = (Identifiers::claim(), Identifiers::claim());
        assert!(one.block() != other.block() || other._claim.is_none());
    }

    #[test]
    fn a_port_is_kept_from_others_while_in_use() {
        let source = Source { v4: Some(Ipv4Addr::LOCALHOST), ..Source::default() };
        let ports = Ports::new();
        for what in [Use::Tcp, Use::Udp] {
            let one = match ports.take(&source, Family::V4, what, REMOTE, None) {
                Err(SourceError::Other(doing, error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return crate::testing::skip(&format!("{doing}: {error}"));
                }
                taken => taken.unwrap().unwrap(),
            };
            let again = Ports { next: AtomicU16::new(one.number - FIRST_PORT), kept: Arc::default() };
            let other = again.take(&source, Family::V4, what, REMOTE, None).unwrap().unwrap();
            assert!(one.number >= FIRST_PORT && other.number >= FIRST_PORT && one.number != other.number);

            let taken = |from| ports.take(&source, Family::V4, what, REMOTE, Some(from)).unwrap().unwrap();
            // The last of all, after which the first comes; another process may have either.
            let last = taken(PORTS - 1);
            let next = taken(PORTS - 1);
            assert!(last.number == u16::MAX || last.number < FIRST_PORT + 10, "{last:?}");
            assert!((FIRST_PORT..FIRST_PORT + 20).contains(&next.number), "{next:?}");
            let number = last.number;
            // To another destination it is another flow.
            let shared = ports.take(&source, Family::V4, what, OTHER, Some(PORTS - 1)).unwrap().unwrap();
            assert_eq!(shared.number, number);
            drop(last);
            let again = taken(PORTS - 1);
            assert_eq!(again.number, number);
            drop((again, shared));
            assert!(ports.kept.lock().unwrap().keys().all(|(.., kept)| *kept != number), "nobody has it");
            assert_eq!(taken(PORTS - 1).number, number);
        }
    }
}
