//! Ends of connections that there are not, told to who thinks that there is one.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{Channel, Key};
use crate::net::sys::SendOptions;
use crate::wire::tcp::{Incoming, Kind, Outgoing};

/// How often a reset is said again to a peer that has missed one, and how much later each time. It then asks for none for half a second
/// (Linux: `tcp_invalid_ratelimit`), and a trace is mostly over by then.
const AGAIN: u32 = 7;
const INTERVAL: Duration = Duration::from_millis(10);

/// How long it takes until the last of them has left.
pub const TIME: Duration = INTERVAL.saturating_mul(AGAIN);

/// The most resets in a second that are said to strays: a peer that answers each of them would have as many as the path carries.
const MOST: u32 = 256;

/// What was said of late.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// Whether resets are being said again.
    again: AtomicBool,
    /// When the second began in which so many strays were answered.
    strays: Mutex<Option<(Instant, u32)>>,
}

impl Resets {
    /// Whether one more stray may be answered now.
    fn has_room(&self, now: Instant) -> bool {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, count) = match &mut *strays {
            Some(second) if now < second.0 + Duration::from_secs(1) => second,
            over => over.insert((now, 0)),
        };
        *count += 1;
        *count <= MOST
    }
}

impl Channel {
    /// Ends a connection that was half opened, as the kernel would have.
    pub(super) fn reset(&self, local: IpAddr, remote: IpAddr, answer: &Incoming) {
        if let Some(bytes) = packet(local, remote, answer) {
            self.send_reset(local, remote, &bytes);
        }
    }

    /// Answers what belongs to no SYN that is waited for.
    pub(super) fn reset_stray(&self, local: IpAddr, remote: IpAddr, answer: &Incoming) {
        if self.resets.has_room(Instant::now()) {
            self.reset(local, remote, answer);
        }
    }

    /// Does so several times more, while somebody waits for an answer of the flow.
    pub(super) fn reset_again(self: &Arc<Self>, flow: Key, answer: &Incoming) {
        let Some(bytes) = packet(flow.local, flow.remote, answer) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        // However often it is asked for meanwhile.
        if self.resets.again.swap(true, Ordering::Relaxed) {
            return;
        }
        let channel = Arc::clone(self);
        runtime.spawn(async move {
            for _ in 0..AGAIN {
                sleep(INTERVAL).await;
                if !channel.table.contains(&flow) {
                    break;
                }
                channel.send_reset(flow.local, flow.remote, &bytes);
            }
            channel.resets.again.store(false, Ordering::Relaxed);
        });
    }

    fn send_reset(&self, local: IpAddr, remote: IpAddr, bytes: &[u8]) {
        let mut sending = self.lock();
        match self.transmit(bytes, remote, SendOptions { source: Some(local), ..SendOptions::default() }) {
            Ok(()) => sending.expect(None),
            Err(error) => {
                tracing::debug!(%remote, %error, "the reset was not sent");
                self.read_errors(&mut sending, None);
                self.renumber(&mut sending);
            }
        }
    }
}

/// What ends the connection that an answer is of.
fn packet(local: IpAddr, remote: IpAddr, answer: &Incoming) -> Option<Vec<u8>> {
    let packet = Outgoing {
        source_port: answer.destination_port,
        destination_port: answer.source_port,
        sequence: answer.acknowledgement.unwrap_or(0),
        kind: Kind::Reset,
    };
    let mut bytes = Vec::new();
    packet.emit(local, remote, &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_have_so_many_resets_in_a_second_and_as_many_in_the_next() {
        let (resets, now) = (Resets::default(), Instant::now());
        let answered = |at: Instant| (0..1_000).filter(|_| resets.has_room(at)).count();
        assert_eq!((answered(now), answered(now + Duration::from_millis(999))), (256, 0));
        assert_eq!(answered(now + Duration::from_secs(1)), 256);
    }
}
