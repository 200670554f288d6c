//! `icmp`: packets, loss and round-trip times, as ping sums them up.

use std::fmt::Write;

use super::units::milliseconds;
use super::{Page, waterfall};
use crate::metrics::loss_ratio;
use crate::probe::{Report, icmp};

pub(super) fn write(page: &mut Page, report: &Report, measured: &icmp::Measurement) {
    waterfall::write(page, report);
    let icmp::Measurement {
        count,
        payload_size,
        ttl,
        dont_fragment,
        source,
        sent,
        received,
        rtt,
        reply_hop_limit,
        raw,
    } = measured;
    page.blank();
    let mut packets = format!("echo requests: {count}, of {payload_size} data bytes");
    if let Some(source) = source {
        let _ = write!(packets, " from {source}");
    }
    if let Some(ttl) = ttl {
        let _ = write!(packets, ", TTL {ttl}");
    }
    if *dont_fragment {
        packets += ", not to be split";
    }
    match raw {
        Some(true) => packets += ", by a raw socket",
        Some(false) => packets += ", by a datagram socket",
        None => {}
    }
    page.line(packets);
    let mut answers = format!("{sent} packets transmitted, {received} received");
    if let Some(loss) = loss_ratio(*sent, *received) {
        let _ = write!(answers, ", {:.1}% packet loss", loss * 100.0);
    }
    page.line(answers);
    if let (Some(best), Some(avg), Some(worst)) = (rtt.best(), rtt.avg(), rtt.worst()) {
        let [best, avg, worst] = [best, avg, worst].map(milliseconds);
        page.line(match (rtt.stddev().map(milliseconds), rtt.jitter().map(milliseconds)) {
            (Some(stddev), Some(jitter)) => {
                format!("rtt min/avg/max/stddev = {best}/{avg}/{worst}/{stddev} ms, jitter {jitter} ms")
            }
            _ => format!("rtt {avg} ms"),
        });
    }
    if let Some(limit) = reply_hop_limit {
        page.line(format_args!("the last reply came with TTL {limit}"));
    }
}
