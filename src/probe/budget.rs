//! The packets that this program may send through an ISP.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate of packets, and what is granted of it: a leaky bucket, as the virtual scheduling algorithm of ITU-T I.371 (annex A) keeps it.
#[derive(Debug)]
pub struct Budget {
    /// Packets per second.
    rate: u32,
    /// When the rate will have paid for all packets that were granted; nothing, and a time that is over, where it has.
    paid: Mutex<Option<Instant>>,
}

/// The packets of a second may be granted at once: a trace sends a round in one go.
const BURST: Duration = Duration::from_secs(1);

impl Budget {
    /// A budget of so many packets per second, of which there is at least one.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), paid: Mutex::default() }
    }

    /// Packets per second.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Grants packets. More than those of a second go alone.
    ///
    /// # Errors
    /// That there are not so many now, and in what time there will be.
    pub fn take(&self, packets: u32, now: Instant) -> Result<(), Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let costs = self.cost(packets);
        let after = (owed + costs.min(BURST)).saturating_sub(BURST);
        if !after.is_zero() {
            return Err(after);
        }
        *paid = Some(now + owed + costs);
        Ok(())
    }

    /// Sets right what was granted: so many were sent.
    pub fn settle(&self, granted: u32, sent: u32) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let more = self.cost(sent.saturating_sub(granted));
        *paid = (paid.unwrap_or_else(Instant::now) + more).checked_sub(self.cost(granted.saturating_sub(sent)));
    }

    fn cost(&self, packets: u32) -> Duration {
        Duration::from_secs(packets.into()) / self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_granted_in_any_time_is_the_rates_and_a_burst() {
        let (budget, start) = (Budget::new(1000), Instant::now());
        let mut granted = Vec::new();
        for at in (0..20_000).map(|at| start + millis(at)) {
            // Ten times as many as may be.
            granted.extend((0..10).filter(|_| budget.take(60, at).is_ok()).map(|_| (at, 60)));
        }
        for seconds in [1, 2, 10] {
            let span = Duration::from_secs(seconds);
            for (from, _) in &granted {
                let within = granted.iter().filter(|(at, _)| (*from..*from + span).contains(at));
                let packets: u64 = within.map(|(_, packets)| packets).sum();
                assert!(packets <= 1000 * (seconds + 1), "{packets} in {span:?}");
            }
        }
        let all: u64 = granted.iter().map(|(_, packets)| packets).sum();
        assert!((20_000..=21_000).contains(&all), "{all}: nothing is lost of the rate");
    }

    #[test]
    fn whoever_gets_none_is_told_when_there_are_some() {
        let (budget, now) = (Budget::new(100), Instant::now());
        assert_eq!(budget.take(80, now), Ok(()));
        assert_eq!(budget.take(30, now), Err(millis(100)));
        assert_eq!(budget.take(20, now), Ok(()));
        assert_eq!(budget.take(30, now + millis(300)), Ok(()));
    }

    #[test]
    fn more_than_the_packets_of_a_second_go_alone() {
        let (budget, now) = (Budget::new(100), Instant::now());
        assert_eq!(budget.take(1000, now), Ok(()));
        assert_eq!(budget.take(1, now), Err(millis(9010)));
        assert_eq!(budget.take(1000, now + millis(9000)), Err(millis(1000)));
        assert_eq!(budget.take(1000, now + millis(10_000)), Ok(()));
    }

    #[test]
    fn what_was_sent_counts_in_the_end_and_not_what_was_granted() {
        let (budget, now) = (Budget::new(100), Instant::now());
        assert_eq!(budget.take(90, now), Ok(()));
        budget.settle(90, 60);
        assert_eq!(budget.take(40, now), Ok(()));
        // A trace of as many flows as it takes.
        budget.settle(40, 240);
        assert_eq!(budget.take(1, now), Err(millis(2010)));
    }
}
