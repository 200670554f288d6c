//! STUN (RFC 8489): the Binding request, by which a client asks a server which address and port it sees, and the answers to it.
//!
//! What old servers say (RFC 3489, RFC 5389) is understood; of what others ask, only the Binding request is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use flate2::Crc;

/// The port of servers (RFC 8489, section 18.6).
pub const PORT: u16 = 3478;

/// How long the header of a message is, in bytes.
pub const HEADER: usize = 20;

/// What says of a message whose answer it is; not to be guessed.
pub type Transaction = [u8; 12];

/// What every message has behind its length (section 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

// Types of messages: the method Binding, and its classes.
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

// Types of attributes (section 18.3).
const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ALTERNATE_SERVER: u16 = 0x8023;
const FINGERPRINT: u16 = 0x8028;

/// Types below this one a receiver must understand; others it may pass over (section 14).
const OPTIONAL: u16 = 0x8000;

/// What a success may have that must be understood: addresses, and what other servers authenticate with and once told of themselves (RFC 3489), none of which
/// makes the address another one.
const UNDERSTOOD: [u16; 15] = [
    MAPPED_ADDRESS,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x07,
    0x08,
    ERROR_CODE,
    0x0b,
    0x14,
    0x15,
    0x1c,
    0x1d,
    XOR_MAPPED_ADDRESS,
];

/// What the checksum of a fingerprint is combined with (section 14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// How long a fingerprint is, with its header, in bytes.
const FINGERPRINT_LENGTH: usize = 8;

/// The most attributes that a refusal names: it is not to be much longer than what it answers.
const NAMED: usize = 4;

/// The most characters of an error's reason that are kept (section 14.8 has 127).
const REASON_LIMIT: usize = 127;

/// What a server says to a Binding request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Who it sees.
    Mapped(Mapped),
    /// That it does not say so.
    Refused(Refusal),
    /// Something that cannot be used, in a few words behind `the answer`.
    Broken(String),
}

/// Who a server sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The address and port that the request came from.
    pub address: SocketAddr,
    /// Whether they stood there in clear (MAPPED-ADDRESS, as old servers say them): what translates addresses on the way may have changed them.
    pub in_clear: bool,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, 300 to 699.
    pub code: u16,
    /// What the server says of it.
    pub reason: String,
    /// Who is to be asked instead (with 300).
    pub alternate: Option<SocketAddr>,
}

/// A Binding request of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    transaction: Transaction,
    /// Whether it has a fingerprint, and the answer is to have one.
    has_fingerprint: bool,
    /// Attributes that would have to be understood.
    unknown: Vec<u16>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, reason, alternate } = self;
        write!(f, "{code}")?;
        if !reason.is_empty() {
            write!(f, " {reason:?}")?;
        }
        if let Some(alternate) = alternate {
            write!(f, " (ALTERNATE-SERVER {alternate})")?;
        }
        Ok(())
    }
}

/// A Binding request, with a fingerprint, so that the answer has one, too.
#[must_use]
pub fn binding_request(transaction: &Transaction) -> Vec<u8> {
    message(REQUEST, transaction, &[], true)
}

/// How long a message is, by its header, in bytes: over TCP nothing else tells where it ends.
///
/// # Errors
/// Why it is none of STUN, in a few words behind `it`.
pub fn length(header: &[u8; HEADER]) -> Result<usize, &'static str> {
    if header[0] & 0xc0 != 0 {
        return Err("does not begin as one of STUN");
    }
    if header[4..8] != MAGIC_COOKIE {
        return Err("has not the magic cookie of STUN");
    }
    match u16::from_be_bytes([header[2], header[3]]) {
        length if length % 4 == 0 => Ok(HEADER + usize::from(length)),
        _ => Err("has a length that none of STUN has"),
    }
}

