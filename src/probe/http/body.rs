//! The body of a response: decompressed where the module says so, counted, bounded, and kept where it is to be looked at.

use std::io::{self, ErrorKind, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use crate::net::share;

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

/// What is decompressed in one step, in bytes, where the decoder leaves that to us.
const STEP: usize = 16 << 10;

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
    Brotli(Box<Unbrotli>),
    Deflate(Inflate),
}

/// What a step of a decoder came to.
struct Step {
    /// The bytes that it has taken.
    taken: usize,
    /// Whether there is more to be made of them, or of those that are left.
    goes_on: bool,
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
            Some(Compression::Brotli) => Decoder::Brotli(Box::new(Unbrotli::new(sink))),
            Some(Compression::Deflate) => {
                Decoder::Deflate(Inflate { state: Decompress::new(false), buffer: vec![0; STEP], ended: false, sink })
            }
        };
        Self { decoder, start: Vec::new() }
    }

    /// Takes some more bytes as they came; `length` counts what becomes of them. A few may become gigabytes, which is no work for one turn.
    ///
    /// # Errors
    /// They are not compressed so, or go beyond the limit.
    pub(super) async fn take(&mut self, mut bytes: &[u8], length: &mut u64) -> io::Result<()> {
        let more = bytes.len().min(GZIP_HEAD - self.start.len());
        self.start.extend_from_slice(&bytes[..more]);
        if let Decoder::Plain(sink) = &mut self.decoder {
            let written = sink.write_all(bytes);
            *length = sink.length;
            return written;
        }
        loop {
            let before = self.sink().length;
            let step = self.step(bytes);
            *length = self.sink().length;
            let Step { taken, goes_on } = step?;
            // No step makes more of anything than fits into memory.
            share::worked((*length - before) as usize).await;
            bytes = &bytes[taken..];
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Takes as many bytes as make a bounded piece of work.
    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        match &mut self.decoder {
            Decoder::Plain(sink) => sink.write_all(bytes).map(|()| Step { taken: bytes.len(), goes_on: false }),
            // It writes from a buffer of 32 KiB, and returns whenever it has taken something.
            Decoder::Gzip(decoder) => match decoder.write(bytes)? {
                0 if !bytes.is_empty() => Err(ErrorKind::WriteZero.into()),
                taken => Ok(Step { taken, goes_on: taken < bytes.len() }),
            },
            Decoder::Brotli(unbrotli) => unbrotli.step(bytes),
            Decoder::Deflate(inflate) => inflate.step(bytes),
        }
    }

    /// The response has ended.
    ///
    /// # Errors
    /// What was compressed has not.
    pub(super) fn end(&mut self, length: &mut u64) -> io::Result<()> {
        let ended = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Brotli(unbrotli) if !unbrotli.ended => Err(ErrorKind::UnexpectedEof.into()),
            Decoder::Deflate(inflate) if !inflate.ended => Err(ErrorKind::UnexpectedEof.into()),
            Decoder::Plain(_) | Decoder::Brotli(_) | Decoder::Deflate(_) => Ok(()),
        };
        *length = self.sink().length;
        ended
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
            Decoder::Brotli(unbrotli) => &mut unbrotli.sink,
            Decoder::Deflate(inflate) => &mut inflate.sink,
        }
    }
}

/// Raw deflate, whose end flate2's own writer does not ask for.
struct Inflate {
    state: Decompress,
    buffer: Vec<u8>,
    ended: bool,
    sink: Sink,
}

impl Inflate {
    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        // As with Go's reader, what follows the end is not looked at.
        if self.ended {
            return Ok(Step { taken: bytes.len(), goes_on: false });
        }
        let (read, written) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(bytes, &mut self.buffer, FlushDecompress::None)?;
        self.ended = status == Status::StreamEnd;
        let (read, written) = (self.state.total_in() - read, self.state.total_out() - written);
        self.sink.write_all(&self.buffer[..written as usize])?;
        Ok(Step { taken: read as usize, goes_on: read > 0 || written > 0 })
    }
}

/// Brotli, with windows of up to 16 MiB, as RFC 7932 has them: the decoder holds one, and other decoders' larger ones (up to 1 GiB) are not
/// for HTTP. Its own writer makes all of some bytes at once.
struct Unbrotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    buffer: Vec<u8>,
    ended: bool,
    sink: Sink,
}

