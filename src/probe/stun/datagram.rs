//! A request in a datagram, which is sent again until it is answered (RFC 8489, section 6.2.1).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use super::{Measurement, transaction};
use crate::flight::Phase;
use crate::net::stream::Observer;
use crate::net::{clock, options, share, udp};
use crate::probe::Probe;
use crate::verdict::{Failure, Reason};
use crate::wire::stun::{self, Answer, Transaction};

/// How long the first request waits for its answer before it is sent again; each of the others, twice as long as the one before (RTO).
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How often a request is sent (Rc).
pub(super) const MOST_REQUESTS: u32 = 7;

/// How many times [`FIRST_WAIT`] the last one waits (Rm).
const LAST_WAIT: u32 = 16;

/// Larger than any answer that there is, in bytes: what is longer is cut, and therefore none.
const BUFFER: usize = 2048;

/// When it is over with waiting for an answer to so many requests, by the first of them.
pub(super) fn patience(requests: u32) -> Duration {
    let sent_again = |times: u32| FIRST_WAIT * ((1 << times) - 1);
    match requests {
        MOST_REQUESTS.. => sent_again(MOST_REQUESTS - 1) + FIRST_WAIT * LAST_WAIT,
        requests => sent_again(requests),
    }
}

/// Asks, and waits for the answer; what is none (another transaction, no STUN) is passed over, since anybody may have sent it.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(probe: &Probe<'_>, server: SocketAddr, measured: &mut Measurement) -> Result<Answer, Failure> {
    probe.timeline.enter(Phase::Connect);
    measured.handshake.remote = Some(server);
    let socket = udp::connect(probe.source(), server).map_err(|error| probe.source_failure(&error))?;
    let local = socket.local_addr().ok();
    measured.handshake.local = local;
    probe.talks_by(local, server)?;
    probe.timeline.connected();
    let transaction = transaction(probe)?;
    let request = stun::binding_request(&transaction);
    probe.timeline.enter(Phase::Query);
    let what = format!("asking the STUN server {server}");
    let evidence = || options::evidence_towards(&*socket, local, server);
    let mut departures: Vec<Instant> = Vec::new();
    loop {
        let departed = udp::send(&socket, &request).await.map_err(|error| match evidence() {
            // What the network said of the one before, since it was looked at last.
            Some(said) => probe.io_failure(&what, &error, Some(&said)),
            None => probe.local_failure(&what, &error),
        })?;
        Observer::sent(&probe.timeline, departed, request.len());
        departures.push(departed);
        measured.requests += 1;
        let over = departures[0] + patience(measured.requests);
        let heard = match timeout_at(over.into(), hear(probe, &socket, &transaction, server)).await {
            Ok(heard) => heard.map_err(|error| probe.io_failure(&what, &error, evidence().as_ref()))?,
            Err(_) if measured.requests < MOST_REQUESTS => {
                probe.note(format_args!(
                    "no answer within {:?}, so the request is sent again",
                    patience(measured.requests)
                ));
                continue;
            }
            Err(_) => {
                probe.timeline.waited(over);
                let detail = format!("no answer from the STUN server to {MOST_REQUESTS} requests");
                return Err(probe.failure(Reason::ConnectionTimeout, detail));
            }
        };
        let (answer, arrived, length) = heard;
        socket.close();
        Observer::received(&probe.timeline, arrived, length);
        let is_the_firsts = departures.get(1).is_none_or(|second| arrived < *second);
        measured.rtt = is_the_firsts.then(|| arrived.saturating_duration_since(departures[0]));
        return Ok(answer);
    }
}

/// Waits for the answer; says when it came, and how long it is.
async fn hear(
    probe: &Probe<'_>,
    socket: &UdpSocket,
    transaction: &Transaction,
    server: SocketAddr,
) -> std::io::Result<(Answer, Instant, usize)> {
    let mut buffer = [0; BUFFER];
    loop {
        let received = udp::receive(socket, &mut buffer).await?;
        probe.arrived(received.interface, server.ip());
        match stun::answer(&buffer[..received.len], transaction) {
            Ok(answer) => {
                return Ok((answer, received.stamp.map_or_else(Instant::now, clock::instant_of), received.len));
            }
            Err(why) => probe.note(format_args!("passed over a datagram of {} bytes: it {why}", received.len)),
        }
        share::worked(received.len).await;
    }
}