/// Reads the answer to a request.
///
/// # Errors
/// Why it is none to that request, in a few words behind `it`: anybody may have sent it.
pub fn answer(message: &[u8], transaction: &Transaction) -> Result<Answer, &'static str> {
    let (ty, found) = open(message)?;
    if !matches!(ty, SUCCESS | ERROR) {
        return Err("is no answer to a Binding request");
    }
    if found != transaction {
        return Err("has another transaction id");
    }
    // Who knows the id has seen the request: what is wrong from here on is the server's doing, or that of somebody on the way.
    Ok(content(ty, message).unwrap_or_else(Answer::Broken))
}

/// Reads a Binding request; nothing where it is none that is owed an answer.
#[must_use]
pub fn request(message: &[u8]) -> Option<Request> {
    let (REQUEST, transaction) = open(message).ok()? else { return None };
    let attributes = attributes(message).ok()?;
    let unknown = attributes.iter().map(|attribute| attribute.ty).filter(|ty| *ty < OPTIONAL);
    let unknown = unknown.take(NAMED).collect();
    let has_fingerprint = attributes.last().is_some_and(|attribute| attribute.ty == FINGERPRINT);
    Some(Request { transaction: *transaction, has_fingerprint, unknown })
}

/// What is said to a request from `caller`: the address, and no more (at most 24 bytes beyond the request), or what of the request is not understood.
#[must_use]
pub fn response(request: &Request, caller: SocketAddr) -> Vec<u8> {
    let Request { transaction, has_fingerprint, unknown } = request;
    if unknown.is_empty() {
        let value = address_value(caller, transaction);
        return message(SUCCESS, transaction, &[(XOR_MAPPED_ADDRESS, value)], *has_fingerprint);
    }
    let error = vec![0, 0, 4, 20];
    let unknown = unknown.iter().flat_map(|ty| ty.to_be_bytes()).collect();
    message(ERROR, transaction, &[(ERROR_CODE, error), (UNKNOWN_ATTRIBUTES, unknown)], *has_fingerprint)
}

/// An attribute of a message.
#[derive(Debug, Clone, Copy)]
struct Attribute<'a> {
    ty: u16,
    value: &'a [u8],
    /// Where it begins.
    at: usize,
}

/// The type of a whole message, and its transaction.
fn open(message: &[u8]) -> Result<(u16, &Transaction), &'static str> {
    let header: &[u8; HEADER] = message.first_chunk().ok_or("is shorter than the header of one of STUN")?;
    if length(header)? != message.len() {
        return Err("is not as long as it says");
    }
    let transaction = header.last_chunk().ok_or("has no transaction id")?;
    Ok((u16::from_be_bytes([header[0], header[1]]), transaction))
}

/// The attributes of a whole message, with its fingerprint, where it has one, verified.
fn attributes(message: &[u8]) -> Result<Vec<Attribute<'_>>, String> {
    let mut attributes: Vec<Attribute<'_>> = Vec::new();
    let mut at = HEADER;
    while let Some(left) = message.get(at..).filter(|left| !left.is_empty()) {
        let Some((&[ty0, ty1, length0, length1], rest)) = left.split_first_chunk() else {
            return Err("ends within an attribute".into());
        };
        let length = usize::from(u16::from_be_bytes([length0, length1]));
        let ty = u16::from_be_bytes([ty0, ty1]);
        let Some(value) = rest.get(..length).filter(|_| length.next_multiple_of(4) <= rest.len()) else {
            return Err(format!("ends within its attribute {ty:#06x}"));
        };
        if attributes.last().is_some_and(|before| before.ty == FINGERPRINT) {
            return Err("has something behind its FINGERPRINT".into());
        }
        attributes.push(Attribute { ty, value, at });
        at += 4 + length.next_multiple_of(4);
    }
    if let Some(Attribute { ty: FINGERPRINT, value, at }) = attributes.last()
        && *value != fingerprint(&message[..*at])
    {
        return Err("has a FINGERPRINT that is not its own: it was changed on the way".into());
    }
    Ok(attributes)
}

/// What the fingerprint of a message must be that so begins.
fn fingerprint(before: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(before);
    (crc.sum() ^ FINGERPRINT_MASK).to_be_bytes()
}