impl Unbrotli {
    fn new(sink: Sink) -> Self {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Self { state, buffer: vec![0; STEP], ended: false, sink }
    }

    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        if self.ended && !bytes.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, "something follows its end"));
        }
        let (mut left, mut taken, mut room, mut made) = (bytes.len(), 0, self.buffer.len(), 0);
        let buffer = &mut self.buffer;
        let result =
            BrotliDecompressStream(&mut left, &mut taken, bytes, &mut room, &mut made, buffer, &mut 0, &mut self.state);
        self.sink.write_all(&self.buffer[..made])?;
        self.ended = matches!(result, BrotliResult::ResultSuccess);
        match result {
            BrotliResult::ResultSuccess => Ok(Step { taken, goes_on: left > 0 }),
            BrotliResult::NeedsMoreInput => Ok(Step { taken, goes_on: false }),
            BrotliResult::NeedsMoreOutput => Ok(Step { taken, goes_on: true }),
            BrotliResult::ResultFailure => Err(io::Error::new(ErrorKind::InvalidData, "it is no brotli")),
        }
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
    use std::future::poll_fn;
    use std::pin::pin;

    use flate2::write::{DeflateEncoder, GzEncoder};

    use super::*;

    /// What becomes of a body that comes in two parts: its text, or its length and whether it was too long.
    async fn read(mut reader: Reader, body: &[u8]) -> Result<String, (u64, bool)> {
        let (first, second) = body.split_at(body.len() / 2);
        let mut length = 0;
        let all = async {
            reader.take(first, &mut length).await?;
            reader.take(second, &mut length).await?;
            reader.end(&mut length)
        };
        let result: io::Result<()> = all.await;
        let sink = reader.sink();
        assert_eq!(length, sink.length);
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

    /// 16 MiB of zeros in brotli, as often as one likes: a meta-block of one literal, and a copy of it.
    fn brotli_zeros(blocks: usize) -> Vec<u8> {
        let block = [
            // Not the last one; its length in six nibbles; not uncompressed.
            (0, 1),
            (2, 2),
            ((16 << 20) - 1, 24),
            (0, 1),
            // One block type each, no direct distances, one context.
            (0, 13),
            // Codes of one symbol: the literal 0; insert 1 and copy 2118 or more; a distance of 1 or 2.
            (1, 4),
            (0, 8),
            (1, 4),
            (399, 10),
            (1, 4),
            (16, 6),
            ((16 << 20) - 1 - 2118, 24),
            (0, 1),
        ];
        // A window of 16 bits; the blocks; the last one, which is empty.
        let values = [&[(0, 1)][..], &block.repeat(blocks), &[(3, 2)]].concat();
        let bits = values.iter().flat_map(|(value, count)| (0..*count).map(move |bit| value >> bit & 1 == 1));
        let bits: Vec<bool> = bits.collect();
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }

    #[tokio::test]
    async fn a_body_is_read_as_it_is_compressed() {
        let keep = |compression| Reader::new(compression, None, true);
        let two_members = [gzip("we"), gzip("ll")].concat();
        for (compression, body) in [
            (None, b"well".to_vec()),
            (Some(Compression::Gzip), gzip("well")),
            (Some(Compression::Gzip), two_members),
            (Some(Compression::Deflate), deflate("well")),
            (Some(Compression::Brotli), BROTLI.to_vec()),
        ] {
            assert_eq!(read(keep(compression), &body).await.as_deref(), Ok("well"), "{compression:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_compressed_so_or_breaks_off_is_an_error() {
        let keep = |compression| Reader::new(Some(compression), None, true);
        let text = "well ".repeat(1000);
        let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 9].to_vec();
        let wide = [0x11, 0x1e, 0x03];
        for (compression, body) in [
            (Compression::Gzip, cut(gzip(&text))),
            (Compression::Deflate, cut(deflate(&text))),
            (Compression::Brotli, BROTLI[..6].to_vec()),
            (Compression::Brotli, [BROTLI, b"more"].concat()),
            (Compression::Brotli, wide.to_vec()),
        ] {
            assert!(read(keep(compression), &body).await.is_err(), "{compression:?}");
            assert!(read(keep(compression), b"<html>well</html>").await.is_err(), "{compression:?}");
        }
    }

    #[tokio::test]
    async fn a_body_of_more_than_the_limit_is_cut_there() {
        let text = "0123456789".repeat(10_000);
        let limited = |compression, limit| Reader::new(compression, Some(limit), true);
        let gzip = gzip(&text);
        let all = Ok(text.as_str());
        for (compression, limit, body, expected) in [
            (None, 7, &b"01234567"[..], Err((7, true))),
            (None, 8, b"01234567", Ok("01234567")),
            (Some(Compression::Gzip), 70_000, &gzip, Err((70_000, true))),
            (Some(Compression::Gzip), 100_000, &gzip, all),
        ] {
            assert_eq!(read(limited(compression, limit), body).await.as_deref(), expected.as_ref().map(|text| *text));
        }
    }

    #[tokio::test]
    async fn what_a_few_bytes_become_is_the_work_of_many_turns() {
        let zeros = "\0".repeat(32 << 20);
        let empty = gzip("").repeat(10_000);
        for (compression, body, made) in [
            (Compression::Gzip, gzip(&zeros), 32 << 20),
            (Compression::Gzip, empty, 0),
            (Compression::Deflate, deflate(&zeros), 32 << 20),
            (Compression::Brotli, brotli_zeros(2), 32 << 20),
        ] {
            let mut reader = Reader::new(Some(compression), None, false);
            let (mut length, mut turns) = (0, 0);
            {
                let mut taking = pin!(reader.take(&body, &mut length));
                let taken = poll_fn(|cx| {
                    turns += 1;
                    taking.as_mut().poll(cx)
                });
                taken.await.unwrap();
            }
            reader.end(&mut length).unwrap();
            assert_eq!(length, made, "{compression:?}");
            assert!(turns > 100 && turns > made / (2 * share::PIECE as u64), "{compression:?}: {turns} turns");
        }
    }
}
