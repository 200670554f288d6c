//! A web server whose paths say what it does.

use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::websocket;
use crate::support::read_head;

pub(super) fn web(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let head = read_head(&mut reader)?;
    if head.is_empty() {
        return Ok(());
    }
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body)?;
    if header("transfer-encoding") == Some("chunked") {
        body = read_chunks(&mut reader)?;
    }
    let answer = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let found = |headers: &str, body: &[u8]| answer("200 OK", headers, body);
    let moved = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), b"moved");
    let with = |authorization: &str| match header("authorization") == Some(authorization) {
        true => found("", b"welcome"),
        false => answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", b"who?"),
    };
    let chunks = |last: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwell,\r\n5\r\n well\r\n{last}").into_bytes()
    };
    let target = head.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path.starts_with("/ws/") {
        let may_come = path != "/ws/private" || header("authorization") == Some("Basic bWU6c2VjcmV0");
        return match header("sec-websocket-key").filter(|_| may_come) {
            Some(key) => websocket::converse(&stream, key, path),
            None => (&stream).write_all(&answer("401 Unauthorized", "", b"who?")),
        };
    }
    let bytes = match path {
        // As long, whatever the client calls itself.
        path if path == "/echo" || path.starts_with("/echo/") => {
            found("", format!("{:>1024}", format!("\n{head}{}", String::from_utf8_lossy(&body))).as_bytes())
        }
        "/chunked" if head.starts_with("HEAD") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        "/chunked" => chunks("0\r\n\r\n"),
        "/bad_chunk" => chunks("zz\r\n"),
        "/endless" => b"HTTP/1.1 200 OK\r\n\r\nwell".to_vec(),
        "/hints" => [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", &*found("", b"well")].concat(),
        "/old" => b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nwell".to_vec(),
        // `/raw?HTTP/1.1_200_OK||well` is these words; `|` is the end of a line.
        "/raw" => query.replace('_', " ").replace('|', "\r\n").into_bytes(),
        // `/to/307?URL` redirects there.
        path if path.starts_with("/to/") => {
            answer(&format!("{} Moved", &path[4..]), &format!("Location: {query}\r\n"), b"moved")
        }
        // `/times/3` redirects three times.
        path if path.starts_with("/times/") => match path[7..].parse().unwrap() {
            0 => found("", b"well"),
            times => moved(&format!("/times/{}", times - 1)),
        },
        path if path.starts_with("/status/") => answer(&format!("{} As Asked", &path[8..]), "", b"well"),
        "/relative/here" => moved("../twice"),
        "/twice" => moved("/echo"),
        "/elsewhere" => moved("http://other.test:8080/echo"),
        "/to_tls" => moved("https://both.test/"),
        "/to_closed" => moved("http://127.0.0.1:1/"),
        "/to_unknown" => moved("http://rcode3.test/"),
        "/to_ftp" => moved("ftp://127.0.0.1/"),
        "/nowhere" => answer("302 Found", "", b"nowhere"),
        "/moved_302" => moved("/echo"),
        "/moved_307" => answer("307 Temporary Redirect", "Location: /echo\r\n", b""),
        "/cookie" => answer("302 Found", "Location: /echo\r\nSet-Cookie: a=b; Path=/\r\n", b""),
        "/cookie_by_name" => {
            answer("302 Found", "Location: http://both.test:8080/echo\r\nSet-Cookie: a=b; Path=/\r\n", b"")
        }
        "/to_ipv6" => moved("http://[::1]:8080/echo"),
        "/many" => found("X-Many: one\r\nX-Many: two\r\n", b"well"),
        "/kilobyte" => found("", &[b'.'; 1024]),
        "/gzip" => found("Content-Encoding: gzip\r\n", &gzip(b"well")),
        "/brotli" => found("Content-Encoding: br\r\n", BROTLI),
        "/deflate" => found("Content-Encoding: deflate\r\n", &deflate(b"well")),
        "/half_gzip" => found("Content-Encoding: gzip\r\n", &gzip(&[b'.'; 1024])[..20]),
        "/bomb" => found("Content-Encoding: gzip\r\n", &gzip(&vec![b'.'; 4 << 20])),
        "/basic" => with("Basic bWU6c2VjcmV0"),
        "/bearer" => with("Bearer token"),
        // A token server, of a client or of one who signs.
        "/token" => match (header("authorization"), String::from_utf8_lossy(&body).contains("assertion=")) {
            (Some("Basic bWU6c2VjcmV0"), _) | (_, true) => found(
                "Content-Type: application/json\r\n",
                br#"{"access_token":"token","token_type":"Bearer","expires_in":3600}"#,
            ),
            _ => answer("401 Unauthorized", "Content-Type: application/json\r\n", br#"{"error":"invalid_client"}"#),
        },
        // The same that reads the form only, and has its own words for all else.
        path if path.starts_with("/form_token/") => {
            match (String::from_utf8_lossy(&body).contains("client_secret=secret"), &path[12..]) {
                (true, _) => {
                    found("Content-Type: application/json\r\n", br#"{"access_token":"token","token_type":"Bearer"}"#)
                }
                (false, "json") => {
                    found("Content-Type: application/json\r\n", br#"{"ok":false,"error":"invalid_client"}"#)
                }
                (false, "names") => found("", br#"{"Access_Token":"token","Token_Type":"Bearer"}"#),
                (false, "page") => found("Content-Type: text/html\r\n", b"<title>Log in</title>"),
                (false, "ends") => Vec::new(),
                (false, status) => answer(&format!("{status} As It Likes"), "Location: /echo\r\n", b""),
            }
        }
        "/capitals" => found(
            "Content-Type: Application/X-WWW-Form-Urlencoded\r\n",
            b"access_token=token&token_type=bearer&expires_in=3600",
        ),
        "/no_token" => found("Content-Type: application/json\r\n", b"{}"),
        "/json" => found("Content-Type: application/json\r\n", br#"{"a":{"b":[1,2.5]},"s":"text","t":true,"n":null}"#),
        "/dated" => found("Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", b"well"),
        "/undated" => found("Last-Modified: yesterday\r\n", b"well"),
        "/silent" => return reader.read_to_end(&mut Vec::new()).map(drop),
        "/stops" => {
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwell")?;
            return reader.read_to_end(&mut Vec::new()).map(drop);
        }
        path if path.starts_with("/header/") => {
            found(&format!("X-Long: {}\r\n", ".".repeat(path[8..].parse().unwrap())), b"well")
        }
        "/wrong_length" => b"HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\nwell".to_vec(),
        "/two_lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 3\r\n\r\nwell".to_vec(),
        "/lines" => b"HTTP/1.1 200 OK\nContent-Length: 4\n\nwell".to_vec(),
        "/more" => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell, well".to_vec(),
        "/switching" => b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec(),
        "/reset" => return reset(&stream),
        "/empty" => Vec::new(),
        "/garbage" => b"garbage\r\n\r\n".to_vec(),
        "/half" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwell".to_vec(),
        _ => answer("404 Not Found", "", b"no such thing"),
    };
    (&stream).write_all(&bytes)
}

/// Ends a connection by a reset.
fn reset(stream: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).map_err(Error::other)?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(&chunk[..length]);
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `well` in brotli by hand (RFC 7932, section 9): a window of 16 bits, one uncompressed meta-block of 4 bytes, and the last, empty one.
const BROTLI: &[u8] = b"\x30\x00\x10well\x03";
