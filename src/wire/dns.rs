//! Questions to name servers, and their answers (RFC 1035): here those of our own resolver, which knows what it wants; in [`message`]
//! those of `dns` modules, which may want anything, and tell all of it.

pub mod codes;
pub mod message;
pub mod name;

mod present;
mod reader;

use std::net::IpAddr;

pub use name::DomainName;

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    id: u16,
    query: Query,
    bytes: Vec<u8>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// IPv4 addresses: A.
    V4,
    /// IPv6 addresses: AAAA (RFC 3596).
    V6,
    /// The name of an address: PTR.
    Pointer,
    /// Text: TXT.
    Text,
}

/// What a record says that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A and AAAA.
    Address(IpAddr),
    /// PTR.
    Name(DomainName),
    /// TXT: all its strings, as one.
    Text(Vec<u8>),
}

/// What a name server says. What is known may be kept for so many seconds; where nothing says for how long, that is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What the name has of what is wanted, in its order, behind all aliases; maybe nothing.
    Known(Vec<Data>, Option<u32>),
    /// There is no such name.
    NoName(Option<u32>),
    /// The answer did not fit; TCP has room for it.
    Truncated,
    /// It does not know, or does not want to say: its response code.
    Failed(u16),
}

/// An alias may lead to an alias; longer chains are taken for circles. Resolvers follow about as many.
const MOST_ALIASES: usize = 16;

/// The name that PTR records of an address have (RFC 1035, section 3.5; RFC 3596, section 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    let zone = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}.{zone}", backwards(address, 128))
}

/// The first `bits` of an address as labels, the last first: the octets of IPv4, the hexadecimal digits of IPv6.
#[must_use]
pub fn backwards(address: IpAddr, bits: usize) -> String {
    let labels: Vec<String> = match address {
        IpAddr::V4(address) => address.octets().iter().take(bits / 8).map(u8::to_string).collect(),
        IpAddr::V6(address) => format!("{:032x}", address.to_bits()).chars().take(bits / 4).map(String::from).collect(),
    };
    labels.into_iter().rev().collect::<Vec<_>>().join(".")
}

impl Question {
    /// A question for what is wanted of `host`, an absolute name, in words of `id`.
    ///
    /// # Errors
    /// Why it is no name.
    pub fn new(host: &str, wanted: Wanted, id: u16) -> Result<Self, String> {
        let name = if host.is_ascii() { Name::from_ascii(host) } else { Name::from_utf8(host) };
        let mut name = name.map_err(|error| error.to_string())?;
        name.set_fqdn(true);
        let ty = match wanted {
            Wanted::V4 => RecordType::A,
            Wanted::V6 => RecordType::AAAA,
            Wanted::Pointer => RecordType::PTR,
            Wanted::Text => RecordType::TXT,
        };
        let query = Query::query(name, ty);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let bytes = message.to_vec().map_err(|error| error.to_string())?;
        Ok(Self { id, query, bytes })
    }

