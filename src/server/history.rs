//! The probes that ended lately, for people who ask what happened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::probe::{Module, Report};
use crate::render;

/// The latest probes, and as many failed ones of those before them.
#[derive(Debug)]
pub(super) struct History {
    /// How many of each are kept.
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    next_id: u64,
    /// The latest, the newest last.
    latest: VecDeque<Arc<Entry>>,
    /// The failed ones before them, the newest last.
    failures: VecDeque<Arc<Entry>>,
}

/// A probe that ended. What people see of it is made when they ask.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number, from 0.
    pub(super) id: u64,
    pub(super) report: Report,
    module: Arc<Module>,
}

/// Which probe of a target is sought; what is not given does not matter.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) target: &'a str,
    pub(super) module: Option<&'a str>,
    /// The ISP's name; empty, without an ISP.
    pub(super) isp: Option<&'a str>,
}

impl Entry {
    /// The same text as the probe would have returned with `debug=true`.
    pub(super) fn text(&self) -> String {
        render::debug_report(&self.report, &self.module.yaml)
    }

    /// The name of its ISP; empty where it had none.
    pub(super) fn isp(&self) -> &str {
        self.report.isp.as_ref().map(|isp| isp.name.as_str()).unwrap_or_default()
    }

    fn is(&self, wanted: &Wanted<'_>) -> bool {
        // A password is not kept, so it cannot tell targets apart.
        self.report.target == self.module.prober.shown(wanted.target)
            && wanted.module.is_none_or(|module| module == self.report.module)
            && wanted.isp.is_none_or(|isp| isp == self.isp())
    }
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// Whether probes are kept at all.
    pub(super) fn is_kept(&self) -> bool {
        self.limit > 0
    }

    /// Keeps a probe that ended.
    pub(super) fn add(&self, report: Report, module: Arc<Module>) {
        if !self.is_kept() {
            return;
        }
        let mut kept = self.lock();
        let entry = Entry { id: kept.next_id, report, module };
        kept.next_id += 1;
        kept.latest.push_back(Arc::new(entry));
        let aged = if kept.latest.len() > self.limit { kept.latest.pop_front() } else { None };
        let forgotten = match aged {
            Some(aged) if !aged.report.success() => {
                kept.failures.push_back(aged);
                if kept.failures.len() > self.limit { kept.failures.pop_front() } else { None }
            }
            aged => aged,
        };
        // To free a report takes longer than all of the above.
        drop(kept);
        drop(forgotten);
    }

    /// All that is kept, the newest first.
    pub(super) fn newest_first(&self) -> Vec<Arc<Entry>> {
        let kept = self.lock();
        kept.latest.iter().rev().chain(kept.failures.iter().rev()).cloned().collect()
    }

    /// The probe of a number.
    pub(super) fn of_id(&self, id: u64) -> Option<Arc<Entry>> {
        self.newest_first().into_iter().find(|entry| entry.id == id)
    }

    /// The latest probe that is wanted.
    pub(super) fn latest(&self, wanted: &Wanted<'_>) -> Option<Arc<Entry>> {
        self.newest_first().into_iter().find(|entry| entry.is(wanted))
    }

    /// Locks; a panic elsewhere leaves the lists usable, since every change of them is whole.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
