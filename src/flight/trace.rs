//! Packets to every hop of a path at once, in rounds.

use std::time::{Duration, Instant};

/// What a trace is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The first hop.
    pub first_hop: u8,
    /// The last hop that is tried.
    pub max_hops: u8,
    /// Packets per hop.
    pub rounds: u32,
    /// Time between the beginnings of rounds.
    pub interval: Duration,
    /// How long after its departure a packet is waited for, at most; and for how long a hop must say nothing to count as silent.
    pub wait: Duration,
    /// When it ends in any case.
    pub end: Instant,
}

/// Between the packets of a round: near routers are not hit by a burst, and where the destination is near, it is known before all
/// packets that would go beyond it have left.
const SPACING: Duration = Duration::from_millis(1);

/// How many packets of a round may follow at once on one that left late.
const MADE_UP: u32 = 3;

/// Patience with a hop whose round-trip time is known: at least this, and ...
const PATIENCE_FLOOR: Duration = Duration::from_millis(200);
/// ... so many times its slowest round trip. A packet that is later than that is lost; TCP's own first retransmission comes after 3
/// round trips, too (RFC 6298, section 2.2: RTT + 4 · RTT / 2).
const PATIENCE_FACTOR: u32 = 3;

/// How often a hop that has not answered is asked again after the rounds: a router that answers three of four packets says nothing in
/// one of 64 traces of three rounds, and with these in one of 1,024.
const AGAIN: u32 = 2;

/// A trace: all hops in flight together, `rounds` times.
///
/// A hop that said nothing in all rounds, while others behind it answered, is asked again, up to `AGAIN` times, as long as the trace waits for
/// it anyway: its answers then come within the time that is waited for the earlier ones.
///
/// The first answer of the destination tells its distance, and nothing is sent beyond it from then on. A packet is given up when
/// `wait` is over; earlier on the way to the farthest hop that answered, since what is silent there was reached, and just does not say
/// so: after a patience that fits its hop where that has answered, and one that fits the path where the hop has said nothing since
/// `wait` before. How fast others answer says nothing of a hop: routers make answers when they have nothing better to do.
#[derive(Debug)]
pub struct Trace {
    plan: Plan,
    packets: Vec<Packet>,
    /// The numbers of packets that are waited for.
    pending: Vec<u32>,
    /// The packet that is sent next: its round, its hop, and when. Nothing when all were sent.
    next: Option<(u32, u8, Instant)>,
    /// When the running round began.
    round_began: Instant,
    /// The hop that the path ends at, once known.
    end_hop: Option<u8>,
    /// The farthest hop that answered; 0 before any did.
    farthest: u8,
    /// The slowest round trip of the path.
    slowest: Duration,
    /// The hops that were asked, from the first.
    asked: Vec<Asked>,
}

/// What is known of a hop that was asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// When the first packet left for it, and the last.
    first: Instant,
    last: Instant,
    /// How many did.
    packets: u32,
    /// Its slowest round trip, once it has answered.
    slowest: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    hop: u8,
    sent: Instant,
    /// Whether it left after the rounds.
    again: bool,
    fate: Fate,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    UnderWay,
    /// Not answered in time; it still may be.
    Lost,
    Answered,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a packet that ends at a hop.
    Send {
        /// Its number.
        number: u32,
        /// The hop.
        hop: u8,
    },
    /// Wait for an answer, at most until then.
    Wait(Instant),
    /// Nothing more is to come, or the time is over.
    Done,
}

impl Trace {
    /// A trace that begins at `now`.
    #[must_use]
    pub fn new(plan: Plan, now: Instant) -> Self {
        let begins = plan.rounds > 0 && plan.first_hop <= plan.max_hops;
        Self {
            plan,
            packets: Vec::new(),
            pending: Vec::new(),
            next: begins.then_some((0, plan.first_hop, now)),
            round_began: now,
            end_hop: None,
            farthest: 0,
            slowest: Duration::ZERO,
            asked: Vec::new(),
        }
    }

