//! SOCKS 5 as a client (RFC 1928), with user and password (RFC 1929).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The version, which every message but those of RFC 1929 begins with.
pub const VERSION: u8 = 5;

/// The version of RFC 1929.
pub const PASSWORD_VERSION: u8 = 1;

/// A way to say who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Nothing,
    /// User and password.
    Password,
    /// What the server chose instead; 255 is none of those it was offered.
    Other(u8),
}

/// Where the server is to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An address and a port.
    Address(SocketAddr),
    /// A name, which the server resolves, and a port.
    Name(String, u16),
}

/// What a server says to a request (RFC 1928, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The connection is there.
    Succeeded,
    /// Of the server itself.
    GeneralFailure,
    /// The server's rules forbid it.
    NotAllowed,
    /// There is no way to the network.
    NetworkUnreachable,
    /// There is no way to the host.
    HostUnreachable,
    /// The host refused the connection.
    ConnectionRefused,
    /// The time to live of a packet ended.
    TtlExpired,
    /// The server does not connect.
    CommandNotSupported,
    /// The server does not take such a destination.
    AddressTypeNotSupported,
    /// A code of later times.
    Other(u8),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl Method {
    const NOTHING: u8 = 0;
    const PASSWORD: u8 = 2;

    /// The method of a code.
    #[must_use]
    pub fn of(code: u8) -> Self {
        match code {
            Self::NOTHING => Self::Nothing,
            Self::PASSWORD => Self::Password,
            code => Self::Other(code),
        }
    }
}

impl Reply {
    /// The reply of a code.
    #[must_use]
    pub fn of(code: u8) -> Self {
        match code {
            0 => Self::Succeeded,
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            code => Self::Other(code),
        }
    }
}

/// The first message: the methods that are offered.
#[must_use]
pub fn greeting(with_password: bool) -> Vec<u8> {
    match with_password {
        true => vec![VERSION, 2, Method::NOTHING, Method::PASSWORD],
        false => vec![VERSION, 1, Method::NOTHING],
    }
}

/// User and password; nothing where they are too long for it, or the user is empty.
#[must_use]
pub fn password(user: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    let lengths = (u8::try_from(user.len()).ok().filter(|length| *length > 0)?, u8::try_from(password.len()).ok()?);
    Some([&[PASSWORD_VERSION, lengths.0], user, &[lengths.1], password].concat())
}

/// The request for a connection; nothing where the name is longer than a name may be.
#[must_use]
pub fn connect(destination: &Destination) -> Option<Vec<u8>> {
    let mut message = vec![VERSION, 1, 0];
    let port = match destination {
        Destination::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    message.push(1);
                    message.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    message.push(4);
                    message.extend(ip.octets());
                }
            }
            address.port()
        }
        Destination::Name(name, port) => {
            message.extend([3, u8::try_from(name.len()).ok()?]);
            message.extend(name.bytes());
            *port
        }
    };
    message.extend(port.to_be_bytes());
    Some(message)
}

/// How long the server's own address is in a reply, its port included, by the type of the address and the byte behind it; that byte is the
/// first of it. Nothing for a type that there is none of.
#[must_use]
pub fn bound_length(ty: u8, first: u8) -> Option<usize> {
    match ty {
        1 => Some(4 + 2),
        3 => Some(1 + usize::from(first) + 2),
        4 => Some(16 + 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_rfcs() {
        assert_eq!((greeting(false), greeting(true)), (vec![5, 1, 0], vec![5, 2, 0, 2]));
        assert_eq!(password(b"me", b"pw").as_deref(), Some(&b"\x01\x02me\x02pw"[..]));
        assert_eq!(password(b"me", b"").as_deref(), Some(&b"\x01\x02me\x00"[..]));
        assert_eq!((password(b"", b"pw"), password(&[b'x'; 256], b"")), (None, None));
        let request = |destination| connect(&destination).unwrap();
        let v4 = Destination::Address("192.0.2.1:443".parse().unwrap());
        assert_eq!(request(v4), [5, 1, 0, 1, 192, 0, 2, 1, 1, 187]);
        let v6 = request(Destination::Address("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!((&v6[..8], &v6[18..]), (&[5, 1, 0, 4, 0x20, 1, 0xd, 0xb8][..], &[0, 1, 0, 80][..]));
        assert_eq!(request(Destination::Name("a.b".into(), 80)), *b"\x05\x01\x00\x03\x03a.b\x00\x50");
        assert_eq!(connect(&Destination::Name("x".repeat(256), 80)), None);
    }

    #[test]
    fn a_reply_is_as_long_as_its_address() {
        assert_eq!([1, 3, 4, 9].map(|ty| bound_length(ty, 7)), [Some(6), Some(10), Some(18), None]);
    }
}
