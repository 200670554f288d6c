//! Packets of many flows, each asked for its hops one after the other, at a steady pace.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a survey is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many flows.
    pub flows: u32,
    /// The first hop that is asked.
    pub first_hop: u8,
    /// The last hop that is asked.
    pub max_hops: u8,
    /// From one packet to the next: routers that are asked faster than they answer leave out those that have more to answer.
    pub pause: Duration,
    /// How long a packet is waited for.
    pub wait: Duration,
    /// When it ends in any case.
    pub end: Instant,
}

/// How often a hop that says nothing of a flow is asked, with all other hops of all flows in between.
const ATTEMPTS: u32 = 3;

/// A survey: each flow is asked for one hop after the other up to its end. What said nothing before that is asked again.
#[derive(Debug)]
pub struct Survey {
    plan: Plan,
    flows: Vec<Flow>,
    packets: Vec<Packet>,
    /// What is asked next, in this order.
    queue: VecDeque<Question>,
    /// When the next packet may leave.
    due: Instant,
    /// The first packet that may still be waited for.
    oldest: usize,
}

/// How far a flow is known.
#[derive(Debug, Clone)]
struct Flow {
    /// Whether no more is to be asked of it.
    settled: bool,
    /// Its last hop that is asked: its end, once that is known.
    last: u8,
    /// The hop that it was asked for last.
    asked: u8,
    /// Its hops that said nothing in this attempt.
    silent: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Question {
    flow: u32,
    hop: u8,
    attempt: u32,
}

#[derive(Debug, Clone, Copy)]
struct Packet {
    question: Question,
    sent: Instant,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Answered,
    Lost,
}

/// What an answer tells of its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Who is at that hop; the next one may tell more.
    Hop,
    /// That nothing behind that hop tells more.
    End,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a packet of a flow that ends at a hop.
    Send {
        /// Its number.
        number: u32,
        /// The flow, from 0.
        flow: u32,
        /// The hop.
        hop: u8,
    },
    /// Wait for an answer, at most until then.
    Wait(Instant),
    /// Nothing more is to come, or the time is over.
    Done,
}

impl Survey {
    /// A survey that begins at `now`.
    #[must_use]
    pub fn new(plan: Plan, now: Instant) -> Self {
        let first = |flow| Question { flow, hop: plan.first_hop, attempt: 1 };
        Self {
            plan,
            flows: vec![
                Flow { settled: false, last: plan.max_hops, asked: plan.first_hop, silent: Vec::new() };
                plan.flows as usize
            ],
            packets: Vec::new(),
            queue: (0..plan.flows).filter(|_| plan.first_hop <= plan.max_hops).map(first).collect(),
            due: now,
            oldest: 0,
        }
    }

    /// What to do now. A packet that is to be sent counts as sent at `now`; one that is late is not caught up with.
    pub fn step(&mut self, now: Instant) -> Step {
        self.give_up(now);
        while let Some(question) = self.queue.front().copied() {
            let flow = &self.flows[question.flow as usize];
            if !flow.settled && question.hop <= flow.last {
                break;
            }
            self.queue.pop_front();
            if !flow.settled {
                self.go_on(question);
            }
        }
        let lost = self.packets[self.oldest..].iter().find(|packet| self.is_waited_for(packet));
        let lost = lost.map(|packet| packet.sent + self.plan.wait);
        let until = match (self.queue.front(), lost) {
            _ if now >= self.plan.end => return Step::Done,
            (Some(question), _) if self.due <= now => {
                let question = *question;
                self.queue.pop_front();
                self.due = now + self.plan.pause;
                let number = self.packets.len() as u32;
                self.packets.push(Packet { question, sent: now, fate: Fate::Pending });
                return Step::Send { number, flow: question.flow, hop: question.hop };
            }
            (Some(_), lost) => lost.map_or(self.due, |lost| lost.min(self.due)),
            (None, Some(lost)) => lost,
            (None, None) => return Step::Done,
        };
        Step::Wait(until.min(self.plan.end))
    }

    /// A packet was answered. Returns its flow and its hop, if that is news: not for a duplicate, nor for a number that was not sent.
    /// Answers count, however late.
    pub fn answered(&mut self, number: u32, told: Told) -> Option<(u32, u8)> {
        let packet = self.packets.get_mut(number as usize).filter(|packet| packet.fate != Fate::Answered)?;
        let before = std::mem::replace(&mut packet.fate, Fate::Answered);
        let question = packet.question;
        let flow = &mut self.flows[question.flow as usize];
        flow.silent.retain(|hop| *hop != question.hop);
        if told == Told::End {
            flow.last = flow.last.min(question.hop);
            flow.silent.retain(|hop| *hop < question.hop);
            flow.settled |= flow.silent.is_empty() && flow.asked >= flow.last;
        }
        // Where it was given up, the next hop was asked meanwhile.
        if !flow.settled && before == Fate::Pending {
            self.go_on(question);
        }
        Some((question.flow, question.hop))
    }

