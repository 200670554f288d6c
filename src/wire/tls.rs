//! TLS up to version 1.2, as far as it is said in clear: a ClientHello, and what a server answers before anything is encrypted.

use std::fmt;

/// Content types of records (RFC 5246, section 6.2.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Types of handshake messages (RFC 5246, section 7.4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

/// Type, version, length.
const RECORD_HEADER: usize = 5;

/// The most that a record holds in clear, in bytes (RFC 5246, section 6.2.1).
const LONGEST_RECORD: usize = 1 << 14;

/// The longest handshake message that is read, in bytes: chains of certificates are shorter.
const LONGEST_MESSAGE: usize = 1 << 16;

/// The groups that are offered: X25519, P-256, P-384, P-521, X448, brainpoolP256r1, P384r1 and P512r1, secp256k1. No finite fields: a server
/// of RFC 7919 then takes its own for DHE.
const GROUPS: [u16; 9] = [0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x001a, 0x001b, 0x001c, 0x0016];

/// What the server may sign with: RSA, RSA-PSS, ECDSA, Ed25519, DSA; with SHA-1, too, as old servers do.
const SIGNATURES: [u16; 14] =
    [0x0401, 0x0501, 0x0601, 0x0804, 0x0805, 0x0806, 0x0403, 0x0503, 0x0603, 0x0807, 0x0201, 0x0203, 0x0202, 0x0402];

/// A client of TLS 1.2 that takes older versions, too (RFC 5246, section 7.4.1.2).
#[derive(Debug, Clone, Copy)]
pub struct ClientHello<'a> {
    /// Nobody's keys are made of it.
    pub random: [u8; 32],
    /// The name that the server is asked for; addresses are none.
    pub server_name: Option<&'a str>,
    /// The cipher suites, the preferred first.
    pub cipher_suites: &'a [u16],
}

impl ClientHello<'_> {
    /// The bytes to send: one record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // The version of the record is the lowest, since there are servers that take no other before the version is settled.
        let mut bytes = vec![HANDSHAKE, 3, 1];
        prefixed::<2>(&mut bytes, |bytes| {
            bytes.push(CLIENT_HELLO);
            prefixed::<3>(bytes, |bytes| self.body(bytes));
        });
        bytes
    }

    fn body(&self, bytes: &mut Vec<u8>) {
        bytes.extend([3, 3]);
        bytes.extend(self.random);
        // No session.
        bytes.push(0);
        prefixed::<2>(bytes, |bytes| {
            numbers(bytes, self.cipher_suites);
            // That renegotiation is the safe one (RFC 5746, section 3.3), without which strict servers say nothing.
            numbers(bytes, &[0x00ff]);
        });
        // No compression.
        bytes.extend([1, 0]);
        prefixed::<2>(bytes, |bytes| {
            if let Some(name) = self.server_name {
                // RFC 6066, section 3.
                extension(bytes, 0, |bytes| {
                    prefixed::<2>(bytes, |bytes| {
                        bytes.push(0);
                        prefixed::<2>(bytes, |bytes| bytes.extend(name.as_bytes()));
                    });
                });
            }
            extension(bytes, 10, |bytes| prefixed::<2>(bytes, |bytes| numbers(bytes, &GROUPS)));
            // Points uncompressed, the only form that there still is (RFC 8422, section 5.1.2).
            extension(bytes, 11, |bytes| bytes.extend([1, 0]));
            extension(bytes, 13, |bytes| prefixed::<2>(bytes, |bytes| numbers(bytes, &SIGNATURES)));
            // There are servers that never answer a message of 256 to 511 bytes (RFC 7685).
            let length = bytes.len() - RECORD_HEADER;
            if (256..512).contains(&length) {
                let padding = 512_usize.saturating_sub(length + 4).max(1);
                extension(bytes, 21, |bytes| bytes.resize(bytes.len() + padding, 0));
            }
        });
    }
}

fn extension(bytes: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    numbers(bytes, &[number]);
    prefixed::<2>(bytes, write);
}

fn numbers(bytes: &mut Vec<u8>, numbers: &[u16]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

/// Appends what `write` appends, behind its length in `N` bytes.
fn prefixed<const N: usize>(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len() + N;
    bytes.resize(start, 0);
    write(bytes);
    let length = (bytes.len() - start).to_be_bytes();
    bytes[start - N..start].copy_from_slice(&length[length.len() - N..]);
}

/// What a server has chosen (RFC 5246, section 7.4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// The version: 0x0301 is TLS 1.0.
    pub version: u16,
    /// The cipher suite, by IANA's number.
    pub cipher_suite: u16,
}

