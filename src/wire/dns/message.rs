//! A question of a module, and the reply to it, whatever it holds.

use super::codes::{NOERROR, OPT, SOA, class_text, rcode_text, type_text};
use super::name::DomainName;
use super::present;
use super::reader::Reader;

/// What a module asks a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name.
    pub name: DomainName,
    /// The type, by its number.
    pub ty: u16,
    /// The class, by its number.
    pub class: u16,
    /// Whether the server is asked to ask others (flag RD).
    pub recursion_desired: bool,
    /// The longest datagram that we say we take, in bytes (EDNS, RFC 6891); nothing says nothing, which means 512.
    pub edns_udp_size: Option<u16>,
}

/// What came back, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Response code, with the part that EDNS adds.
    pub rcode: u16,
    /// The server is an authority for the name (flag AA).
    pub authoritative: bool,
    /// Something is missing that did not fit (flag TC).
    pub truncated: bool,
    /// The server asks others (flag RA).
    pub recursion_available: bool,
    /// The server has verified the data (flag AD).
    pub authenticated: bool,
    /// The longest datagram that the server says it takes, in bytes; nothing where it says nothing of EDNS.
    pub edns_udp_size: Option<u16>,
    /// What the server says of its error beside the code (RFC 8914), for a person.
    pub extended_errors: Vec<String>,
    /// Records that answer the question.
    pub answer: Section,
    /// Records that name authorities.
    pub authority: Section,
    /// Other records; what EDNS says counts as one.
    pub additional: Section,
    /// What of it cannot be read, as a sentence; nothing where all can.
    pub defect: Option<String>,
}

/// A section of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Its records, as far as they came.
    pub records: Vec<Entry>,
    /// Whether that is all of it.
    pub complete: bool,
}

/// A record of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its type, by its number.
    pub ty: u16,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// The record as master files have it: name, TTL, class, type, with tabs between them, and what it says.
    pub text: String,
    /// The serial number of the zone, in an SOA.
    pub serial: Option<u32>,
}

/// The flags of a header (RFC 1035, section 4.1.1; RFC 4035, section 3.2.3).
const QR: u16 = 1 << 15;
const AA: u16 = 1 << 10;
const TC: u16 = 1 << 9;
const RD: u16 = 1 << 8;
const RA: u16 = 1 << 7;
const AD: u16 = 1 << 5;

/// The option of EDNS that explains an error.
const EXTENDED_ERROR: u16 = 15;

impl Query {
    /// The message to send, in words of `id`.
    #[must_use]
    pub fn message(&self, id: u16) -> Vec<u8> {
        let flags = if self.recursion_desired { RD } else { 0 };
        let additional = u16::from(self.edns_udp_size.is_some());
        let mut message: Vec<u8> = [id, flags, 1, 0, 0, additional].into_iter().flat_map(u16::to_be_bytes).collect();
        message.extend(self.name.as_bytes());
        message.extend([self.ty, self.class].into_iter().flat_map(u16::to_be_bytes));
        if let Some(size) = self.edns_udp_size {
            message.extend(DomainName::root().as_bytes());
            message.extend([OPT, size].into_iter().flat_map(u16::to_be_bytes));
            // Response code, version and flags; no options.
            message.extend([0; 6]);
        }
        message
    }

    /// The question for a person: `www.example. IN A`.
    #[must_use]
    pub fn question(&self) -> String {
        format!("{} {} {}", self.name, class_text(self.class), type_text(self.ty))
    }

    /// Reads the reply to this question in words of `id`; `whole`: whether the message has come to its end.
    ///
    /// # Errors
    /// Why it is no reply to it, as a predicate of the message. Only what cannot be told from a reply that is still coming is one.
    pub fn reply(&self, id: u16, message: &[u8], whole: bool) -> Result<Reply, String> {
        let mut reader = Reader::new(message);
        let header = [(); 6].map(|()| reader.u16());
        let [Some(its_id), Some(flags), Some(questions), Some(answers), Some(authorities), Some(additionals)] = header
        else {
            return Err("is shorter than a header".to_owned());
        };
        if its_id != id {
            return Err("has another id".to_owned());
        }
        if flags & QR == 0 {
            return Err("is a question itself".to_owned());
        }
        let mut reply = Reply {
            rcode: flags & 0xf,
            authoritative: flags & AA != 0,
            truncated: flags & TC != 0,
            recursion_available: flags & RA != 0,
            authenticated: flags & AD != 0,
            ..Reply::default()
        };
        let repeated = if questions > 0 { self.is_repeated(questions, &mut reader) } else { None };
        match repeated {
            Some(true) => {}
            Some(false) => return Err("answers another question".to_owned()),
            None if !whole => return Ok(reply),
            // A server that cannot, or will not, deal with a question need not repeat it, and some count it all the same.
            None if reply.rcode == NOERROR => return Err("does not repeat the question".to_owned()),
            None => {}
        }
        reply.answer = reply.section(&mut reader, answers, whole);
        if reply.answer.complete {
            reply.authority = reply.section(&mut reader, authorities, whole);
        }
        if reply.authority.complete {
            reply.additional = reply.section(&mut reader, additionals, whole);
        }
        Ok(reply)
    }

