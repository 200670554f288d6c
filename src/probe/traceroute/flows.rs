//! Which flows a trace follows, and where: as many as the module says, or as it takes to know all routers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flight::bundle::{self, Bundle, MOST_FLOWS, Step};
use crate::flight::pace::Pace;
use crate::flight::trace::{Plan, Trace};
use crate::net::Answer;
use crate::path::{Balance, Doubt, Sightings, Wanted, enough};

/// How many flows a trace follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flows {
    /// So many.
    Count(usize),
    /// As many as tell all routers of every hop with 95 % certainty, [`MOST_FLOWS`] at most.
    Auto,
}

/// How far beyond the end of the longest path so far a later flow looks for its own.
const BEYOND: u8 = 2;

/// How many packets of one flow tell whether several routers share packets: of two that take turns by chance, 95 in 100 times. Where they met both and yet
/// do not tell, as many again do.
const TELLING: u32 = 12;

/// From one of them to the next.
const TELLING_INTERVAL: Duration = Duration::from_millis(5);

/// How often what was heard is looked through for what else to ask.
const LOOK: Duration = Duration::from_millis(10);

/// Which part of a trace's time its packets may wait for their turn, where many traces run.
const FOR_TURNS: u32 = 2;

/// The flows of a trace under way.
#[derive(Debug)]
pub(super) struct Exploration {
    /// Of the first flow.
    plan: Plan,
    flows: Flows,
    /// How long it may take.
    time: Duration,
    bundle: Bundle,
    /// The trace of the bundle that is the first flow's.
    first: usize,
    /// Of each trace of the bundle, whether it follows its flow, or only asks one hop of it once more.
    follows: Vec<bool>,
    sightings: Sightings,
    /// How many flows were begun.
    begun: usize,
    /// When the next may begin: near routers are not to be hit by all at once.
    next: Instant,
    /// What else is wanted, where that is to be found out.
    wanted: Option<Wanted>,
    /// Whether something was heard since the last look, and when that was.
    news: bool,
    looked: Instant,
    /// The doubts that were asked about: how many routers there were then, and how often they were.
    asked: HashMap<(u8, Option<IpAddr>), (usize, u32)>,
}

/// An answer that is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// The flow, from 0.
    pub(super) flow: usize,
    /// The hop that answered.
    pub(super) hop: u8,
    /// Whether it belongs to the statistics of the first flow.
    pub(super) counts: bool,
}

impl Exploration {
    /// Begins at `now`, with a first flow that does what `plan` says; its packets leave at a pace.
    pub(super) fn new(plan: Plan, flows: Flows, pace: Arc<Pace>, now: Instant) -> Self {
        let mut exploration = Self {
            plan,
            flows,
            time: plan.end.saturating_duration_since(now),
            bundle: Bundle::new(pace),
            first: 0,
            follows: Vec::new(),
            sightings: Sightings::new(plan.first_hop),
            begun: 0,
            next: now,
            wanted: None,
            news: false,
            looked: now,
            asked: HashMap::new(),
        };
        exploration.begin(plan, now);
        exploration
    }