/// What a server says in clear, as it comes: its hello and its certificates, which may be spread over several records and reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFlight {
    /// What it has chosen; nothing before it said so.
    pub hello: Option<ServerHello>,
    /// The DER of its certificates, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Bytes of records that are not whole yet.
    records: Vec<u8>,
    /// Bytes of handshake messages that are not whole yet.
    messages: Vec<u8>,
}

/// Why a server's flight went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlightError {
    /// The server refuses, by an alert: its number (RFC 5246, section 7.2).
    Alert(u8),
    /// This is no TLS.
    NotTls,
    /// A message, named, is not as it must be.
    Malformed(&'static str),
}

impl fmt::Display for FlightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(number) => write!(f, "the server sent the alert {number}"),
            Self::NotTls => f.write_str("the server does not speak TLS"),
            Self::Malformed(message) => write!(f, "the server sent {message} that is malformed"),
        }
    }
}

impl std::error::Error for FlightError {}

impl ServerFlight {
    /// Takes the next bytes from the server; says whether all that is looked for is there. Nothing needs to be fed after that.
    ///
    /// # Errors
    /// Why it will never be.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, FlightError> {
        self.records.extend(bytes);
        while let Some(([ty, major, _, length @ ..], rest)) = self.records.split_first_chunk::<RECORD_HEADER>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if !matches!(*ty, ALERT | HANDSHAKE) || *major != 3 || length > LONGEST_RECORD {
                return Err(FlightError::NotTls);
            }
            let Some(content) = rest.get(..length) else { break };
            if *ty == HANDSHAKE {
                self.messages.extend(content);
            } else {
                check_alert(content)?;
            }
            self.records.drain(..RECORD_HEADER + length);
            if self.take_messages()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the messages that are whole; says whether the last was one that ends the search.
    fn take_messages(&mut self) -> Result<bool, FlightError> {
        while let Some(([ty, length @ ..], rest)) = self.messages.split_first_chunk::<4>() {
            let length = number(*length);
            if length > LONGEST_MESSAGE {
                return Err(FlightError::Malformed("a message"));
            }
            let Some(body) = rest.get(..length) else { break };
            match (*ty, self.hello) {
                (HELLO_REQUEST, _) => {}
                (SERVER_HELLO, None) => {
                    self.hello = Some(server_hello(body).ok_or(FlightError::Malformed("a ServerHello"))?);
                }
                (CERTIFICATE, Some(_)) => {
                    self.chain = chain(body).ok_or(FlightError::Malformed("a Certificate message"))?;
                    return Ok(true);
                }
                (_, None) => return Err(FlightError::Malformed("a handshake")),
                // It has no certificate.
                (_, Some(_)) => return Ok(true),
            }
            self.messages.drain(..4 + length);
        }
        Ok(false)
    }
}

/// A warning is none, but for the one that says goodbye.
fn check_alert(content: &[u8]) -> Result<(), FlightError> {
    match *content {
        [1, number] if number != 0 => Ok(()),
        [_, number] => Err(FlightError::Alert(number)),
        _ => Err(FlightError::Malformed("an alert")),
    }
}

fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let (version, rest) = body.split_first_chunk::<2>()?;
    let (_random, rest) = rest.split_first_chunk::<32>()?;
    let (session, rest) = rest.split_first()?;
    let (cipher_suite, rest) = rest.get(usize::from(*session)..)?.split_first_chunk::<2>()?;
    // The compression; extensions may follow.
    rest.first()?;
    Some(ServerHello { version: u16::from_be_bytes(*version), cipher_suite: u16::from_be_bytes(*cipher_suite) })
}

/// RFC 5246, section 7.4.2.
fn chain(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (length, mut rest) = body.split_first_chunk::<3>()?;
    let mut chain = Vec::new();
    if rest.len() != number(*length) {
        return None;
    }
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<3>()?;
        let (certificate, behind) = behind.split_at_checked(number(*length))?;
        chain.push(certificate.to_vec());
        rest = behind;
    }
    Some(chain)
}

