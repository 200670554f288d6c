//! The self-test: every prober through every ISP by every means of binding, against an internet whose truth is known.

mod cases;
mod check;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

pub use cases::{Case, Expect, Injected, Kind, faults, matrix, topology};

use super::topology::{Action, Fault, Isp, Matches, target};
use super::{Lab, Servers, TARGETS};
use crate::net::tls::{Tls, TlsOptions};
use crate::net::{Family, Network};
use crate::probe::{self, Report, Request};
use check::{TOLERANCE, Truth, Wrong, check};

/// Runs all cases, and prints a line for each: the probe, what was injected, what was measured, whether that is right. Says whether
/// all are.
///
/// # Errors
/// Why there is no lab here, or why the output could not be written.
pub fn run(out: &mut (impl Write + Send)) -> io::Result<bool> {
    Lab::available().map_err(io::Error::other)?;
    let bench = Bench::start()?;
    let prober = bench.lab.prober().clone();
    prober.block_on(async move { run_all(&bench, out).await })?
}

async fn run_all(bench: &Bench, out: &mut impl Write) -> io::Result<bool> {
    writeln!(out, "The default route always goes through the other ISP.\n")?;
    let head = ["probe", "isp", "family", "bound by", "injected", "", "measured"];
    let [kind, isp, family, binding, injected, verdict, measured] = head;
    writeln!(out, "{kind:<14} {isp:<3} {family:<6} {binding:<9} {injected:<27} {verdict:<4} {measured}")?;
    let cases: Vec<_> = matrix().into_iter().chain(faults()).collect();
    let mut failed = 0;
    for (number, case) in cases.iter().enumerate() {
        let outcome = bench.run(case, number).await?;
        failed += usize::from(outcome.is_err());
        let (verdict, measured) = match &outcome {
            Ok(measured) => ("pass", measured),
            Err(measured) => ("FAIL", measured),
        };
        let Case { kind, isp, family, binding, injected, expect: _ } = case;
        let (kind, isp, binding, injected) = (kind.name(), isp.name(), binding.name(), injected.to_string());
        let family = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        writeln!(out, "{kind:<14} {isp:<3} {family:<6} {binding:<9} {injected:<27} {verdict:<4} {measured}")?;
    }
    writeln!(out, "\n{} of {} passed", cases.len() - failed, cases.len())?;
    Ok(failed == 0)
}

/// A lab with its servers, and what probes in it need.
#[derive(Debug)]
pub struct Bench {
    /// The internet.
    pub lab: Lab,
    /// The far end.
    pub servers: Servers,
    network: Arc<Network>,
    tls: Arc<Tls>,
}

impl Bench {
    /// Builds one.
    ///
    /// # Errors
    /// As [`Lab::start`] and [`Servers::start`].
    pub fn start() -> io::Result<Self> {
        let lab = Lab::start(topology())?;
        let servers = Servers::start(lab.far())?;
        let tls = Arc::new(trusting(&servers.ca_pem)?);
        Ok(Self { lab, servers, network: Arc::default(), tls })
    }

    /// Runs a case; says what was measured. A time that is too long while the lab was late is measured again, a few times, and is right then where
    /// it is too long by no more than that, and the lab was not so late that nothing is known. Cases of neighbouring numbers have different targets, so that late packets of one are not taken
    /// for the next one's. Must run in the prober's namespace: see [`super::Namespace::block_on`].
    ///
    /// # Errors
    /// The outer one where the lab fails; the inner one says what is wrong with the measurement.
    pub async fn run(&self, case: &Case, number: usize) -> io::Result<Result<String, String>> {
        let mut attempts = 1;
        loop {
            let outcome = self.attempt(case, number).await?;
            // There and back; and a name server on the way.
            let late = 2 * self.lab.lateness() + self.servers.lateness();
            match judge(outcome, late, attempts) {
                Some(judged) => return Ok(judged),
                None => attempts += 1,
            }
        }
    }

    async fn attempt(&self, case: &Case, number: usize) -> io::Result<Result<String, Wrong>> {
        let targets = usize::from(TARGETS.end() - TARGETS.start()) + 1;
        let address = target(case.family, TARGETS.start() + (number % targets) as u8);
        self.lab.default_route(case.isp.other())?;
        self.lab.change(|now| {
            *now = topology();
            match case.injected {
                Injected::Fault(action) => now.faults = vec![only(case.isp, address, action)],
                Injected::Loss(hop, loss) => {
                    for router in
                        now.path_mut(case.isp).hops.get_mut(hop - 1).into_iter().flat_map(|hop| &mut hop.routers)
                    {
                        router.link.loss = loss;
                    }
                }
                Injected::Nothing | Injected::ClosedPort | Injected::LinkDown | Injected::StrangeSource => {}
            }
        });
        let accepted = self.servers.accepts(HALF_OPEN);
        self.lab.clear_observed();
        self.lab.clear_counts();
        self.servers.lateness();
        if case.injected == Injected::LinkDown {
            self.lab.link(case.isp, false)?;
        }
        let mut reports = Vec::new();
        for repeat in 0..case.repeats() {
            reports.push(self.probe(case, address, repeat).await);
        }
        if case.injected == Injected::LinkDown {
            self.lab.link(case.isp, true)?;
        }
        // What left last is still being counted.
        tokio::time::sleep(SETTLING).await;
        let left: Vec<_> = self.lab.observed().into_iter().filter(|packet| packet.destination == address).collect();
        let (topology, counts) = (self.lab.topology(), self.lab.counts(case.isp, address));
        let accepted = self.servers.accepts(HALF_OPEN) - accepted;
        let path = topology.path(case.isp);
        Ok(check(case, &reports, &Truth { target: address, path, counts: &counts, left: &left, accepted }))
    }