    /// Enough is known of a flow, by other means than an answer.
    pub fn settle(&mut self, flow: u32) {
        if let Some(flow) = self.flows.get_mut(flow as usize) {
            flow.settled = true;
        }
    }

    fn give_up(&mut self, now: Instant) {
        while let Some(packet) = self.packets.get_mut(self.oldest).filter(|packet| packet.sent + self.plan.wait <= now)
        {
            let question = packet.question;
            self.oldest += 1;
            if packet.fate == Fate::Pending {
                packet.fate = Fate::Lost;
                let flow = &mut self.flows[question.flow as usize];
                if !flow.settled {
                    flow.silent.extend(Some(question.hop).filter(|hop| *hop <= flow.last));
                    self.go_on(question);
                }
            }
        }
    }

    /// Has the hop behind be asked, or, behind the last, the first of those that said nothing, again.
    fn go_on(&mut self, Question { flow, hop, attempt }: Question) {
        let Flow { last, silent, .. } = &self.flows[flow as usize];
        let next = match attempt {
            1 if hop < *last => Some((hop + 1, attempt)),
            1 => silent.iter().min().map(|first| (*first, attempt + 1)),
            // Only what said nothing is asked again.
            _ => match silent.iter().filter(|silent| **silent > hop).min() {
                Some(later) => Some((*later, attempt)),
                None => silent.iter().min().map(|first| (*first, attempt + 1)),
            },
        };
        match next {
            Some((hop, attempt)) if attempt <= ATTEMPTS => {
                let of = &mut self.flows[flow as usize];
                of.silent.retain(|silent| *silent != hop);
                of.asked = hop;
                self.queue.push_back(Question { flow, hop, attempt });
            }
            Some(_) | None => self.flows[flow as usize].settled = true,
        }
    }

    fn is_waited_for(&self, packet: &Packet) -> bool {
        packet.fate == Fate::Pending && !self.flows[packet.question.flow as usize].settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What became of a survey in virtual time.
    struct Outcome {
        /// When each packet left, since the beginning, its flow and its hop.
        sent: Vec<(Duration, u32, u8)>,
        took: Duration,
    }

    /// Runs a survey: `answer` says, for a flow, a hop and how often it was asked for before, what is told and after how long.
    fn run(plan: Plan, start: Instant, answer: impl Fn(u32, u8, usize) -> Option<(Told, Duration)>) -> Outcome {
        let mut survey = Survey::new(plan, start);
        let (mut now, mut sent, mut flying) = (start, Vec::new(), Vec::new());
        loop {
            match survey.step(now) {
                Step::Send { number, flow, hop } => {
                    assert_eq!(number as usize, sent.len());
                    let before = sent.iter().filter(|(_, f, h)| (*f, *h) == (flow, hop)).count();
                    sent.push((now - start, flow, hop));
                    flying.extend(answer(flow, hop, before).map(|(told, after)| (now + after, number, told)));
                }
                Step::Wait(until) => {
                    assert!(until > now, "it waits for what has been");
                    flying.sort_by_key(|(at, ..)| *at);
                    match flying.first().copied().filter(|(at, ..)| *at <= until) {
                        Some((at, number, told)) => {
                            flying.remove(0);
                            now = at;
                            assert!(survey.answered(number, told).is_some());
                        }
                        None => now = until,
                    }
                }
                Step::Done => break,
            }
        }
        Outcome { sent, took: now - start }
    }

    fn plan(start: Instant, flows: u32, hops: (u8, u8)) -> Plan {
        let (first_hop, max_hops) = hops;
        Plan { flows, first_hop, max_hops, pause: 20 * MS, wait: 500 * MS, end: start + 60_000 * MS }
    }

    #[test]
    fn each_flow_is_asked_up_to_its_end_and_packets_keep_their_pace() {
        let start = Instant::now();
        // Hop 1 is the site's, hop 2 an ISP's.
        let told = |_, hop, _| Some((if hop == 1 { Told::Hop } else { Told::End }, 5 * MS));
        let outcome = run(plan(start, 50, (1, 9)), start, told);
        assert_eq!(outcome.sent.len(), 100);
        assert!((0..50).all(|flow| outcome.sent.iter().filter(|(_, of, _)| *of == flow).count() == 2));
        assert!(outcome.sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 20 * MS));
        assert_eq!(outcome.took, 99 * 20 * MS + 5 * MS);
    }

