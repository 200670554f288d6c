//! The section `egress`.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::path::share::Share;
use crate::probe::egress;

#[derive(Serialize)]
pub(super) struct Egress<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    destinations: &'a [SocketAddr],
    flows: u32,
    packets_per_second: u32,
    first_hop: u8,
    max_hops: u8,
    packets_sent: u32,
    flows_sent: u32,
    flows_answered: u32,
    isps: Vec<Isp<'a>>,
    strangers: Vec<Stranger>,
}

#[derive(Serialize)]
struct Isp<'a> {
    isp: &'a str,
    flows: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_lower_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_upper_ratio: Option<f64>,
}

#[derive(Serialize)]
struct Stranger {
    address: IpAddr,
    flows: u32,
}

impl<'a> Egress<'a> {
    pub(super) fn of(measured: &'a egress::Measurement) -> Self {
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
        let shares = measured.shares();
        let isps = taken.iter().enumerate().map(|(index, taken)| {
            let egress::Taken { isp, flows } = taken;
            let share = shares.as_ref().and_then(|shares| shares.get(index));
            let told = |value: fn(&Share) -> f64| share.map(value);
            Isp {
                isp,
                flows: *flows,
                share_ratio: told(|share| share.ratio),
                share_lower_ratio: told(|share| share.lower),
                share_upper_ratio: told(|share| share.upper),
            }
        });
        Self {
            protocol: protocol.name(),
            source: *source,
            destinations,
            flows: *flows,
            packets_per_second: *rate,
            first_hop: *first_hop,
            max_hops: *max_hops,
            packets_sent: *packets,
            flows_sent: *sent,
            flows_answered: measured.answered(),
            isps: isps.collect(),
            strangers: strangers.iter().map(|(address, flows)| Stranger { address: *address, flows: *flows }).collect(),
        }
    }
}