    /// Whether there is a packet to send now.
    #[must_use]
    pub fn sends(&self, now: Instant) -> bool {
        let due = self.next.map(|(.., due)| due).or_else(|| self.again().map(|(_, due)| due));
        now < self.plan.end && due.is_some_and(|due| due <= now)
    }

    /// What to do now. A packet that is to be sent counts as sent at `now`.
    pub fn step(&mut self, now: Instant) -> Step {
        self.give_up(now);
        if now >= self.plan.end {
            return Step::Done;
        }
        let again = self.again();
        match (self.next, again) {
            (Some((round, hop, due)), _) if due <= now => {
                self.advance(round, hop, due, now);
                self.send(hop, false, now)
            }
            (None, Some((hop, due))) if due <= now => self.send(hop, true, now),
            (next, again) => {
                let lost = self.pending.iter().map(|number| self.lost_at(self.packets[*number as usize]));
                let next = next.map(|(.., due)| due).or(again.map(|(_, due)| due));
                match lost.chain(next).min() {
                    Some(until) => Step::Wait(until.min(self.plan.end)),
                    None => Step::Done,
                }
            }
        }
    }

    /// Takes note of a packet for a hop, which leaves now.
    fn send(&mut self, hop: u8, again: bool, now: Instant) -> Step {
        let number = self.packets.len() as u32;
        self.packets.push(Packet { hop, sent: now, again, fate: Fate::UnderWay });
        self.pending.push(number);
        let index = self.index(hop);
        // In the first round, which asks one hop after the other.
        if self.asked.len() == index {
            self.asked.push(Asked { first: now, last: now, packets: 0, slowest: None });
        }
        self.asked[index].last = now;
        self.asked[index].packets += 1;
        Step::Send { number, hop }
    }

    /// Once all rounds are over: the hop that is asked again next, and when: as late as an answer still comes in time, when slow ones have
    /// come, and routers that limit their answers may give one again.
    fn again(&self) -> Option<(u8, Instant)> {
        if self.next.is_some() {
            return None;
        }
        let patience = self.patience(self.slowest);
        let pause = patience / 2;
        let farthest = self.end_hop.map_or(self.farthest, |end| self.farthest.min(end));
        let silent = (self.plan.first_hop..farthest).zip(&self.asked).filter(|(_, asked)| asked.slowest.is_none());
        let due = silent.filter_map(|(hop, asked)| {
            let in_time = (asked.first + self.plan.wait).checked_sub(patience)?;
            let left = (self.plan.rounds + AGAIN).saturating_sub(asked.packets);
            let mut due = (0..left).rev().filter_map(|later| in_time.checked_sub(pause * later));
            // The first may have left a little late.
            let apart = if left == AGAIN { pause } else { pause / 2 };
            due.find(|due| *due >= asked.last + apart).map(|due| (hop, due))
        });
        due.min_by_key(|(_, due)| *due)
    }

    /// A packet was answered after `rtt`; `ends` says that the path goes no farther than the hop that did. Returns the hop, if that
    /// is news: not for a duplicate, nor for a number that was not sent. Answers count, however late.
    pub fn answered(&mut self, number: u32, rtt: Duration, ends: bool) -> Option<u8> {
        let packet = self.packets.get_mut(number as usize).filter(|packet| packet.fate != Fate::Answered)?;
        packet.fate = Fate::Answered;
        let hop = packet.hop;
        self.pending.retain(|pending| *pending != number);
        self.farthest = self.farthest.max(hop);
        self.slowest = self.slowest.max(rtt);
        let index = self.index(hop);
        let asked = &mut self.asked[index];
        asked.slowest = asked.slowest.max(Some(rtt));
        if ends && self.end_hop.is_none_or(|end| hop < end) {
            self.end_hop = Some(hop);
            let packets = &self.packets;
            self.pending.retain(|pending| packets[*pending as usize].hop <= hop);
            // A round that is beyond the end of the path is over.
            if let Some((round, next, due)) = self.next
                && next > hop
            {
                self.next = self.round_after(round, due);
            }
        }
        Some(hop)
    }

    /// The hop that the path ends at, once an answer said so.
    #[must_use]
    pub fn end_hop(&self) -> Option<u8> {
        self.end_hop
    }

