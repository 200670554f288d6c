//! The packets of one probe to one destination, and their answers.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::channel::{Channel, Cookie, Departing};
use super::flow::Held;
use super::network::Uplink;
use super::ports::{Identifier, Port};
use super::sys::Stamp;
use super::table::{Key, Name, Table};
use super::{Family, Heading, Source, SourceError, linger, strays};
use crate::wire::icmp::{self, Echo, Label};
use crate::wire::tcp::{Kind, Outgoing};
use crate::wire::udp::Numbered;
use crate::wire::{self, ip};

/// An answer to a packet of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number of the packet that is answered.
    pub number: u32,
    /// Who answers.
    pub from: IpAddr,
    /// When the packet left.
    pub departed: Stamp,
    /// When the answer arrived.
    pub arrived: Stamp,
    /// The hop limit that the answer arrived with.
    pub hop_limit: Option<u8>,
    /// The index of the device that it arrived on, where the kernel says so.
    pub interface: Option<u32>,
    /// What it says.
    pub reply: Reply,
}

impl Answer {
    /// The round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.arrived.saturating_sub(self.departed)
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Echo reply.
    Echo,
    /// The port is open.
    SynAck {
        /// The clock of the SYN that it answers, where the destination does timestamps.
        clock: Option<u32>,
        /// The largest segment that the destination takes, where it says so.
        mss: Option<u16>,
    },
    /// The port is closed.
    Reset,
    /// The destination has a connection of that flow, which we have ended: something of the flow got there, and no SYN is answered before it has
    /// heard of the end (RFC 5961, section 4). It is said of the whole flow: its number is that of the first packet.
    Acknowledgement,
    /// An ICMP error, of the family of its sender.
    Error {
        /// Type.
        ty: u8,
        /// Code.
        code: u8,
        /// The MPLS label stack that the packet came with to its sender, where that tells it (RFC 4950).
        labels: Vec<Label>,
        /// What the next link takes in bytes, where the packet is too big for it, and its sender tells that.
        mtu: Option<u32>,
        /// The largest segment that our SYN offered to take when it got there, where it is quoted so far.
        mss: Option<u16>,
    },
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("an echo reply"),
            Self::SynAck { clock: _, mss: None } => f.write_str("a SYN-ACK"),
            Self::SynAck { clock: _, mss: Some(mss) } => write!(f, "a SYN-ACK, for segments of {mss} bytes"),
            Self::Reset => f.write_str("a reset"),
            Self::Acknowledgement => f.write_str("an acknowledgement of the connection before"),
            Self::Error { ty, code, labels: _, mtu, mss } => {
                write!(f, "ICMP type {ty}, code {code}")?;
                if let Some(mtu) = mtu {
                    write!(f, ", the next link takes {mtu} bytes")?;
                }
                mss.map_or(Ok(()), |mss| write!(f, ", our SYN was for segments of {mss} bytes"))
            }
        }
    }
}

/// How a packet leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Hop limit; nothing leaves the kernel's.
    pub hop_limit: Option<u8>,
    /// Whether it may not be split on the way.
    pub dont_fragment: bool,
    /// How many bytes it has with its IP header; nothing, and less than that, is the size of the conversation's packets. A SYN that is made larger
    /// is answered as if it had two numbers: its own, and one that is larger by what was added (a reset acknowledges what it was sent).
    pub size: Option<u16>,
}

