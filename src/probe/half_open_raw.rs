//! A half-open TCP check by raw packets: SYN, SYN-ACK, RST.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Probe, packets, tcp};
use crate::flight::Phase;
use crate::net::clock::instant_of;
use crate::net::{Flow, Reply, Shape, Syns};
use crate::verdict::{Failure, Reason};

/// How long an answer to a SYN is waited for before it is sent again: RFC 6298's initial timeout, kept as it is for the first
/// retransmissions, as Linux does from 6.5 on (`net.ipv4.tcp_syn_linear_timeouts`).
const RETRANSMIT: Duration = Duration::from_secs(1);

/// Measures: sends a SYN until it is answered, and has the answer refused. The connection never comes to be.
///
/// A SYN that is sent again is the same but for the clock of its timestamp option, as TCP has it: a new sequence number would be
/// another connection, which a host that knows the first must reset. The clock that comes back tells which SYN was answered.
///
/// # Errors
/// Why it went no further.
pub(super) async fn measure(
    probe: &Probe<'_>,
    destination: SocketAddr,
    measured: &mut tcp::Measurement,
) -> Result<(), Failure> {
    probe.timeline.enter(Phase::Connect);
    measured.handshake.remote = Some(destination);
    let refused = |refusal| packets::refused(probe, destination.ip(), &refusal);
    let mut conversation =
        probe.request.network.syns(probe.source(), destination, Syns::Clock, Flow::Next).map_err(refused)?;
    probe.leaves_by(Some(conversation.local()), &conversation.heading())?;
    measured.handshake.local = conversation.port().map(|port| SocketAddr::new(conversation.local(), port));
    if let Some(held) = conversation.hold().filter(|_| probe.holds_flows()) {
        probe.hold(Ok(held));
    }
    let end = packets::end(probe);
    let mut departures = Vec::new();
    loop {
        let number = departures.len() as u32;
        let departed = conversation.send(number, Shape::default()).map_err(refused)?;
        departures.push(departed);
        measured.handshake.syn_retransmits = Some(number);
        probe.timeline.sent(instant_of(departed));
        probe.note(format_args!("SYN {number} left for {destination}"));

        let again = end.min(Instant::now() + RETRANSMIT);
        while let Some(answer) = conversation.answer_until(again).await {
            if !packets::in_time(probe, &answer) {
                continue;
            }
            probe.timeline.received(instant_of(answer.arrived));
            probe.note(format_args!("{} answers with {}", answer.from, answer.reply));
            match answer.reply {
                Reply::SynAck { clock, mss } => {
                    measured.mss = mss;
                    let answered = match clock {
                        Some(clock) => departures.get(clock.wrapping_sub(1) as usize).copied(),
                        None => (departures.len() == 1).then_some(answer.departed),
                    };
                    measured.handshake.rtt = answered.map(|departed| answer.arrived.saturating_sub(departed));
                    return Ok(());
                }
                Reply::Reset => {
                    let detail = format!("{destination} refuses connections");
                    return Err(probe.failure(Reason::ConnectionRefused, detail));
                }
                Reply::Error { ty, code, .. } => {
                    match packets::reported(probe, destination.ip(), answer.from, (ty, code)) {
                        Some(failure) => return Err(failure),
                        None => probe.timeline.waiting(Instant::now()),
                    }
                }
                Reply::Echo | Reply::Acknowledgement => probe.timeline.waiting(Instant::now()),
            }
        }
        probe.timeline.waited(again);
        if Instant::now() >= end {
            let detail = format!("{destination} answered none of {} SYNs", departures.len());
            return Err(probe.failure(Reason::ConnectionTimeout, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
    use std::sync::Arc;

    use super::*;
    use crate::net::{Network, Source};
    use crate::probe::{Handshake, Measurement, Module, Prober, Report, Request, until_deadline};

    async fn check(destination: SocketAddr) -> (Report, tcp::Measurement) {
        let settings =
            tcp::Settings { open: tcp::Open::Half { raw: true }, preference: Default::default(), tracing: None };
        let module = Module {
            name: "half".into(),
            prober: Prober::Tcp(settings),
            source: Source::default(),
            timeout: None,
            isp: None,
            resolvers: Vec::new(),
            slow: crate::verdict::Slow::default(),
            yaml: String::new(),
        };
        let request = Request {
            target: destination.to_string(),
            module: Arc::new(module),
            isp: None,
            zoned: None,
            isps: Arc::default(),
            hostname: None,
            timeout: Duration::from_secs(1),
            log_limit: usize::MAX,
            network: Arc::new(Network::new()),
            identities: Arc::default(),
        };
        let probe = Probe::start(&request);
        let (measurement, failure) = until_deadline(&probe, tcp::Measurement::default(), Measurement::Tcp, async |m| {
            measure(&probe, destination, m).await
        })
        .await;
        let Measurement::Tcp(measured) = measurement.clone() else { panic!("a tcp probe measures TCP") };
        (probe.report(measurement, failure), measured)
    }

    #[tokio::test]
    async fn an_open_port_answers_and_never_accepts() {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let listener = TcpListener::bind((address, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let (report, measured) = check(listener.local_addr().unwrap()).await;
            if packets::tests::not_permitted(&report) {
                return;
            }
            assert_eq!(report.failure, None);
            let Handshake { local, remote, rtt, syn_retransmits } = measured.handshake;
            assert_eq!((local.unwrap().ip(), remote), (address, listener.local_addr().ok()));
            assert_eq!((syn_retransmits, measured.traffic), (Some(0), None));
            assert!(rtt.unwrap() < Duration::from_millis(5));
            let said = format!("{address} answers with a SYN-ACK, for segments of ");
            assert!(report.log.iter().any(|line| line.text.starts_with(&said)), "{:#?}", report.log);
            assert!(listener.accept().is_err());
            let sum = report.phases.iter().map(|(_, span)| *span).sum::<Duration>() + report.overhead;
            assert!(sum.abs_diff(report.duration) < Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let (report, measured) = check(closed).await;
        if packets::tests::not_permitted(&report) {
            return;
        }
        let failure = report.failure.unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::ConnectionRefused, Phase::Connect));
        let Handshake { local, remote, rtt, syn_retransmits } = measured.handshake;
        assert_eq!((local.unwrap().ip(), remote), (closed.ip(), Some(closed)));
        assert_eq!((rtt, syn_retransmits), (None, Some(0)));
    }
}
