//! What floods are made of.

use std::io::{self, Read, Write};
use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::tls::Authority;

/// What becomes of a block of [`zeros`] and [`brotli_zeros`].
pub(crate) const BLOCK: usize = 16 << 20;

/// The head of a member of gzip (RFC 1952, section 2.3).
pub(crate) const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Zeros in deflate; what follows may be the same once more.
pub(crate) fn zeros() -> Vec<u8> {
    let (zeros, mut block) = (vec![0; BLOCK], Vec::with_capacity(1 << 20));
    let mut compress = Compress::new(Compression::fast(), false);
    compress.compress_vec(&zeros, &mut block, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), BLOCK as u64);
    block
}

/// A whole member of gzip with nothing in it.
pub(crate) fn empty_gzip() -> Vec<u8> {
    [GZIP_HEAD, &[3, 0], &[0; 8]].concat()
}

/// The head of brotli with a window of 16 MiB (RFC 7932, section 9.1), and a meta-block that is skipped, up to the end of a byte.
pub(crate) fn brotli_head() -> Vec<u8> {
    packed(&[(0b1111, 4), (0, 1), (3, 2), (0, 1), (0, 2)])
}

/// Zeros in brotli; what follows may be the same once more: a meta-block of a literal and a copy of it, and one that is skipped.
pub(crate) fn brotli_zeros() -> Vec<u8> {
    let length = BLOCK as u32 - 1;
    packed(&[
        // Not the last one; its length in six nibbles; compressed.
        (0, 1),
        (2, 2),
        (length, 24),
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
        (length - 2118, 24),
        (0, 1),
        // Not the last one; no bytes; reserved; to be skipped, all zero bytes of it.
        (0, 1),
        (3, 2),
        (0, 1),
        (0, 2),
    ])
}

/// Values of so many bits each, the lowest first, up to the end of a byte.
fn packed(values: &[(u32, u32)]) -> Vec<u8> {
    let bits: Vec<bool> =
        values.iter().flat_map(|(value, count)| (0..*count).map(move |bit| value >> bit & 1 == 1)).collect();
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
pub(crate) fn frame(ty: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[ty, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
/// `ACK` of a PING.
pub(crate) const ACK: u8 = 1;
/// `END_HEADERS`.
pub(crate) const END_HEADERS: u8 = 4;

/// `:status`, as a literal that is not indexed (RFC 7541, section 6.2.2).
pub(crate) fn status(code: &str) -> Vec<u8> {
    [&[8, code.len() as u8], code.as_bytes()].concat()
}

/// The server's part of the beginning of HTTP/2, until the request has come.
pub(crate) fn begin_http2(connection: &mut (impl Read + Write + ?Sized)) -> io::Result<()> {
    connection.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    connection.flush()?;
    let mut preface = [0; 24];
    connection.read_exact(&mut preface)?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let [l0, l1, l2, ty, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        connection.read_exact(&mut payload)?;
        if ty == HEADERS {
            return Ok(());
        }
    }
}

/// Puts a connection under TLS.
pub(crate) struct Identity {
    config: Arc<ServerConfig>,
    /// Who is to be trusted.
    pub(crate) ca: String,
}

impl Identity {
    pub(crate) fn new(alpn: &str) -> Self {
        let authority = Authority::new("the authority of floods");
        let pair = authority.server("server");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Self { config: Arc::new(config), ca: authority.pem() }
    }

    pub(crate) fn config(&self) -> ServerConfig {
        ServerConfig::clone(&self.config)
    }

    pub(crate) fn secured<C: Read + Write>(&self, connection: C) -> StreamOwned<ServerConnection, C> {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.config)).unwrap(), connection)
    }
}