/// Why a packet could not be sent.
#[derive(Debug)]
pub enum Refusal {
    /// The source cannot be used on this host.
    Source(SourceError),
    /// All of our identifiers or source ports (named) are in flight.
    Exhausted(&'static str),
    /// The socket's buffer is full.
    Full,
    /// The kernel did not send it.
    Send(io::Error),
}

impl From<SourceError> for Refusal {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Exhausted(what) => write!(f, "all {what} are in flight"),
            Self::Full => f.write_str("too many packets are in flight: the socket's buffer is full"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

/// What the packets of a conversation are.
#[derive(Debug)]
pub(super) enum Speech {
    /// Echo requests of one identifier; the sequence is the number, from a first one on, and the payload keeps the checksum the same.
    Echo { id: Identifier, first: u16, payload: Vec<u8> },
    /// The same by a datagram socket, where the kernel sets the identifier, and the sequence is the channel's.
    Ping { payload: Vec<u8> },
    /// Datagrams from one port to another, numbered by their checksum, from a first one on.
    Udp { port: Arc<Port>, remote: u16, first: u16 },
    /// SYNs from one port to another.
    Tcp { port: Arc<Port>, remote: u16, first: u32, syns: Syns, mss: u16 },
}

/// What tells the SYNs of a conversation apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syns {
    /// The sequence number: each asks for a connection of its own.
    Sequence,
    /// Only the clock of their timestamp option, one more than their number: each repeats the first, as TCP does.
    Clock,
}

/// The packets of one probe to one destination. What they wait for is forgotten when this is dropped; where the kernel would refuse what
/// comes later by another way, it is still heard for 3 seconds, and a SYN-ACK still reset.
#[derive(Debug)]
pub struct Conversation {
    /// Keeps the sockets read that answers come in at, also where a reload has forgotten their source meanwhile.
    uplink: Arc<Uplink>,
    channel: Arc<Channel>,
    table: Arc<Table>,
    source: Source,
    local: IpAddr,
    remote: IpAddr,
    speech: Speech,
    keys: Vec<Key>,
    outbox: mpsc::Sender<Answer>,
    inbox: mpsc::Receiver<Answer>,
    buffer: Vec<u8>,
}

/// How many answers wait to be read, at most.
const INBOX: usize = 1024;

impl Conversation {
    pub(super) fn new(
        uplink: Arc<Uplink>,
        channel: Arc<Channel>,
        source: Source,
        local: IpAddr,
        remote: IpAddr,
        speech: Speech,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(INBOX);
        let table = Arc::clone(uplink.table(Family::of(remote)));
        Self {
            uplink,
            channel,
            table,
            source,
            local,
            remote,
            speech,
            keys: Vec::new(),
            outbox,
            inbox,
            buffer: Vec::new(),
        }
    }

    /// Has its answers come to another conversation. Their numbers are to be kept apart by who sends them.
    #[must_use]
    pub fn answered_by(mut self, other: &Self) -> Self {
        self.outbox = other.outbox.clone();
        self
    }

    /// The address that packets leave from; unspecified for datagram echo, where the kernel chooses.
    #[must_use]
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// The port that packets leave from; nothing for echo.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.speech {
            Speech::Echo { .. } | Speech::Ping { .. } => None,
            Speech::Udp { port, .. } | Speech::Tcp { port, .. } => Some(port.number),
        }
    }

    /// The flow of its SYNs, and their port, for what follows; nothing where it has none.
    #[must_use]
    pub fn hold(&self) -> Option<Held> {
        let Speech::Tcp { port, remote, .. } = &self.speech else { return None };
        let (local, remote) = (SocketAddr::new(self.local, port.number), SocketAddr::new(self.remote, *remote));
        Some(Held::port(&self.source, local, remote, Arc::clone(port)))
    }

    /// What the way of its packets depends on. The kernel chooses it without their ports, which it does not know (Linux: `raw_sendmsg`).
    #[must_use]
    pub fn heading(&self) -> Heading {
        let protocol = match (&self.speech, Family::of(self.remote)) {
            (Speech::Echo { .. } | Speech::Ping { .. }, Family::V4) => libc::IPPROTO_ICMP,
            (Speech::Echo { .. } | Speech::Ping { .. }, Family::V6) => libc::IPPROTO_ICMPV6,
            (Speech::Udp { .. }, _) => libc::IPPROTO_UDP,
            (Speech::Tcp { .. }, _) => libc::IPPROTO_TCP,
        };
        Heading { destination: self.remote, protocol: Some(protocol as u8), ports: None }
    }

    /// Has its SYNs offer to take segments of so many bytes at most; nothing leaves what fits an Ethernet frame.
    #[must_use]
    pub fn offering(mut self, segment: Option<u16>) -> Self {
        if let (Speech::Tcp { mss, .. }, Some(segment)) = (&mut self.speech, segment) {
            *mss = segment;
        }
        self
    }

    /// The largest segment that its SYNs offer to take; nothing where it sends none.
    #[must_use]
    pub fn offered(&self) -> Option<u16> {
        match &self.speech {
            Speech::Tcp { mss, .. } => Some(*mss),
            Speech::Echo { .. } | Speech::Ping { .. } | Speech::Udp { .. } => None,
        }
    }

