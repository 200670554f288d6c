//! How much goes through each ISP at a time: its `max_probes` and `packets_per_second`. What is too much is refused at once: in a queue it would
//! be measured late, or end as a failure that nobody out there is to blame for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::probe::{Isp, Report, Request};

/// How many probes run through the ISPs, by their names: a reload changes the limits, and not what is under way.
#[derive(Debug, Default)]
pub(super) struct Admission(Mutex<HashMap<String, u32>>);

/// Why a probe may not begin now.
#[derive(Debug)]
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
        self.change(isp, |running| {
            begin(isp, *running, packets, Instant::now())?;
            *running += 1;
            Ok(Admitted { through: Some((self, Arc::clone(isp), packets)) })
        })
    }

    fn change<T>(&self, isp: &Isp, change: impl FnOnce(&mut u32) -> T) -> T {
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
        if let Some(sent) = report.packets() {
            self.settle(sent);
        }
    }

    /// It did not begin, since another one may not that it is asked for with.
    pub(super) fn withdrawn(self) {
        self.settle(0);
    }

    fn settle(&self, sent: u32) {
        if let Some((_, isp, granted)) = &self.through
            && let Some(budget) = &isp.budget
        {
            budget.settle(*granted, sent);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some((admission, isp, _)) = &self.through {
            admission.change(isp, |running| *running -= 1);
        }
    }
}

/// Whether a probe may begin that sends so many packets at most, as far as that is known.
fn begin(isp: &Isp, running: u32, packets: u32, now: Instant) -> Result<(), Refused> {
    let name = &isp.name;
    if let Some(most) = isp.max_probes.filter(|most| running >= *most) {
        let sentence = format!(
            "{most} probes run through the ISP {name:?}, which are its max_probes: this one was not begun, and says nothing of its target"
        );
        return Err(Refused { limit: "max_probes", sentence, after: Duration::from_secs(1) });
    }
    let Some(budget) = isp.budget.as_ref().filter(|_| packets > 0) else { return Ok(()) };
    budget.take(packets, now).map_err(|after| {
        let rate = budget.rate();
        let sentence = format!(
            "the packets of the probes through the ISP {name:?} are its packets_per_second ({rate}), and up to {packets} more are too many: this one \
             was not begun, and says nothing of its target"
        );
        Refused { limit: "packets_per_second", sentence, after }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Budget;

    #[test]
    fn each_limit_refuses_by_its_name() {
        let budget = Some(Arc::new(Budget::new(100)));
        let isp = Isp { name: "kt".into(), max_probes: Some(2), budget, ..Isp::default() };
        let now = Instant::now();
        let refused = |running, packets| begin(&isp, running, packets, now).err().map(|refused| refused.limit);
        assert_eq!([refused(0, 0), refused(1, 90)], [None, None]);
        assert_eq!([refused(2, 0), refused(1, 20)], [Some("max_probes"), Some("packets_per_second")]);
        assert_eq!(refused(1, 0), None, "what sends none needs none");
        let unlimited = Isp::default();
        assert!(begin(&unlimited, u32::MAX, u32::MAX, now).is_ok());
    }
}
