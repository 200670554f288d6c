//! What tcpdump saw: a second witness, which shares no code with the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Running;

/// A capture that runs.
#[derive(Debug)]
pub(crate) struct Capture {
    tcpdump: Running,
    file: PathBuf,
}

impl Capture {
    /// Starts tcpdump on an interface; `spawn` starts it where the interface is. Returns when it captures.
    pub(crate) fn start(
        interface: &str,
        folder: &Path,
        spawn: impl FnOnce(&mut Command) -> std::process::Child,
    ) -> Self {
        let file = folder.join(format!("{interface}.pcap"));
        let log = folder.join(format!("{interface}.log"));
        let mut command = Command::new(super::program("tcpdump").expect("tcpdump was looked for before"));
        command
            // Not in immediate mode: to wake tcpdump for a packet takes up to hundreds of microseconds on a virtual machine, which
            // the packet waits for.
            .args(["-i", interface, "-n", "-U", "-s", "160", "--time-stamp-precision=nano"])
            .args(["-B", "16384", "-Z", "root"])
            .arg("-w")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        let tcpdump = Running(spawn(&mut command));
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).unwrap_or_default().contains("listening on") {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", std::fs::read_to_string(&log).unwrap_or_default());
            thread::sleep(Duration::from_millis(10));
        }
        Self { tcpdump, file }
    }

    /// Ends the capture, once everything that is under way is written; returns its packets in their order.
    pub(crate) fn stop(mut self) -> Vec<Packet> {
        // tcpdump is woken for packets once a second.
        thread::sleep(Duration::from_millis(1_300));
        let id = self.tcpdump.0.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
        self.tcpdump.0.wait().unwrap();
        read(&std::fs::read(&self.file).unwrap())
    }
}

/// A packet on the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packet {
    /// Since the epoch.
    pub(crate) at: Duration,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Hop limit.
    pub(crate) ttl: u8,
    /// Of IPv4, that it may not be split.
    pub(crate) dont_fragment: bool,
    pub(crate) protocol: u8,
    /// The flow label of IPv6; 0 for IPv4.
    pub(crate) label: u32,
    /// From the transport header on, as far as it was captured.
    pub(crate) transport: Vec<u8>,
}

impl Packet {
    fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.transport[at], self.transport[at + 1]])
    }

    /// TCP or UDP ports: source, destination.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.half(0), self.half(2))
    }

    /// TCP flags as tcpdump prints them: `S`, `S.`, `R.`, `.`, `P.`, `F.`; empty when it is not TCP.
    pub(crate) fn flags(&self) -> String {
        if self.protocol != 6 {
            return String::new();
        }
        let names = [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (16, '.')];
        names.iter().filter(|(bit, _)| self.transport[13] & bit != 0).map(|(_, name)| name).collect()
    }

    /// The sequence number of a TCP segment.
    pub(crate) fn sequence(&self) -> u32 {
        u32::from(self.half(4)) << 16 | u32::from(self.half(6))
    }

    /// Whether it is a TCP segment with data.
    pub(crate) fn has_data(&self) -> bool {
        self.protocol == 6 && self.transport.len() > usize::from(self.transport[12] >> 4) * 4
    }

    /// The id and sequence of an ICMP echo request (v4 type 8, v6 type 128).
    pub(crate) fn echo_request(&self) -> Option<(u16, u16)> {
        let request = matches!((self.protocol, self.transport[0]), (1, 8) | (58, 128));
        request.then(|| (self.half(4), self.half(6)))
    }

    /// The id and sequence of an ICMP echo reply.
    pub(crate) fn echo_reply(&self) -> Option<(u16, u16)> {
        let reply = matches!((self.protocol, self.transport[0]), (1, 0) | (58, 129));
        reply.then(|| (self.half(4), self.half(6)))
    }
}

/// Reads a capture file of nanosecond precision and raw IP link type.
fn read(file: &[u8]) -> Vec<Packet> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_3c4d, "a little-endian capture in nanoseconds");
    assert!(matches!(word(20) & 0xffff, 12 | 101), "raw IP packets, not link type {}", word(20));
    let (mut at, mut packets) = (24, Vec::new());
    while at + 16 <= file.len() {
        let (time, length) = (Duration::new(word(at).into(), word(at + 4)), word(at + 8) as usize);
        packets.extend(packet(time, &file[at + 16..at + 16 + length]));
        at += 16 + length;
    }
    packets
}

fn packet(at: Duration, bytes: &[u8]) -> Option<Packet> {
    match bytes.first()? >> 4 {
        4 => {
            let address = |at: usize| IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap()));
            let header = usize::from(bytes[0] & 0xf) * 4;
            Some(Packet {
                at,
                source: address(12),
                destination: address(16),
                ttl: bytes[8],
                dont_fragment: bytes[6] & 0x40 != 0,
                protocol: bytes[9],
                label: 0,
                transport: bytes[header..].to_vec(),
            })
        }
        6 => {
            let address = |at: usize| IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap()));
            Some(Packet {
                at,
                source: address(8),
                destination: address(24),
                ttl: bytes[7],
                dont_fragment: false,
                protocol: bytes[6],
                label: u32::from_be_bytes([0, bytes[1] & 0xf, bytes[2], bytes[3]]),
                transport: bytes[40..].to_vec(),
            })
        }
        _ => None,
    }
}
