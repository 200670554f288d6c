//! The end of a probe's time, for which what was measured is kept.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::coop;
use tokio::time::sleep_until;

use super::failures::timed_out;
use super::{Measurement, Probe, lock};
use crate::net::share::Turns;
use crate::verdict::{Failure, Reason};

/// Measures until the deadline. What was measured before it is kept: it lives outside the future that is dropped.
pub(super) async fn until_deadline<M>(
    probe: &Probe<'_>,
    mut measured: M,
    wrap: fn(M) -> Measurement,
    measure: impl AsyncFnOnce(&mut M) -> Result<(), Failure>,
) -> (Measurement, Option<Failure>) {
    let result = in_time(probe, caught(measure(&mut measured))).await;
    let failure = match result {
        Some(Ok(result)) => result.err(),
        Some(Err(panic)) => Some(probe.failure(Reason::ProberError, format!("the prober broke: {panic}"))),
        None => {
            probe.timeline.waited(probe.deadline);
            Some(timed_out(probe))
        }
    };
    (wrap(measured), failure)
}

/// What comes of `work` until the deadline; nothing where it did not end. A success whose last word came later, by its stamp, is none.
///
/// A program that stood still finds the deadline over together with what arrived meanwhile, and may be told of the timer first (`epoll_wait`
/// ends with `EINTR` when a stopped process goes on). It then looks once more.
async fn in_time(
    probe: &Probe<'_>,
    work: impl Future<Output = Result<Result<(), Failure>, String>>,
) -> Option<Result<Result<(), Failure>, String>> {
    let mut work = pin!(work);
    let mut outcome = until(probe.deadline, work.as_mut()).await;
    if matches!(outcome, Outcome::Cut { .. }) && probe.deadline.elapsed() > LATE {
        outcome = until(Instant::now() + LOOK, work).await;
    }
    let outcome = match outcome {
        Outcome::Of(outcome) => Some(outcome),
        Outcome::Cut { busy } => {
            lock(&probe.notes).busy = busy;
            None
        }
    };
    outcome.filter(|outcome| {
        !matches!(outcome, Ok(Ok(()))) || probe.timeline.last_arrival().is_none_or(|arrival| arrival <= probe.deadline)
    })
}

/// What comes of some work until an instant.
enum Outcome<T> {
    Of(T),
    /// It did not end. `busy`: it did not wait for anything, but for its next turn.
    Cut {
        busy: bool,
    },
}

/// Works until `end`. Behind each turn the clock is asked, and not only the timer, which is as late as who drives it: what always has
/// something to do has no turn after the end.
async fn until<T>(end: Instant, mut work: Pin<&mut impl Future<Output = T>>) -> Outcome<T> {
    let (mut timer, mut turns) = (pin!(sleep_until(end.into())), Turns::default());
    poll_fn(|context| match turns.poll(work.as_mut(), context) {
        Poll::Ready(outcome) => Poll::Ready(Outcome::Of(outcome)),
        Poll::Pending if Instant::now() >= end => Poll::Ready(Outcome::Cut { busy: !coop::has_budget_remaining() }),
        Poll::Pending => timer.as_mut().poll(context).map(|()| Outcome::Cut { busy: false }),
    })
    .await
}

/// By how much a timer is late when it is not the timer's precision (1 ms) nor a busy machine, but a program that stood still.
pub(super) const LATE: Duration = Duration::from_millis(10);

/// How long a program that stood still looks for what came meanwhile: one turn of the reactor, whose timers have this precision.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Runs a future whose panic is an outcome: its message.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What a panic leaves half done is the measurement, which is reported as far as it got; locks recover by themselves.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Poll::Ready(Err(text.unwrap_or_else(|| "without a word".to_owned())))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Request, icmp, testing};

    fn icmp_request(timeout: Duration) -> Request {
        testing::configured("{prober: icmp}", "192.0.2.1", timeout)
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_probe_that_keeps_what_was_measured() {
        let request = icmp_request(Duration::from_secs(5));
        let probe = Probe::start(&request);
        let (measurement, failure) =
            until_deadline(&probe, icmp::Measurement::default(), Measurement::Icmp, async |measured| {
                measured.sent = 7;
                tokio::task::yield_now().await;
                panic!("no {}", "more")
            })
            .await;
        let report = probe.report(measurement, failure);
        let failure = report.failure.unwrap();
        assert_eq!((failure.reason, failure.detail.as_str()), (Reason::ProberError, "the prober broke: no more"));
        assert_eq!(report.measurement, Measurement::Icmp(icmp::Measurement { sent: 7, ..Default::default() }));
    }

    #[tokio::test]
    async fn the_deadline_keeps_what_was_measured() {
        let request = icmp_request(Duration::from_millis(20));
        let probe = Probe::start(&request);
        let (measurement, failure) =
            until_deadline(&probe, icmp::Measurement::default(), Measurement::Icmp, async |measured| {
                measured.sent = 7;
                std::future::pending().await
            })
            .await;
        assert_eq!(measurement, Measurement::Icmp(icmp::Measurement { sent: 7, ..Default::default() }));
        assert_eq!(failure.map(|failure| failure.reason), Some(Reason::DnsTimeout));
    }
}
