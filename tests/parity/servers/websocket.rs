//! A server of WebSockets (RFC 6455), of messages of less than 126 bytes.

use std::io::{Read, Write};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// Goes on with a connection whose handshake had this key, as a path says.
pub(super) fn converse(mut stream: impl Read + Write, key: &str, path: &str) -> std::io::Result<()> {
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let accept = if path == "/ws/wrong" { "wrong".to_owned() } else { BASE64_STANDARD.encode(accept) };
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    write!(stream, "{head}Sec-WebSocket-Accept: {accept}\r\n\r\n")?;
    match path {
        "/ws/greets" => say(&mut stream, TEXT, b"hello, you")?,
        "/ws/bytes" => say(&mut stream, BINARY, b"\xffbytes")?,
        "/ws/two" => [b"first", b"later"].into_iter().try_for_each(|text| say(&mut stream, TEXT, text))?,
        "/ws/pings" => {
            say(&mut stream, 0x89, b"")?;
            say(&mut stream, TEXT, b"well")?;
        }
        "/ws/closes" => say(&mut stream, CLOSE, b"\x03\xe8")?,
        "/ws/ends" => return Ok(()),
        _ => {}
    }
    while let Some((kind, message)) = hear(&mut stream)? {
        match kind {
            CLOSE => return say(&mut stream, CLOSE, &message),
            TEXT | BINARY if path == "/ws/echo" => say(&mut stream, kind, &message)?,
            _ => {}
        }
    }
    Ok(())
}

fn say(stream: &mut impl Write, kind: u8, message: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[&[kind, u8::try_from(message.len()).unwrap()], message].concat())
}

/// The first byte of a frame and what it carries; nothing where the client has gone.
fn hear(stream: &mut impl Read) -> std::io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..])?;
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut message = vec![0; (head[1] & 0x7f).into()];
    stream.read_exact(&mut message)?;
    message.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Some((head[0], message)))
}
