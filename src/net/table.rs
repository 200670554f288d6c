//! Who waits for the answer to which packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::channel::Channel;
use super::conversation::Answer;
use super::sys::Stamp;

/// What names a packet of ours in everything that answers it: its addresses, and what its transport header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Where it was sent from.
    pub(super) local: IpAddr,
    /// Where it was sent to.
    pub(super) remote: IpAddr,
    /// Which it is.
    pub(super) name: Name,
}

/// What names a packet between two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// An echo request from a raw socket.
    Echo {
        /// Identifier.
        id: u16,
        /// Sequence number.
        sequence: u16,
    },
    /// An echo request from a datagram socket, whose identifier is the kernel's: the socket is given no other's answers.
    Ping {
        /// Sequence number.
        sequence: u16,
    },
    /// A datagram.
    Udp {
        /// Our port.
        local: u16,
        /// The destination's port.
        remote: u16,
        /// Its checksum.
        checksum: u16,
    },
    /// A SYN.
    Tcp {
        /// Our port.
        local: u16,
        /// The destination's port.
        remote: u16,
        /// Its sequence number.
        sequence: u32,
    },
    /// All SYNs from one port to another.
    Flow {
        /// Our port.
        local: u16,
        /// The destination's port.
        remote: u16,
    },
}

/// A packet in flight.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    /// Its number in the conversation.
    pub(super) number: u32,
    /// When it left, by the kernel's stamp.
    pub(super) departed: Option<Stamp>,
    /// The same clock, read just before it was sent.
    pub(super) before: Stamp,
    /// The socket that it was sent by, which may hold the stamp of its departure.
    pub(super) sender: Arc<Channel>,
    /// Where answers go.
    pub(super) inbox: mpsc::Sender<Answer>,
}

/// The packets in flight from one source in one family. The cost of an answer is that of one look-up, however many they are.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<HashMap<Key, Waiter>>);

impl Table {
    /// A packet is about to leave.
    pub(super) fn insert(&self, key: Key, waiter: Waiter) {
        self.lock().insert(key, waiter);
    }

    /// Nobody waits for the answers to these packets any more.
    pub(super) fn remove(&self, keys: impl IntoIterator<Item = Key>) {
        let mut waiters = self.lock();
        for key in keys {
            waiters.remove(&key);
        }
    }

    /// Whether somebody waits for the answer to a packet.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// Who waits for the answer to a packet.
    pub(super) fn get(&self, key: &Key) -> Option<Waiter> {
        self.lock().get(key).cloned()
    }

    /// A packet left, by the kernel's stamp, which is believed if it lies between our own readings of the clock: numbers of
    /// stamps can be off after a failed send.
    pub(super) fn departed(&self, key: &Key, stamp: Stamp, now: Stamp) {
        if let Some(waiter) = self.lock().get_mut(key)
            && (waiter.before..=now).contains(&stamp)
        {
            waiter.departed = Some(stamp);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
