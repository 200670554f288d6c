//! What a client offers to a server of TLS, as its first message says it (RFC 8446, section 4.1.2).

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv6Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// The numbers of what is offered, by what it is, the preferred first.
pub(crate) type Offer = BTreeMap<&'static str, Vec<u16>>;

/// Listens on a port for one client, hears what it offers, and hangs up.
pub(crate) fn hear(port: u16) -> Receiver<Offer> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut header = [0; 5];
        stream.read_exact(&mut header).unwrap();
        let mut record = vec![0; u16::from_be_bytes([header[3], header[4]]).into()];
        stream.read_exact(&mut record).unwrap();
        sender.send(read(&record)).unwrap();
    });
    receiver
}

/// Reads a ClientHello.
fn read(message: &[u8]) -> Offer {
    // Its header, the version and the random number.
    let mut rest = &message[4 + 2 + 32..];
    take::<1>(&mut rest);
    let mut offer = Offer::from([("cipher suites", numbers(take::<2>(&mut rest)))]);
    take::<1>(&mut rest);
    let mut extensions = take::<2>(&mut rest);
    while !extensions.is_empty() {
        let (number, behind) = extensions.split_at(2);
        extensions = behind;
        let mut value = take::<2>(&mut extensions);
        match number {
            [0, 10] => drop(offer.insert("groups", numbers(take::<2>(&mut value)))),
            [0, 13] => drop(offer.insert("signatures", numbers(take::<2>(&mut value)))),
            _ => {}
        }
    }
    assert_eq!(offer.len(), 3, "{offer:?}");
    offer
}

/// Takes bytes that stand behind their length in `N` bytes.
fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (length, behind) = bytes.split_at(N);
    let length = length.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let (taken, rest) = behind.split_at(length);
    *bytes = rest;
    taken
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}
