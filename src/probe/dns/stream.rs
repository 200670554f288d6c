//! A question over a connection, with or without TLS.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Arriving, Measurement, Settings, Transport, unpredictable_id};
use crate::flight::Phase;
use crate::probe::connection::{self, Connection};
use crate::probe::{Probe, tls};
use crate::verdict::{Failure, Reason};

/// Asks, and waits for the reply. Each message goes behind its length (RFC 1035, section 4.2.2).
///
/// # Errors
/// Why there is none, or only a part of one.
pub(super) async fn ask(
    settings: &Settings,
    probe: &Probe<'_>,
    host: &str,
    server: SocketAddr,
    measured: &mut Measurement,
) -> Result<(), Failure> {
    let plain = connection::connect(probe, server, &mut measured.handshake).await?;
    let mut connection = match settings.transport {
        Transport::Tls => {
            let name = settings.tls.server_name.as_deref().unwrap_or(host);
            tls::handshake(probe, &settings.tls, name, plain, &mut measured.tls).await?
        }
        _ => Connection::Plain(plain),
    };
    probe.timeline.enter(Phase::Query);
    let id = unpredictable_id(probe)?;
    let question = settings.query.message(id);
    // Both in one segment (RFC 7766, section 8).
    let framed = [&(question.len() as u16).to_be_bytes(), question.as_slice()].concat();
    let written = match connection.write_all(&framed).await {
        Ok(()) => connection.flush().await,
        error => error,
    };
    let certificate_asked = connection.certificate_asked();
    let broken = |what, error| tls::failure(probe, what, &error, certificate_asked);
    written.map_err(|error| broken("sending the question", error))?;
    let closed = Reason::ConnectionTerminated;
    let ended = |what| probe.failure(closed, format!("the server ended the connection {what}"));
    let length = match connection.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ended("instead of its reply")),
        length => length.map_err(|error| broken("waiting for the reply", error))?,
    };
    let mut arriving = Arriving::of(&settings.query, id, &mut measured.reply);
    while let missing @ 1.. = u64::from(length) - arriving.bytes.len() as u64 {
        let read = (&mut connection).take(missing).read_buf(&mut arriving.bytes).await;
        if read.map_err(|error| broken("reading the reply", error))? == 0 {
            return Err(ended("in the middle of its reply"));
        }
    }
    arriving.finish(probe)
}