    #[test]
    fn a_silent_hop_is_waited_for_and_the_one_behind_it_asked_and_then_it_again() {
        let start = Instant::now();
        let told = |_, hop, _| (hop == 3).then_some((Told::End, 5 * MS));
        let outcome = run(plan(start, 2, (1, 9)), start, told);
        let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!(hops, [1, 1, 2, 2, 3, 1, 3, 1, 2, 2, 1, 1, 2, 2]);
        // Each is given up after `wait`.
        assert_eq!(outcome.took, 6 * 500 * MS + 3 * 20 * MS);
        // What then answers is not asked once more, and what lies behind what is enough not at all.
        let told = |_, hop, before| (hop == 3 || before == 1).then_some((Told::End, 5 * MS));
        let outcome = run(plan(start, 1, (1, 9)), start, told);
        let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!((hops, outcome.took), (vec![1, 2, 3, 1], 2 * 500 * MS + 20 * MS + 5 * MS));
    }

    #[test]
    fn a_late_answer_that_ends_a_flow_leaves_the_silent_hops_before_it_to_be_asked_again() {
        let start = Instant::now();
        // Hop 2 answers when hop 3 is being waited for, or has been asked for in vain.
        for after in [510, 1_010] {
            let told = |_, hop, before| (hop == 2 && before == 0).then_some((Told::End, after * MS));
            let outcome = run(plan(start, 1, (1, 9)), start, told);
            let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).filter(|hop| *hop == 1).collect();
            assert_eq!(hops, [1, 1, 1], "{after} ms: {:?}", outcome.sent);
        }
    }

    #[test]
    fn what_said_nothing_is_asked_again_and_nothing_else() {
        let start = Instant::now();
        // Hop 1 is the site's; hop 2 answers the third time; hop 3 is nobody's.
        let told = |_, hop, before| match (hop, before) {
            (2, 2) => Some((Told::End, 5 * MS)),
            (2, _) => None,
            _ => Some((Told::Hop, 5 * MS)),
        };
        let outcome = run(plan(start, 1, (1, 3)), start, told);
        let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!(hops, [1, 2, 3, 2, 2]);
        // Nor is what has answered for ever in vain.
        let outcome = run(plan(start, 3, (1, 3)), start, |_, _, _| Some((Told::Hop, 5 * MS)));
        assert_eq!(outcome.sent.len(), 9);
        let outcome = run(plan(start, 1, (1, 2)), start, |_, _, _| None);
        let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!((hops, outcome.took), (vec![1, 2, 1, 2, 1, 2], 6 * 500 * MS));
    }

    #[test]
    fn a_path_that_ends_is_not_asked_for_more_and_late_answers_count() {
        let start = Instant::now();
        let outcome = run(plan(start, 2, (1, 9)), start, |_, _, _| Some((Told::End, 5 * MS)));
        assert_eq!((outcome.sent.len(), outcome.took), (2, 25 * MS));
        // What said nothing before it may still tell.
        let told = |_, hop, before| match (hop, before) {
            (1, 0) => None,
            (1, _) => Some((Told::End, 5 * MS)),
            _ => Some((Told::End, 5 * MS)),
        };
        let outcome = run(plan(start, 1, (1, 9)), start, told);
        let hops: Vec<_> = outcome.sent.iter().map(|(_, _, hop)| *hop).collect();
        assert_eq!(hops, [1, 2, 1]);
        // The answer to hop 1 comes after it was given up, and tells enough.
        let told = |_, hop, before| (hop == 1 && before == 0).then_some((Told::End, 510 * MS));
        let outcome = run(plan(start, 1, (1, 9)), start, told);
        assert_eq!((outcome.sent.len(), outcome.took), (2, 510 * MS));
    }

    #[test]
    fn the_end_ends_it_and_what_was_not_sent_is_no_answer() {
        let start = Instant::now();
        let plan = Plan { end: start + 100 * MS, ..plan(start, 50, (1, 9)) };
        let outcome = run(plan, start, |_, _, _| None);
        assert_eq!((outcome.sent.len(), outcome.took), (5, 100 * MS));
        let mut survey = Survey::new(plan, start);
        assert_eq!(survey.step(start), Step::Send { number: 0, flow: 0, hop: 1 });
        assert_eq!(survey.answered(1, Told::End), None);
        assert_eq!(survey.answered(0, Told::Hop), Some((0, 1)));
        assert_eq!(survey.answered(0, Told::Hop), None);
        // Of what is settled, nothing more is asked, and nothing waited for.
        (0..50).for_each(|flow| survey.settle(flow));
        assert_eq!(survey.step(start + 20 * MS), Step::Done);
    }
}
