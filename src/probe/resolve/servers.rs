//! Name servers and their answers: a stub resolver (RFC 1034, section 5.3.1) on sockets of a source. An ISP's own are asked through it,
//! the system's as the kernel routes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use super::exchange::{Fault, by_tcp, by_udp};
use super::no_address;
use crate::net::{Family, Source};
use crate::probe::Probe;
use crate::probe::connection::connect_failure;
use crate::probe::judge::Astray;
use crate::verdict::{Failure, Reason};
use crate::wire::dns::{Answer, Data, Question, Wanted};

/// How long an ISP's server has for its first answer; twice as long the next time, as RFC 1035, section 4.2.1, and glibc do, though both
/// begin with more.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Name servers, and how they are asked on behalf of a probe. Dropping a look-up closes its sockets.
#[derive(Debug)]
pub(super) struct Servers<'a> {
    /// The probe, whose timeline and deadline count.
    pub(super) probe: &'a Probe<'a>,
    /// What the sockets are made from.
    pub(super) source: &'a Source,
    /// Whom to ask, one after the other; at least one. Who answered is asked first the next time.
    pub(super) addresses: Vec<SocketAddr>,
    /// For how long.
    pub(super) patience: Patience,
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A second at first, then longer, until the probe's deadline.
    UntilDeadline,
    /// As `resolv.conf(5)` has it: so long for each answer, so often.
    Limited {
        /// For each answer.
        timeout: Duration,
        /// How often every server is asked.
        attempts: u32,
    },
}

impl Patience {
    /// How long the server at `turn` of `servers` has for its answer in a round. With a short deadline every server still has its turn.
    fn wait(self, probe: &Probe<'_>, servers: usize, round: u32, turn: usize) -> Duration {
        match self {
            Self::UntilDeadline => {
                let share = probe.request.timeout / (servers as u32 + 1);
                share.min(FIRST_WAIT * (1 << round.min(2)))
            }
            Self::Limited { timeout, attempts } => {
                let turns = servers as u32 * attempts.saturating_sub(round) - turn as u32;
                let left = probe.deadline.saturating_duration_since(Instant::now());
                timeout.min(left / turns.max(1))
            }
        }
    }

    /// Whether there is another round after this one.
    fn goes_on(self, round: u32) -> bool {
        match self {
            Self::UntilDeadline => true,
            Self::Limited { attempts, .. } => round + 1 < attempts,
        }
    }
}