/// What an answer says.
fn content(ty: u16, message: &[u8]) -> Result<Answer, String> {
    let attributes = attributes(message)?;
    // Of several of a type the first counts (section 14).
    let value = |ty| attributes.iter().find(|attribute| attribute.ty == ty).map(|attribute| attribute.value);
    if ty == ERROR {
        let alternate = value(ALTERNATE_SERVER).and_then(address);
        let (code, reason) = value(ERROR_CODE).and_then(error).ok_or("is an error without a code")?;
        return Ok(Answer::Refused(Refusal { code, reason, alternate }));
    }
    let is_unknown = |ty: &u16| *ty < OPTIONAL && !UNDERSTOOD.contains(ty);
    if let Some(ty) = attributes.iter().map(|attribute| attribute.ty).find(is_unknown) {
        return Err(format!("has the attribute {ty:#06x}, which would have to be understood"));
    }
    let transaction = message[8..HEADER].try_into().unwrap_or_default();
    let mapped = match (value(XOR_MAPPED_ADDRESS), value(MAPPED_ADDRESS)) {
        (Some(value), _) => {
            address(value).map(|masked| Mapped { address: unmasked(masked, &transaction), in_clear: false })
        }
        (None, Some(value)) => address(value).map(|address| Mapped { address, in_clear: true }),
        (None, None) => return Err("has no address".into()),
    };
    mapped.map(Answer::Mapped).ok_or_else(|| "has an address of no family".into())
}

/// Reads an address and a port (section 14.1).
fn address(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family, port0, port1], ip) = value.split_first_chunk()?;
    let ip = match family {
        1 => IpAddr::from(*ip.as_array::<4>()?),
        2 => IpAddr::from(*ip.as_array::<16>()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([port0, port1])))
}

/// Writes an address and a port, masked.
fn address_value(address: SocketAddr, transaction: &Transaction) -> Vec<u8> {
    let masked = unmasked(SocketAddr::new(address.ip().to_canonical(), address.port()), transaction);
    let family = if masked.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family];
    value.extend(masked.port().to_be_bytes());
    match masked.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets()),
        IpAddr::V6(ip) => value.extend(ip.octets()),
    }
    value
}

/// An address without its mask, or with it (section 14.2): the magic cookie, and behind it the transaction.
fn unmasked(address: SocketAddr, transaction: &Transaction) -> SocketAddr {
    let port = address.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
    let ip = match address.ip() {
        IpAddr::V4(ip) => (ip.to_bits() ^ u32::from_be_bytes(MAGIC_COOKIE)).to_be_bytes().into(),
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            for (octet, mask) in octets.iter_mut().zip(MAGIC_COOKIE.iter().chain(transaction)) {
                *octet ^= mask;
            }
            octets.into()
        }
    };
    SocketAddr::new(ip, port)
}

/// Reads an error's code and reason (section 14.8).
fn error(value: &[u8]) -> Option<(u16, String)> {
    let (&[_, _, class, number], reason) = value.split_first_chunk()?;
    let class = class & 7;
    if !(3..=6).contains(&class) || number > 99 {
        return None;
    }
    let reason = String::from_utf8_lossy(reason).chars().take(REASON_LIMIT).collect();
    Some((u16::from(class) * 100 + u16::from(number), reason))
}

/// A whole message.
fn message(ty: u16, transaction: &Transaction, attributes: &[(u16, Vec<u8>)], with_fingerprint: bool) -> Vec<u8> {
    let lengths = attributes.iter().map(|(_, value)| 4 + value.len().next_multiple_of(4));
    let length = lengths.sum::<usize>() + if with_fingerprint { FINGERPRINT_LENGTH } else { 0 };
    let mut message = Vec::with_capacity(HEADER + length);
    message.extend(ty.to_be_bytes());
    message.extend((length as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE);
    message.extend(transaction);
    for (ty, value) in attributes {
        message.extend(ty.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    if with_fingerprint {
        // Of all before it, the length as it is with it.
        let fingerprint = fingerprint(&message);
        message.extend(FINGERPRINT.to_be_bytes());
        message.extend(4_u16.to_be_bytes());
        message.extend(fingerprint);
    }
    message
}

#[cfg(test)]
mod tests;
