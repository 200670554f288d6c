//! Where the time of a probe goes: to a phase of the conversation, or to ourselves.

use std::time::{Duration, Instant};

/// A stretch of a probe that a person would name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The token that the target wants to see is fetched, from its own server.
    Token,
    /// The name becomes an address.
    Resolve,
    /// Sockets are made and the first packet is on its way (icmp, traceroute).
    Setup,
    /// TCP handshake.
    Connect,
    /// TLS handshake.
    Tls,
    /// A server that speaks no TLS of ours is asked on a second connection what it speaks.
    Legacy,
    /// From the request to the first byte of the response.
    Processing,
    /// From the first byte of the response to its last.
    Transfer,
    /// Question and answer: of a module's query_response, of DNS.
    Query,
    /// Pauses between the packets of an icmp probe of several.
    Interval,
    /// From the last echo request to the end of waiting for its reply.
    Rtt,
    /// All rounds of a trace.
    Trace,
    /// The largest packet is looked for that the path carries.
    Mtu,
    /// Who the hops of a trace are is still to be known.
    Lookup,
}

impl Phase {
    /// Every phase, in the order in which a probe goes through them.
    pub const ALL: [Self; 14] = [
        Self::Token,
        Self::Resolve,
        Self::Setup,
        Self::Connect,
        Self::Tls,
        Self::Legacy,
        Self::Processing,
        Self::Transfer,
        Self::Query,
        Self::Interval,
        Self::Rtt,
        Self::Trace,
        Self::Mtu,
        Self::Lookup,
    ];

    /// The label value in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Resolve => "resolve",
            Self::Setup => "setup",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Legacy => "legacy",
            Self::Query => "query",
            Self::Processing => "processing",
            Self::Transfer => "transfer",
            Self::Interval => "interval",
            Self::Rtt => "rtt",
            Self::Trace => "trace",
            Self::Mtu => "mtu",
            Self::Lookup => "lookup",
        }
    }
}

/// Whose turn it is in the conversation, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The network's: something was sent (or asked), and nothing came since.
    Network,
    /// Ours: something came, and we have not answered.
    Ours {
        /// When we went back to waiting, without an answer of ours.
        waiting: Option<Instant>,
    },
}

/// A part of a probe that is told by itself: one request of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leg {
    spans: [Option<Duration>; Phase::ALL.len()],
    /// What its connection carried; nothing before there was one.
    pub traffic: Option<Traffic>,
}

impl Leg {
    /// The phases that were reached, in their order, and the time spent in each.
    #[must_use]
    pub fn phases(&self) -> Vec<(Phase, Duration)> {
        phases(|phase| self.spans[phase as usize])
    }
}

/// The phases that have a span.
fn phases(span: impl Fn(Phase) -> Option<Duration>) -> Vec<(Phase, Duration)> {
    Phase::ALL.into_iter().filter_map(|phase| span(phase).map(|span| (phase, span))).collect()
}

/// What a connection carried, above TCP and beneath TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that were written to it.
    pub sent: u64,
    /// Bytes that were read from it.
    pub received: u64,
}

/// Splits the wall time of a probe into its phases, as the wire saw them, and our own part, the overhead.
///
/// Every stretch of time goes to exactly one of them, so their sum is the time from `start` to `finish`. What is on the wire (from
/// a departure to an arrival, or between two arrivals) belongs to the phase; the time from an arrival, by the kernel's stamp, to our
/// next departure is ours, however long the scheduler let us wait. The phases are kept by leg; those of all legs make the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    leg: Leg,
    /// The legs before the running one.
    earlier: Vec<Leg>,
    overhead: Duration,
    current: Option<Phase>,
    /// What the phases are told as while somebody else than the target is talked to.
    aside: Option<Phase>,
    turn: Turn,
    since: Instant,
    last_arrival: Option<Instant>,
}

