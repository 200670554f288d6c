//! A question in a datagram, sent once: what a module's success says of a path must not hide that packets are lost on it.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Measurement, Settings, unpredictable_id};
use crate::flight::Phase;
use crate::net::stream::Observer;
use crate::net::{clock, options, share, udp};
use crate::probe::Probe;
use crate::verdict::Failure;

/// More than a server sends unless it is asked to, in bytes: what is longer is cut.
const USUAL_REPLY: usize = 4096;

/// Asks, and waits for the reply; what is none (a wrong id, another question) is passed over, since anybody may have sent it.
///
/// # Errors
/// Why there is none.
pub(super) async fn ask(
    settings: &Settings,
    probe: &Probe<'_>,
    server: SocketAddr,
    measured: &mut Measurement,
) -> Result<(), Failure> {
    probe.timeline.enter(Phase::Connect);
    measured.handshake.remote = Some(server);
    let socket = udp::connect(probe.source(), server).map_err(|error| probe.source_failure(&error))?;
    measured.handshake.local = socket.local_addr().ok();
    probe.talks_by(measured.handshake.local, server)?;
    probe.timeline.connected();
    let id = unpredictable_id(probe)?;
    let question = settings.query.message(id);
    probe.timeline.enter(Phase::Query);
    let what = format!("asking the name server {server}");
    let sent = udp::send(&socket, &question).await;
    let departed = sent.map_err(|error| probe.local_failure(&what, &error))?;
    Observer::sent(&probe.timeline, departed, question.len());
    let mut buffer = vec![0; usize::from(settings.query.edns_udp_size.unwrap_or(0)).max(USUAL_REPLY)];
    loop {
        let received = udp::receive(&socket, &mut buffer).await;
        let evidence = || options::evidence_towards(&*socket, measured.handshake.local, server);
        let received = received.map_err(|error| probe.io_failure(&what, &error, evidence().as_ref()))?;
        probe.arrived(received.interface, server.ip());
        let arrived = received.stamp.map_or_else(Instant::now, clock::instant_of);
        match settings.query.reply(id, &buffer[..received.len], true) {
            Ok(reply) => {
                socket.close();
                Observer::received(&probe.timeline, arrived, received.len);
                measured.reply = Some(reply);
                return Ok(());
            }
            Err(why) => probe.note(format_args!("passed over a datagram of {} bytes: it {why}", received.len)),
        }
        share::worked(received.len).await;
    }
}