impl Servers<'_> {
    /// Asks one server after the other, again and again, until one answers: for the families together, taking the first that has an
    /// address. `name` is absolute.
    ///
    /// # Errors
    /// Why none is known. Silence is no answer: patience, or the probe's deadline, ends it.
    pub(super) async fn lookup(&mut self, name: &str, families: &[Family]) -> Result<IpAddr, Failure> {
        let mut round = 0;
        loop {
            let (mut silent, mut failed) = (None::<Failure>, None::<Failure>);
            for turn in 0..self.addresses.len() {
                let wait = self.patience.wait(self.probe, self.addresses.len(), round, turn);
                match self.ask(self.addresses[turn], name, families, wait).await {
                    Ok(addresses) => {
                        self.addresses.rotate_left(turn);
                        return addresses.first().copied().ok_or_else(|| no_address(self.probe, name, families));
                    }
                    Err(failure) if failure.reason == Reason::DnsNxdomain => {
                        self.addresses.rotate_left(turn);
                        return Err(failure);
                    }
                    Err(failure) => {
                        self.probe.note(format_args!("{}", failure.detail));
                        let kind = if failure.reason == Reason::DnsTimeout { &mut silent } else { &mut failed };
                        match kind {
                            // What a server says of the name tells more than why another cannot be asked.
                            Some(told) if told.reason.is_of_names() || !failure.reason.is_of_names() => {}
                            _ => *kind = Some(failure),
                        }
                    }
                }
            }
            match (failed, silent) {
                (Some(failure), None) => return Err(failure),
                // Whoever was silent has had a second chance.
                (Some(failure), Some(_)) if round > 0 || !self.patience.goes_on(round) => return Err(failure),
                (None, Some(failure)) if !self.patience.goes_on(round) => return Err(failure),
                _ => round += 1,
            }
        }
    }

    /// Asks one server for one or both families at once; an answer for the first with an address in it needs no second.
    async fn ask(
        &self,
        server: SocketAddr,
        host: &str,
        families: &[Family],
        wait: Duration,
    ) -> Result<Vec<IpAddr>, Failure> {
        self.probe.asked(server.ip(), !self.source.is_unbound());
        let question = |family| async move {
            let silent = || {
                let detail = format!("the name server {server} did not answer within {} s", wait.as_secs_f64());
                self.probe.failure(Reason::DnsTimeout, detail)
            };
            let end = Instant::now() + wait;
            let answer = tokio::time::timeout_at(end.into(), self.ask_for(server, host, family)).await;
            answer.unwrap_or_else(|_| {
                self.probe.timeline.waited(end);
                Err(silent())
            })
        };
        let has_address = |known: &Result<Vec<IpAddr>, Failure>| known.as_ref().is_ok_and(|known| !known.is_empty());
        let [first, second] = match families {
            [first, second, ..] => [*first, *second],
            [only] => return question(*only).await,
            [] => return Err(no_address(self.probe, host, families)),
        };
        let (mut first, mut second) = (pin!(question(first)), pin!(question(second)));
        let (first, second) = tokio::select! {
            biased;
            answer = first.as_mut() => match has_address(&answer) {
                true => return answer,
                false => (answer, second.await),
            },
            answer = second.as_mut() => (first.await, answer),
        };
        match (has_address(&first), has_address(&second)) {
            (false, true) => second,
            // Half of the answer is not the whole: "no address" needs both.
            (false, false) if first.is_ok() => second,
            _ => first,
        }
    }

    /// Asks one server for one family: by UDP, and by TCP where the answer does not fit.
    async fn ask_for(&self, server: SocketAddr, host: &str, family: Family) -> Result<Vec<IpAddr>, Failure> {
        let no_name = |what: &str| self.probe.failure(Reason::DnsNxdomain, format!("{host}: {what}"));
        let wanted = match family {
            Family::V4 => Wanted::V4,
            Family::V6 => Wanted::V6,
        };
        let mut id = [0; 2];
        // An id that cannot be guessed, beside the port, which the kernel chooses at random (RFC 5452).
        aws_lc_rs::rand::fill(&mut id).map_err(|_| self.probe.failure(Reason::ProberError, "no random numbers"))?;
        let question = Question::new(host, wanted, u16::from_be_bytes(id))
            .map_err(|error| no_name(&format!("no name: {error}")))?;
        let (request, timeline) = (self.probe.request, &self.probe.timeline);
        let asked = by_udp(request, self.source, server, &question, timeline).await;
        let mut answer = asked.map_err(|fault| self.unasked(server, "", fault))?;
        if answer == Answer::Truncated {
            let asked = by_tcp(request, self.source, server, &question, timeline).await;
            answer = asked.map_err(|fault| self.unasked(server, " by TCP", fault))?;
        }
        self.probe.timeline.waiting(Instant::now());
        match answer {
            Answer::Known(known, _) => {
                let addresses = known.into_iter().filter_map(|data| match data {
                    Data::Address(address) => Some(address),
                    Data::Name(_) | Data::Text(_) => None,
                });
                Ok(addresses.collect())
            }
            Answer::NoName(_) => Err(no_name(&format!("the name server {server} knows no such name"))),
            Answer::Truncated | Answer::Failed(_) => {
                let (reason, what) = match answer {
                    Answer::Failed(2) => (Reason::DnsServfail, "failed to find out (SERVFAIL)".to_owned()),
                    Answer::Failed(5) => (Reason::DnsRefused, "refused to say (REFUSED)".to_owned()),
                    // FORMERR, NOTIMP and what else there is: it does not want to deal with such a question.
                    Answer::Failed(code) => (Reason::DnsRefused, format!("answered with code {code}")),
                    _ => (Reason::DnsAnswerUnexpected, "has an answer that does not fit into TCP".to_owned()),
                };
                Err(self.probe.failure(reason, format!("the name server {server} {what}, asked for {host}")))
            }
        }
    }

    /// What it means that a server could not be asked; `by` says how it was.
    fn unasked(&self, server: SocketAddr, by: &str, fault: Fault) -> Failure {
        let what = format!("asking the name server {server}{by}");
        match fault {
            Fault::Source(error) => self.probe.source_failure(&error),
            Fault::Astray(Astray { reason, detail, .. }) => self.probe.failure(reason, detail),
            Fault::Connect(error) => connect_failure(self.probe, server, &error),
            Fault::Unsent(error) => self.probe.local_failure(&what, &error),
            Fault::Io(error, _) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.probe.failure(Reason::ConnectionTerminated, format!("{what}: it ended the connection"))
            }
            Fault::Io(error, evidence) => self.probe.io_failure(&what, &error, evidence.as_ref()),
            Fault::Broken => {
                self.probe.failure(Reason::DnsAnswerUnexpected, format!("{what}: it answered something else"))
            }
        }
    }
}