impl Timeline {
    /// Starts the clock; it is our turn.
    #[must_use]
    pub fn start(now: Instant) -> Self {
        Self {
            leg: Leg::default(),
            earlier: Vec::new(),
            overhead: Duration::ZERO,
            current: None,
            aside: None,
            turn: Turn::Ours { waiting: None },
            since: now,
            last_arrival: None,
        }
    }

    /// A phase begins (again, after a redirect: its time adds up).
    pub fn enter(&mut self, phase: Phase, now: Instant) {
        self.take_turn(now);
        self.current = Some(phase);
        self.leg.spans[self.aside.unwrap_or(phase) as usize].get_or_insert(Duration::ZERO);
    }

    /// Somebody else than the target is talked to: what this goes through is told as `phase`, or, where it is part of another such talk,
    /// as that is. Returns what it was told as before, for [`Timeline::end_aside`].
    pub fn begin_aside(&mut self, phase: Phase, now: Instant) -> Option<Phase> {
        self.take_turn(now);
        self.current = None;
        let before = self.aside;
        let phase = *self.aside.get_or_insert(phase);
        self.leg.spans[phase as usize].get_or_insert(Duration::ZERO);
        before
    }

    /// That talk is over.
    pub fn end_aside(&mut self, before: Option<Phase>, now: Instant) {
        self.take_turn(now);
        self.current = None;
        self.aside = before;
    }

    /// Another leg begins, in no phase yet.
    pub fn begin_leg(&mut self, now: Instant) {
        self.take_turn(now);
        self.current = None;
        self.earlier.push(std::mem::take(&mut self.leg));
    }

    /// This leg has its connection: what is carried from now on is its own.
    pub fn connected(&mut self) {
        if self.aside != Some(Phase::Token) {
            self.leg.traffic = Some(Traffic::default());
        }
    }

    /// A connection carried so many bytes more. They do not count before this leg has its own.
    pub fn carried(&mut self, bytes: Traffic) {
        if let Some(traffic) = &mut self.leg.traffic {
            traffic.sent += bytes.sent;
            traffic.received += bytes.received;
        }
    }

