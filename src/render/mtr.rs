//! A trace as `mtr -z -b -w --json` tells it (0.95), for scripts and templates that read that.
//!
//! It has what mtr has, and no more: 0.0 where nothing was measured, one address of a hop, and one hop of `???` behind the last that answered,
//! where the target did not. JSON of our own tells all, and only what was measured.

use serde::{Serialize, Serializer};
use serde_json::ser::PrettyFormatter;

use crate::probe::traceroute::{self, Hop, Router};
use crate::probe::{Measurement, Report};

/// What stands where nobody answered.
pub(super) const SILENT: &str = "???";

/// A router by its name and address, or, without a name, by its address.
pub(super) fn host_of(router: &Router) -> String {
    let Router { address, name, .. } = router;
    name.as_ref().map_or_else(|| address.to_string(), |name| format!("{name} ({address})"))
}

/// The autonomous systems of a router: `AS3356`, of several `AS174 3356`, and `AS???` where none is known.
pub(super) fn asn_of(router: Option<&Router>) -> String {
    let systems = router.map(|router| router.systems.as_slice()).unwrap_or_default();
    let numbers: Vec<_> = systems.iter().map(|system| system.number.to_string()).collect();
    format!("AS{}", if numbers.is_empty() { SILENT.to_owned() } else { numbers.join(" ") })
}

/// The trace of a report, made on the host of that name; nothing where it is no trace.
#[must_use]
pub fn mtr(report: &Report, host: &str) -> Option<String> {
    let Measurement::Traceroute(measured) = &report.measurement else { return None };
    let target = report.resolution.as_ref().map_or(report.target.as_str(), |resolution| resolution.name.as_str());
    let traceroute::Measurement { packet_size, rounds, .. } = measured;
    let mtr = Mtr {
        src: host,
        dst: target,
        tos: 0,
        tests: *rounds,
        psize: packet_size.unwrap_or(0).to_string(),
        bitpattern: "0x00",
    };
    let document = Document { report: Contents { mtr, hubs: hubs(measured) } };
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    // Keys are text and numbers are finite: there is nothing that could fail.
    let _ = document.serialize(&mut serializer);
    bytes.push(b'\n');
    String::from_utf8(bytes).ok()
}

#[derive(Serialize)]
struct Document<'a> {
    report: Contents<'a>,
}

#[derive(Serialize)]
struct Contents<'a> {
    mtr: Mtr<'a>,
    hubs: Vec<Hub>,
}

#[derive(Serialize)]
struct Mtr<'a> {
    src: &'a str,
    dst: &'a str,
    tos: u8,
    tests: u32,
    psize: String,
    bitpattern: &'static str,
}

#[derive(Serialize)]
struct Hub {
    count: u8,
    host: String,
    #[serde(rename = "ASN")]
    asn: String,
    #[serde(rename = "Loss%")]
    loss: f64,
    #[serde(rename = "Snt")]
    sent: u32,
    #[serde(rename = "Last")]
    last: Milliseconds,
    #[serde(rename = "Avg")]
    avg: Milliseconds,
    #[serde(rename = "Best")]
    best: Milliseconds,
    #[serde(rename = "Wrst")]
    worst: Milliseconds,
    #[serde(rename = "StDev")]
    stddev: Milliseconds,
}

/// Seconds, as milliseconds of five digits.
struct Milliseconds(f64);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Five digits of a number are a number.
        serializer.serialize_f64(format!("{:.4e}", self.0 * 1e3).parse().unwrap_or(self.0))
    }
}

fn hubs(measured: &traceroute::Measurement) -> Vec<Hub> {
    let mut hubs: Vec<Hub> = measured.hops.iter().map(Hub::of).collect();
    let refused = |hop: &Hop| hop.routers.iter().any(|router| router.error.is_some());
    if let Some(last) = measured.hops.last()
        && !measured.reached
        && !refused(last)
        && last.number < measured.max_hops
    {
        // As many packets were to end there as at the hop before.
        hubs.push(Hub::of(&Hop { number: last.number + 1, sent: last.sent, lost: last.sent, ..Hop::default() }));
    }
    hubs
}

impl Hub {
    fn of(hop: &Hop) -> Self {
        let Hop { number, sent, received: _, lost: _, rtt, latest: _, routers, others: _ } = hop;
        let [last, avg, best, worst, stddev] = [rtt.last(), rtt.avg(), rtt.best(), rtt.worst(), rtt.stddev()]
            .map(|seconds| Milliseconds(seconds.unwrap_or(0.0)));
        // In thousandths of a percent, cut off.
        let loss = (hop.loss_ratio().unwrap_or(0.0) * 1e5).trunc() / 1e3;
        let router = routers.first();
        Self {
            count: *number,
            host: router.map_or_else(|| SILENT.to_owned(), host_of),
            asn: asn_of(router),
            loss,
            sent: *sent,
            last,
            avg,
            best,
            worst,
            stddev,
        }
    }
}
