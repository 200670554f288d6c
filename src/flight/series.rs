//! Numbered packets to one destination, one after the other.

use std::time::{Duration, Instant};

/// A series of packets, each of which may be answered until the end.
#[derive(Debug)]
pub struct Series {
    count: u32,
    interval: Duration,
    end: Instant,
    /// When the next packet is due; nothing before the first.
    due: Option<Instant>,
    /// What became of the packets that were sent, by number.
    fates: Vec<Fate>,
    pending: u32,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing came back yet.
    Pending,
    /// It was answered.
    Answered,
    /// Somebody reported that it went no further.
    Failed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the packet of this number.
    Send(u32),
    /// Wait for an answer, at most until then.
    Wait(Instant),
    /// Nothing more can come, or the time is over.
    Done,
}

impl Series {
    /// `count` packets, `interval` apart, answered until `end`.
    #[must_use]
    pub fn new(count: u32, interval: Duration, end: Instant) -> Self {
        Self { count, interval, end, due: None, fates: Vec::new(), pending: 0 }
    }

    /// What to do now. A packet that is to be sent counts as sent at `now`, and the next is due an interval later: packets that are
    /// late do not catch up, so that they never leave closer together than asked for.
    pub fn step(&mut self, now: Instant) -> Step {
        let left = self.count > self.sent();
        if now >= self.end || (!left && self.pending == 0) {
            return Step::Done;
        }
        match self.due {
            _ if !left => Step::Wait(self.end),
            Some(due) if due > now => Step::Wait(due.min(self.end)),
            Some(_) | None => {
                self.due = now.checked_add(self.interval);
                self.fates.push(Fate::Pending);
                self.pending += 1;
                Step::Send(self.sent() - 1)
            }
        }
    }

    /// A packet was answered. Says whether that is news: it is not for a duplicate, nor for a number that was not sent. An answer
    /// outweighs an error.
    pub fn answered(&mut self, number: u32) -> bool {
        match self.fates.get_mut(number as usize) {
            Some(fate @ (Fate::Pending | Fate::Failed)) => {
                self.pending -= u32::from(*fate == Fate::Pending);
                *fate = Fate::Answered;
                true
            }
            Some(Fate::Answered) | None => false,
        }
    }

    /// Somebody reported that a packet went no further.
    pub fn failed(&mut self, number: u32) {
        if let Some(fate @ Fate::Pending) = self.fates.get_mut(number as usize) {
            *fate = Fate::Failed;
            self.pending -= 1;
        }
    }

    /// How many packets were sent.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.fates.len() as u32
    }

    /// Whether the packet that was sent last is the last of all.
    #[must_use]
    pub fn all_sent(&self) -> bool {
        self.sent() == self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Event {
        Answer(u32, bool),
        Fail(u32),
    }
    use Event::{Answer, Fail};

    /// Plays a series of packets 100 ms apart that ends after 1 s, with events at milliseconds. Returns when each packet was sent
    /// and when the series was over, in milliseconds.
    fn play(count: u32, events: &[(u64, Event)]) -> (Vec<u128>, u128) {
        let start = Instant::now();
        let mut series = Series::new(count, Duration::from_millis(100), start + Duration::from_secs(1));
        let (mut now, mut sent) = (start, Vec::new());
        let mut events = events.iter().peekable();
        loop {
            match series.step(now) {
                Step::Send(number) => {
                    assert_eq!(number as usize, sent.len());
                    sent.push((now - start).as_millis());
                }
                Step::Wait(until) => {
                    assert!(until > now);
                    now = until;
                    if let Some((at, event)) = events.next_if(|(at, _)| start + Duration::from_millis(*at) <= until) {
                        now = start + Duration::from_millis(*at);
                        match event {
                            Answer(number, news) => assert_eq!(series.answered(*number), *news, "{number}"),
                            Fail(number) => series.failed(*number),
                        }
                    }
                }
                Step::Done => return (sent, (now - start).as_millis()),
            }
        }
    }

    #[test]
    fn it_is_over_with_the_last_answer() {
        assert_eq!(play(1, &[(30, Answer(0, true))]), (vec![0], 30));
        let answers = [(30, Answer(0, true)), (130, Answer(1, true)), (250, Answer(2, true))];
        assert_eq!(play(3, &answers), (vec![0, 100, 200], 250));
    }

    #[test]
    fn a_lost_packet_is_waited_for_until_the_end() {
        assert_eq!(play(1, &[]), (vec![0], 1000));
        assert_eq!(play(2, &[(130, Answer(1, true))]), (vec![0, 100], 1000));
    }

    #[test]
    fn late_answers_and_those_out_of_order_count_and_duplicates_do_not() {
        let answers =
            [(110, Answer(1, true)), (111, Answer(1, false)), (900, Answer(0, true)), (900, Answer(7, false))];
        assert_eq!(play(2, &answers[..3]), (vec![0, 100], 900));
        assert_eq!(play(3, &answers[2..]), (vec![0, 100, 200], 1000));
    }

    #[test]
    fn packets_that_failed_are_not_waited_for() {
        assert_eq!(play(2, &[(10, Fail(0)), (110, Fail(1))]), (vec![0, 100], 110));
        let overtaken = [(10, Fail(0)), (20, Answer(0, true)), (30, Fail(0)), (150, Answer(1, true))];
        assert_eq!(play(2, &overtaken), (vec![0, 100], 150));
    }

    #[test]
    fn packets_due_after_the_end_are_not_sent() {
        assert_eq!(play(20, &[]).0.len(), 10);
    }

    #[test]
    fn packets_that_are_late_do_not_catch_up() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut series = Series::new(3, Duration::from_millis(100), at(1000));
        assert_eq!(series.step(at(0)), Step::Send(0));
        assert_eq!(series.step(at(350)), Step::Send(1));
        assert_eq!(series.step(at(350)), Step::Wait(at(450)));
    }
}
