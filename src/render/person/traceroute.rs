//! `traceroute`: the hops, in the table of mtr's report.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::units::milliseconds;
use super::{Page, waterfall};
use crate::path::{Analysis, AutonomousSystem, Balance, Clamp, DelayOnset, FlowPath, LossClass, PathMtu, There};
use crate::probe::traceroute::{Hop, Router};
use crate::probe::{Report, traceroute};
use crate::render::mtr::{SILENT, asn_of, host_of};
use crate::wire::icmp::Label;

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
    hops(page, measured);
    if measured.hops.is_empty() {
        return;
    }
    if !measured.reached {
        page.line("the destination did not answer");
    }
    page.blank();
    meaning(page, &measured.hops, &measured.analysis);
    if let Some(mtu) = &measured.mtu {
        page.entry("MTU", largest(&measured.hops, mtu));
    }
    if let Some(offered) = measured.offered_mss {
        segments(page, &measured.hops, (offered, measured.mss), measured.clamp);
    }
    if let Some(balance) = &measured.balance {
        paths(page, measured.first_hop, balance);
    }
}

/// What was sent, and who answered.
pub(super) fn hops(page: &mut Page, measured: &traceroute::Measurement) {
    let traceroute::Measurement {
        protocol,
        port,
        source,
        destination,
        packet_size,
        rounds,
        first_hop,
        max_hops,
        reached: _,
        packets: _,
        flows: _,
        balance: _,
        hops,
        analysis: _,
        mtu: _,
        offered_mss: _,
        mss: _,
        clamp: _,
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
    let routers = || hops.iter().flat_map(|hop| hop.routers.iter().chain(&hop.others));
    // As mtr's option -z: a column, where there is anything to stand in it.
    let known =
        routers().filter(|router| !router.systems.is_empty()).map(|router| asn_of(Some(router)).len() + 1).max();
    let asn = |router: Option<&Router>| {
        known.map_or_else(String::new, |width| format!("{:1$}", asn_of(router), width.max(9)))
    };
    let width = routers().map(|router| asn(Some(router)).len() + host_of(router).chars().count()).max();
    let width = width.unwrap_or_default().max(24);
    let [loss, sent] = ["Loss%", "Snt"];
    let [last, avg, best, worst, stddev] = ["Last", "Avg", "Best", "Wrst", "StDev"];
    page.line(format_args!(
        "{:8}{:width$}{loss:>6}{sent:>6}{last:>7}{avg:>7}{best:>7}{worst:>7}{stddev:>7}",
        "", "Host"
    ));
    for hop in hops {
        let Hop { number, sent, received: _, lost: _, rtt, latest: _, routers, others: of_other_flows } = hop;
        let (first, others) = match routers.split_first() {
            Some((first, others)) => (Some(first), others),
            None => (None, routers.as_slice()),
        };
        let host = asn(first) + &first.map_or_else(|| SILENT.to_owned(), host_of);
        let loss = hop.loss_ratio().map(|loss| format!("{:.1}%", loss * 100.0));
        let loss = loss.as_deref().unwrap_or(NOTHING);
        let times = [rtt.last(), rtt.avg(), rtt.best(), rtt.worst(), rtt.stddev()];
        let [last, avg, best, worst, stddev] = times.map(|time| time.map_or_else(|| NOTHING.to_owned(), milliseconds));
        page.line(format_args!(
            "{number:>3}.|-- {host:width$}{loss:>6}{sent:>6}{last:>7}{avg:>7}{best:>7}{worst:>7}{stddev:>7}"
        ));
        first.into_iter().for_each(|router| details(page, router));
        for router in others {
            page.line(format_args!("{:4}|  |-- {}{}", "", asn(Some(router)), host_of(router)));
            details(page, router);
        }
        for router in of_other_flows {
            page.line(format_args!("{:4}|  |-- {}{} (other flows)", "", asn(Some(router)), host_of(router)));
            details(page, router);
        }
    }
    let systems: BTreeMap<_, _> =
        routers().flat_map(|router| &router.systems).map(|system| (system.number, system)).collect();
    for AutonomousSystem { number, name } in systems.into_values() {
        if let Some(name) = name {
            page.line(format_args!("{:8}{:9}{name}", "", format!("AS{number}")));
        }
    }
}

/// The largest packet of the path, and what becomes of larger ones.
fn largest(hops: &[Hop], mtu: &traceroute::Mtu) -> String {
    let traceroute::Mtu { found: PathMtu { bytes, black_hole }, device, said_by, hop, next_hop } = mtu;
    let Some(black_hole) = black_hole else { return format!("{bytes} bytes, as many as this host sends") };
    let mut text = format!("{bytes} of {device} bytes; larger packets ");
    let behind = |number: &u8| match hops.iter().find(|hop| hop.number == *number) {
        Some(hop) => named(hop),
        None => "this host".to_owned(),
    };
    let _ = match (black_hole, hop, said_by) {
        (true, Some(hop), _) => write!(text, "vanish behind {}", behind(hop)),
        (true, None, _) => write!(text, "vanish"),
        (false, Some(hop), _) => write!(text, "are refused by {}", behind(hop)),
        (false, None, Some(by)) => write!(text, "are refused by {by}"),
        (false, None, None) => write!(text, "are refused"),
    };
    if let Some(next) = next_hop {
        let _ = write!(text, ", before {}", behind(next));
    }
    text
}

/// The largest segments that the ends take, and what becomes of them on the way.
fn segments(page: &mut Page, hops: &[Hop], (offered, received): (u16, Option<u16>), clamp: Clamp) {
    let hop = |number: u8| hops.iter().find(|hop| hop.number == number).map(named).unwrap_or_default();
    let there = match clamp.there {
        Some(There::Kept) => " and kept on the way there".to_owned(),
        Some(There::Reduced { after, at, to }) => {
            let after = after.map(|after| format!(" behind {}", hop(after))).unwrap_or_default();
            format!(", made {to} on the way there{after}: so it came to {}", hop(at))
        }
        None => String::new(),
    };
    page.entry("MSS", format_args!("{offered} bytes offered{there}"));
    if let Some(received) = received {
        let back = match clamp.back {
            Some(true) => ", made that on the way back: as much as the path carries",
            Some(false) => ", not made to fit the path on the way back",
            None => "",
        };
        page.entry("", format_args!("{received} bytes come from the destination{back}"));
    }
}

/// The most paths that are told one by one.
const PATHS: usize = 16;

/// What several flows met.
fn paths(page: &mut Page, first_hop: u8, balance: &Balance) {
    let Balance { flows, sufficient, paths, widths, per_flow, per_packet } = balance;
    let surely = if *sufficient { "no more routers, with 95 % certainty" } else { "there may be more routers" };
    page.entry("flows", format_args!("{flows} by {} different paths; {surely}", paths.len()));
    for (hops, what) in [(per_flow, "flows"), (per_packet, "packets of one flow")] {
        for (hop, routers) in widths.iter().filter(|(hop, _)| hops.contains(hop)) {
            page.entry("", format_args!("hop {hop}: {what} are shared between {routers} routers"));
        }
    }
    let Some(first) = paths.first().filter(|_| paths.len() > 1) else { return };
    for path in paths.iter().take(PATHS) {
        let FlowPath { routers, flows } = path;
        let numbers: Vec<String> = flows.iter().map(|flow| (flow + 1).to_string()).collect();
        // What differs is what matters.
        let differs = |(index, router): (usize, &Option<IpAddr>)| {
            let same = paths.iter().all(|path| path.routers.get(index) == first.routers.get(index));
            router.filter(|_| !same).map(|router| format!("{} {router}", usize::from(first_hop) + index))
        };
        let hops: Vec<String> = routers.iter().enumerate().filter_map(differs).collect();
        page.entry("", format_args!("hop {}: flow {}", hops.join(", "), numbers.join(", ")));
    }
    if paths.len() > PATHS {
        page.entry("", format_args!("and {} more", paths.len() - PATHS));
    }
}

/// What the hops mean.
fn meaning(page: &mut Page, hops: &[Hop], analysis: &Analysis) {
    let Analysis { loss, loss_onset, segments: _, delay_onset, route_hash, as_path_hash: _, roles: _ } = analysis;
    let named = |index: usize| hops.get(index).map(named).unwrap_or_default();
    if let Some(DelayOnset { hop, after, step }) = delay_onset {
        let more = format!("{} ms more at {}", milliseconds(*step), named(*hop));
        match after {
            Some(after) => page.entry("delay", format_args!("{more} than at {}", named(*after))),
            None => page.entry("delay", format_args!("{more} than here")),
        }
    }
    let mut title = "loss";
    for (class, what) in [
        (LossClass::Forwarding, "lost on the way"),
        (LossClass::RateLimited, "not lost, only not answered"),
        (LossClass::Unknown, "too few packets to tell"),
    ] {
        let of_class = hops.iter().zip(loss).filter(|(_, of)| **of == Some(class));
        let numbers: Vec<String> = of_class.map(|(hop, _)| hop.number.to_string()).collect();
        if !numbers.is_empty() {
            page.entry(title, format_args!("{what}: hop {}", numbers.join(", ")));
            title = "";
        }
    }
    if let Some(onset) = loss_onset {
        page.entry("", format_args!("from {} on, it persists to the end", named(*onset)));
    }
    if let Some(hash) = route_hash {
        page.entry("route", hash);
    }
}

/// A hop, and who answered there last.
fn named(hop: &Hop) -> String {
    match hop.latest {
        Some((_, address)) => format!("hop {} ({address})", hop.number),
        None => format!("hop {}", hop.number),
    }
}