    /// What the connection of this leg carried so far; nothing before there was one.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        self.leg.traffic
    }

    /// Something left at `at`: the network's turn begins, or goes on. What has arrived by then may still be unread.
    pub fn sent(&mut self, at: Instant) {
        if self.turn != Turn::Network {
            self.idle(at);
            self.turn = Turn::Network;
        }
    }

    /// A datagram left at `at`, which may have been by itself, for a timer: an acknowledgement that was held back, or one more of what got lost.
    /// Where there was nothing to do but wait, it was the network's turn until then.
    pub fn sent_datagram(&mut self, at: Instant) {
        if matches!(self.turn, Turn::Ours { waiting: Some(_) }) {
            self.waited(at);
        }
        self.sent(at);
    }

    /// Something arrived at `at`, which may lie before the last call: the kernel saw it before we did.
    pub fn received(&mut self, at: Instant) {
        self.last_arrival = Some(at);
        self.book(at.max(self.since));
        self.turn = Turn::Ours { waiting: None };
    }

    /// When something arrived last.
    #[must_use]
    pub fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    /// We were to do something at `due`, and came to it `now`: the time between was ours, whosever turn it is.
    pub fn overslept(&mut self, due: Instant, now: Instant) {
        self.book(due.max(self.since));
        self.idle(now);
    }

    /// What arrived last is not what we asked for: it is still the network's turn.
    pub fn still_due(&mut self) {
        self.turn = Turn::Network;
    }

    /// What was sent last asks for no answer: the time since then is ours.
    pub fn nothing_due(&mut self) {
        self.turn = Turn::Ours { waiting: None };
    }

    /// Nothing more is to be read or written for now.
    pub fn waiting(&mut self, now: Instant) {
        if let Turn::Ours { waiting } = &mut self.turn {
            waiting.get_or_insert(now.max(self.since));
        }
    }

    /// We waited in vain, and that was to end at `due`: by how much later we noticed is ours.
    pub fn waited(&mut self, due: Instant) {
        let due = due.max(self.since);
        if let Turn::Ours { waiting } = self.turn {
            self.idle(waiting.unwrap_or(due).min(due));
        }
        self.book(due);
        self.turn = Turn::Ours { waiting: None };
    }

    /// Nothing left in the running phase: where it took no time, it was not reached.
    pub fn nothing_left(&mut self) {
        if let Some(phase) = self.current {
            let span = &mut self.leg.spans[phase as usize];
            *span = span.filter(|span| !span.is_zero());
        }
    }

    /// The probe has ended. Where it did so in our turn, it was not for what we waited for.
    pub fn finish(&mut self, now: Instant) {
        self.take_turn(now);
        self.idle(now);
    }

    /// The phase that is running.
    #[must_use]
    pub fn current(&self) -> Option<Phase> {
        self.current
    }

    /// The phase that the time goes to: the running one, or what it is told as.
    #[must_use]
    pub fn told(&self) -> Option<Phase> {
        self.aside.or(self.current)
    }

    /// The time spent in a phase so far, in all legs; nothing where it was not reached.
    #[must_use]
    pub fn span(&self, phase: Phase) -> Option<Duration> {
        self.legs().filter_map(|leg| leg.spans[phase as usize]).reduce(|sum, span| sum + span)
    }

    /// The phases that were reached in any leg, in their order, and the time spent in each.
    #[must_use]
    pub fn phases(&self) -> Vec<(Phase, Duration)> {
        phases(|phase| self.span(phase))
    }

    /// The legs, the running one last.
    pub fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.earlier.iter().chain([&self.leg])
    }

    /// The time that was ours.
    #[must_use]
    pub fn overhead(&self) -> Duration {
        self.overhead
    }

    /// It is our turn. Where it was already, it has been since the last arrival: that we went on says that we waited for nothing more.
    fn take_turn(&mut self, now: Instant) {
        if self.turn == Turn::Network {
            self.book(now.max(self.since));
        }
        self.turn = Turn::Ours { waiting: None };
    }

    /// Books the time up to `until` to us.
    fn idle(&mut self, until: Instant) {
        let until = until.max(self.since);
        self.overhead += until - self.since;
        self.since = until;
    }

    /// Books the time up to `until` to the running phase, or to us where none runs.
    fn book(&mut self, until: Instant) {
        let time = until - self.since;
        match self.told() {
            Some(phase) => *self.leg.spans[phase as usize].get_or_insert(Duration::ZERO) += time,
            None => self.overhead += time,
        }
        self.since = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Step {
        Enter(Phase),
        Sent,
        SentDatagram,
        Received,
        Waiting,
        Waited,
        StillDue,
        NothingDue,
        Finish,
    }

    /// Plays steps at milliseconds; returns the overhead and the phases reached, in milliseconds.
    fn play(steps: &[(u64, Step)]) -> (u128, Vec<(Phase, u128)>) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::start(start);
        for (ms, step) in steps {
            match step {
                Step::Enter(phase) => timeline.enter(*phase, at(*ms)),
                Step::Sent => timeline.sent(at(*ms)),
                Step::SentDatagram => timeline.sent_datagram(at(*ms)),
                Step::Received => timeline.received(at(*ms)),
                Step::Waiting => timeline.waiting(at(*ms)),
                Step::Waited => timeline.waited(at(*ms)),
                Step::StillDue => timeline.still_due(),
                Step::NothingDue => timeline.nothing_due(),
                Step::Finish => timeline.finish(at(*ms)),
            }
        }
        let phases = Phase::ALL
            .into_iter()
            .filter_map(|phase| timeline.span(phase).map(|span| (phase, span.as_millis())))
            .collect();
        (timeline.overhead().as_millis(), phases)
    }

    #[test]
    fn time_between_an_arrival_and_our_answer_is_ours() {
        let steps = [
            (1, Step::Enter(Phase::Connect)),
            (2, Step::Sent),
            (12, Step::Received),
            (40, Step::Enter(Phase::Tls)),
            (40, Step::Sent),
            (55, Step::Received),
            (60, Step::Finish),
        ];
        assert_eq!(play(&steps), (2 + 28 + 5, vec![(Phase::Connect, 10), (Phase::Tls, 15)]));
    }

    #[test]
    fn a_stalled_transfer_belongs_to_its_phase_and_not_to_us() {
        let steps = [
            (0, Step::Enter(Phase::Transfer)),
            (0, Step::Sent),
            (10, Step::Received),
            (13, Step::Waiting),
            (14, Step::Waiting),
            (500, Step::Waited),
            (501, Step::Finish),
        ];
        assert_eq!(play(&steps), (4, vec![(Phase::Transfer, 497)]));
    }

    #[test]
    fn segments_that_arrive_while_we_are_busy_are_timed_by_their_arrival() {
        let steps = [
            (0, Step::Enter(Phase::Transfer)),
            (0, Step::Sent),
            (10, Step::Received),
            (15, Step::Received),
            (100, Step::Finish),
        ];
        assert_eq!(play(&steps), (85, vec![(Phase::Transfer, 15)]));
    }

    #[test]
    fn the_running_phase_holds_the_time_spent_in_it_when_the_probe_is_cut() {
        let steps = [(1, Step::Enter(Phase::Connect)), (1, Step::Sent), (1000, Step::Finish)];
        assert_eq!(play(&steps), (1, vec![(Phase::Connect, 999)]));
    }

    #[test]
    fn legs_have_their_own_phases_which_make_the_whole() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::start(start);
        timeline.carried(Traffic { sent: 9, received: 9 });
        timeline.enter(Phase::Connect, at(1));
        timeline.sent(at(1));
        timeline.received(at(11));
        timeline.connected();
        timeline.enter(Phase::Processing, at(12));
        timeline.sent(at(12));
        timeline.carried(Traffic { sent: 100, received: 0 });
        timeline.received(at(15));
        timeline.carried(Traffic { sent: 0, received: 7 });
        timeline.sent(at(16));
        timeline.begin_leg(at(18));
        timeline.carried(Traffic { sent: 9, received: 9 });
        timeline.enter(Phase::Connect, at(20));
        timeline.sent(at(20));
        timeline.finish(at(60));

        let ms = Duration::from_millis;
        let legs: Vec<_> = timeline.legs().map(|leg| (leg.phases(), leg.traffic)).collect();
        let first =
            (vec![(Phase::Connect, ms(10)), (Phase::Processing, ms(5))], Some(Traffic { sent: 100, received: 7 }));
        assert_eq!(legs, [first, (vec![(Phase::Connect, ms(40))], None)]);
        assert_eq!(timeline.span(Phase::Connect), Some(ms(50)));
        assert_eq!((timeline.span(Phase::Processing), timeline.overhead()), (Some(ms(5)), ms(5)));
    }

    #[test]
    fn what_is_said_to_somebody_else_is_one_phase_and_the_thinking_is_ours() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::start(start);
        let outermost = timeline.begin_aside(Phase::Token, at(1));
        let inner = timeline.begin_aside(Phase::Connect, at(1));
        timeline.enter(Phase::Tls, at(1));
        timeline.sent(at(2));
        timeline.received(at(12));
        assert_eq!((timeline.current(), timeline.told()), (Some(Phase::Tls), Some(Phase::Token)));
        timeline.end_aside(inner, at(15));
        timeline.enter(Phase::Processing, at(15));
        timeline.sent(at(15));
        timeline.received(at(20));
        timeline.end_aside(outermost, at(21));
        timeline.enter(Phase::Connect, at(22));
        timeline.sent(at(22));
        timeline.received(at(30));
        timeline.finish(at(30));
        let phases = timeline.leg.phases();
        let ms = Duration::from_millis;
        assert_eq!(phases, [(Phase::Token, ms(15)), (Phase::Connect, ms(8))]);
        assert_eq!(timeline.overhead(), ms(7));
    }

    #[test]
    fn what_we_do_between_two_phases_is_ours() {
        // The end of a response is looked for in vain, then we think for 6 ms, and connect again.
        let steps = [
            (0, Step::Enter(Phase::Transfer)),
            (0, Step::Sent),
            (10, Step::Received),
            (11, Step::Waiting),
            (17, Step::Enter(Phase::Connect)),
            (18, Step::Sent),
            (20, Step::Received),
            (20, Step::Finish),
        ];
        assert_eq!(play(&steps), (8, vec![(Phase::Connect, 2), (Phase::Transfer, 10)]));
        // The last word of a handshake asks for no answer, and we think for 6 ms about what was said.
        let steps = [
            (0, Step::Enter(Phase::Tls)),
            (0, Step::Sent),
            (10, Step::Received),
            (12, Step::Sent),
            (13, Step::NothingDue),
            (19, Step::Enter(Phase::Processing)),
            (20, Step::Sent),
            (30, Step::Received),
            (30, Step::Finish),
        ];
        assert_eq!(play(&steps), (10, vec![(Phase::Tls, 10), (Phase::Processing, 10)]));
    }

    #[test]
    fn what_nobody_asked_for_ends_no_waiting() {
        // A server's settings come, and we acknowledge them late, while it thinks about our request.
        let steps = [
            (0, Step::Enter(Phase::Processing)),
            (0, Step::Sent),
            (10, Step::Received),
            (14, Step::StillDue),
            (15, Step::Sent),
            (30, Step::Received),
            (31, Step::Enter(Phase::Transfer)),
            (31, Step::Finish),
        ];
        assert_eq!(play(&steps), (1, vec![(Phase::Processing, 30), (Phase::Transfer, 0)]));
        // A goodbye comes instead of a response, and we answer it late, and find out later still that there will be none.
        let steps = [
            (0, Step::Enter(Phase::Processing)),
            (0, Step::Sent),
            (10, Step::Received),
            (14, Step::StillDue),
            (15, Step::Sent),
            (17, Step::NothingDue),
            (20, Step::Finish),
        ];
        assert_eq!(play(&steps), (10, vec![(Phase::Processing, 10)]));
        // Settings and the response wait for us since 5 and 10; we acknowledge the ones at 25, and read the other then.
        let steps = [
            (0, Step::Enter(Phase::Processing)),
            (0, Step::Sent),
            (5, Step::Received),
            (25, Step::StillDue),
            (25, Step::Sent),
            (10, Step::Received),
            (26, Step::Enter(Phase::Transfer)),
            (26, Step::Finish),
        ];
        assert_eq!(play(&steps), (16, vec![(Phase::Processing, 10), (Phase::Transfer, 0)]));
    }

    #[test]
    fn what_leaves_for_a_timer_ends_no_waiting() {
        // An acknowledgement that was held back for 25 ms, and one that was not.
        let steps = [
            (0, Step::Enter(Phase::Processing)),
            (0, Step::SentDatagram),
            (10, Step::Received),
            (11, Step::Waiting),
            (35, Step::SentDatagram),
            (50, Step::Received),
            (52, Step::SentDatagram),
            (60, Step::Received),
            (60, Step::Finish),
        ];
        assert_eq!(play(&steps), (1 + 2, vec![(Phase::Processing, 57)]));
    }

    #[test]
    fn a_stamp_before_the_last_event_takes_no_time_back() {
        let steps = [(5, Step::Enter(Phase::Connect)), (5, Step::Sent), (3, Step::Received), (6, Step::Finish)];
        assert_eq!(play(&steps), (6, vec![(Phase::Connect, 0)]));
    }
}
