//! A probe, or the same probe through several ISPs at the same time, and what they say together.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::routes::{Route, routes};
use super::{Measurement, Module, Report, Request, refused, run};
use crate::flight::Phase;
use crate::net::{Dropped, Drops};
use crate::verdict::{Judgement, Slow, Witness, judge};

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// One probe.
    One(Request),
    /// The same probe through several ISPs: requests that differ in nothing else.
    Several(Vec<Request>),
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Of one probe.
    One(Box<Report>),
    /// Of several.
    Several(Comparison),
}

/// The probes of one target through several ISPs, and what they say together.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// One for each ISP, in their order.
    pub reports: Vec<Report>,
    /// Whose fault it is.
    pub judgement: Judgement,
    /// Of traces, their paths beside one another, by the reports' indices.
    pub routes: Vec<(usize, Route)>,
}

impl Wanted {
    /// Each probe.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        match self {
            Self::One(request) => slice::from_ref(request),
            Self::Several(requests) => requests,
        }
    }

    /// Has it done by another module.
    pub fn set_module(&mut self, module: &Arc<Module>) {
        let requests = match self {
            Self::One(request) => slice::from_mut(request),
            Self::Several(requests) => requests,
        };
        requests.iter_mut().for_each(|request| request.module = Arc::clone(module));
    }

    /// Runs it. Probes of several ISPs begin at the same time; each has the whole of its timeout, and waits for no other. Dropped, it ends all of
    /// them.
    pub async fn run(&self) -> Outcome {
        match self {
            Self::One(request) => Outcome::One(Box::new(run(request).await)),
            Self::Several(requests) => {
                // Without the one or the other, nothing is known to have been wrong.
                let before = Drops::now();
                let reports = run_all(requests).await;
                let dropped = before.and_then(|before| before.since()).unwrap_or_default();
                Outcome::Several(Comparison::of(requests, reports, &dropped))
            }
        }
    }

    /// What becomes of it where no probe can be made, since something is wrong with what the module names.
    #[must_use]
    pub fn refused(&self, why: &str) -> Outcome {
        match self {
            Self::One(request) => Outcome::One(Box::new(refused(request, why.to_owned()))),
            Self::Several(requests) => {
                let reports = requests.iter().map(|request| refused(request, why.to_owned())).collect();
                Outcome::Several(Comparison::of(requests, reports, &Dropped::default()))
            }
        }
    }
}

async fn run_all(requests: &[Request]) -> Vec<Report> {
    let mut running = JoinSet::new();
    for (index, request) in requests.iter().cloned().enumerate() {
        running.spawn(async move { (index, run(&request).await) });
    }
    let mut reports = Vec::with_capacity(requests.len());
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(report) => reports.push(report),
            // Probes catch their own, and nobody else ends them.
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

impl Outcome {
    /// The report of each probe.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        match self {
            Self::One(report) => slice::from_ref(report),
            Self::Several(comparison) => &comparison.reports,
        }
    }

    /// The same, to be kept.
    #[must_use]
    pub fn into_reports(self) -> Vec<Report> {
        match self {
            Self::One(report) => vec![*report],
            Self::Several(comparison) => comparison.reports,
        }
    }
}

/// What a witness is made of.
struct Testimony {
    phases: Vec<(Phase, Duration)>,
    addresses: Vec<IpAddr>,
    impairment: Option<String>,
}

impl Comparison {
    fn of(requests: &[Request], reports: Vec<Report>, dropped: &Dropped) -> Self {
        let testimonies: Vec<_> = reports.iter().map(|report| Testimony::of(report, dropped)).collect();
        let witnesses = requests.iter().zip(&reports).zip(&testimonies).map(|((request, report), testimony)| Witness {
            isp: request.isp.as_ref().map(|isp| isp.name.as_str()).unwrap_or_default(),
            failure: report.failure.as_ref().map(|failure| (failure.phase, failure.reason)),
            phases: &testimony.phases,
            addresses: &testimony.addresses,
            own_names: !request.resolvers().is_empty(),
            impairment: testimony.impairment.as_deref(),
        });
        let witnesses: Vec<_> = witnesses.collect();
        let usual = Slow::default();
        let slow = requests.first().map_or(&usual, |request| &request.module.slow);
        let judgement = judge(&witnesses, slow);
        drop(witnesses);
        Self { routes: routes(&reports, slow), reports, judgement }
    }
}

impl Testimony {
    fn of(report: &Report, dropped: &Dropped) -> Self {
        let phases = match &report.measurement {
            // How long a trace takes is decided by those who are silent.
            Measurement::Traceroute(measured) => {
                let resolved = report.phases.iter().copied().filter(|(phase, _)| *phase == Phase::Resolve);
                let end = measured.hops.last().filter(|_| measured.reached).and_then(|hop| hop.rtt.best());
                resolved.chain(end.map(|rtt| (Phase::Rtt, Duration::from_secs_f64(rtt)))).collect()
            }
            _ => report.phases.clone(),
        };
        let addresses = report.resolution.iter().filter_map(|resolution| resolution.address).collect();
        Self { phases, addresses, impairment: impairment(report, dropped) }
    }
}

/// What this host dropped that may have been of a probe, in words.
fn impairment(report: &Report, dropped: &Dropped) -> Option<String> {
    let Dropped { connections, devices } = dropped;
    if *connections > 0 {
        return Some(format!(
            "this host's table of connections (nf_conntrack) was full, which dropped {connections} packets"
        ));
    }
    let device = report.way_out.as_ref()?.device.as_ref()?;
    let (_, packets) = devices.iter().find(|(name, _)| name == device)?;
    Some(format!("this host's queue of {device} dropped {packets} packets"))
}