    /// Whether the message repeats the question; nothing where it ends before.
    fn is_repeated(&self, questions: u16, reader: &mut Reader<'_>) -> Option<bool> {
        let (name, ty, class) = (DomainName::read(reader)?, reader.u16()?, reader.u16()?);
        Some(questions == 1 && name.is_same_as(&self.name) && ty == self.ty && class == self.class)
    }
}

impl Reply {
    /// The smallest TTL of the answer, in seconds; nothing before all of the answer is there.
    #[must_use]
    pub fn answer_ttl(&self) -> Option<u32> {
        let records = self.answer.complete.then_some(&self.answer.records)?;
        records.iter().map(|entry| entry.ttl).min()
    }

    /// The serial number of the last SOA of the answer.
    #[must_use]
    pub fn serial(&self) -> Option<u32> {
        self.answer.records.iter().rev().find_map(|entry| entry.serial)
    }

    /// The response code for a person, with what else the server says of it.
    #[must_use]
    pub fn rcode_text(&self) -> String {
        let mut text = rcode_text(self.rcode).into_owned();
        for error in &self.extended_errors {
            text.push_str(", extended error ");
            text.push_str(error);
        }
        text
    }

    /// Reads a section of so many records. A message that ends between two of them has just fewer, as some servers' have that were cut.
    fn section(&mut self, reader: &mut Reader<'_>, count: u16, whole: bool) -> Section {
        let mut section = Section::default();
        for _ in 0..count {
            if reader.is_at_end() {
                section.complete = whole;
                return section;
            }
            let Some(record) = Record::read(reader) else {
                if whole {
                    self.defect
                        .get_or_insert_with(|| "the reply ends, or is broken, in the middle of a record".to_owned());
                }
                return section;
            };
            if record.ty == OPT {
                self.note_edns(&record);
            }
            let (entry, is_good) = record.entry();
            if !is_good {
                let what = || format!("a record of type {} is malformed: {}", type_text(entry.ty), entry.text);
                self.defect.get_or_insert_with(what);
            }
            section.records.push(entry);
        }
        section.complete = true;
        section
    }

    /// Keeps what EDNS says (RFC 6891, section 6.1).
    fn note_edns(&mut self, record: &Record<'_>) {
        self.edns_udp_size = Some(record.class);
        self.rcode |= ((record.ttl >> 24) as u16) << 4;
        let mut options = record.data;
        while let (Some(code), Some(length)) = (options.u16(), options.u16()) {
            let Some(value) = options.take(length.into()) else { break };
            if let (EXTENDED_ERROR, [high, low, text @ ..]) = (code, value) {
                let code = u16::from_be_bytes([*high, *low]);
                self.extended_errors.push(format!("{code} {:?}", String::from_utf8_lossy(text)));
            }
        }
    }

    /// Its sections, each with its name.
    #[must_use]
    pub fn sections(&self) -> [(&'static str, &Section); 3] {
        [("answer", &self.answer), ("authority", &self.authority), ("additional", &self.additional)]
    }
}

/// A record as the wire has it.
struct Record<'a> {
    name: DomainName,
    ty: u16,
    class: u16,
    ttl: u32,
    /// What it says, in its message, which names in it may point back into.
    data: Reader<'a>,
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let name = DomainName::read(reader)?;
        let (ty, class, ttl, length) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u16()?);
        let data = reader.ending_after(length.into())?;
        reader.take(length.into())?;
        Some(Self { name, ty, class, ttl, data })
    }

    /// The record as text, and whether it is as its type wants it. One that is not, and one of an unknown type, is told by its bytes.
    fn entry(&self) -> (Entry, bool) {
        let (Self { name, .. }, ty, class, ttl, mut data) = (self, self.ty, self.class, self.ttl, self.data);
        let known = present::is_known(ty);
        let words = if known { present::data(ty, data) } else { None };
        let is_good = words.is_some() || !known;
        let text = match words {
            _ if ty == OPT => format!("; EDNS: version {}, udp: {class}", ttl >> 16 & 0xff),
            Some(words) => format!("{name}\t{ttl}\t{}\t{}\t{words}", class_text(class), type_text(ty)),
            None => format!("{name}\t{ttl}\tCLASS{class}\tTYPE{ty}\t{}", present::unknown(data.rest())),
        };
        let mut serial = self.data;
        let serial = (ty == SOA).then(|| {
            DomainName::read(&mut serial)?;
            DomainName::read(&mut serial)?;
            serial.u32()
        });
        (Entry { ty, ttl, text, serial: serial.flatten() }, is_good)
    }
}

#[cfg(test)]
mod tests;