fn number([high, middle, low]: [u8; 3]) -> usize {
    u32::from_be_bytes([0, high, middle, low]) as usize
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The record of a handshake message.
    fn records(messages: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in messages.chunks(size) {
            bytes.extend([HANDSHAKE, 3, 1]);
            prefixed::<2>(&mut bytes, |bytes| bytes.extend(part));
        }
        bytes
    }

    fn message(ty: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![ty];
        prefixed::<3>(&mut bytes, |bytes| bytes.extend(body));
        bytes
    }

    fn hello(version: u16, session: &[u8], cipher_suite: u16, rest: &[u8]) -> Vec<u8> {
        let (version, suite) = (version.to_be_bytes(), cipher_suite.to_be_bytes());
        let body = [&version[..], &[0xa5; 32], &[session.len() as u8], session, &suite, &[0], rest].concat();
        message(SERVER_HELLO, &body)
    }

    fn certificates(chain: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        prefixed::<3>(&mut body, |body| {
            for certificate in chain {
                prefixed::<3>(body, |body| body.extend(certificate));
            }
        });
        message(CERTIFICATE, &body)
    }

    /// Feeds bytes in pieces until the flight ends.
    fn fed(bytes: &[u8], size: usize) -> (ServerFlight, Result<bool, FlightError>) {
        let mut flight = ServerFlight::default();
        for piece in bytes.chunks(size) {
            match flight.feed(piece) {
                Ok(false) => {}
                end => return (flight, end),
            }
        }
        (flight, Ok(false))
    }

    #[test]
    fn a_hello_reads_as_it_was_meant() {
        let said = ClientHello { random: [7; 32], server_name: Some("a.example"), cipher_suites: &[0x002f, 0xc013] };
        let mut expected = vec![HANDSHAKE, 3, 1, 0, 133, CLIENT_HELLO, 0, 0, 129, 3, 3];
        expected.extend([7; 32]);
        expected.extend([0, 0, 6, 0x00, 0x2f, 0xc0, 0x13, 0x00, 0xff, 1, 0, 0, 82]);
        expected.extend([0, 0, 0, 14, 0, 12, 0, 0, 9]);
        expected.extend(b"a.example");
        expected.extend([
            0, 10, 0, 20, 0, 18, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19, 0, 0x1e, 0, 0x1a, 0, 0x1b, 0, 0x1c, 0, 0x16,
        ]);
        expected.extend([0, 11, 0, 2, 1, 0]);
        expected.extend([0, 13, 0, 30, 0, 28, 4, 1, 5, 1, 6, 1, 8, 4, 8, 5, 8, 6, 4, 3, 5, 3, 6, 3, 8, 7]);
        expected.extend([2, 1, 2, 3, 2, 2, 4, 2]);
        assert_eq!(said.to_bytes(), expected);
        let nameless = ClientHello { server_name: None, ..said }.to_bytes();
        assert_eq!(nameless.len(), expected.len() - 18);
    }

    #[test]
    fn no_hello_has_a_length_that_servers_never_answer() {
        for suites in 0..200 {
            let suites = vec![0x002f; suites];
            for name in [None, Some("a"), Some("a-very-long-name.of-a-host.example")] {
                let hello = ClientHello { random: [0; 32], server_name: name, cipher_suites: &suites }.to_bytes();
                let length = hello.len() - RECORD_HEADER;
                assert!(!(256..512).contains(&length), "{length}");
                assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), length);
            }
        }
    }

    #[test]
    fn a_flight_is_read_however_it_is_cut() {
        let chain = vec![vec![1; 700], vec![2; 300], Vec::new()];
        let said = ServerHello { version: 0x0301, cipher_suite: 0xc014 };
        for extensions in [&[][..], &[0, 0]] {
            let messages =
                [hello(0x0301, &[9; 32], 0xc014, extensions), certificates(&chain), message(14, &[])].concat();
            for record in [1, 3, 50, 1 << 14] {
                let bytes = records(&messages, record);
                for read in [1, 4, 1000, bytes.len()] {
                    let (flight, end) = fed(&bytes, read);
                    assert_eq!(end, Ok(true), "records of {record}, reads of {read}");
                    assert_eq!((flight.hello, &flight.chain), (Some(said), &chain));
                }
            }
        }
    }

    #[test]
    fn a_server_without_certificates_has_said_all_with_its_next_message() {
        let (flight, end) = fed(&records(&[hello(0x0303, &[], 0x0018, &[]), message(12, b"dh")].concat(), 64), 7);
        assert_eq!((end, flight.chain.len()), (Ok(true), 0));
        assert_eq!(flight.hello, Some(ServerHello { version: 0x0303, cipher_suite: 0x0018 }));
    }

    #[test]
    fn what_was_said_before_the_end_stays() {
        let said = records(&hello(0x0302, &[], 0x0035, &[]), 64);
        let (flight, end) = fed(&said, 64);
        assert_eq!((end, flight.hello.is_some()), (Ok(false), true));
        let (flight, end) = fed(&[&said[..], &[ALERT, 3, 2, 0, 2, 2, 80]].concat(), 64);
        assert_eq!((end, flight.hello.is_some()), (Err(FlightError::Alert(80)), true));
    }

    #[test]
    fn a_refusal_is_told_and_a_warning_is_not() {
        assert_eq!(fed(&[ALERT, 3, 1, 0, 2, 2, 40], 3).1, Err(FlightError::Alert(40)));
        assert_eq!(fed(&[ALERT, 3, 1, 0, 2, 1, 0], 3).1, Err(FlightError::Alert(0)));
        let warned = [&[ALERT, 3, 1, 0, 2, 1, 112][..], &records(&message(HELLO_REQUEST, &[]), 9)].concat();
        assert_eq!(fed(&warned, 3).1, Ok(false));
        let flight = [warned, records(&[hello(0x0300, &[], 5, &[]), certificates(&[])].concat(), 99)].concat();
        assert_eq!(fed(&flight, 11).1, Ok(true));
    }

    #[test]
    fn what_is_not_as_it_must_be_ends_the_flight() {
        let cut = |message: &[u8]| message[..message.len() - 1].to_vec();
        let short = |ty, whole: Vec<u8>| message(ty, &cut(&whole[4..]));
        let of = |said: &[&[u8]]| records(&said.concat(), 1 << 14);
        let good = hello(0x0301, &[], 0x0035, &[]);
        for (bytes, expected) in [
            (b"SSH-2.0-OpenSSH_9\r\n".to_vec(), FlightError::NotTls),
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), FlightError::NotTls),
            (vec![HANDSHAKE, 2, 0, 0, 1, 0], FlightError::NotTls),
            (vec![HANDSHAKE, 3, 1, 0x40, 1], FlightError::NotTls),
            (vec![23, 3, 1, 0, 1, 0], FlightError::NotTls),
            (vec![ALERT, 3, 1, 0, 1, 2], FlightError::Malformed("an alert")),
            (of(&[&[SERVER_HELLO, 1, 0, 1]]), FlightError::Malformed("a message")),
            (of(&[&short(SERVER_HELLO, good.clone())]), FlightError::Malformed("a ServerHello")),
            (of(&[&certificates(&[vec![1]])]), FlightError::Malformed("a handshake")),
            (
                of(&[&good, &short(CERTIFICATE, certificates(&[vec![1]]))]),
                FlightError::Malformed("a Certificate message"),
            ),
            (of(&[&good, &message(CERTIFICATE, &[0, 0, 3, 0, 0, 1])]), FlightError::Malformed("a Certificate message")),
        ] {
            assert_eq!(fed(&bytes, 5).1, Err(expected), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..400), size in 1..40_usize) {
            let _ = fed(&bytes, size);
            let _ = fed(&records(&bytes, size), size);
            let behind = [hello(0x0301, &[], 0x0035, &[]), message(CERTIFICATE, &bytes)].concat();
            let _ = fed(&records(&behind, size), size);
            let _ = fed(&records(&message(SERVER_HELLO, &bytes), size), size);
        }

        #[test]
        fn what_is_said_is_what_is_read(
            version: u16,
            cipher_suite: u16,
            session in vec(any::<u8>(), 0..33),
            chain in vec(vec(any::<u8>(), 0..200), 0..5),
            record in 1..100_usize,
            read in 1..300_usize,
        ) {
            let bytes = records(&[hello(version, &session, cipher_suite, &[]), certificates(&chain)].concat(), record);
            let (flight, end) = fed(&bytes, read);
            prop_assert_eq!(end, Ok(true));
            prop_assert_eq!(flight.hello, Some(ServerHello { version, cipher_suite }));
            prop_assert_eq!(flight.chain, chain);
        }
    }
}
