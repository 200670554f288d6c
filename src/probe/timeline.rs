//! The timeline of a running probe, which its sockets feed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use crate::flight::{Leg, Phase, Timeline, Traffic};
use crate::net::stream::Observer;

/// The timeline of a probe, shared with the sockets that feed it.
#[derive(Debug, Clone)]
pub struct SharedTimeline(Arc<Mutex<Timeline>>);

impl SharedTimeline {
    pub(super) fn start(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Timeline::start(now))))
    }

    /// A phase begins now.
    pub fn enter(&self, phase: Phase) {
        lock(&self.0).enter(phase, Instant::now());
    }

    /// Another part of the probe begins now, which is told by itself.
    pub fn begin_leg(&self) {
        lock(&self.0).begin_leg(Instant::now());
    }

    /// What happens from now on is told as `phase`, whatever it goes through; returns what it was told as before.
    pub(super) fn begin_aside(&self, phase: Phase) -> Option<Phase> {
        lock(&self.0).begin_aside(phase, Instant::now())
    }

    /// What happens from now on is told as it was before.
    pub(super) fn end_aside(&self, before: Option<Phase>) {
        lock(&self.0).end_aside(before, Instant::now());
    }

    /// This part has its connection.
    pub fn connected(&self) {
        lock(&self.0).connected();
    }

    /// What the connection of this part carried so far; nothing before there was one.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        lock(&self.0).traffic()
    }

    /// Something left, or was asked, at `at`.
    pub fn sent(&self, at: Instant) {
        lock(&self.0).sent(at);
    }

    /// A datagram left at `at`, perhaps for a timer.
    pub(super) fn sent_datagram(&self, at: Instant) {
        lock(&self.0).sent_datagram(at);
    }

    /// A connection carried so many bytes more.
    pub(super) fn carried(&self, bytes: Traffic) {
        lock(&self.0).carried(bytes);
    }

    /// Something arrived at `at`.
    pub fn received(&self, at: Instant) {
        lock(&self.0).received(at);
    }

    /// Something was due at `due`, and is done only now.
    pub fn overslept(&self, due: Instant) {
        lock(&self.0).overslept(due, Instant::now());
    }

    /// What was waited for, until `due`, has not come.
    pub fn waited(&self, due: Instant) {
        lock(&self.0).waited(due);
    }

    /// What arrived last is not what was asked for.
    pub fn still_due(&self) {
        lock(&self.0).still_due();
    }

    /// What was sent last asks for no answer.
    pub fn nothing_due(&self) {
        lock(&self.0).nothing_due();
    }

    /// There is nothing to do but wait.
    pub fn waiting(&self, now: Instant) {
        lock(&self.0).waiting(now);
    }

    /// The phase that is running.
    #[must_use]
    pub fn current(&self) -> Option<Phase> {
        lock(&self.0).current()
    }

    /// The phase that the time goes to: the running one, or what it is told as.
    #[must_use]
    pub fn told(&self) -> Option<Phase> {
        lock(&self.0).told()
    }

    /// The number of the running leg, from 0.
    #[must_use]
    pub(super) fn leg(&self) -> usize {
        lock(&self.0).legs().count() - 1
    }

    /// The time spent in the phases of a leg so far.
    #[must_use]
    pub(super) fn phases_of_leg(&self, leg: usize) -> Vec<(Phase, Duration)> {
        lock(&self.0).legs().nth(leg).map(Leg::phases).unwrap_or_default()
    }

    /// When something arrived last.
    #[must_use]
    pub fn last_arrival(&self) -> Option<Instant> {
        lock(&self.0).last_arrival()
    }

    pub(super) fn finish(&self, now: Instant) -> Timeline {
        let mut timeline = lock(&self.0);
        timeline.finish(now);
        timeline.clone()
    }
}

impl Observer for SharedTimeline {
    fn sent(&self, at: Instant, bytes: usize) {
        let mut timeline = lock(&self.0);
        timeline.sent(at);
        timeline.carried(Traffic { sent: bytes as u64, received: 0 });
    }

    fn received(&self, at: Instant, bytes: usize) {
        let mut timeline = lock(&self.0);
        timeline.received(at);
        timeline.carried(Traffic { sent: 0, received: bytes as u64 });
    }

    fn waiting(&self, now: Instant) {
        self.waiting(now);
    }
}