    /// The message to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a message says to this question; nothing where it is no answer to it: another id, another question, no answer at all.
    #[must_use]
    pub fn answer(&self, message: &[u8]) -> Option<Answer> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        if header.metadata.id != self.id || header.metadata.message_type != MessageType::Response {
            return None;
        }
        let queries = Message::read_queries(&mut decoder, header.counts.queries.into()).ok()?;
        let about_this = |query: &Query| {
            query.name.eq_ignore_root(&self.query.name)
                && query.query_type == self.query.query_type
                && query.query_class == DNSClass::IN
        };
        match (queries.as_slice(), header.metadata.response_code) {
            ([query], _) if about_this(query) => {}
            // A server that cannot read the question cannot repeat it.
            ([], ResponseCode::FormErr) => {}
            _ => return None,
        }
        Some(match header.metadata.response_code {
            _ if header.metadata.truncation => Answer::Truncated,
            code @ (ResponseCode::NoError | ResponseCode::NXDomain) => {
                let mut read =
                    |count: u16| Message::read_records(&mut decoder, count.into(), false, OpCode::Query).ok();
                let Some((answers, ..)) = read(header.counts.answers) else {
                    return Some(Answer::Failed(ResponseCode::FormErr.into()));
                };
                // What the authorities say is of use only where there is nothing.
                let denied = read(header.counts.authorities).and_then(|(authorities, ..)| negative_ttl(&authorities));
                match (code, self.known(&answers)) {
                    (ResponseCode::NXDomain, _) => Answer::NoName(denied),
                    (_, (none, _)) if none.is_empty() => Answer::Known(none, denied),
                    (_, (known, ttl)) => Answer::Known(known, ttl),
                }
            }
            code => Answer::Failed(code.into()),
        })
    }

    /// What the name has of what is wanted, behind its aliases, and the smallest TTL on the way.
    fn known(&self, records: &[Record]) -> (Vec<Data>, Option<u32>) {
        let mut name = &self.query.name;
        let mut ttl: Option<u32> = None;
        let mut pass = |record: &Record| ttl = Some(ttl.unwrap_or(u32::MAX).min(record.ttl));
        for _ in 0..MOST_ALIASES {
            let alias = records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name.eq_ignore_root(name) => Some((record, &target.0)),
                _ => None,
            });
            match alias {
                Some((record, target)) => {
                    pass(record);
                    name = target;
                }
                None => break,
            }
        }
        let mut known = Vec::new();
        for record in records.iter().filter(|record| record.name.eq_ignore_root(name)) {
            known.push(match (&record.data, self.query.query_type) {
                (RData::A(address), RecordType::A) => Data::Address(address.0.into()),
                (RData::AAAA(address), RecordType::AAAA) => Data::Address(address.0.into()),
                (RData::PTR(name), RecordType::PTR) => Data::Name(DomainName::of(&name.0)),
                (RData::TXT(text), RecordType::TXT) => Data::Text(text.txt_data.concat()),
                _ => continue,
            });
            pass(record);
        }
        (known, ttl)
    }
}