    async fn probe(&self, case: &Case, address: std::net::IpAddr, repeat: usize) -> Report {
        let mut source = case.isp.bound_by(case.binding);
        let mut port = case.kind.port();
        match case.injected {
            Injected::StrangeSource => (source.v4, source.v6) = (STRANGE.0.parse().ok(), STRANGE.1.parse().ok()),
            Injected::ClosedPort => port = Some(CLOSED),
            Injected::Nothing | Injected::Fault(_) | Injected::LinkDown | Injected::Loss(..) => {}
        }
        let isp = probe::Isp { name: case.isp.name().to_owned(), source, ..probe::Isp::default() };
        let mut module = case.kind.module(case.family, case.count(), &self.tls);
        // All traces of a module are one flow.
        module.name = format!("{} {repeat}", module.name);
        let request = Request {
            target: case.kind.target(address, port),
            module: Arc::new(module),
            isp: Some(Arc::new(isp)),
            zoned: None,
            isps: Arc::default(),
            hostname: None,
            timeout: case.timeout(),
            log_limit: 0,
            network: Arc::clone(&self.network),
            identities: Arc::default(),
        };
        probe::run(&request).await
    }
}

/// What is to be said of a case that was attempted so often while the lab was so late; nothing where it is to be attempted again.
fn judge(outcome: Result<String, Wrong>, late: Duration, attempts: u32) -> Option<Result<String, String>> {
    let (said, by) = match outcome {
        Ok(measured) => return Some(Ok(measured)),
        Err(Wrong::Fact(said)) => return Some(Err(said)),
        Err(Wrong::Time(said, by)) => (said, by),
    };
    let most = match late {
        late if late > TOO_LATE => MOST_ATTEMPTS,
        late if late > LATE => ATTEMPTS,
        _ => 1,
    };
    if attempts < most {
        return None;
    }
    let busy = format!("this machine is too busy to emulate an internet: packets came late by {} µs", late.as_micros());
    Some(match by {
        _ if late > TOO_LATE => Err(format!("{said}; {busy}, each of {attempts} times")),
        Some(by) if by <= TOLERANCE + late => Ok(format!("{said}; {busy}")),
        _ if late > LATE => Err(format!("{said}; {busy}")),
        _ => Err(said),
    })
}

/// How often a case is run at most, while the lab cannot do what it is told.
const ATTEMPTS: u32 = 5;
/// The same while it is too late to excuse anything.
const MOST_ATTEMPTS: u32 = 20;
/// How late the lab may be: half of what a time may be off.
const LATE: Duration = Duration::from_micros(500);
/// What a lab that is later than this excuses would be no measurement: a fifth of the shortest path.
const TOO_LATE: Duration = Duration::from_millis(4);
/// The port of half-open checks, where `accept()` must never return.
const HALF_OPEN: u16 = 25;
/// A port where nobody listens.
const CLOSED: u16 = 81;
/// Addresses that are on no device.
const STRANGE: (&str, &str) = ("10.1.0.99", "fd00:a::99");
/// Longer than the emulator takes to read what has left.
const SETTLING: Duration = Duration::from_millis(5);

fn only(isp: Isp, destination: std::net::IpAddr, action: Action) -> Fault {
    Fault { of: Matches { isp: Some(isp), destination: Some(destination), ..Matches::default() }, action }
}

/// TLS settings that trust a CA.
fn trusting(ca_pem: &str) -> io::Result<Tls> {
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let options = TlsOptions { ca: Some(ca_pem.as_bytes().to_vec()), alpn, ..TlsOptions::default() };
    Tls::new(options).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn too_long(by: Duration) -> Result<String, Wrong> {
        Err(Wrong::Time("rtt".to_owned(), Some(by)))
    }

    #[test]
    fn a_late_lab_excuses_a_time_only_so_far() {
        // A lab in time excuses nothing, one that is late what it was late by, and only after it was tried again.
        assert_eq!(judge(too_long(MS * 2), LATE, 1), Some(Err("rtt".to_owned())));
        assert_eq!(judge(too_long(MS * 2), MS, 1), None);
        assert!(
            judge(too_long(MS * 2), MS, ATTEMPTS)
                .is_some_and(|judged| judged.is_ok_and(|said| said.contains("late by 1000 µs")))
        );
        assert!(judge(too_long(MS * 3), MS, ATTEMPTS).is_some_and(|judged| judged.is_err()));
        // However late it was, nothing is too long by more than this.
        for late in [TOO_LATE + MS, MS * 100, MS * 100_000] {
            assert_eq!(judge(too_long(late), late, MOST_ATTEMPTS - 1), None);
            let judged = judge(too_long(late), late, MOST_ATTEMPTS);
            assert!(judged.is_some_and(|judged| judged.is_err_and(|said| said.ends_with("each of 20 times"))));
        }
        // What is too short, or no time, has no excuse.
        assert!(judge(Err(Wrong::Time("rtt".to_owned(), None)), MS, ATTEMPTS).is_some_and(|judged| judged.is_err()));
        assert_eq!(judge(Err("lost".into()), MS * 100, 1), Some(Err("lost".to_owned())));
        assert_eq!(judge(Ok("rtt".to_owned()), MS * 100, 1), Some(Ok("rtt".to_owned())));
    }
}
