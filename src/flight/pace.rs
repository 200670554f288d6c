//! The pace that the packets of several traces leave at together.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between the times at which packets leave. Whatever wakes a processor costs more than a packet, so that some leave at once.
const TICK: Duration = Duration::from_millis(5);

/// How many turns there are in a tick.
const TURNS: u32 = 3;

/// How many packets may leave in a turn: 2,400 in a second. Several of one trace, to several hops, since a task that is woken costs more than a
/// packet, too.
pub const PACKETS: u32 = 4;

/// Gives turns: a hundred traces that begin at the same time are no flood to the routers that they share, and take no processor from others.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Tick>>);

/// The last tick whose turns were given.
#[derive(Debug)]
struct Tick {
    at: Instant,
    /// How many were.
    given: u32,
}

impl Pace {
    /// The time that one packet takes of the pace.
    pub const PACKET: Duration = Duration::from_nanos(TICK.as_nanos() as u64 / (TURNS * PACKETS) as u64);

    /// When who asks at `now` may send [`PACKETS`]: after all who asked before. Who cannot wait for longer than `longest` may send then, and
    /// takes no turn from others.
    pub fn turn(&self, now: Instant, longest: Duration) -> Instant {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = match &*last {
            Some(Tick { at, given }) if *given < TURNS && *at + TICK > now => Tick { at: *at, given: given + 1 },
            Some(Tick { at, .. }) if *at + TICK > now => Tick { at: *at + TICK, given: 1 },
            Some(_) | None => Tick { at: now, given: 1 },
        };
        let (at, latest) = (tick.at, now + longest);
        if at > latest {
            return latest;
        }
        *last = Some(tick);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_asks_at_the_same_time_gets_one_turn_after_the_other() {
        let (pace, now) = (Pace::default(), Instant::now());
        let turns: Vec<_> = (0..100).map(|_| pace.turn(now, 1_000 * MS) - now).collect();
        assert!(turns.iter().copied().eq((0..100).map(|turn| turn / TURNS * TICK)), "{turns:?}");
        assert_eq!(pace.turn(now + 10 * MS, 1_000 * MS), now + 33 * TICK, "who comes later is behind");
    }

    #[test]
    fn turns_that_nobody_wanted_are_not_made_up_for() {
        let (pace, now) = (Pace::default(), Instant::now());
        let at = |later: u32| (pace.turn(now + later * MS, 1_000 * MS) - now).as_millis();
        assert_eq!([at(0), at(2), at(4), at(4)], [0, 0, 0, 5]);
        assert_eq!([at(100), at(100), at(103), at(104), at(105)], [100, 100, 100, 105, 105]);
    }

    #[test]
    fn who_cannot_wait_takes_no_turn_from_others() {
        let (pace, now) = (Pace::default(), Instant::now());
        let turns: Vec<_> = (0..9).map(|_| pace.turn(now, 1_000 * MS) - now).collect();
        assert!(turns.iter().copied().eq((0..9).map(|turn| turn / TURNS * TICK)), "{turns:?}");
        let hasty: Vec<_> = (0..100).map(|_| pace.turn(now, 7 * MS) - now).collect();
        assert_eq!(hasty, [7 * MS; 100]);
        assert_eq!(pace.turn(now, 1_000 * MS), now + 3 * TICK);
        assert_eq!(pace.turn(now + 20 * MS, Duration::ZERO), now + 20 * MS);
    }
}