    /// How long a packet is waited for where the path is known to be reached, as slow as it is so far.
    #[must_use]
    pub fn known_patience(&self) -> Duration {
        if self.farthest > 0 { self.patience(self.slowest) } else { self.plan.wait }
    }

    /// How many packets were sent to a hop.
    #[must_use]
    pub fn sent(&self, hop: u8) -> u32 {
        self.packets.iter().filter(|packet| packet.hop == hop).count() as u32
    }

    /// The hops of the packets that were not answered in the time that they were waited for, each as often as it has such a packet. Others may
    /// still be under way: where the trace was cut short, and where a hop that was asked again then answered an earlier packet.
    pub fn lost(&self) -> impl Iterator<Item = u8> {
        self.packets.iter().filter(|packet| packet.fate == Fate::Lost).map(|packet| packet.hop)
    }

    /// The hops of the packets that are still under way, and have been for at least so long; as [`Trace::lost`].
    pub fn overdue(&self, patience: Duration, now: Instant) -> impl Iterator<Item = u8> {
        let is_overdue = move |packet: &&Packet| {
            packet.fate == Fate::UnderWay && packet.sent + patience <= now && !self.is_known(**packet)
        };
        self.packets.iter().filter(is_overdue).map(|packet| packet.hop)
    }

    /// Chooses the packet behind the one of `round` and `hop`, which was due, and leaves now.
    fn advance(&mut self, round: u32, hop: u8, due: Instant, now: Instant) {
        if hop == self.plan.first_hop {
            self.round_began = now;
        }
        let due = now.checked_sub(SPACING * MADE_UP).map_or(now, |earliest| due.max(earliest));
        self.next = if hop < self.end_hop.unwrap_or(self.plan.max_hops) {
            Some((round, hop + 1, due + SPACING))
        } else {
            self.round_after(round, due + SPACING)
        };
    }

    /// The first packet of the round behind `round`, not before `earliest`.
    fn round_after(&self, round: u32, earliest: Instant) -> Option<(u32, u8, Instant)> {
        let due = (self.round_began + self.plan.interval).max(earliest);
        (round + 1 < self.plan.rounds).then_some((round + 1, self.plan.first_hop, due))
    }

