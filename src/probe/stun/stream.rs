//! A request over a connection, which frames messages by their own length (RFC 8489, section 6.2.2).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Measurement, transaction, unexpected};
use crate::flight::Phase;
use crate::probe::{Probe, connection};
use crate::verdict::{Failure, Reason};
use crate::wire::stun::{self, Answer};

/// Asks, and waits for the answer: TCP sends again what is lost.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(probe: &Probe<'_>, server: SocketAddr, measured: &mut Measurement) -> Result<Answer, Failure> {
    let mut connection = connection::connect(probe, server, &mut measured.handshake).await?;
    probe.timeline.enter(Phase::Query);
    let transaction = transaction(probe)?;
    let broken = |what: &str, error: &io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            probe.failure(Reason::ConnectionTerminated, format!("{what}: the server ended the connection"))
        }
        _ => probe.io_failure(what, error, None),
    };
    let written = connection.write_all(&stun::binding_request(&transaction)).await;
    written.map_err(|error| broken("sending the request", &error))?;
    measured.requests = 1;
    let mut header = [0; stun::HEADER];
    let read = connection.read_exact(&mut header).await;
    read.map_err(|error| broken("waiting for the answer", &error))?;
    let length = stun::length(&header).map_err(|why| unexpected(probe, &format!("the answer is none: it {why}")))?;
    let mut answer = header.to_vec();
    answer.resize(length, 0);
    let read = connection.read_exact(&mut answer[stun::HEADER..]).await;
    read.map_err(|error| broken("reading the answer", &error))?;
    // On a connection that nobody else can speak on, whatever comes first must be it.
    stun::answer(&answer, &transaction).map_err(|why| unexpected(probe, &format!("the answer is none: it {why}")))
}