/// How long may be kept that there is nothing (RFC 2308, section 5).
fn negative_ttl(authorities: &[Record]) -> Option<u32> {
    authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, TXT};

    use super::*;

    fn name(name: &str) -> Name {
        Name::from_ascii(name).unwrap()
    }

    fn question() -> Question {
        Question::new("WWW.example", Wanted::V4, 0x1234).unwrap()
    }

    fn answer(change: impl FnOnce(&mut Message)) -> Option<Answer> {
        let mut message = Message::from_vec(question().bytes()).unwrap().into_response();
        message.metadata.message_type = MessageType::Response;
        change(&mut message);
        question().answer(&message.to_vec().unwrap())
    }

    fn records(records: Vec<(&str, RData)>) -> Option<Answer> {
        answer(|message| {
            for (owner, data) in records {
                message.add_answer(Record::from_rdata(name(owner), 1, data));
            }
        })
    }

    #[test]
    fn addresses_are_found_behind_aliases() {
        let alias = |target| RData::CNAME(CNAME(name(target)));
        let address = |last| RData::A(A::new(192, 0, 2, last));
        let found = records(vec![
            ("b.example.", address(1)),
            ("www.example.", alias("a.example.")),
            ("A.example.", alias("b.example.")),
            ("other.example.", address(9)),
            ("b.example.", RData::AAAA(AAAA::new(1, 2, 3, 4, 5, 6, 7, 8))),
            ("b.example.", address(2)),
        ]);
        let expected = ["192.0.2.1", "192.0.2.2"].map(|address| Data::Address(address.parse().unwrap()));
        assert_eq!(found, Some(Answer::Known(expected.to_vec(), Some(1))));
        let circle = records(vec![("www.example.", alias("a.example.")), ("a.example.", alias("www.example."))]);
        assert_eq!(circle, Some(Answer::Known(vec![], None)));
        assert_eq!(records(vec![]), Some(Answer::Known(vec![], None)));
    }

    #[test]
    fn the_name_of_an_address_is_it_backwards() {
        assert_eq!(reverse_name([192, 0, 2, 7].into()), "7.2.0.192.in-addr.arpa");
        let address = "2001:db8::567:89ab".parse().unwrap();
        // RFC 3596's example is this one with another prefix.
        let expected = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(reverse_name(address), expected);
        assert_eq!(backwards(address, 64), "0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
    }

    #[test]
    fn names_and_texts_are_found_as_addresses_are() {
        let ask = |wanted, records: Vec<(&str, u32, RData)>| {
            let question = Question::new("7.2.0.192.in-addr.arpa", wanted, 7).unwrap();
            let mut message = Message::from_vec(question.bytes()).unwrap().into_response();
            for (owner, ttl, data) in records {
                message.add_answer(Record::from_rdata(name(owner), ttl, data));
            }
            question.answer(&message.to_vec().unwrap())
        };
        // RFC 2317: the address of a customer of a part of a network.
        let alias = |ttl| ("7.2.0.192.in-addr.arpa.", ttl, RData::CNAME(CNAME(name("7.0-31.2.0.192.in-addr.arpa."))));
        let pointer = |ttl, to| ("7.0-31.2.0.192.in-addr.arpa.", ttl, RData::PTR(PTR(to)));
        let names = ["core1.Example.", "r\\032x.example."].map(|name| Data::Name(name.parse().unwrap()));
        let odd = Name::from_labels([b"r x".as_slice(), b"example"]).unwrap();
        let found = ask(Wanted::Pointer, vec![alias(300), pointer(60, name("core1.Example.")), pointer(90, odd)]);
        assert_eq!(found, Some(Answer::Known(names.to_vec(), Some(60))));
        let found = ask(Wanted::Pointer, vec![alias(30), pointer(60, name("core1.Example."))]);
        assert_eq!(found, Some(Answer::Known(names[..1].to_vec(), Some(30))));
        let text = RData::TXT(TXT::from_bytes(vec![b"23028 | 216.90.108.0/24 | ", b"US"]));
        let found = ask(Wanted::Text, vec![("7.2.0.192.in-addr.arpa.", 9, text.clone())]);
        assert_eq!(found, Some(Answer::Known(vec![Data::Text(b"23028 | 216.90.108.0/24 | US".to_vec())], Some(9))));
        assert_eq!(
            ask(Wanted::Pointer, vec![("7.2.0.192.in-addr.arpa.", 9, text)]),
            Some(Answer::Known(vec![], None)),
            "of another type than was asked for"
        );
    }

    #[test]
    fn how_long_nothing_is_nothing_is_said_by_the_zone() {
        let soa = |ttl, minimum| {
            let soa = SOA::new(name("ns.example."), name("me.example."), 1, 2, 3, 4, minimum);
            Record::from_rdata(name("example."), ttl, RData::SOA(soa))
        };
        for (ttl, minimum, expected) in [(900, 60, 60), (30, 60, 30)] {
            let none = answer(|message| {
                message.add_authority(soa(ttl, minimum));
            });
            assert_eq!(none, Some(Answer::Known(vec![], Some(expected))));
            let none = answer(|message| {
                message.metadata.response_code = ResponseCode::NXDomain;
                message.add_authority(soa(ttl, minimum));
            });
            assert_eq!(none, Some(Answer::NoName(Some(expected))));
        }
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        assert_eq!(answer(|message| message.metadata.id += 1), None);
        assert_eq!(answer(|message| message.metadata.message_type = MessageType::Query), None);
        assert_eq!(answer(|message| message.queries[0].name = name("www.other.")), None);
        assert_eq!(answer(|message| message.queries[0].query_type = RecordType::AAAA), None);
        assert_eq!(answer(|message| message.queries.clear()), None);
        assert_eq!(question().answer(b""), None);
        assert_eq!(question().answer(&[0x12, 0x34, 0x80]), None);
    }

    #[test]
    fn codes_mean_what_they_say() {
        let code = |code| answer(|message| message.metadata.response_code = code);
        assert_eq!(code(ResponseCode::NXDomain), Some(Answer::NoName(None)));
        assert_eq!(code(ResponseCode::ServFail), Some(Answer::Failed(2)));
        assert_eq!(code(ResponseCode::Refused), Some(Answer::Failed(5)));
        assert_eq!(answer(|message| message.metadata.truncation = true), Some(Answer::Truncated));
    }

    #[test]
    fn broken_records_are_a_failed_answer() {
        let mut message = Message::from_vec(question().bytes()).unwrap().into_response();
        message.add_answer(Record::from_rdata(name("www.example."), 1, RData::A(A::new(192, 0, 2, 1))));
        let bytes = message.to_vec().unwrap();
        assert_eq!(question().answer(&bytes[..bytes.len() - 1]), Some(Answer::Failed(1)));
    }
}