    fn give_up(&mut self, now: Instant) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|number| {
            let packet = self.packets[*number as usize];
            let waits = self.lost_at(packet) > now;
            if !waits && !self.is_known(packet) {
                self.packets[*number as usize].fate = Fate::Lost;
            }
            waits
        });
        self.pending = pending;
    }

    /// When a packet is no longer waited for.
    fn lost_at(&self, packet: Packet) -> Instant {
        if self.is_known(packet) {
            return packet.sent;
        }
        if packet.hop > self.farthest || self.end_hop == Some(packet.hop) {
            return packet.sent + self.plan.wait;
        }
        match self.asked[self.index(packet.hop)] {
            Asked { slowest: Some(slowest), .. } => packet.sent + self.patience(slowest),
            Asked { slowest: None, first, .. } => {
                (first + self.plan.wait).max(packet.sent + self.patience(self.slowest))
            }
        }
    }

    /// Whether a packet asks a hop again that has answered another since, so that nobody waits for it.
    fn is_known(&self, packet: Packet) -> bool {
        packet.again && self.asked[self.index(packet.hop)].slowest.is_some()
    }

    /// How long a packet is waited for where others took so long, at most.
    fn patience(&self, slowest: Duration) -> Duration {
        PATIENCE_FLOOR.max(slowest * PATIENCE_FACTOR).min(self.plan.wait)
    }

    /// Where a hop stands in `asked`.
    fn index(&self, hop: u8) -> usize {
        usize::from(hop - self.plan.first_hop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path in virtual time.
    struct Path {
        /// The round-trip time of each hop in milliseconds; nothing for a silent one.
        hops: Vec<Option<u64>>,
        /// Whether the last hop is the destination.
        ends: bool,
        /// The numbers of packets that are lost.
        lost: Vec<u32>,
    }

    /// What a trace over a path did.
    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        took: Duration,
        end_hop: Option<u8>,
        /// Sent and answered per hop.
        hops: Vec<(u32, u32)>,
        lost: Vec<usize>,
    }

    const PLAN: (u32, u64, u64) = (3, 100, 2000);

    fn run(path: &Path, (rounds, interval, wait): (u32, u64, u64)) -> Outcome {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let plan =
            Plan { first_hop: 1, max_hops: 30, rounds, interval: ms(interval), wait: ms(wait), end: start + ms(9000) };
        let mut trace = Trace::new(plan, start);
        let mut now = start;
        let mut flying: Vec<(Instant, u32, Duration, bool)> = Vec::new();
        let mut answered = [0; 31];
        loop {
            match trace.step(now) {
                Step::Send { number, hop } => {
                    let at = usize::from(hop - 1).min(path.hops.len() - 1);
                    let last = at == path.hops.len() - 1;
                    let reachable = !last || path.ends || usize::from(hop) == path.hops.len();
                    if let Some(rtt) = path.hops[at].filter(|_| reachable && !path.lost.contains(&number)) {
                        flying.push((now + ms(rtt), number, ms(rtt), last && path.ends));
                    }
                }
                Step::Wait(until) => {
                    assert!(until > now, "it waits for what has been");
                    flying.sort();
                    match flying.first().copied().filter(|(at, ..)| *at <= until) {
                        Some((at, number, rtt, ends)) => {
                            flying.remove(0);
                            now = at;
                            if let Some(hop) = trace.answered(number, rtt, ends) {
                                answered[usize::from(hop)] += 1;
                            }
                        }
                        None => now = until,
                    }
                }
                Step::Done => break,
            }
        }
        let hops = (1..=30).map(|hop| (trace.sent(hop), answered[usize::from(hop)])).collect();
        let lost = (1..=30).map(|hop| trace.lost().filter(|lost| *lost == hop).count()).collect();
        Outcome { took: now - start, end_hop: trace.end_hop(), hops, lost }
    }

    fn ramp(hops: u64, slowest: u64) -> Vec<Option<u64>> {
        (1..=hops).map(|hop| Some(hop * slowest / hops)).collect()
    }

    #[test]
    fn a_trace_of_20_hops_and_3_rounds_over_50_ms_is_over_with_the_last_answer() {
        let outcome = run(&Path { hops: ramp(20, 50), ends: true, lost: vec![] }, PLAN);
        assert_eq!(outcome.took, Duration::from_millis(2 * 100 + 19 + 50));
        assert_eq!(outcome.end_hop, Some(20));
        assert_eq!(outcome.hops[..20], [(3, 3); 20]);
    }

    #[test]
    fn a_silent_hop_is_waited_for_once() {
        let ms = Duration::from_millis;
        let mut hops = ramp(20, 50);
        (hops[6], hops[12]) = (None, None);
        let path = Path { hops, ends: true, lost: vec![] };
        let outcome = run(&path, (3, 100, 800));
        assert_eq!(outcome.took, ms(12 + 800));
        assert_eq!((outcome.hops[6], outcome.hops[12], outcome.hops[11]), ((5, 0), (5, 0), (3, 3)));
        // Once it has been silent for as long, its packets cost the patience with the path.
        let outcome = run(&path, (50, 100, 800));
        assert_eq!(outcome.took, ms(49 * 100 + 12 + 200));
        assert_eq!((outcome.hops[12], outcome.hops[19]), ((50, 0), (50, 50)));
    }

    #[test]
    fn a_hop_that_said_nothing_is_asked_again_while_it_is_waited_for_anyway() {
        let ms = Duration::from_millis;
        // Packets 0 to 29 are the first round, 30 to 49 and 50 to 69 the others, and the seventh hop has until 806 ms.
        let outcome = run(&Path { hops: ramp(20, 50), ends: true, lost: vec![6, 36, 56] }, (3, 100, 800));
        assert_eq!((outcome.hops[6], outcome.took), ((4, 1), ms(806 - 200 - 100 + 17)));
        let outcome = run(&Path { hops: ramp(20, 50), ends: true, lost: vec![6, 36, 56, 70] }, (3, 100, 800));
        assert_eq!((outcome.hops[6], outcome.took), ((5, 1), ms(806 - 200 + 17)));
        let outcome = run(&Path { hops: ramp(20, 50), ends: true, lost: vec![6, 36, 56, 70, 71] }, (3, 100, 800));
        assert_eq!((outcome.hops[6], outcome.took), ((5, 0), ms(806)));
        // On a longer path there is time for one, on a long one for none.
        for (slowest, packets) in [(120, 4), (200, 3)] {
            let mut hops = ramp(20, slowest);
            hops[6] = None;
            let outcome = run(&Path { hops, ends: true, lost: vec![] }, (3, 100, 800));
            assert_eq!((outcome.hops[6], outcome.took), ((packets, 0), ms(806)), "{slowest} ms");
        }
        // What lies beyond the last that answered may not be there.
        let outcome = run(&Path { hops: vec![Some(1), Some(2), None], ends: false, lost: vec![] }, (3, 100, 800));
        assert_eq!((outcome.hops[1], outcome.hops[2], outcome.hops[29]), ((3, 3), (3, 0), (3, 0)));
    }

    #[test]
    fn a_hop_that_answers_later_than_all_others_has_lost_nothing() {
        let mut hops = ramp(20, 50);
        hops[6] = Some(600);
        let path = Path { hops, ends: true, lost: vec![] };
        for rounds in [1, 3, 50] {
            let outcome = run(&path, (rounds, 100, 800));
            let others = outcome.hops[..20].iter().enumerate().filter(|(hop, _)| *hop != 6);
            assert!(others.into_iter().all(|(_, hop)| *hop == (rounds, rounds)), "{:?}", outcome.hops);
            // It is asked again before it has answered once, and not waited for when it then does.
            let again = u32::from(rounds < 50);
            assert_eq!((outcome.hops[6], outcome.lost[6]), ((rounds + again, rounds), 0));
            assert_eq!(outcome.took, Duration::from_millis(u64::from(rounds - 1) * 100 + 6 + 600));
        }
        // Its patience is its own: a packet that it loses is waited for as long as three of its answers take, or `wait`.
        let outcome = run(&Path { lost: vec![56], ..path }, (3, 100, 5000));
        assert_eq!((outcome.hops[6], outcome.took), ((3, 2), Duration::from_millis(206 + 3 * 600)));
        assert_eq!(outcome.lost[6], 1);
    }

    #[test]
    fn a_lost_packet_of_a_hop_that_answers_costs_the_patience_with_it_and_of_the_destination_the_wait() {
        let ms = Duration::from_millis;
        // Packets 0 to 29 are the first round, before the distance is known, and 50 to 69 the third.
        let lost = |number| run(&Path { hops: ramp(20, 50), ends: true, lost: vec![number] }, PLAN);
        let outcome = lost(54);
        assert_eq!((outcome.hops[4], outcome.took), ((3, 2), ms(204 + 200)));
        let outcome = lost(69);
        assert_eq!((outcome.hops[19], outcome.took), ((3, 2), ms(219 + 2000)));
    }

    #[test]
    fn nothing_is_sent_beyond_a_near_destination_once_it_answered() {
        let outcome = run(&Path { hops: ramp(4, 4), ends: true, lost: vec![] }, PLAN);
        assert_eq!(outcome.end_hop, Some(4));
        assert_eq!(outcome.hops[..4], [(3, 3); 4]);
        assert!(outcome.hops[4..9].iter().all(|hop| hop.0 <= 1), "{:?}", outcome.hops);
        assert!(outcome.hops[9..].iter().all(|hop| hop.0 == 0), "{:?}", outcome.hops);
    }

    #[test]
    fn a_slow_path_is_waited_for_three_times_as_long_as_its_slowest_answer() {
        let mut hops = ramp(10, 500);
        hops[3] = None;
        let outcome = run(&Path { hops, ends: true, lost: vec![] }, (60, 100, 5000));
        assert_eq!(outcome.took, Duration::from_millis(59 * 100 + 3 + 1500));
    }

    #[test]
    fn a_destination_that_says_nothing_is_waited_for_in_full() {
        let hops = vec![Some(1), Some(2), Some(3), None];
        let outcome = run(&Path { hops, ends: false, lost: vec![] }, (2, 100, 700));
        assert_eq!(outcome.took, Duration::from_millis(100 + 29 + 700));
        assert_eq!((outcome.end_hop, outcome.hops[2], outcome.hops[29]), (None, (2, 2), (2, 0)));
    }

    #[test]
    fn rounds_without_an_interval_follow_each_other() {
        let outcome = run(&Path { hops: ramp(5, 5), ends: true, lost: vec![] }, (10, 0, 1000));
        assert_eq!(outcome.hops[..5], [(10, 10); 5]);
    }

    #[test]
    fn a_shorter_distance_corrects_a_longer_one() {
        // The first packet that reaches the destination is lost, so that the hop behind it answers first.
        let outcome = run(&Path { hops: ramp(4, 4), ends: true, lost: vec![3] }, PLAN);
        assert_eq!(outcome.end_hop, Some(4));
        assert_eq!(outcome.hops[3], (3, 2));
    }

    #[test]
    fn duplicates_and_numbers_that_were_not_sent_are_no_news() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let plan = Plan { first_hop: 3, max_hops: 4, rounds: 1, interval: ms(0), wait: ms(100), end: start + ms(1000) };
        let mut trace = Trace::new(plan, start);
        assert_eq!(trace.step(start), Step::Send { number: 0, hop: 3 });
        assert_eq!(trace.answered(0, ms(1), false), Some(3));
        assert_eq!(trace.answered(0, ms(1), false), None);
        assert_eq!(trace.answered(1, ms(1), false), None);
        assert_eq!(trace.step(start + ms(1)), Step::Send { number: 1, hop: 4 });
        assert_eq!(trace.step(start + ms(2)), Step::Wait(start + ms(101)));
        assert_eq!(trace.step(start + ms(101)), Step::Done);
        assert_eq!(trace.answered(1, ms(500), true), Some(4));
    }

    #[test]
    fn what_is_under_way_for_too_long_is_overdue() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let plan =
            Plan { first_hop: 1, max_hops: 2, rounds: 1, interval: ms(100), wait: ms(800), end: start + ms(800) };
        let mut trace = Trace::new(plan, start);
        assert!(matches!(trace.step(start), Step::Send { hop: 1, .. }));
        assert!(matches!(trace.step(start + ms(1)), Step::Send { hop: 2, .. }));
        let overdue = |trace: &Trace, after: u64| trace.overdue(ms(200), start + ms(after)).collect::<Vec<_>>();
        assert_eq!([overdue(&trace, 199), overdue(&trace, 200), overdue(&trace, 201)], [vec![], vec![1], vec![1, 2]]);
        trace.answered(0, ms(150), false);
        assert_eq!(overdue(&trace, 300), [2]);
    }

    #[test]
    fn the_end_ends_it() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let plan = Plan { first_hop: 1, max_hops: 9, rounds: 9, interval: ms(50), wait: ms(5000), end: start + ms(60) };
        let mut trace = Trace::new(plan, start);
        let mut now = start;
        loop {
            match trace.step(now) {
                Step::Send { .. } => {}
                Step::Wait(until) => now = until,
                Step::Done => break,
            }
        }
        assert_eq!(now, plan.end);
        assert_eq!((trace.sent(1), trace.lost().count()), (2, 0), "they are still under way");
    }

    #[test]
    fn a_packet_is_lost_when_its_time_is_over_and_found_again_when_its_answer_comes_late() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let plan = Plan { first_hop: 1, max_hops: 1, rounds: 1, interval: ms(1), wait: ms(100), end: start + ms(1000) };
        let mut trace = Trace::new(plan, start);
        assert_eq!(trace.step(start), Step::Send { number: 0, hop: 1 });
        assert_eq!((trace.step(start), trace.lost().count()), (Step::Wait(start + ms(100)), 0));
        assert_eq!((trace.step(start + ms(100)), trace.lost().count()), (Step::Done, 1));
        assert_eq!((trace.answered(0, ms(101), true), trace.lost().count()), (Some(1), 0));
    }
}
