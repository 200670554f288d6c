//! Several traces to one destination side by side, each of a flow, at one pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::{PACKETS, Pace};
use super::trace::{Step as TraceStep, Trace};

/// The bits of a packet's number that are its number in its flow. The flow is above them.
const NUMBER_BITS: u32 = 24;

/// The most flows that a bundle can have.
pub const MOST_FLOWS: usize = 1 << (u32::BITS - NUMBER_BITS);

/// Traces under way. A flow may have several, one for all hops and others for some of them.
#[derive(Debug)]
pub struct Bundle {
    /// The pace of its packets, and of those of others.
    pace: Arc<Pace>,
    strands: Vec<Strand>,
    /// Of each flow, the packets that were sent: of which trace, and their numbers there.
    sent: Vec<Vec<(usize, u32)>>,
    /// The turn that it has: when it begins, and how many packets may still leave in it, or later.
    turn: Option<(Instant, u32)>,
    /// How long it has waited for turns.
    waited: Duration,
}

#[derive(Debug)]
struct Strand {
    flow: usize,
    trace: Trace,
    /// When it has something to do; nothing when it is over.
    due: Option<Instant>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a packet that ends at a hop.
    Send {
        /// Its flow.
        flow: usize,
        /// Its number, which tells its flow, too.
        number: u32,
        /// The hop.
        hop: u8,
    },
    /// Wait for an answer, at most until then.
    Wait(Instant),
    /// A trace is over, told by its index.
    Over(usize),
    /// All are.
    Done,
}

/// An answer that is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The index of the trace.
    pub trace: usize,
    /// Its flow.
    pub flow: usize,
    /// The hop that answered.
    pub hop: u8,
}

impl Bundle {
    /// No traces yet, whose packets are to leave at a pace.
    #[must_use]
    pub fn new(pace: Arc<Pace>) -> Self {
        Self { pace, strands: Vec::new(), sent: Vec::new(), turn: None, waited: Duration::ZERO }
    }

    /// Adds a trace of a flow that begins at `now`; returns its index. Of flows beyond [`MOST_FLOWS`], nothing is sent.
    pub fn add(&mut self, flow: usize, trace: Trace, now: Instant) -> usize {
        self.sent.resize_with(self.sent.len().max(flow + 1), Vec::new);
        self.strands.push(Strand { flow, trace, due: (flow < MOST_FLOWS).then_some(now) });
        self.strands.len() - 1
    }

    /// What to do now. A packet that is to be sent counts as sent at `now`. For turns, each may wait `share`; what one does not, others may.
    pub fn step(&mut self, now: Instant, share: Duration) -> Step {
        let mut later = None;
        loop {
            // What is to be sent waits for its turn, and nothing else does.
            let waits = |strand: &Strand| later.is_some() && strand.trace.sends(now);
            let strands = self.strands.iter().enumerate().filter(|(_, strand)| !waits(strand));
            let next = strands.filter_map(|(index, strand)| Some((strand.due?, index))).min();
            let Some((_, index)) = next.filter(|(due, _)| *due <= now) else {
                let until = next.map(|(due, _)| due).into_iter().chain(later).min();
                return until.map_or(Step::Done, Step::Wait);
            };
            if self.strands[index].trace.sends(now) {
                let turn = self.turn(now, share);
                if turn > now {
                    later = Some(turn);
                    continue;
                }
            }
            let strand = &mut self.strands[index];
            match strand.trace.step(now) {
                TraceStep::Send { number, hop } => {
                    strand.due = Some(now);
                    self.turn = self.turn.and_then(|(turn, left)| (left > 1).then_some((turn, left - 1)));
                    let flow = strand.flow;
                    let sent = &mut self.sent[flow];
                    sent.push((index, number));
                    let number = (flow as u32) << NUMBER_BITS | (sent.len() as u32 - 1);
                    return Step::Send { flow, number, hop };
                }
                TraceStep::Wait(until) => strand.due = Some(until),
                TraceStep::Done => {
                    strand.due = None;
                    return Step::Over(index);
                }
            }
        }
    }

    /// When the next packet may leave.
    fn turn(&mut self, now: Instant, share: Duration) -> Instant {
        if let Some((turn, _)) = self.turn {
            return turn;
        }
        let sent: usize = self.sent.iter().map(Vec::len).sum();
        let longest = (share * (sent as u32 + PACKETS)).saturating_sub(self.waited);
        let turn = self.pace.turn(now, longest);
        self.waited += turn.saturating_duration_since(now);
        self.turn = Some((turn, PACKETS));
        turn
    }

