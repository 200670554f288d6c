//! A name server that knows what it was told, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};

use super::lab::Site;

/// What a server knows: records by name, in small letters and with the dot at its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone {
    records: HashMap<String, Vec<Record>>,
    /// Names whose records do not fit into a datagram.
    long: Vec<String>,
    /// Names that are answered so late.
    late: HashMap<String, Duration>,
}

impl Zone {
    /// An address of a name, known for so many seconds.
    pub(crate) fn address(&mut self, of: &str, to: IpAddr, ttl: u32) {
        self.add(of, ttl, RData::from(to));
    }

    /// The name of an address, known for so many seconds.
    pub(crate) fn pointer(&mut self, of: &str, to: &str, ttl: u32) {
        self.add(of, ttl, RData::PTR(PTR(name(to))));
    }

    pub(crate) fn alias(&mut self, of: &str, to: &str, ttl: u32) {
        self.add(of, ttl, RData::CNAME(CNAME(name(to))));
    }

    pub(crate) fn text(&mut self, of: &str, text: &str, ttl: u32) {
        // In two strings, as one of more than 255 bytes would be.
        let (first, second) = text.split_at(text.len() / 2);
        self.add(of, ttl, RData::TXT(TXT::from_bytes(vec![first.as_bytes(), second.as_bytes()])));
    }

    pub(crate) fn is_long(&mut self, name: &str) {
        self.long.push(key(name));
    }

    pub(crate) fn is_late(&mut self, name: &str, by: Duration) {
        self.late.insert(key(name), by);
    }

    fn add(&mut self, of: &str, ttl: u32, data: RData) {
        self.records.entry(key(of)).or_default().push(Record::from_rdata(name(of), ttl, data));
    }

    /// The answer to a question; names that are not known are none, which may be kept for a minute.
    fn answer(&self, question: &[u8], by_udp: bool) -> (String, Vec<u8>) {
        let mut message = Message::from_vec(question).unwrap().into_response();
        // What knows nothing, asks nobody and is nobody's own is taken for a server that is no help.
        message.metadata.recursion_available = true;
        let (asked, ty) = (message.queries[0].name.clone(), message.queries[0].query_type);
        let mut at = key(&asked.to_string());
        if by_udp && self.long.contains(&at) {
            message.metadata.truncation = true;
            return (at, message.to_vec().unwrap());
        }
        let told = at.clone();
        while let Some(records) = self.records.get(&at) {
            let alias = records.iter().find_map(|record| match &record.data {
                RData::CNAME(to) => Some(key(&to.0.to_string())),
                _ => None,
            });
            message
                .answers
                .extend(records.iter().filter(|record| alias.is_some() || record.record_type() == ty).cloned());
            match alias {
                Some(to) => at = to,
                None => break,
            }
        }
        if message.answers.is_empty() {
            if !self.records.contains_key(&told) {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            let soa = SOA::new(name("ns.example."), name("me.example."), 1, 3600, 600, 86_400, 60);
            message.authorities.push(Record::from_rdata(name("example."), 60, RData::SOA(soa)));
        }
        (told, message.to_vec().unwrap())
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

fn key(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name.ends_with('.') { name } else { format!("{name}.") }
}

/// What a server was asked, in order: names, in small letters and with the dot at their end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// What was asked since this was last looked at.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Serves a zone at an address of the far end, by UDP and TCP.
pub(crate) fn serve(site: &Site, address: SocketAddr, zone: Zone) -> Asked {
    let bind = || (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
    let (socket, listener) = site.lab.far().run(bind).unwrap();
    let asked = Asked::default();
    let (zone, log) = (Arc::new(zone), asked.clone());
    let by_tcp = (Arc::clone(&zone), log.clone());
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let (name, answer) = zone.answer(&buffer[..length], true);
            log.0.lock().unwrap().push(name.clone());
            let socket = socket.try_clone().unwrap();
            let late = zone.late.get(&name).copied();
            let send = move || drop(socket.send_to(&answer, peer));
            match late {
                Some(late) => drop(thread::spawn(move || {
                    thread::sleep(late);
                    send();
                })),
                None => send(),
            }
        }
    });
    thread::spawn(move || {
        let (zone, log) = by_tcp;
        for mut stream in listener.incoming().flatten() {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_ok() {
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut question).unwrap();
                let (name, answer) = zone.answer(&question, false);
                log.0.lock().unwrap().push(format!("tcp {name}"));
                let framed = [&(answer.len() as u16).to_be_bytes(), answer.as_slice()].concat();
                // A client that is gone asks nothing.
                let _ = stream.write_all(&framed);
            }
        }
    });
    asked
}
