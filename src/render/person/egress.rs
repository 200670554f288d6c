//! `egress`: the shares of the ISPs.

use std::fmt::Write;

use super::{Page, waterfall};
use crate::probe::{Report, egress};

pub(super) fn write(page: &mut Page, report: &Report, measured: &egress::Measurement) {
    waterfall::write(page, report);
    let egress::Measurement {
        protocol,
        destinations,
        source,
        flows,
        rate,
        first_hop,
        max_hops,
        packets,
        sent,
        taken,
        strangers,
    } = measured;
    page.blank();
    let mut asked = format!("{flows} flows of {}", protocol.name());
    if let Some(source) = source {
        let _ = write!(asked, ", from {source}");
    }
    let destinations: Vec<String> = destinations.iter().map(ToString::to_string).collect();
    if !destinations.is_empty() {
        let _ = write!(asked, " to {}", destinations.join(", "));
    }
    let _ = write!(asked, ", hops {first_hop} to {max_hops} at most, {rate} packets a second");
    page.line(asked);
    page.line(format_args!("{sent} sent, in {packets} packets; of {} the ISP is known", measured.answered()));
    let width = taken.iter().map(|taken| taken.isp.chars().count()).max().unwrap_or_default().max(24);
    match measured.shares() {
        Some(shares) => {
            let [flows, share, from, to] = ["Flows", "Share", "95% from", "to"];
            page.line(format_args!("{:width$}{flows:>7}{share:>8}{from:>10}{to:>8}", "ISP"));
            for (taken, share) in taken.iter().zip(shares) {
                let [ratio, lower, upper] =
                    [share.ratio, share.lower, share.upper].map(|part| format!("{:.1}%", part * 100.0));
                page.line(format_args!("{:width$}{:>7}{ratio:>8}{lower:>10}{upper:>8}", taken.isp, taken.flows));
            }
        }
        None => {
            for taken in taken {
                page.line(format_args!("{:width$}{:>7}", taken.isp, taken.flows));
            }
        }
    }
    for (address, flows) in strangers {
        page.line(format_args!("{:width$}{flows:>7}", format!("{address}, of no ISP")));
    }
}