    /// Bytes of each packet, its IP header included.
    #[must_use]
    pub fn packet_size(&self) -> usize {
        let header = match Family::of(self.remote) {
            Family::V4 => ip::V4_HEADER,
            Family::V6 => ip::V6_HEADER,
        };
        header
            + match &self.speech {
                Speech::Echo { payload, .. } | Speech::Ping { payload } => icmp::HEADER + payload.len(),
                Speech::Udp { .. } => Numbered::LEN,
                Speech::Tcp { .. } => Outgoing::SYN,
            }
    }

    /// Sends the packet of a number; returns when it left.
    ///
    /// # Errors
    /// A [`Refusal`]; the packet did not leave then.
    pub fn send(&mut self, number: u32, shape: Shape) -> Result<Stamp, Refusal> {
        let extra = shape.size.map_or(0, |size| usize::from(size).saturating_sub(self.packet_size()));
        let name = self.write(number, extra)?;
        let (local, remote) = (self.local, self.remote);
        let key = Key { local, remote, name };
        let aliases = match name {
            Name::Tcp { local, remote, sequence } => {
                let larger = Name::Tcp { local, remote, sequence: sequence.wrapping_add(extra as u32) };
                let flow = Name::Flow { local, remote };
                [(extra > 0).then_some(larger), self.keys.is_empty().then_some(flow)]
            }
            Name::Echo { .. } | Name::Ping { .. } | Name::Udp { .. } | Name::Flow { .. } => [None, None],
        };
        let aliases = aliases.map(|name| name.map(|name| Key { local, remote, name }));
        let packet = Departing {
            bytes: &self.buffer,
            hop_limit: shape.hop_limit,
            dont_fragment: shape.dont_fragment,
            key,
            aliases,
            number,
        };
        let departed = self.channel.send(&packet, &self.outbox).map_err(|error| self.refusal(error))?;
        self.keys.extend([key].into_iter().chain(aliases.into_iter().flatten()));
        Ok(departed)
    }

    /// The next answer, duplicates included; nothing where none came until then. What had arrived when it was our own process that came
    /// late is an answer all the same.
    pub async fn answer_until(&mut self, until: Instant) -> Option<Answer> {
        match timeout_at(until.into(), self.inbox.recv()).await {
            Ok(answer) => answer,
            Err(_) => self.late_answer(until),
        }
    }

    /// An answer that is here already. Once `until` is over, the sockets are looked into for it, too: ask before anything is given up.
    pub fn late_answer(&mut self, until: Instant) -> Option<Answer> {
        if Instant::now() >= until {
            self.uplink.read_now(Family::of(self.remote), until);
        }
        self.inbox.try_recv().ok()
    }

