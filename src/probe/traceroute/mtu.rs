//! The largest packet that a path carries, and where larger ones end.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::measure::{Meaning, meaning};
use super::{Hop, Measurement, Protocol, Settings};
use crate::flight::Phase;
use crate::net::clock::instant_of;
use crate::net::{Answer, Conversation, Refusal, Reply, Shape};
use crate::path::{Fate, MtuSearch, PathMtu};
use crate::probe::{Probe, packets};

/// What is known of the largest packet of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtu {
    /// Its size, and what becomes of larger ones.
    pub found: PathMtu,
    /// The largest packet that the device takes that packets leave by, in bytes.
    pub device: u16,
    /// Who said that larger ones are too big.
    pub said_by: Option<IpAddr>,
    /// Behind which hop larger ones do not go on: the one whose router says so; where none does, the last that they are known to get to, 0 where they
    /// do not get to the first.
    pub hop: Option<u8>,
    /// The next hop that answered the trace, but not larger ones.
    pub next_hop: Option<u8>,
}

/// The size by which it is known that packets of a kind are answered at all, in bytes: larger than those of the trace, so that SYNs have data; smaller
/// than what any path carries.
const CONTROL: u16 = 128;

/// How often a size is tried before it counts as lost, and how far apart at least.
const TRIES: u32 = 3;
const APART: Duration = Duration::from_millis(20);

/// Patience with a size: at least this, and so many times the slowest round trip, as in the trace.
const PATIENCE_FLOOR: Duration = Duration::from_millis(200);
const PATIENCE_FACTOR: u32 = 3;

/// How often it may stay open whether a size is lost or nothing is answered, before the search is given up; and the pause before the next try, in
/// which those who limit their answers (Linux: one "port unreachable" per second) may be ready to give some again.
const OPEN: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Between the packets of a round to all hops.
const SPACING: Duration = Duration::from_millis(1);

/// Rounds of packets that are too large, to all hops.
const ROUNDS: u32 = 2;

/// The largest packet that the device takes that a conversation's packets leave by; nothing, and a word in the log, where the kernel does not tell.
pub(super) fn of_device(probe: &Probe<'_>, conversation: &Conversation) -> Option<u16> {
    let network = &probe.request.network;
    let way = network.way(probe.source(), Some(conversation.local()), &conversation.heading());
    match way.and_then(|way| network.mtu(way.index)) {
        // Loopback takes one byte more than a packet can have.
        Ok(mtu) => Some(mtu.min(u16::MAX.into()) as u16),
        Err(error) => {
            probe.note(format_args!("the kernel does not say how large packets may leave: {error}"));
            None
        }
    }
}

/// Looks for the largest packet that passes to the destination of a trace that has reached it, with packets of its flow, whose numbers begin at `first`. What
/// is not found until the probe's end, or cannot be, is left out, and the log says why.
pub(super) async fn measure(
    settings: &Settings,
    probe: &Probe<'_>,
    conversation: &mut Conversation,
    (first, device): (u32, u16),
    measured: &mut Measurement,
) {
    let Some(destination) = measured.destination else { return };
    probe.timeline.enter(Phase::Mtu);
    let mut attempt = Attempt {
        probe,
        conversation,
        destination,
        protocol: settings.protocol,
        first,
        // A reset acknowledges also the data of a SYN: numbers lie so far apart that no two can be taken for each other.
        stride: if settings.protocol == Protocol::Tcp { device.into() } else { 1 },
        sent: Vec::new(),
        search: MtuSearch::new(CONTROL.min(device), device),
        said: Vec::new(),
        reached: Vec::new(),
        end: packets::end(probe),
        wait: settings.wait,
    };
    let found = attempt.run(&measured.hops, device).await;
    measured.packets += attempt.sent.len() as u32;
    match found {
        Ok(mtu) => measured.mtu = Some(mtu),
        Err(why) => {
            let (passes, next) = (attempt.search.passes(), attempt.search.next().unwrap_or(device));
            probe.note(format_args!(
                "the largest packet of the path was not found: {why}; {next} bytes were to be tried next, {passes} may pass"
            ));
        }
    }
}

