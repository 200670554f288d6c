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
    /// it is too long by no more than that. Cases of neighbouring numbers have different targets, so that late packets of one are not taken
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
            let busy = format!(
                "this machine is too busy to emulate an internet: packets came late by {} µs",
                late.as_micros()
            );
            match outcome {
                Ok(measured) => return Ok(Ok(measured)),
                Err(Wrong::Time(..)) if late > LATE && attempts < ATTEMPTS => attempts += 1,
                Err(Wrong::Time(said, Some(by))) if by <= TOLERANCE + late => return Ok(Ok(format!("{said}; {busy}"))),
                Err(Wrong::Time(said, _)) if late > LATE => return Ok(Err(format!("{said}; {busy}"))),
                Err(Wrong::Time(said, _) | Wrong::Fact(said)) => return Ok(Err(said)),
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

/// How often a case is run at most, while the lab cannot do what it is told.
const ATTEMPTS: u32 = 5;
/// How late the lab may be: half of what a time may be off.
const LATE: Duration = Duration::from_micros(500);
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
