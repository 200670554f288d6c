//! What binds a socket to an ISP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::Way;
use super::netlink::{Device, Heading, Netlink};
use super::sys;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The socket domain.
    #[must_use]
    pub fn domain(self) -> Domain {
        match self {
            Self::V4 => Domain::IPV4,
            Self::V6 => Domain::IPV6,
        }
    }
}

/// What binds a socket to an ISP: a source address per family, a device, a mark. All empty, the kernel routes as it likes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// Source address of IPv4 packets.
    pub v4: Option<Ipv4Addr>,
    /// Source address of IPv6 packets.
    pub v6: Option<Ipv6Addr>,
    /// `SO_BINDTODEVICE`.
    pub interface: Option<String>,
    /// `SO_MARK`.
    pub mark: Option<u32>,
}

/// Why a socket could not be made from a source.
#[derive(Debug)]
pub enum SourceError {
    /// The ISP (or the module) has no source address of the family, nor an interface or a mark that would decide in its place.
    NoAddress(Family),
    /// This host has no address of the family: where nothing says what to leave from, the kernel found none.
    NoneOnThisHost(Family),
    /// The source address is not on this host.
    NotOnThisHost(IpAddr, io::Error),
    /// The interface does not exist.
    NoInterface(String, io::Error),
    /// The operation (named) is not allowed: it wants CAP_NET_RAW or CAP_NET_ADMIN.
    NotPermitted(&'static str, io::Error),
    /// `net.ipv4.ping_group_range` has none of our groups.
    PingNotAllowed(io::Error),
    /// The mark leads nowhere.
    NoWay(u32, io::Error),
    /// Anything else; the operation is named.
    Other(&'static str, io::Error),
}

/// What is wrong on this host with the way to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalFault {
    /// The device that packets leave by is down or has no carrier.
    DeadLink(String),
    /// The gateway, or the destination where it is next door, does not answer to its address (ARP, ND).
    SilentNeighbour(IpAddr),
    /// The routes and rules lead nowhere, as the kernel says. Those of IPv6 do once a gateway is silent that an `unreachable` route of the same
    /// table stands behind (`rt6_check_neigh`).
    NoWay(String),
}

/// Whether an address is this host's own; not where it cannot be told.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    Netlink::open().and_then(|mut netlink| netlink.is_local(address)).unwrap_or(false)
}

impl SourceError {
    /// What it means that connect(2) of a datagram socket without an address failed: it looks for a route and an address of ours, and for
    /// no port.
    pub(super) fn of_route(family: Family, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => Self::NoneOnThisHost(family),
            _ => Self::Other("the route", error),
        }
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAddress(Family::V4) => {
                f.write_str("there is no IPv4 source: set the ISP's source_ip, interface or fwmark, or the module's source_ip_address")
            }
            Self::NoAddress(Family::V6) => {
                f.write_str("there is no IPv6 source: set the ISP's source_ip6, interface or fwmark, or the module's source_ip_address")
            }
            Self::NoneOnThisHost(Family::V4) => f.write_str("this host has no IPv4 address to probe from"),
            Self::NoneOnThisHost(Family::V6) => f.write_str("this host has no IPv6 address to probe from"),
            Self::NotOnThisHost(address, error) => {
                write!(f, "the source address {address} is not on this host: {error}")
            }
            Self::NoInterface(name, error) => write!(f, "the interface {name} cannot be used: {error}"),
            Self::NotPermitted(operation, error) => {
                write!(
                    f,
                    "{operation} is not permitted, give the program CAP_NET_RAW (that of a user namespace is good for networks of its own only): {error}"
                )
            }
            Self::PingNotAllowed(error) => write!(
                f,
                "net.ipv4.ping_group_range allows this program no datagram sockets for ICMP (it must have one of its groups): {error}"
            ),
            Self::NoWay(mark, error) => write!(f, "the mark {mark} leads nowhere: {error}"),
            Self::Other(operation, error) => write!(f, "{operation}: {error}"),
        }
    }
}

impl std::error::Error for SourceError {}

/// What fails where sockets of a kind are not for everybody.
const OPENING: &str = "opening the socket";