/// A search that runs.
struct Attempt<'a, 'p> {
    probe: &'a Probe<'p>,
    conversation: &'a mut Conversation,
    destination: IpAddr,
    protocol: Protocol,
    first: u32,
    stride: u32,
    /// The packets that were sent: their sizes, and the hops that they end at, where that is not the destination.
    sent: Vec<(u16, Option<u8>)>,
    search: MtuSearch,
    /// The sizes that were said to be too big, and by whom.
    said: Vec<(u16, IpAddr)>,
    /// The hops that large packets got to.
    reached: Vec<u8>,
    end: Instant,
    wait: Duration,
}

/// What became of the packets of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    TooBig,
    Silent,
}

impl Attempt<'_, '_> {
    /// Searches; an error says why nothing was found.
    async fn run(&mut self, hops: &[Hop], device: u16) -> Result<Mtu, String> {
        let slowest = |hops: &[Hop]| hops.iter().filter_map(|hop| hop.rtt.worst()).fold(0.0, f64::max);
        let of_destination = Duration::from_secs_f64(slowest(&hops[hops.len().saturating_sub(1)..]));
        let found = self.find(of_destination).await?;
        let mut mtu = Mtu { found, device, said_by: None, hop: None, next_hop: None };
        if found.bytes == device {
            return Ok(mtu);
        }
        let said = self.said.iter().filter(|(size, _)| *size > found.bytes).min_by_key(|(size, _)| *size);
        mtu.said_by = said.filter(|_| found.black_hole == Some(false)).map(|(_, by)| *by);
        let of_router = |by: IpAddr| hops.iter().find(|hop| hop.routers.iter().any(|router| router.address == by));
        mtu.hop = match mtu.said_by.and_then(of_router) {
            Some(hop) => Some(hop.number),
            None => self.last_reached(hops, found.bytes + 1, Duration::from_secs_f64(slowest(hops))).await,
        };
        let next = hops.iter().find(|next| next.received > 0 && mtu.hop.is_some_and(|hop| next.number > hop));
        mtu.next_hop = next.map(|hop| hop.number);
        Ok(mtu)
    }

    /// The largest size that passes.
    ///
    /// That all packets of a size are lost counts only between two others that were answered: whoever limits its answers, or is cut off for a moment,
    /// makes no black hole.
    async fn find(&mut self, rtt: Duration) -> Result<PathMtu, String> {
        let (mut alive, mut open) = (false, 0);
        loop {
            let known = self.search.passes();
            let size = match self.search.next() {
                None if alive => break,
                Some(size) if alive || open > 0 => size,
                None | Some(_) => known,
            };
            let outcome = self.ask(size, rtt).await?;
            let control = match outcome {
                Outcome::Silent if size > known => Some(self.ask(known, rtt).await?),
                Outcome::Answered | Outcome::TooBig | Outcome::Silent => None,
            };
            match (outcome, control) {
                (Outcome::TooBig, _) if size <= known => return Err(changed(known)),
                (_, Some(Outcome::TooBig)) => return Err(changed(known)),
                (Outcome::TooBig, _) => {}
                (Outcome::Answered, _) => (alive, open) = (true, 0),
                (Outcome::Silent, Some(Outcome::Answered)) => {
                    if alive {
                        self.search.take(size, Fate::Lost);
                    }
                    (alive, open) = (true, 0);
                }
                (Outcome::Silent, _) => {
                    (alive, open) = (false, open + 1);
                    if open == OPEN {
                        let what = match self.protocol {
                            Protocol::Icmp => "echo requests",
                            Protocol::Udp => "datagrams",
                            Protocol::Tcp => "SYNs with data",
                        };
                        return Err(format!("{} does not answer all {what} of {known} bytes", self.destination));
                    }
                    self.pause(PAUSE).await?;
                }
            }
        }
        self.search.found().ok_or_else(|| "the search has no end".to_owned())
    }

