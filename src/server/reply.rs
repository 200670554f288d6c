//! Answers: metrics in the format that was asked for, compressed where that was asked for.

use std::cell::RefCell;
use std::fmt::Display;

use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::render::negotiate::{self, Format};

/// Text for people.
pub(super) const PLAIN: &str = "text/plain; charset=utf-8";

/// Below this, compression saves less than a packet.
const COMPRESS_FROM: usize = 512;

/// The first bytes of a gzip file: deflate, no name, no time, no matter which system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

thread_local! {
    /// A compressor's tables are large, so each worker keeps one. The fastest level: metrics compress well at any.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// A status and a sentence.
pub(super) fn sentence(status: StatusCode, text: impl Display) -> impl IntoResponse {
    (status, [(CONTENT_TYPE, PLAIN)], format!("{text}\n"))
}

/// The format of metrics that the client asked for.
pub(super) fn format(headers: &HeaderMap) -> Format {
    negotiate::format(joined(headers, &ACCEPT).as_deref())
}

/// What an answer depends on beside what is asked for.
const DEPENDS_ON: &str = "Accept, Accept-Encoding";

/// An answer of a type, compressed where the client asked for it.
pub(super) fn content(headers: &HeaderMap, content_type: &str, body: String) -> Response {
    if body.len() >= COMPRESS_FROM && negotiate::gzip(joined(headers, &ACCEPT_ENCODING).as_deref()) {
        let headers = [(CONTENT_TYPE, content_type), (VARY, DEPENDS_ON), (CONTENT_ENCODING, "gzip")];
        (headers, gzip(body.as_bytes())).into_response()
    } else {
        ([(CONTENT_TYPE, content_type), (VARY, DEPENDS_ON)], body).into_response()
    }
}

/// A header that may come in several lines.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 2);
    out.extend(GZIP_HEADER);
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        loop {
            let taken = compress.total_in() as usize;
            match compress.compress_vec(&bytes[taken..], &mut out, FlushCompress::Finish) {
                // An error would be a misuse of the compressor, and the client tells by the checksum.
                Ok(Status::StreamEnd) | Err(_) => break,
                Ok(Status::Ok | Status::BufError) => out.reserve(out.capacity()),
            }
        }
    });
    let mut checksum = Crc::new();
    checksum.update(bytes);
    out.extend(checksum.sum().to_le_bytes());
    out.extend(checksum.amount().to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let text = "probe_success 1\n".repeat(1000);
        for bytes in [text.as_bytes(), b"", &noise, b"x"] {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(gzip(bytes).as_slice()).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == bytes);
        }
        assert!(gzip(text.as_bytes()).len() < 500);
    }
}