    /// Writes the packet of a number into the buffer, with so many bytes more than usual, and returns its name.
    fn write(&mut self, number: u32, extra: usize) -> Result<Name, Refusal> {
        let mixed = || Refusal::Send(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        match &mut self.speech {
            Speech::Echo { id, first, payload } => {
                let (id, sequence) = (id.number(), first.wrapping_add(number as u16));
                write_echo(&mut self.buffer, Family::of(self.remote), id, sequence, payload, extra);
                Ok(Name::Echo { id, sequence })
            }
            Speech::Ping { payload } => {
                let sequence = self
                    .channel
                    .sequence(self.remote)
                    .ok_or(Refusal::Exhausted("65,536 sequence numbers of echo requests from this source"))?;
                write_echo(&mut self.buffer, Family::of(self.remote), 0, sequence, payload, extra);
                Ok(Name::Ping { sequence })
            }
            Speech::Udp { port, remote, first } => {
                // 0 and 0xffff are not to be had.
                let checksum = 1 + (number.wrapping_add((*first).into()) % 0xfffe) as u16;
                let (source_port, destination_port) = (port.number, *remote);
                let datagram = Numbered { source_port, destination_port, checksum, padding: extra };
                datagram.emit(self.local, self.remote, &mut self.buffer).ok_or_else(mixed)?;
                Ok(Name::Udp { local: port.number, remote: *remote, checksum })
            }
            Speech::Tcp { port, remote, first, syns, mss } => {
                let sequence = match syns {
                    Syns::Sequence => first.wrapping_add(number),
                    Syns::Clock => *first,
                };
                let kind = Kind::Syn { clock: number.wrapping_add(1), mss: *mss, data: extra };
                let syn = Outgoing { source_port: port.number, destination_port: *remote, sequence, kind };
                syn.emit(self.local, self.remote, &mut self.buffer).ok_or_else(mixed)?;
                Ok(Name::Tcp { local: port.number, remote: *remote, sequence })
            }
        }
    }

    /// What a failed send means: a source that has gone since its socket was made is the cause, whatever the errno.
    fn refusal(&self, error: io::Error) -> Refusal {
        match self.source.udp(Family::of(self.remote), 0) {
            Err(cause) => Refusal::Source(cause),
            Ok(_) if error.kind() == io::ErrorKind::WouldBlock => Refusal::Full,
            Ok(_) => Refusal::Send(error),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let forgotten = Forgotten { table: Arc::clone(&self.table), keys: std::mem::take(&mut self.keys) };
        match &self.speech {
            Speech::Udp { port, .. } | Speech::Tcp { port, .. }
                if strays::leave_another_way(&self.source, self.local, self.remote) =>
            {
                linger::keep((forgotten, Arc::clone(port), Arc::clone(&self.uplink)));
            }
            Speech::Echo { .. } | Speech::Ping { .. } | Speech::Udp { .. } | Speech::Tcp { .. } => {}
        }
    }
}

/// Packets whose answers nobody waits for; dropped, they are forgotten.
struct Forgotten {
    table: Arc<Table>,
    keys: Vec<Key>,
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.table.remove(self.keys.drain(..));
    }
}

/// The payload of echo requests: a cookie, room for a word, and a pattern, as far as it goes.
pub(super) fn payload(cookie: &Cookie, size: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
    payload.iter_mut().zip(cookie).for_each(|(to, from)| *to = *from);
    payload
}

/// Writes an echo request, with so many zeros behind its payload. The complement of the sequence number, and of what the length adds to the sum, in
/// the word of the payload, keeps the checksum the same for all numbers and sizes: some routers choose a path by it (Paris traceroute: Augustin et
/// al., IMC 2006).
fn write_echo(buffer: &mut Vec<u8>, family: Family, id: u16, sequence: u16, payload: &mut Vec<u8>, extra: usize) {
    let balance = match (family, extra) {
        // Only the pseudo-header of ICMPv6 has the length.
        (Family::V4, _) | (Family::V6, 0) => !sequence,
        (Family::V6, extra) => wire::add(!sequence, !(extra as u16)),
    };
    if let Some(word) = payload.get_mut(size_of::<Cookie>()..size_of::<Cookie>() + 2) {
        word.copy_from_slice(&balance.to_be_bytes());
    }
    let size = payload.len();
    payload.resize(size + extra, 0);
    buffer.resize(icmp::HEADER + payload.len(), 0);
    let echo = Echo { id, sequence, payload };
    match family {
        Family::V4 => echo.emit_v4(buffer),
        Family::V6 => echo.emit_v6(buffer),
    }
    payload.truncate(size);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use pnet_packet::ip::IpNextHeaderProtocols;
    use pnet_packet::util;

    use super::*;

    #[test]
    fn echo_requests_of_all_numbers_and_sizes_have_one_checksum() {
        let address = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mut payload = payload(&[7; size_of::<Cookie>()], 56);
        let mut buffer = Vec::new();
        let mut write = |family, sequence, extra| {
            write_echo(&mut buffer, family, 9, sequence, &mut payload, extra);
            assert_eq!((buffer.len(), payload.len()), (64 + extra, 56));
            match family {
                Family::V4 => util::checksum(&buffer, 1),
                Family::V6 => wire::transport(address, address, IpNextHeaderProtocols::Icmpv6, &buffer, 1).unwrap(),
            }
        };
        for family in [Family::V4, Family::V6] {
            let usual = write(family, 0, 0);
            for (sequence, extra) in [(1, 0), (0xffff, 0), (2, 1), (0, 44), (3, 1416), (0x8000, 8900), (5, 65_431)] {
                assert_eq!(write(family, sequence, extra), usual, "{family:?} {sequence} {extra}");
            }
        }
    }
}
