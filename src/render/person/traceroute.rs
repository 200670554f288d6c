//! `traceroute`: the hops, in the table of mtr's report.

use std::fmt::Write;

use super::units::milliseconds;
use super::{Page, waterfall};
use crate::metrics::loss_ratio;
use crate::probe::traceroute::Router;
use crate::probe::{Report, traceroute};
use crate::wire::icmp::Label;

/// What stands where nobody answered, as in mtr's table.
const SILENT: &str = "???";

/// What a router said beside that it is there, as mtr has it.
fn details(page: &mut Page, router: &Router) {
    for Label { label, traffic_class, bottom, ttl } in &router.labels {
        let bottom = u8::from(*bottom);
        page.line(format_args!("{:8}[MPLS: Lbl {label} TC {traffic_class} S {bottom} TTL {ttl}]", ""));
    }
    if let Some((ty, code)) = router.error {
        page.line(format_args!("{:8}[ICMP: type {ty} code {code}]", ""));
    }
}

/// What stands where nothing was measured. mtr has 0.0.
const NOTHING: &str = "-";

pub(super) fn write(page: &mut Page, report: &Report, measured: &traceroute::Measurement) {
    waterfall::write(page, report);
    let traceroute::Measurement {
        protocol,
        port,
        source,
        destination,
        packet_size,
        rounds,
        first_hop,
        max_hops,
        reached,
        hops,
    } = measured;
    page.blank();
    let mut packets = format!("{rounds} rounds of {}", protocol.name());
    if let Some(size) = packet_size {
        let _ = write!(packets, ", {size} bytes");
    }
    if let Some(source) = source {
        let _ = write!(packets, ", from {source}");
    }
    if let Some(destination) = destination {
        let _ = write!(packets, " to {destination}");
    }
    if let Some(port) = port {
        let _ = write!(packets, " port {port}");
    }
    let _ = write!(packets, ", hops {first_hop} to {max_hops} at most");
    page.line(packets);
    if hops.is_empty() {
        return;
    }
    let names = hops.iter().flat_map(|hop| &hop.routers).map(|router| router.address.to_string().len());
    let width = names.max().unwrap_or_default().max(24);
    let [loss, sent] = ["Loss%", "Snt"];
    let [last, avg, best, worst, stddev] = ["Last", "Avg", "Best", "Wrst", "StDev"];
    page.line(format_args!(
        "{:8}{:width$}{loss:>6}{sent:>6}{last:>7}{avg:>7}{best:>7}{worst:>7}{stddev:>7}",
        "", "Host"
    ));
    for traceroute::Hop { number, sent, received, rtt, routers } in hops {
        let (first, others) = match routers.split_first() {
            Some((first, others)) => (Some(first), others),
            None => (None, routers.as_slice()),
        };
        let host = first.map_or_else(|| SILENT.to_owned(), |router| router.address.to_string());
        let loss = loss_ratio(*sent, *received).map(|loss| format!("{:.1}%", loss * 100.0));
        let loss = loss.as_deref().unwrap_or(NOTHING);
        let times = [rtt.last(), rtt.avg(), rtt.best(), rtt.worst(), rtt.stddev()];
        let [last, avg, best, worst, stddev] = times.map(|time| time.map_or_else(|| NOTHING.to_owned(), milliseconds));
        page.line(format_args!(
            "{number:>3}.|-- {host:width$}{loss:>6}{sent:>6}{last:>7}{avg:>7}{best:>7}{worst:>7}{stddev:>7}"
        ));
        first.into_iter().for_each(|router| details(page, router));
        for router in others {
            page.line(format_args!("{:4}|  |-- {}", "", router.address));
            details(page, router);
        }
    }
    if !reached {
        page.line("the destination did not answer");
    }
}