    /// Sends packets of a size until one is answered, or none was in time.
    async fn ask(&mut self, size: u16, rtt: Duration) -> Result<Outcome, String> {
        let patience = self.patience(rtt);
        for left in (0..TRIES).rev() {
            self.send(size, None)?;
            let until = Instant::now() + if left > 0 { APART.max(rtt) } else { patience };
            while let Some((of, outcome)) = self.hear(until).await? {
                match outcome {
                    Outcome::Answered if of >= size => return Ok(outcome),
                    Outcome::TooBig if of <= size => return Ok(outcome),
                    Outcome::Answered | Outcome::TooBig | Outcome::Silent => {}
                }
            }
        }
        Ok(Outcome::Silent)
    }

    /// The last hop that packets get to that are too large; 0 where they do not get to the first, though it answers others.
    async fn last_reached(&mut self, hops: &[Hop], size: u16, rtt: Duration) -> Option<u8> {
        let (_, routers) = hops.split_last()?;
        for round in 0..ROUNDS {
            for hop in routers {
                self.send(size, Some(hop.number)).ok()?;
                self.pause(SPACING).await.ok()?;
            }
            let last = round + 1 == ROUNDS;
            let until = Instant::now() + if last { self.patience(rtt) } else { APART.max(rtt) };
            while !routers.iter().all(|hop| self.reached.contains(&hop.number))
                && self.hear(until).await.ok()?.is_some()
            {}
        }
        let first = hops.first().filter(|first| first.number == 1 && first.received > 0).map(|_| 0);
        self.reached.iter().copied().max().or(first)
    }

    fn patience(&self, rtt: Duration) -> Duration {
        PATIENCE_FLOOR.max(rtt * PATIENCE_FACTOR).min(self.wait)
    }

    fn send(&mut self, size: u16, hop: Option<u8>) -> Result<(), String> {
        let number = self.first.wrapping_add((self.sent.len() as u32).wrapping_mul(self.stride));
        let shape = Shape { hop_limit: hop, dont_fragment: true, size: Some(size) };
        let departed = self.conversation.send(number, shape).map_err(|refusal: Refusal| refusal.to_string())?;
        self.probe.timeline.sent(instant_of(departed));
        self.sent.push((size, hop));
        Ok(())
    }

    /// Takes what is answered, and nothing else, until then.
    async fn pause(&mut self, pause: Duration) -> Result<(), String> {
        let until = Instant::now() + pause;
        while self.hear(until).await?.is_some() {}
        Ok(())
    }

    /// The next answer that says something: of which size, and what. Nothing where none came until then.
    async fn hear(&mut self, until: Instant) -> Result<Option<(u16, Outcome)>, String> {
        loop {
            let waits = until.min(self.end);
            self.probe.timeline.waiting(Instant::now());
            let Some(answer) = self.conversation.answer_until(waits).await else {
                self.probe.timeline.waited(waits);
                return if waits < self.end { Ok(None) } else { Err("the time is over".to_owned()) };
            };
            if packets::in_time(self.probe, &answer)
                && let Some(heard) = self.take(&answer)
            {
                return Ok(Some(heard));
            }
        }
    }

    /// What an answer says of the size that it answers.
    fn take(&mut self, answer: &Answer) -> Option<(u16, Outcome)> {
        let index = answer.number.wrapping_sub(self.first) / self.stride;
        let (size, hop) = *self.sent.get(index as usize).filter(|_| answer.number >= self.first)?;
        self.probe.timeline.received(instant_of(answer.arrived));
        let (from, rtt) = (answer.from, answer.rtt());
        self.probe.note(format_args!("{size} bytes: {from} after {rtt:?}: {}", answer.reply));
        if let Reply::Error { ty, code, mtu, .. } = answer.reply {
            if packets::is_too_big(from, (ty, code)) {
                self.said.push((size, from));
                self.search.take(size, Fate::TooBig(mtu.map(|mtu| mtu.min(u16::MAX.into()) as u16)));
                return Some((size, Outcome::TooBig));
            }
            if let (Some(hop), true) = (hop, packets::is_time_exceeded(from, (ty, code))) {
                self.reached.push(hop);
                return Some((size, Outcome::Silent));
            }
        }
        if hop.is_none() && matches!(meaning(self.probe, self.destination, answer), Meaning::Destination) {
            self.search.take(size, Fate::Passed);
            return Some((size, Outcome::Answered));
        }
        None
    }
}

fn changed(known: u16) -> String {
    format!("the path has changed: {known} bytes are too big now")
}
