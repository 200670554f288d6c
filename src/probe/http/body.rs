//! The body of a response: decompressed where the module says so, counted, bounded, and kept where it is to be looked at.

use std::io::{self, ErrorKind, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

/// How the body of a response is compressed (`compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952; several members count as one.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 1951, without the wrapper of zlib, as blackbox_exporter reads it.
    Deflate,
}

/// The most bytes of a body that are kept for expressions, where `body_size_limit` allows more.
pub(super) const MOST_KEPT: u64 = 64 << 20;

/// How every file of gzip begins, and how long what stands before its content is at least, in bytes (RFC 1952, section 2.3).
const GZIP: &[u8] = b"\x1f\x8b\x08";
const GZIP_HEAD: usize = 10;

/// What brotli's decoder writes at once, in bytes.
const BROTLI_BUFFER: usize = 4096;

/// Takes the body of a response as it comes.
pub(super) struct Reader {
    decoder: Decoder,
    /// How it begins, as it came.
    start: Vec<u8>,
}

/// Where the bytes go.
enum Decoder {
    Plain(Sink),
    Gzip(MultiGzDecoder<Sink>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Deflate(Inflate),
}

/// The bytes of the body itself.
#[derive(Debug)]
pub(super) struct Sink {
    /// How many came.
    pub(super) length: u64,
    /// The bytes, where they are kept.
    pub(super) kept: Option<Vec<u8>>,
    limit: u64,
    /// Whether there were more than the limit allows.
    pub(super) over: bool,
}

impl Reader {
    /// For a response that is compressed so, of at most `limit` bytes when it no longer is; `keep`: whether the bytes are kept.
    pub(super) fn new(compression: Option<Compression>, limit: Option<u64>, keep: bool) -> Self {
        let most = if keep { MOST_KEPT } else { u64::MAX };
        let limit = limit.unwrap_or(u64::MAX).min(most);
        let sink = Sink { length: 0, kept: keep.then(Vec::new), limit, over: false };
        let decoder = match compression {
            None => Decoder::Plain(sink),
            Some(Compression::Gzip) => Decoder::Gzip(MultiGzDecoder::new(sink)),
            Some(Compression::Brotli) => Decoder::Brotli(Box::new(DecompressorWriter::new(sink, BROTLI_BUFFER))),
            Some(Compression::Deflate) => {
                Decoder::Deflate(Inflate { state: Decompress::new(false), ended: false, sink })
            }
        };
        Self { decoder, start: Vec::new() }
    }

    /// Takes some more bytes as they came.
    ///
    /// # Errors
    /// They are not compressed so, or go beyond the limit.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = bytes.len().min(GZIP_HEAD - self.start.len());
        self.start.extend_from_slice(&bytes[..more]);
        match &mut self.decoder {
            Decoder::Plain(sink) => sink.write_all(bytes),
            Decoder::Gzip(decoder) => decoder.write_all(bytes),
            Decoder::Brotli(decoder) => decoder.write_all(bytes),
            Decoder::Deflate(inflate) => inflate.take(bytes),
        }
    }

    /// The response has ended.
    ///
    /// # Errors
    /// What was compressed has not.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match &mut self.decoder {
            Decoder::Plain(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Brotli(decoder) => decoder.close(),
            Decoder::Deflate(inflate) if inflate.ended => Ok(()),
            Decoder::Deflate(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether what came is a body at all: gzip says at its beginning that it is.
    pub(super) fn has_begun(&self) -> bool {
        match self.decoder {
            Decoder::Gzip(_) => self.start.starts_with(GZIP) && self.start.len() == GZIP_HEAD,
            Decoder::Plain(_) | Decoder::Brotli(_) | Decoder::Deflate(_) => true,
        }
    }

    /// What came so far.
    pub(super) fn sink(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Plain(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Deflate(inflate) => &mut inflate.sink,
        }
    }
}

/// Raw deflate, whose end flate2's own writer does not ask for.
struct Inflate {
    state: Decompress,
    ended: bool,
    sink: Sink,
}

impl Inflate {
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut buffer = [0; 4096];
        // As with Go's reader, what follows the end is not looked at.
        while !self.ended {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(bytes, &mut buffer, FlushDecompress::None)?;
            self.ended = status == Status::StreamEnd;
            let (read, written) = (self.state.total_in() - read, self.state.total_out() - written);
            bytes = &bytes[read as usize..];
            self.sink.write_all(&buffer[..written as usize])?;
            if read == 0 && written == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.length;
        let taken = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.length += taken as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&bytes[..taken]);
        }
        if taken < bytes.len() {
            self.over = true;
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    /// What becomes of a body that comes in two parts: its text, or its length and whether it was too long.
    fn read(mut reader: Reader, body: &[u8]) -> Result<String, (u64, bool)> {
        let (first, second) = body.split_at(body.len() / 2);
        let result = reader.take(first).and_then(|()| reader.take(second)).and_then(|()| reader.end());
        let sink = reader.sink();
        assert!(sink.kept.as_ref().is_none_or(|kept| kept.len() as u64 == sink.length));
        match result {
            Ok(()) => Ok(String::from_utf8(sink.kept.take().unwrap_or_default()).unwrap()),
            Err(_) => Err((sink.length, sink.over)),
        }
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &str) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// `well` in brotli by hand (RFC 7932, section 9): a window of 16 bits, one uncompressed meta-block of 4 bytes, and the last, empty one.
    const BROTLI: &[u8] = b"\x30\x00\x10well\x03";

    #[test]
    fn a_body_is_read_as_it_is_compressed() {
        let keep = |compression| Reader::new(compression, None, true);
        assert_eq!(read(keep(None), b"well").as_deref(), Ok("well"));
        assert_eq!(read(keep(Some(Compression::Gzip)), &gzip("well")).as_deref(), Ok("well"));
        let two_members = [gzip("we"), gzip("ll")].concat();
        assert_eq!(read(keep(Some(Compression::Gzip)), &two_members).as_deref(), Ok("well"));
        assert_eq!(read(keep(Some(Compression::Deflate)), &deflate("well")).as_deref(), Ok("well"));
        assert_eq!(read(keep(Some(Compression::Brotli)), BROTLI).as_deref(), Ok("well"));
    }

    #[test]
    fn what_is_not_compressed_so_or_breaks_off_is_an_error() {
        let keep = |compression| Reader::new(Some(compression), None, true);
        for compression in [Compression::Gzip, Compression::Deflate, Compression::Brotli] {
            assert!(read(keep(compression), b"<html>well</html>").is_err(), "{compression:?}");
        }
        let text = "well ".repeat(1000);
        let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 9].to_vec();
        assert!(read(keep(Compression::Gzip), &cut(gzip(&text))).is_err());
        assert!(read(keep(Compression::Deflate), &cut(deflate(&text))).is_err());
        assert!(read(keep(Compression::Brotli), &BROTLI[..6]).is_err());
    }

    #[test]
    fn a_body_of_more_than_the_limit_is_cut_there() {
        let text = "0123456789".repeat(10_000);
        let limited = |compression, limit| Reader::new(compression, Some(limit), true);
        assert_eq!(read(limited(None, 7), b"01234567"), Err((7, true)));
        assert_eq!(read(limited(None, 8), b"01234567").as_deref(), Ok("01234567"));
        assert_eq!(read(limited(Some(Compression::Gzip), 70_000), &gzip(&text)), Err((70_000, true)));
        assert_eq!(read(limited(Some(Compression::Gzip), 100_000), &gzip(&text)).as_deref(), Ok(text.as_str()));
    }
}
