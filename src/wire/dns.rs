//! Questions to name servers, and their answers (RFC 1035): here those of the stub resolver, which wants addresses; in [`message`] those
//! of `dns` modules, which may want anything, and tell all of it.

pub mod codes;
pub mod message;
pub mod name;

mod present;
mod reader;

use std::net::IpAddr;

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

/// The addresses that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// A
    V4,
    /// AAAA (RFC 3596)
    V6,
}

/// What a name server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The addresses, in its order, behind all aliases; none, where the name has none of the kind.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoName,
    /// The answer did not fit; TCP has room for it.
    Truncated,
    /// It does not know, or does not want to say: its response code.
    Failed(u16),
}

/// An alias may lead to an alias; longer chains are taken for circles. Resolvers follow about as many.
const MOST_ALIASES: usize = 16;

impl Question {
    /// A question for the addresses of `host`, an absolute name, in words of `id`.
    ///
    /// # Errors
    /// Why it is no name.
    pub fn new(host: &str, addresses: Addresses, id: u16) -> Result<Self, String> {
        let name = if host.is_ascii() { Name::from_ascii(host) } else { Name::from_utf8(host) };
        let mut name = name.map_err(|error| error.to_string())?;
        name.set_fqdn(true);
        let ty = match addresses {
            Addresses::V4 => RecordType::A,
            Addresses::V6 => RecordType::AAAA,
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
            ResponseCode::NoError => {
                let count = header.counts.answers.into();
                match Message::read_records(&mut decoder, count, false, OpCode::Query) {
                    Ok((records, ..)) => Answer::Addresses(self.addresses(&records)),
                    Err(_) => Answer::Failed(ResponseCode::FormErr.into()),
                }
            }
            ResponseCode::NXDomain => Answer::NoName,
            code => Answer::Failed(code.into()),
        })
    }

    /// The addresses of the name, behind its aliases.
    fn addresses(&self, records: &[Record]) -> Vec<IpAddr> {
        let mut name = &self.query.name;
        for _ in 0..MOST_ALIASES {
            let alias = records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name.eq_ignore_root(name) => Some(&target.0),
                _ => None,
            });
            match alias {
                Some(target) => name = target,
                None => break,
            }
        }
        let of_name = records.iter().filter(|record| record.name.eq_ignore_root(name));
        let address = |record: &Record| match (&record.data, self.query.query_type) {
            (RData::A(address), RecordType::A) => Some(IpAddr::V4(address.0)),
            (RData::AAAA(address), RecordType::AAAA) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        of_name.filter_map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME};

    use super::*;

    fn name(name: &str) -> Name {
        Name::from_ascii(name).unwrap()
    }

    fn question() -> Question {
        Question::new("WWW.example", Addresses::V4, 0x1234).unwrap()
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
        let expected = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        assert_eq!(found, Some(Answer::Addresses(expected.to_vec())));
        let circle = records(vec![("www.example.", alias("a.example.")), ("a.example.", alias("www.example."))]);
        assert_eq!(circle, Some(Answer::Addresses(vec![])));
        assert_eq!(records(vec![]), Some(Answer::Addresses(vec![])));
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
        assert_eq!(code(ResponseCode::NXDomain), Some(Answer::NoName));
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