    /// A packet was answered after `rtt`; `ends` says that the path goes no farther than the hop that did. Nothing where that is no news:
    /// see [`Trace::answered`].
    pub fn answered(&mut self, number: u32, rtt: Duration, ends: bool, now: Instant) -> Option<Answered> {
        let (index, number) = self.packet(number)?;
        let strand = &mut self.strands[index];
        let hop = strand.trace.answered(number, rtt, ends)?;
        // What it waited for may be over.
        strand.due = strand.due.map(|due| due.min(now));
        Some(Answered { trace: index, flow: strand.flow, hop })
    }

    /// The index of the trace that sent the packet of a number.
    #[must_use]
    pub fn of(&self, number: u32) -> Option<usize> {
        self.packet(number).map(|(index, _)| index)
    }

    /// The same, and its number in that trace.
    fn packet(&self, number: u32) -> Option<(usize, u32)> {
        let sent = self.sent.get((number >> NUMBER_BITS) as usize)?;
        sent.get((number & ((1 << NUMBER_BITS) - 1)) as usize).copied()
    }

    /// The number that the next packet of the first flow would have.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.sent.first().map_or(0, |sent| sent.len() as u32)
    }

    /// Ends the traces of a flow whose packets do not leave.
    pub fn cut(&mut self, flow: usize) {
        self.strands.iter_mut().filter(|strand| strand.flow == flow).for_each(|strand| strand.due = None);
    }

    /// The flow of a trace, by its index, and the trace.
    #[must_use]
    pub fn trace(&self, index: usize) -> (usize, &Trace) {
        (self.strands[index].flow, &self.strands[index].trace)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::Plan;
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(1);

    fn trace(hops: (u8, u8), rounds: u32, start: Instant) -> Trace {
        let (first_hop, max_hops) = hops;
        Trace::new(
            Plan { first_hop, max_hops, rounds, interval: 100 * MS, wait: 50 * MS, end: start + 10_000 * MS },
            start,
        )
    }

    /// When it left, its flow, its number and its hop.
    type Sent = (Duration, usize, u32, u8);

    /// Runs a bundle that nobody answers: what it sends, and which traces end.
    fn run(bundle: &mut Bundle, start: Instant) -> (Vec<Sent>, Vec<usize>) {
        let (mut now, mut sent, mut over) = (start, Vec::new(), Vec::new());
        loop {
            match bundle.step(now, LONGEST) {
                Step::Send { flow, number, hop } => sent.push((now - start, flow, number, hop)),
                Step::Wait(until) => {
                    assert!(until > now, "it waits for what has been");
                    now = until;
                }
                Step::Over(trace) => over.push(trace),
                Step::Done => return (sent, over),
            }
        }
    }

    #[test]
    fn a_trace_alone_keeps_its_own_pace() {
        let start = Instant::now();
        let mut bundle = Bundle::new(Arc::default());
        assert_eq!(bundle.step(start, LONGEST), Step::Done);
        bundle.add(0, trace((1, 3), 2, start), start);
        let (sent, over) = run(&mut bundle, start);
        let of_rounds = [(0, 0, 1), (1, 1, 2), (2, 2, 3), (100, 3, 1), (101, 4, 2), (102, 5, 3)];
        assert_eq!(sent, of_rounds.map(|(at, number, hop)| (at * MS, 0, number, hop)));
        assert_eq!(over, [0]);
    }

    #[test]
    fn flows_share_one_pace_and_their_packets_are_numbered_each_for_itself() {
        let start = Instant::now();
        let mut bundle = Bundle::new(Arc::default());
        for flow in 0..10 {
            assert_eq!(bundle.add(flow, trace((1, 4), 1, start), start), flow);
        }
        // A second trace of a flow goes on with its numbers.
        bundle.add(3, trace((2, 2), 1, start), start);
        let (sent, mut over) = run(&mut bundle, start);
        let times: Vec<_> = sent.iter().map(|packet| packet.0).collect();
        assert_eq!(times.len(), 41);
        assert_eq!([times[11], times[12], times[23], times[24], times[40]], [1, 5, 5, 10, 15].map(|at| at * MS));
        for flow in 0..10 {
            let numbers: Vec<u32> = sent.iter().filter(|packet| packet.1 == flow).map(|packet| packet.2).collect();
            let count = if flow == 3 { 5 } else { 4 };
            assert!(numbers.iter().copied().eq((0..count).map(|number| (flow as u32) << 24 | number)), "{numbers:?}");
        }
        over.sort_unstable();
        assert!(over.into_iter().eq(0..11));
    }

    #[test]
    fn bundles_of_one_pace_take_turns() {
        let (start, pace) = (Instant::now(), Arc::<Pace>::default());
        let mut bundles = [0; 5].map(|_| Bundle::new(Arc::clone(&pace)));
        for bundle in &mut bundles {
            bundle.add(0, trace((1, 1), 1, start), start);
        }
        let steps = bundles.each_mut().map(|bundle| bundle.step(start, LONGEST));
        let send = Step::Send { flow: 0, number: 0, hop: 1 };
        let wait = Step::Wait(start + 5 * MS);
        assert_eq!(steps, [send, send, send, wait, wait]);
        assert_eq!(bundles[3].step(start + 2 * MS, LONGEST), wait, "it keeps its turn");
        assert_eq!(bundles[4].step(start + 6 * MS, LONGEST), send);
    }

    #[test]
    fn what_is_not_to_be_sent_waits_for_no_turn_and_takes_none() {
        let (start, pace) = (Instant::now(), Arc::<Pace>::default());
        let mut bundle = Bundle::new(Arc::clone(&pace));
        bundle.add(0, trace((1, 1), 1, start), start);
        assert_eq!(bundle.step(start, LONGEST), Step::Send { flow: 0, number: 0, hop: 1 });
        // What is left of its turn is used up, and others have theirs until 100 ms.
        bundle.add(1, trace((1, 4), 1, start), start);
        let turns: Vec<_> = (0..62).map(|_| pace.turn(start, LONGEST)).collect();
        assert_eq!(turns.last(), Some(&(start + 100 * MS)));
        while let Step::Send { .. } = bundle.step(start + 10 * MS, LONGEST) {}
        assert_eq!(bundle.step(start + 10 * MS, LONGEST), Step::Wait(start + 50 * MS), "the first flow is over then");
        assert_eq!(bundle.step(start + 50 * MS, LONGEST), Step::Over(0));
        assert_eq!(bundle.step(start + 50 * MS, LONGEST), Step::Wait(start + 105 * MS));
        assert_eq!(bundle.step(start + 105 * MS, LONGEST), Step::Send { flow: 1, number: 1 << 24 | 3, hop: 4 });
    }

    #[test]
    fn of_its_time_a_bundle_spends_no_more_than_its_share_on_turns() {
        let (start, pace) = (Instant::now(), Arc::<Pace>::default());
        assert!((0..3_000).all(|_| pace.turn(start, 10 * LONGEST) >= start));
        let mut bundle = Bundle::new(pace);
        bundle.add(0, trace((1, 30), 1, start), start);
        let (mut now, mut sent) = (start, Vec::new());
        while sent.len() < 30 {
            match bundle.step(now, 2 * MS) {
                Step::Send { .. } => sent.push((now - start).as_millis()),
                Step::Wait(until) => now = until,
                other => panic!("{other:?}"),
            }
        }
        // Four for eight milliseconds; the fifth is due one later.
        assert_eq!([sent[0], sent[3], sent[4], sent[7], sent[8]], [8, 8, 17, 17, 26]);
        assert_eq!(sent[29], 71);
    }

    #[test]
    fn an_answer_belongs_to_the_trace_that_asked_and_counts_once() {
        let start = Instant::now();
        let mut bundle = Bundle::new(Arc::default());
        bundle.add(0, trace((1, 2), 1, start), start);
        bundle.add(7, trace((5, 5), 1, start), start);
        let (sent, _) = run(&mut bundle, start);
        for (_, flow, number, hop) in sent {
            let trace = usize::from(flow == 7);
            assert_eq!(bundle.of(number), Some(trace));
            assert_eq!(bundle.answered(number, MS, false, start), Some(Answered { trace, flow, hop }));
            assert_eq!(bundle.answered(number, MS, false, start), None);
        }
        for unsent in [2, 7 << 24 | 1, 9 << 24] {
            assert_eq!((bundle.of(unsent), bundle.answered(unsent, MS, false, start)), (None, None));
        }
    }

    #[test]
    fn an_answer_ends_a_trace_that_waits_for_nothing_else() {
        let start = Instant::now();
        let mut bundle = Bundle::new(Arc::default());
        bundle.add(0, trace((1, 1), 1, start), start);
        assert_eq!(bundle.step(start, LONGEST), Step::Send { flow: 0, number: 0, hop: 1 });
        assert_eq!(bundle.step(start, LONGEST), Step::Wait(start + 50 * MS));
        bundle.answered(0, 5 * MS, true, start + 5 * MS);
        assert_eq!(
            (bundle.step(start + 5 * MS, LONGEST), bundle.step(start + 5 * MS, LONGEST)),
            (Step::Over(0), Step::Done)
        );
    }

    #[test]
    fn a_flow_that_is_cut_sends_nothing_more_and_one_that_cannot_be_numbered_nothing_at_all() {
        let start = Instant::now();
        let mut bundle = Bundle::new(Arc::default());
        bundle.add(0, trace((1, 3), 1, start), start);
        bundle.add(1, trace((1, 3), 1, start), start);
        bundle.add(MOST_FLOWS, trace((1, 3), 1, start), start);
        bundle.cut(1);
        let (sent, over) = run(&mut bundle, start);
        assert!(sent.len() == 3 && sent.iter().all(|packet| packet.1 == 0), "{sent:?}");
        assert_eq!(over, [0]);
    }
}
