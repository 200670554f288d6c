//! How much goes through each ISP at a time: its `max_probes` and `packets_per_second`. What is too much is refused at once: in a queue it would
//! be measured late, or end as a failure that nobody out there is to blame for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::probe::{Isp, Report, Request};

/// What goes through the ISPs now, by their names: a reload changes the limits, and not what is under way.
#[derive(Debug, Default)]
pub(super) struct Admission(Mutex<HashMap<String, Load>>);

/// What goes through an ISP.
#[derive(Debug, Default)]
struct Load {
    probes: u32,
    /// When its rate will have paid for all packets that were granted; nothing, and a time that is over, where it has. This is a leaky bucket, as the
    /// virtual scheduling algorithm of ITU-T I.371 (annex A) keeps it.
    paid: Option<Instant>,
}

/// The packets of a second may be granted at once: a trace sends a round in one go.
const BURST: Duration = Duration::from_secs(1);

/// Why a probe may not begin now.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    /// The limit that is reached, by its key in the configuration.
    pub(super) limit: &'static str,
    /// One sentence.
    pub(super) sentence: String,
    /// When it is worth while to ask again.
    pub(super) after: Duration,
}

impl Admission {
    /// Lets a probe begin, unless its ISP has enough to do.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn admit(&self, request: &Request) -> Result<Admitted<'_>, Refused> {
        let Some(isp) = request.uplink() else { return Ok(Admitted { through: None }) };
        let packets = request.module.prober.packets();
        self.change(isp, |load| load.begin(isp, packets, Instant::now()))?;
        Ok(Admitted { through: Some((self, Arc::clone(isp), packets)) })
    }

    fn change<T>(&self, isp: &Isp, change: impl FnOnce(&mut Load) -> T) -> T {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(isp.name.clone()).or_default())
    }
}

/// A probe that may run; it has ended when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    through: Option<(&'a Admission, Arc<Isp>, u32)>,
}

impl Admitted<'_> {
    /// What it was granted is settled: it sent less, or more.
    pub(super) fn ended(self, report: &Report) {
        if let (Some((admission, isp, granted)), Some(sent)) = (&self.through, report.packets()) {
            admission.change(isp, |load| load.settle(isp, *granted, sent));
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some((admission, isp, _)) = &self.through {
            admission.change(isp, |load| load.probes -= 1);
        }
    }
}

impl Load {
    /// A probe begins that sends so many packets at most, as far as that is known.
    fn begin(&mut self, isp: &Isp, packets: u32, now: Instant) -> Result<(), Refused> {
        if let Some(most) = isp.max_probes.filter(|most| self.probes >= *most) {
            let sentence = format!(
                "{} probes run through the ISP {:?}, which are its max_probes: this one was not begun, and says nothing of its target",
                most, isp.name
            );
            return Err(Refused { limit: "max_probes", sentence, after: Duration::from_secs(1) });
        }
        if let Some(rate) = isp.packets_per_second.filter(|_| packets > 0) {
            let owed = self.paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
            let costs = cost(packets, rate);
            // What takes more than a burst by itself goes alone.
            let after = (owed + costs.min(BURST)).saturating_sub(BURST);
            if !after.is_zero() {
                let sentence = format!(
                    "the packets of the probes through the ISP {:?} are its packets_per_second ({rate}), and up to {packets} more are too many: this one \
                     was not begun, and says nothing of its target",
                    isp.name
                );
                return Err(Refused { limit: "packets_per_second", sentence, after });
            }
            self.paid = Some(now + owed + costs);
        }
        self.probes += 1;
        Ok(())
    }

    /// A probe to which so many packets were granted sent so many.
    fn settle(&mut self, isp: &Isp, granted: u32, sent: u32) {
        let Some(rate) = isp.packets_per_second else { return };
        let paid = self.paid.unwrap_or_else(Instant::now);
        let more = cost(sent.saturating_sub(granted), rate);
        self.paid = (paid + more).checked_sub(cost(granted.saturating_sub(sent), rate));
    }
}

/// How long a rate takes for packets.
fn cost(packets: u32, rate: u32) -> Duration {
    Duration::from_secs(packets.into()) / rate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isp(max_probes: Option<u32>, packets_per_second: Option<u32>) -> Isp {
        Isp { name: "kt".into(), max_probes, packets_per_second, ..Isp::default() }
    }

    fn refused(load: &mut Load, isp: &Isp, packets: u32, now: Instant) -> Option<(&'static str, Duration)> {
        load.begin(isp, packets, now).err().map(|refused| (refused.limit, refused.after))
    }

    #[test]
    fn no_more_probes_run_than_may() {
        let (isp, now, mut load) = (isp(Some(2), None), Instant::now(), Load::default());
        assert_eq!([0, 500].map(|packets| refused(&mut load, &isp, packets, now)), [None, None]);
        assert_eq!(refused(&mut load, &isp, 0, now), Some(("max_probes", Duration::from_secs(1))));
        load.probes -= 1;
        assert_eq!(refused(&mut load, &isp, 0, now), None);
    }

    #[test]
    fn what_is_granted_in_any_time_is_the_rates_and_a_burst() {
        let (isp, start, mut load) = (isp(None, Some(1000)), Instant::now(), Load::default());
        let mut granted = Vec::new();
        for at in (0..20_000).map(|at| start + Duration::from_millis(at)) {
            // Ten times as many as may be.
            for _ in 0..10 {
                granted.extend(refused(&mut load, &isp, 60, at).is_none().then_some((at, 60)));
            }
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
    fn whoever_is_refused_is_told_when_there_is_room() {
        let (isp, now, mut load) = (isp(None, Some(100)), Instant::now(), Load::default());
        assert_eq!(refused(&mut load, &isp, 80, now), None);
        assert_eq!(refused(&mut load, &isp, 30, now), Some(("packets_per_second", Duration::from_millis(100))));
        assert_eq!(refused(&mut load, &isp, 20, now), None);
        assert_eq!(refused(&mut load, &isp, 0, now), None, "what sends none needs none");
        assert_eq!(refused(&mut load, &isp, 30, now + Duration::from_millis(300)), None);
    }

    #[test]
    fn what_needs_more_than_a_second_of_packets_goes_alone() {
        let (isp, now, mut load) = (isp(None, Some(100)), Instant::now(), Load::default());
        assert_eq!(refused(&mut load, &isp, 1000, now), None);
        assert_eq!(refused(&mut load, &isp, 1, now), Some(("packets_per_second", Duration::from_millis(9010))));
        assert_eq!(refused(&mut load, &isp, 1000, now + Duration::from_secs(9)).unwrap().1, Duration::from_secs(1));
        assert_eq!(refused(&mut load, &isp, 1000, now + Duration::from_secs(10)), None);
    }

    #[test]
    fn what_was_sent_counts_in_the_end_and_not_what_was_granted() {
        let (isp, now, mut load) = (isp(None, Some(100)), Instant::now(), Load::default());
        assert_eq!(refused(&mut load, &isp, 90, now), None);
        load.settle(&isp, 90, 60);
        assert_eq!(refused(&mut load, &isp, 40, now), None);
        // A trace of as many flows as it takes, or of one that failed.
        load.settle(&isp, 40, 240);
        assert_eq!(refused(&mut load, &isp, 1, now), Some(("packets_per_second", Duration::from_millis(2010))));
    }
}