impl Source {
    /// The source address of a family, where one is set.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Whether nothing binds a socket: the kernel routes as it likes.
    #[must_use]
    pub fn is_unbound(&self) -> bool {
        *self == Self::default()
    }

    /// Whether more than addresses decides the way.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.interface.is_some() || self.mark.is_some()
    }

    /// The same, with an address for its packets.
    pub(super) fn with_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { v4: Some(v4), ..self },
            IpAddr::V6(v6) => Self { v6: Some(v6), ..self },
        }
    }

    /// The same on the interface that the zone of a target names, or says the index of (RFC 4007, section 11.2).
    ///
    /// # Errors
    /// The interface that it has, which is another one.
    pub fn in_zone(&self, zone: &str) -> Result<Self, &str> {
        let by_index = || sys::interface_name(zone.parse().ok()?);
        let by_index = sys::interface_index(zone).is_none().then(by_index).flatten();
        let interface = by_index.unwrap_or_else(|| zone.to_owned());
        match self.interface.as_deref() {
            Some(own) if own != interface => Err(own),
            Some(_) | None => Ok(Self { interface: Some(interface), ..self.clone() }),
        }
    }

    /// The same, along one of the ways that it has: bound to its device, and to the address that the kernel would send from.
    #[must_use]
    pub fn along(&self, way: &Way, family: Family) -> Self {
        let along = Self { interface: Some(way.device.clone()), ..self.clone() };
        match (self.address(family), way.source) {
            (None, Some(source)) => along.with_address(source),
            (Some(_), _) | (_, None) => along,
        }
    }

    /// Whether packets of the family can be sent from here so that the routing sees whose they are.
    #[must_use]
    pub fn supports(&self, family: Family) -> bool {
        self.is_unbound() || self.address(family).is_some() || self.is_steered()
    }

    /// What is wrong on this host with the way to a destination; nothing where it is fine.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn local_fault(&self, destination: IpAddr) -> io::Result<Option<LocalFault>> {
        let mut netlink = Netlink::open()?;
        // Where the device of the address is dead, the kernel may know another way, or none, and neither is this source's.
        if let (None, Some(address)) = (&self.interface, self.address(Family::of(destination)))
            && let Some(home) = netlink.home(address)?
        {
            let home = netlink.link(Device::Index(home))?;
            let is_dead = home.leads_somewhere && !home.running;
            if is_dead && !netlink.is_chosen_for(self, destination).unwrap_or(false) {
                return Ok(Some(LocalFault::DeadLink(home.name)));
            }
        }
        // By its device alone the kernel tells another way than that of the packets, which have an address, too.
        let local = self.address_towards(destination).ok();
        let source = local.map_or_else(|| self.clone(), |local| self.clone().with_address(local));
        let hop = netlink.route(&source, &Heading::to(destination));
        let link = match (&self.interface, &hop) {
            (Some(interface), _) => netlink.link(Device::Name(interface))?,
            (None, Ok(hop)) => netlink.link(Device::Index(hop.device))?,
            (None, Err(error)) => return Ok(Some(LocalFault::NoWay(error.to_string()))),
        };
        if !link.running {
            return Ok(Some(LocalFault::DeadLink(link.name)));
        }
        match hop {
            Ok(hop) => {
                let neighbour = hop.gateway.unwrap_or(destination);
                let unresolved = netlink.is_unresolved(hop.device, neighbour)?;
                Ok(unresolved.then_some(LocalFault::SilentNeighbour(neighbour)))
            }
            Err(error) => Ok(Some(LocalFault::NoWay(error.to_string()))),
        }
    }

    /// Refuses what the kernel would lead astray: where a mark leads nowhere, IPv6 looks once more, with any address of this host
    /// (`ip6_dst_lookup_tail`), and rules by source address may then send it through another ISP.
    ///
    /// # Errors
    /// [`SourceError::NoWay`].
    pub(super) fn check_way(&self, destination: IpAddr) -> Result<(), SourceError> {
        let (Some(mark), None, None, IpAddr::V6(_)) = (self.mark, self.v6, &self.interface, destination) else {
            return Ok(());
        };
        match Netlink::open().map(|mut netlink| netlink.route(self, &Heading::to(destination))) {
            Ok(Err(error)) => Err(SourceError::NoWay(mark, error)),
            // Where the kernel cannot be asked, it is left to it.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// A TCP socket, bound; `port` 0 lets the kernel choose, at connect where it can.
    ///
    /// # Errors
    /// A [`SourceError`] that names what is missing on this host.
    pub fn tcp(&self, family: Family, port: u16) -> Result<Socket, SourceError> {
        self.socket(family, Type::STREAM, Protocol::TCP, port)
    }

    /// A UDP socket, bound.
    ///
    /// # Errors
    /// As [`Source::tcp`].
    pub fn udp(&self, family: Family, port: u16) -> Result<Socket, SourceError> {
        self.socket(family, Type::DGRAM, Protocol::UDP, port)
    }

    /// An ICMP echo socket that needs no privileges (`net.ipv4.ping_group_range` must allow it), bound.
    ///
    /// # Errors
    /// As [`Source::tcp`].
    pub fn ping(&self, family: Family) -> Result<Socket, SourceError> {
        self.socket(family, Type::DGRAM, icmp(family), 0).map_err(|error| match error {
            SourceError::NotPermitted(OPENING, error) => SourceError::PingNotAllowed(error),
            error => error,
        })
    }

    /// A raw socket of a protocol, bound; needs CAP_NET_RAW.
    ///
    /// # Errors
    /// As [`Source::tcp`].
    pub fn raw(&self, family: Family, protocol: Protocol) -> Result<Socket, SourceError> {
        self.socket(family, Type::RAW, protocol, 0)
    }

    /// The address that the kernel would send from to `destination`.
    ///
    /// # Errors
    /// As [`Source::tcp`]; `Other("route", …)` where there is none.
    pub fn address_towards(&self, destination: IpAddr) -> Result<IpAddr, SourceError> {
        let family = Family::of(destination);
        if let Some(address) = self.address(family) {
            return Ok(address);
        }
        self.check_way(destination)?;
        let socket = self.udp(family, 0)?;
        let local = socket
            .connect(&SocketAddr::new(destination, 9).into())
            .and_then(|()| socket.local_addr())
            .map_err(|error| SourceError::of_route(family, error))?;
        local
            .as_socket()
            .map(|local| local.ip())
            .ok_or_else(|| SourceError::Other("route", io::Error::other("the kernel gave no address")))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where sockets are made")]
    fn socket(&self, family: Family, ty: Type, protocol: Protocol, port: u16) -> Result<Socket, SourceError> {
        if !self.supports(family) {
            return Err(SourceError::NoAddress(family));
        }
        let socket = Socket::new(family.domain(), ty.nonblocking().cloexec(), Some(protocol)).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => SourceError::NotPermitted(OPENING, error),
                _ => SourceError::Other(OPENING, error),
            }
        })?;
        if family == Family::V6 && ty != Type::RAW {
            socket.set_only_v6(true).map_err(|error| SourceError::Other("IPV6_V6ONLY", error))?;
        }
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes())).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => SourceError::NotPermitted("SO_BINDTODEVICE", error),
                _ => SourceError::NoInterface(interface.clone(), error),
            })?;
        }
        if let Some(mark) = self.mark {
            socket.set_mark(mark).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => SourceError::NotPermitted("SO_MARK", error),
                _ => SourceError::Other("SO_MARK", error),
            })?;
        }
        let address = self.address(family);
        if address.is_some() || port != 0 {
            if port == 0 && ty == Type::STREAM {
                // The port is chosen at connect, for the pair of addresses: 28,000 per destination instead of in all.
                sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
                    .map_err(|error| SourceError::Other("IP_BIND_ADDRESS_NO_PORT", error))?;
            }
            let address = address.unwrap_or(match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            });
            socket.bind(&SocketAddr::new(address, port).into()).map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => SourceError::NotOnThisHost(address, error),
                _ => SourceError::Other("bind", error),
            })?;
        }
        Ok(socket)
    }
}

/// The ICMP of a family.
fn icmp(family: Family) -> Protocol {
    match family {
        Family::V4 => Protocol::ICMPV4,
        Family::V6 => Protocol::ICMPV6,
    }
}
