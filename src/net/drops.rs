//! What this host itself drops of what it is to send: its queues, and its table of connections.

use std::collections::HashMap;
use std::fs;
use std::io;

use super::netlink::{Message, Netlink, attributes};

/// How many packets were dropped since the host began, in the network namespace of the thread that asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops {
    /// Since the table of connections was full (nf_conntrack); nothing where there is none.
    connections: Option<u64>,
    /// By devices' indices: by their queues, and by themselves.
    devices: HashMap<u32, u64>,
}

/// How many were dropped meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Since the table of connections was full.
    pub connections: u64,
    /// By devices' names, of those that dropped any.
    pub devices: Vec<(String, u64)>,
}

/// `RTM_GETSTATS` (linux/rtnetlink.h), which the libc crate does not have.
const RTM_GETSTATS: u16 = 94;
/// `IFLA_STATS_LINK_64` (linux/if_link.h): `struct rtnl_link_stats64`.
const IFLA_STATS_LINK_64: u16 = 1;
/// Where that has `tx_dropped`.
const TX_DROPPED: usize = 7 * size_of::<u64>();
/// `TCA_STATS_QUEUE` (linux/gen_stats.h): `struct gnet_stats_queue`, whose third number is that of its drops.
const TCA_STATS_QUEUE: u16 = 3;
const QUEUE_DROPS: usize = 2 * size_of::<u32>();
/// `TC_H_ROOT` (linux/pkt_sched.h): the parent of what a device sends through.
const ROOT: u32 = u32::MAX;

impl Drops {
    /// The counts now.
    ///
    /// # Errors
    /// As netlink says.
    pub fn now() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut devices: HashMap<u32, u64> = HashMap::new();
        // struct if_stats_msg: a device, none for all, and which statistics, as bits.
        let header: [u8; 12] = {
            let mut header = [0; 12];
            header[8..].copy_from_slice(&(1_u32 << (IFLA_STATS_LINK_64 - 1)).to_ne_bytes());
            header
        };
        let dropped = |content: &[u8]| {
            let statistics = attributes(content.get(12..)?).find(|(kind, _)| *kind == IFLA_STATS_LINK_64)?.1;
            Some((number(content, 4)?, u64::from_ne_bytes(statistics.get(TX_DROPPED..)?.get(..8)?.try_into().ok()?)))
        };
        netlink.dump(Message::new(RTM_GETSTATS, 0, &header), |content| devices.extend(dropped(content)))?;
        // struct tcmsg: family and padding, device, handle, parent, information.
        let dropped = |content: &[u8]| {
            let (device, parent) = (number(content, 4)?, number(content, 12)?);
            let statistics = attributes(content.get(20..)?).find(|(kind, _)| *kind == libc::TCA_STATS2)?.1;
            let queue = attributes(statistics).find(|(kind, _)| *kind == TCA_STATS_QUEUE)?.1;
            (parent == ROOT).then_some((device, number(queue, QUEUE_DROPS)?))
        };
        netlink.dump(Message::new(libc::RTM_GETQDISC, 0, &[0; 20]), |content| {
            if let Some((device, drops)) = dropped(content) {
                *devices.entry(device).or_default() += u64::from(drops);
            }
        })?;
        let table = fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack");
        Ok(Self { connections: table.ok().and_then(|text| of_connections(&text)), devices })
    }

    /// How many were dropped from then to now.
    ///
    /// # Errors
    /// As netlink says.
    pub fn since(&self) -> io::Result<Dropped> {
        let now = Self::now()?;
        let more =
            |now: Option<u64>, before: Option<u64>| now.unwrap_or_default().saturating_sub(before.unwrap_or_default());
        let netlink = Netlink::open()?;
        let mut devices = Vec::new();
        for (device, drops) in &now.devices {
            let drops = more(Some(*drops), self.devices.get(device).copied());
            if drops > 0 {
                devices.push((netlink.name(*device)?, drops));
            }
        }
        Ok(Dropped { connections: more(now.connections, self.connections), devices })
    }
}

/// The number at a place.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The sum over all processors of the column `drop` (the kernel's `Documentation/networking/nf_conntrack-sysctl.rst` has no word of the file; its
/// columns have headings, and hexadecimal numbers).
fn of_connections(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|heading| heading == "drop")?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_processors_add_up_and_a_file_that_is_none_has_none() {
        let text = "entries  clashres found drop early_drop\n000000ff  00000000 00000001 0000000a 00000007\n\
                    000000ff  00000000 00000000 000000f0 00000000\n";
        assert_eq!(of_connections(text), Some(250));
        for none in ["", "entries found\n00000001 00000002\n", "entries drop\n1 x\n", "entries drop\n1\n"] {
            assert_eq!(of_connections(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_is_dropped_meanwhile_is_told_by_its_device() {
        let mut earlier = Drops::now().unwrap();
        let device = Netlink::open().unwrap().index("lo").unwrap();
        let loopback = earlier.devices.get_mut(&device).expect("every host has loopback");
        assert_eq!(*loopback, 0);
        assert!(!earlier.since().unwrap().devices.iter().any(|(name, _)| name == "lo"));
        earlier.devices.remove(&device);
        assert_eq!(
            earlier.since().unwrap().devices.iter().filter(|(name, _)| name == "lo").count(),
            0,
            "none of a new one"
        );
    }
}