    /// What to do now. A packet that is to be sent counts as sent at `now`.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let share = self.share();
        loop {
            if self.news && now >= self.looked + LOOK {
                self.look(false, now);
            }
            let wants = self.is_wanting() && now < self.plan.end;
            if wants && now >= self.next {
                let hops =
                    self.wanted.as_ref().map_or(self.plan.first_hop..=self.plan.max_hops, |wanted| wanted.hops.clone());
                self.follow(&hops, now);
            }
            let next = wants.then_some(self.next);
            match self.bundle.step(now, share) {
                Step::Over(trace) => {
                    let (flow, _) = self.bundle.trace(trace);
                    // What was under way when the time was over may still have been answered.
                    if self.follows[trace] && now < self.plan.end {
                        self.sightings.over(flow);
                    }
                    self.news = true;
                }
                Step::Wait(until) => {
                    let look = self.news.then_some(self.looked + LOOK);
                    // A turn may come later than the end.
                    let end = (now < self.plan.end).then_some(self.plan.end);
                    let until = [next, look, end].into_iter().flatten().fold(until, Instant::min);
                    if until > now {
                        return Step::Wait(until);
                    }
                }
                Step::Done => match next {
                    Some(next) if next > now => return Step::Wait(next),
                    Some(_) => {}
                    None if self.news && now < self.plan.end => self.look(true, now),
                    None => return Step::Done,
                },
                send @ Step::Send { .. } => return send,
            }
        }
    }

    /// A packet was answered; `ends` says that the path goes no farther than whoever did. Nothing where that is no news.
    pub(super) fn answered(&mut self, answer: &Answer, ends: bool, now: Instant) -> Option<News> {
        let bundle::Answered { trace, flow, hop } = self.bundle.answered(answer.number, answer.rtt(), ends, now)?;
        if self.explores() {
            self.sightings.heard(flow, hop, answer.departed, answer.from);
            if ends {
                self.sightings.end(flow, hop);
            }
            self.news = true;
        }
        Some(News { flow, hop, counts: trace == self.first })
    }

    /// Begins the only flow once more, at a time, where nobody has told its end yet, and there is time to tell it then: what its packets met so far
    /// does not count. Whether it does so; only once.
    pub(super) fn begin_anew(&mut self, at: Instant) -> bool {
        let patience = self.first().known_patience();
        if self.is_anew() || self.first().end_hop().is_some() || at + patience > self.plan.end {
            return false;
        }
        self.bundle.cut(0);
        self.first = self.bundle.add(0, Trace::new(self.plan, at), at);
        self.follows.push(true);
        true
    }

    /// Whether the first flow began once more.
    pub(super) fn is_anew(&self) -> bool {
        self.first != 0
    }

    /// A flow cannot be had: there are to be no more than before it.
    pub(super) fn cut(&mut self, flow: usize) {
        self.bundle.cut(flow);
        self.sightings.forget(flow);
        self.flows = Flows::Count(flow);
        self.begun = self.begun.max(flow);
        self.wanted = None;
    }

    /// Whether the packet of a number is one of the first flow's trace.
    pub(super) fn is_first(&self, number: u32) -> bool {
        self.bundle.of(number) == Some(self.first)
    }

    /// The number that the next packet of the first flow would have.
    pub(super) fn next_number(&self) -> u32 {
        self.bundle.next_number()
    }

    /// The trace of the first flow.
    pub(super) fn first(&self) -> &Trace {
        self.bundle.trace(self.first).1
    }

    /// What the flows met; nothing where there is only one.
    pub(super) fn balance(&self) -> Option<Balance> {
        self.explores().then(|| self.sightings.survey().balance())
    }

    /// How long each packet may wait for its turn, so that all have theirs in time.
    fn share(&self) -> Duration {
        let flows = match self.flows {
            Flows::Count(flows) => flows,
            Flows::Auto => self.begun,
        };
        let end = self.first().end_hop().unwrap_or(self.plan.max_hops);
        let hops = u32::from(end.saturating_sub(self.plan.first_hop)) + 1;
        let packets = hops.saturating_mul(self.plan.rounds).saturating_mul(flows as u32);
        self.time / packets.saturating_mul(FOR_TURNS).max(1)
    }

    /// Whether there is more than the first flow.
    fn explores(&self) -> bool {
        self.flows != Flows::Count(1)
    }

    /// Whether a flow is to begin as soon as it may.
    fn is_wanting(&self) -> bool {
        match self.flows {
            Flows::Count(flows) => self.begun < flows,
            Flows::Auto if self.begun < enough(1) => true,
            Flows::Auto => self.begun < MOST_FLOWS && self.wanted.as_ref().is_some_and(|wanted| wanted.flows > 0),
        }
    }

    /// Begins the next flow, for some hops.
    fn follow(&mut self, hops: &RangeInclusive<u8>, now: Instant) {
        let longest = self.sightings.longest().map_or(u8::MAX, |longest| longest.saturating_add(BEYOND));
        let (rounds, wait) = match self.flows {
            Flows::Count(_) => (self.plan.rounds, self.plan.wait),
            // What it says nothing of, others tell.
            Flows::Auto => (1, self.first().known_patience()),
        };
        let (first_hop, max_hops) = (*hops.start(), longest.min(*hops.end()).max(*hops.start()));
        if let Some(wanted) = &mut self.wanted {
            wanted.flows = wanted.flows.saturating_sub(1);
        }
        self.begin(Plan { first_hop, max_hops, rounds, wait, ..self.plan }, now);
    }

    fn begin(&mut self, plan: Plan, now: Instant) {
        let flow = self.begun;
        self.begun += 1;
        self.sightings.ask(flow, &(plan.first_hop..=plan.max_hops));
        self.bundle.add(flow, Trace::new(plan, now), now);
        self.follows.push(true);
        self.next = now + Pace::PACKET * (u32::from(plan.max_hops.saturating_sub(plan.first_hop)) + 1);
    }

    /// Looks through what was heard: asks where several routers may share packets, and finds out how many flows are wanted. `again` asks once
    /// more where more routers were met since, or that did not tell.
    fn look(&mut self, again: bool, now: Instant) {
        (self.news, self.looked) = (false, now);
        if !self.explores() {
            return;
        }
        let survey = self.sightings.survey();
        self.wanted = if self.flows == Flows::Auto { survey.wanted() } else { None };
        for Doubt { hop, behind, routers, flow, restless } in survey.doubts() {
            let (known, times) = self.asked.entry((hop, behind)).or_default();
            if *times == 0 || again && *times == 1 && (restless || routers > *known) {
                (*known, *times) = (routers, *times + 1);
                let wait = self.bundle.trace(0).1.known_patience();
                let (rounds, interval) = (TELLING, TELLING_INTERVAL);
                let plan = Plan { first_hop: hop, max_hops: hop, rounds, interval, wait, ..self.plan };
                self.bundle.add(flow, Trace::new(plan, now), now);
                self.follows.push(false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
