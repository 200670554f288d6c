//! From a report to its metrics.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::catalogue::{self, Metric};
use super::{Family, Sample};
use crate::flight::Phase;
use crate::net::tls::{Certificate, TlsFacts};
use crate::path::share::Share;
use crate::path::{Analysis, Balance};
use crate::probe::conversation::Heard;
use crate::probe::{
    FailedFlow, Handshake, Isp, Measurement, Report, WayOut, dns, egress, grpc, http, icmp, stun, tcp, traceroute,
    unix, websocket,
};
use crate::verdict::Failure;
use crate::wire::dns::message::{Reply, Section};
use crate::wire::grpc::Serving;

/// The longest label value in bytes: what the network says does not decide over Prometheus' memory. No handshake of TLS has a certificate with
/// more (rustls takes messages of 64 KiB), so that all of its names are there.
const LABEL_LIMIT: usize = 64 << 10;

/// Addresses of a hop that become series; a load balancer of more is told by the JSON.
const ADDRESSES_PER_HOP: usize = 8;

/// The metrics of a report.
#[must_use]
pub fn of_report(report: &Report) -> Vec<Family> {
    let Report {
        target: _,
        module: _,
        hostname: _,
        isp,
        started: _,
        duration,
        timeout,
        phases,
        overhead,
        resolution,
        way_out,
        measurement,
        failure,
        failed_flow,
        log: _,
    } = report;
    let mut families = Families::default();
    families.truth(catalogue::SUCCESS, report.success());
    families.number(catalogue::DURATION, seconds(*duration));
    families.number(catalogue::TIMEOUT, seconds(*timeout));
    families.number(catalogue::OVERHEAD, seconds(*overhead));
    families.phases(catalogue::PHASE, phases, &Phase::ALL);
    if let Some(isp) = isp {
        let target = resolution.as_ref().and_then(|resolution| resolution.address);
        // A proxy need not be of the target's family.
        let peer = match measurement {
            Measurement::Http(measured) => measured.requests.last().and_then(|request| request.handshake.remote),
            _ => None,
        };
        families.isp(isp, peer.map(|peer| peer.ip()).or(target));
    }
    if let Some(way_out) = way_out {
        families.way_out(way_out);
    }
    if let Some(Failure { phase, reason, detail: _, offender: _ }) = failure {
        let values = [phase.name(), &reason.name(), reason.haproxy(*phase), reason.envoy(*phase)];
        families.info(catalogue::FAILURE, &values);
    }
    if let Some(flow) = failed_flow {
        families.failed_flow(flow);
    }
    if let Some(address) = report.public_ip() {
        families.info(catalogue::PUBLIC_IP, &[&address.to_string()]);
        families.truth(catalogue::PUBLIC_IP_EXPECTED, report.public_ip_expected());
    }
    // Names of proxies, and of those that a redirect leads to, are not the target's.
    let looked_up = || phases.iter().find(|(phase, _)| *phase == Phase::Resolve).map(|(_, span)| *span);
    let looked_up = resolution.as_ref().and_then(|resolution| resolution.took.or_else(looked_up));
    families.number(catalogue::DNS_LOOKUP, looked_up.map(seconds));
    let address = resolution.as_ref().and_then(|resolution| resolution.address);
    families.number(catalogue::IP_PROTOCOL, address.map(|address| if address.is_ipv4() { 4.0 } else { 6.0 }));
    families.number(catalogue::IP_ADDR_HASH, address.map(|address| f64::from(fnv1a(address))));
    match measurement {
        Measurement::Http(measured) => families.http(measured, phases),
        Measurement::Tcp(measured) => families.tcp(measured, phases),
        Measurement::Icmp(measured) => families.icmp(measured, phases),
        Measurement::Dns(measured) => families.dns(measured, phases),
        Measurement::Traceroute(measured) => families.traceroute(measured),
        Measurement::Unix(measured) => families.unix(measured),
        Measurement::Grpc(measured) => families.grpc(measured, phases),
        Measurement::Websocket(measured) => families.websocket(measured, phases),
        Measurement::Egress(measured) => families.egress(measured),
        Measurement::Stun(measured) => families.stun(measured),
    }
    families.0
}

/// The families so far. A family without samples is none.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    pub(super) fn family(&mut self, metric: Metric, samples: Vec<Sample>) {
        let Metric { name, help, kind, labels: _ } = metric;
        if !samples.is_empty() {
            self.0.push(Family { name, help, kind, samples });
        }
    }

    /// One series without labels, where it was measured.
    fn number(&mut self, metric: Metric, value: impl Into<Option<f64>>) {
        let samples = value.into().into_iter().map(|value| Sample { labels: Vec::new(), value });
        self.family(metric, samples.collect());
    }

    fn truth(&mut self, metric: Metric, value: impl Into<Option<bool>>) {
        self.number(metric, value.into().map(|value| f64::from(u8::from(value))));
    }

    /// One series of value 1 with the metric's labels.
    fn info(&mut self, metric: Metric, values: &[&str]) {
        self.family(metric, vec![sample(metric, values, 1.0)]);
    }

    fn phases(&mut self, metric: Metric, phases: &[(Phase, Duration)], wanted: &[Phase]) {
        let phases = phases.iter().filter(|(phase, _)| wanted.contains(phase));
        self.family(metric, phases.map(|(phase, span)| sample(metric, &[phase.name()], seconds(*span))).collect());
    }

    /// Phases under the names of blackbox_exporter, of which one may be several of ours.
    fn grouped(&mut self, metric: Metric, phases: &[(Phase, Duration)], groups: &[(&str, &[Phase])]) {
        let samples = groups.iter().filter_map(|(name, members)| {
            let spans = phases.iter().filter(|(phase, _)| members.contains(phase)).map(|(_, span)| *span);
            let span = spans.reduce(|sum, span| sum + span)?;
            Some(sample(metric, &[name], seconds(span)))
        });
        self.family(metric, samples.collect());
    }

    fn isp(&mut self, isp: &Isp, probed: Option<IpAddr>) {
        let Isp {
            name,
            site,
            source,
            resolvers: _,
            proxy: _,
            territory: _,
            public_ips: _,
            max_probes: _,
            pace: _,
            budget: _,
        } = isp;
        let sources = [source.v4.map(IpAddr::V4), source.v6.map(IpAddr::V6)].into_iter().flatten();
        // Before there is an address to probe, either source might have been the one.
        let sources = sources.filter(|source| probed.is_none_or(|probed| probed.is_ipv4() == source.is_ipv4()));
        let source_ip = sources.map(|source| source.to_string()).collect::<Vec<_>>().join(",");
        let interface = source.interface.as_deref().unwrap_or_default();
        let mark = source.mark.map(|mark| mark.to_string()).unwrap_or_default();
        self.info(catalogue::ISP, &[name, site, &source_ip, interface, &mark]);
    }

    fn way_out(&mut self, way_out: &WayOut) {
        let WayOut { device, gateway, first_hop, verified, return_mismatch } = way_out;
        let text = |address: &Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        let device = device.as_deref().unwrap_or_default();
        self.info(catalogue::EGRESS, &[device, &text(gateway), &text(first_hop)]);
        self.truth(catalogue::EGRESS_VERIFIED, *verified);
        self.truth(catalogue::RETURN_MISMATCH, *return_mismatch);
    }

    fn failed_flow(&mut self, flow: &FailedFlow) {
        self.info(catalogue::FAILED_FLOW, &[flow.cause.name(), flow.end.name()]);
        self.truth(catalogue::FAILED_FLOW_REACHED, flow.reached());
        let last = flow.last_hop();
        self.number(catalogue::FAILED_FLOW_LAST_HOP, last.map(|hop| f64::from(hop.number)));
        if let Some(router) = last.and_then(traceroute::Hop::latest_router) {
            self.info(catalogue::FAILED_FLOW_LAST_HOP_INFO, &who(router).each_ref().map(String::as_str));
        }
    }

    fn http(&mut self, measured: &http::Measurement, phases: &[(Phase, Duration)]) {
        let http::Measurement {
            requests,
            status,
            version,
            content_length,
            body_length,
            failed_due_to_regex,
            failed_due_to_cel,
            redirects,
            ssl,
            last_modified,
            tls,
            public_ip: _,
        } = measured;
        let wanted = [Phase::Token, Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer];
        self.phases(catalogue::HTTP_DURATION, phases, &wanted);
        self.number(catalogue::HTTP_STATUS_CODE, status.map(f64::from));
        self.number(catalogue::HTTP_CONTENT_LENGTH, content_length.map(|length| length as f64));
        self.number(catalogue::HTTP_BODY_LENGTH, body_length.map(|length| length as f64));
        self.number(catalogue::HTTP_REDIRECTS, status.map(|_| f64::from(*redirects)));
        self.truth(catalogue::HTTP_SSL, *ssl);
        self.number(catalogue::HTTP_VERSION, *version);
        self.truth(catalogue::FAILED_REGEX, *failed_due_to_regex);
        self.truth(catalogue::FAILED_CEL, *failed_due_to_cel);
        self.number(catalogue::HTTP_LAST_MODIFIED, last_modified.map(unix_seconds));
        let handshakes: Vec<Handshake> = requests.iter().map(|request| request.handshake).collect();
        self.handshakes(&handshakes);
        self.tls(tls.as_ref());
    }

    /// The TCP handshakes of a probe, one after the other.
    fn handshakes(&mut self, handshakes: &[Handshake]) {
        let Some(Handshake { local: _, remote: _, rtt, syn_retransmits: _ }) = handshakes.last() else { return };
        let again = handshakes.iter().filter_map(|handshake| handshake.syn_retransmits);
        self.number(catalogue::TCP_HANDSHAKE_RTT, rtt.map(seconds));
        self.number(catalogue::TCP_SYN_RETRANSMITS, again.reduce(|sum, count| sum + count).map(f64::from));
    }

    fn tls(&mut self, facts: Option<&TlsFacts>) {
        let Some(TlsFacts { version, cipher, alpn: _, chain, chain_expiry }) = facts else { return };
        let earliest = chain.iter().map(|certificate| certificate.not_after).min();
        self.number(catalogue::CERT_EXPIRY, earliest.map(unix_seconds));
        self.number(catalogue::CHAIN_EXPIRY, chain_expiry.map(unix_seconds));
        if let Some(leaf) = chain.first() {
            let Certificate {
                fingerprint_sha256,
                subject,
                issuer,
                subject_alternative,
                serial_number,
                not_before: _,
                not_after: _,
            } = leaf;
            self.info(catalogue::CHAIN, &[fingerprint_sha256, subject, issuer, subject_alternative, serial_number]);
        }
        if let Some(version) = version {
            self.info(catalogue::TLS_VERSION, &[version]);
        }
        if let Some(cipher) = cipher {
            self.info(catalogue::TLS_CIPHER, &[cipher]);
        }
    }

    fn tcp(&mut self, measured: &tcp::Measurement, phases: &[(Phase, Duration)]) {
        let tcp::Measurement { handshake, mss, traffic: _, heard, tls } = measured;
        self.phases(catalogue::TCP_DURATION, phases, &[Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Query]);
        self.handshakes(&[*handshake]);
        self.number(catalogue::TCP_MSS, mss.map(f64::from));
        self.heard(heard);
        self.tls(tls.as_ref());
    }

    fn stun(&mut self, measured: &stun::Measurement) {
        let stun::Measurement { transport, handshake, traffic: _, requests, rtt, mapped: _, refusal: _ } = measured;
        self.number(catalogue::STUN_REQUESTS, (*requests > 0).then_some(f64::from(*requests)));
        self.number(catalogue::STUN_RTT, rtt.map(seconds));
        if *transport == stun::Transport::Tcp {
            self.handshakes(&[*handshake]);
        }
    }

    fn unix(&mut self, measured: &unix::Measurement) {
        let unix::Measurement { traffic: _, heard, tls } = measured;
        self.heard(heard);
        self.tls(tls.as_ref());
    }

    fn grpc(&mut self, measured: &grpc::Measurement, phases: &[(Phase, Duration)]) {
        let grpc::Measurement { handshake, traffic: _, ssl, http_status: _, status, message: _, serving, tls } =
            measured;
        let check = [Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer];
        self.grouped(catalogue::GRPC_DURATION, phases, &[("resolve", &[Phase::Resolve]), ("check", &check)]);
        self.truth(catalogue::GRPC_SSL, *ssl);
        self.number(catalogue::GRPC_STATUS_CODE, status.map(f64::from));
        // A call that ended with another status than OK brought none of them.
        if serving.is_some() || status.is_some_and(|status| status != 0) {
            let said = serving.map(Serving::name);
            // A number without a name is one of its own.
            let number = said.as_deref().filter(|said| !Serving::NAMES.contains(said));
            let samples = Serving::NAMES.into_iter().chain(number).map(|name| {
                let value = f64::from(u8::from(said.as_deref() == Some(name)));
                sample(catalogue::GRPC_RESPONSE, &[name], value)
            });
            self.family(catalogue::GRPC_RESPONSE, samples.collect());
        }
        self.handshakes(&[*handshake]);
        self.tls(tls.as_ref());
    }

    fn websocket(&mut self, measured: &websocket::Measurement, phases: &[(Phase, Duration)]) {
        let websocket::Measurement { handshake, traffic: _, status, upgraded, failed_due_to_regex, close_code: _, tls } =
            measured;
        let groups: [(&str, &[Phase]); 4] = [
            ("resolve", &[Phase::Resolve]),
            ("connect", &[Phase::Connect]),
            ("processing", &[Phase::Tls, Phase::Processing]),
            ("transfer", &[Phase::Query]),
        ];
        self.grouped(catalogue::WEBSOCKET_DURATION, phases, &groups);
        self.number(catalogue::WEBSOCKET_STATUS_CODE, status.map(f64::from));
        self.truth(catalogue::WEBSOCKET_UPGRADED, *upgraded);
        self.truth(catalogue::WEBSOCKET_FAILED_REGEX, *failed_due_to_regex);
        self.handshakes(&[*handshake]);
        self.tls(tls.as_ref());
    }

    fn heard(&mut self, heard: &Heard) {
        let Heard { failed_due_to_regex, failed_due_to_bytes, expect_info } = heard;
        self.truth(catalogue::FAILED_REGEX, *failed_due_to_regex);
        self.truth(catalogue::FAILED_BYTES, *failed_due_to_bytes);
        if !expect_info.is_empty() {
            let labels = expect_info.iter().map(|(name, value)| (Cow::Owned(name.clone()), bounded(value)));
            self.family(catalogue::EXPECT, vec![Sample { labels: labels.collect(), value: 1.0 }]);
        }
    }

    fn icmp(&mut self, measured: &icmp::Measurement, phases: &[(Phase, Duration)]) {
        let icmp::Measurement {
            count: _,
            payload_size: _,
            ttl: _,
            dont_fragment: _,
            source: _,
            sent,
            received,
            rtt,
            reply_hop_limit,
            raw: _,
        } = measured;
        let wanted = [Phase::Resolve, Phase::Setup, Phase::Interval, Phase::Rtt];
        self.phases(catalogue::ICMP_DURATION, phases, &wanted);
        self.number(catalogue::ICMP_SENT, f64::from(*sent));
        self.number(catalogue::ICMP_RECEIVED, f64::from(*received));
        self.number(catalogue::ICMP_LOSS, loss_ratio(*sent, *received));
        self.number(catalogue::ICMP_RTT_MIN, rtt.best());
        self.number(catalogue::ICMP_RTT_AVG, rtt.avg());
        self.number(catalogue::ICMP_RTT_MAX, rtt.worst());
        self.number(catalogue::ICMP_RTT_STDDEV, rtt.stddev());
        self.number(catalogue::ICMP_JITTER, rtt.jitter());
        self.number(catalogue::ICMP_HOP_LIMIT, reply_hop_limit.map(f64::from));
    }

    fn dns(&mut self, measured: &dns::Measurement, phases: &[(Phase, Duration)]) {
        let dns::Measurement {
            transport: _,
            question: _,
            handshake,
            traffic: _,
            tls,
            status: _,
            reply,
            succeeded,
            serial,
        } = measured;
        // blackbox_exporter's phases: of what carries the question, it knows the connection and the exchange.
        let of_blackbox = [
            ("resolve", [Phase::Resolve].as_slice()),
            ("connect", &[Phase::Connect, Phase::Tls]),
            ("request", &[Phase::Query, Phase::Processing, Phase::Transfer]),
        ];
        let samples = of_blackbox.iter().filter_map(|(name, ours)| {
            let spans = phases.iter().filter(|(phase, _)| ours.contains(phase)).map(|(_, span)| *span);
            let sum = spans.reduce(|sum, span| sum + span)?;
            Some(sample(catalogue::DNS_DURATION, &[name], seconds(sum)))
        });
        self.family(catalogue::DNS_DURATION, samples.collect());
        let records = |section: fn(&Reply) -> &Section| {
            let section = reply.as_ref().map(section).filter(|section| section.complete);
            section.map(|section| section.records.len() as f64)
        };
        self.number(catalogue::DNS_ANSWER_RRS, records(|reply| &reply.answer));
        self.number(catalogue::DNS_AUTHORITY_RRS, records(|reply| &reply.authority));
        self.number(catalogue::DNS_ADDITIONAL_RRS, records(|reply| &reply.additional));
        self.truth(catalogue::DNS_SUCCEEDED, *succeeded);
        self.number(catalogue::DNS_SERIAL, serial.map(f64::from));
        self.number(catalogue::DNS_RCODE, reply.as_ref().map(|reply| f64::from(reply.rcode)));
        self.truth(catalogue::DNS_TRUNCATED, reply.as_ref().map(|reply| reply.truncated));
        self.number(catalogue::DNS_TTL, reply.as_ref().and_then(Reply::answer_ttl).map(f64::from));
        self.number(catalogue::DNS_EDNS_SIZE, reply.as_ref().and_then(|reply| reply.edns_udp_size).map(f64::from));
        self.handshakes(&[*handshake]);
        self.tls(tls.as_ref());
    }

    fn egress(&mut self, measured: &egress::Measurement) {
        let egress::Measurement {
            protocol: _,
            destinations: _,
            source: _,
            flows: _,
            rate: _,
            first_hop: _,
            max_hops: _,
            packets: _,
            sent,
            taken,
            strangers: _,
        } = measured;
        self.number(catalogue::EGRESS_SENT, f64::from(*sent));
        self.number(catalogue::EGRESS_ANSWERED, f64::from(measured.answered()));
        // Counts of which too many are missing would make wrong shares, too.
        let Some(shares) = measured.shares() else { return };
        let mut of_isps = |metric: Metric, value: &dyn Fn(&egress::Taken, &Share) -> f64| {
            let samples =
                taken.iter().zip(&shares).map(|(taken, share)| sample(metric, &[&taken.isp], value(taken, share)));
            self.family(metric, samples.collect());
        };
        of_isps(catalogue::EGRESS_FLOWS, &|taken, _| f64::from(taken.flows));
        of_isps(catalogue::EGRESS_SHARE, &|_, share| share.ratio);
        of_isps(catalogue::EGRESS_SHARE_LOWER, &|_, share| share.lower);
        of_isps(catalogue::EGRESS_SHARE_UPPER, &|_, share| share.upper);
    }

    fn traceroute(&mut self, measured: &traceroute::Measurement) {
        let traceroute::Measurement {
            protocol: _,
            port: _,
            source: _,
            destination: _,
            packet_size: _,
            rounds: _,
            first_hop: _,
            max_hops: _,
            reached,
            packets: _,
            flows,
            balance,
            hops,
            analysis,
            mtu,
            offered_mss: _,
            mss,
            clamp,
        } = measured;
        self.number(catalogue::TCP_MSS, mss.map(f64::from));
        self.truth(catalogue::TRACE_REACHED, *reached);
        self.number(catalogue::TRACE_HOPS, hops.last().map(|hop| f64::from(hop.number)));
        self.path(hops, analysis);
        self.number(catalogue::PATH_MTU, mtu.map(|mtu| f64::from(mtu.found.bytes)));
        self.truth(catalogue::PATH_MTU_BLACK_HOLE, mtu.and_then(|mtu| mtu.found.black_hole));
        self.number(catalogue::PATH_MTU_HOP, mtu.and_then(|mtu| mtu.hop).map(f64::from));
        self.truth(catalogue::TCP_MSS_CLAMPED, clamp.is_seen());
        self.number(catalogue::FLOWS, (*flows > 0).then_some(*flows as f64));
        if let Some(balance) = balance {
            self.balance(balance);
        }
        let addresses = hops.iter().flat_map(|hop| {
            let answered = hop.routers.iter().chain(&hop.others).take(ADDRESSES_PER_HOP);
            answered.map(|router| sample(catalogue::HOP, &info(&label(hop.number), &who(router)), 1.0))
        });
        self.family(catalogue::HOP, addresses.collect());
        self.per_hop(catalogue::HOP_SENT, hops, |hop| Some(f64::from(hop.sent)));
        self.per_hop(catalogue::HOP_RECEIVED, hops, |hop| Some(f64::from(hop.received)));
        self.per_hop(catalogue::HOP_LOSS, hops, traceroute::Hop::loss_ratio);
        let classes = hops.iter().zip(&analysis.loss).filter_map(|(hop, class)| {
            Some(sample(catalogue::HOP_LOSS_INFO, &[&label(hop.number), class.as_ref()?.name()], 1.0))
        });
        self.family(catalogue::HOP_LOSS_INFO, classes.collect());
        let segments = hops.iter().zip(&analysis.segments);
        let segments = segments
            .filter_map(|(hop, segment)| Some(sample(catalogue::HOP_SEGMENT, &[&label(hop.number)], (*segment)?)));
        self.family(catalogue::HOP_SEGMENT, segments.collect());
        self.per_hop(catalogue::HOP_RTT_LAST, hops, |hop| hop.rtt.last());
        self.per_hop(catalogue::HOP_RTT_AVG, hops, |hop| hop.rtt.avg());
        self.per_hop(catalogue::HOP_RTT_BEST, hops, |hop| hop.rtt.best());
        self.per_hop(catalogue::HOP_RTT_WORST, hops, |hop| hop.rtt.worst());
        self.per_hop(catalogue::HOP_RTT_STDDEV, hops, |hop| hop.rtt.stddev());
        self.per_hop(catalogue::HOP_JITTER, hops, |hop| hop.rtt.jitter());
    }

    /// What the hops mean, in few series, however many there are.
    fn path(&mut self, hops: &[traceroute::Hop], analysis: &Analysis) {
        let Analysis { loss: _, loss_onset, segments: _, delay_onset, route_hash, as_path_hash, roles } = analysis;
        // 53 bits fit.
        self.number(catalogue::ROUTE_HASH, route_hash.map(|hash| hash as f64));
        self.number(catalogue::AS_PATH_HASH, as_path_hash.map(|hash| hash as f64));
        let number = |index: usize| hops.get(index).map(|hop| f64::from(hop.number));
        let onset = delay_onset.and_then(|onset| Some((hops.get(onset.hop)?, onset.step)));
        self.number(catalogue::DELAY_ONSET, onset.map(|(hop, _)| f64::from(hop.number)));
        self.number(catalogue::DELAY_ONSET_STEP, onset.map(|(_, step)| step));
        if let Some((hop, router)) = onset.and_then(|(hop, _)| Some((hop, hop.latest_router()?))) {
            self.info(catalogue::DELAY_ONSET_INFO, &info(&label(hop.number), &who(router)));
        }
        self.number(catalogue::LOSS_ONSET, loss_onset.and_then(number));
        let roles = || roles.iter().filter_map(|(role, hop)| Some((role.name(), hops.get(*hop)?)));
        let each = |metric, value: fn(&traceroute::Hop) -> Option<f64>| {
            roles().filter_map(|(role, hop)| Some(sample(metric, &[role], value(hop)?))).collect()
        };
        self.family(catalogue::ROLE_HOP, each(catalogue::ROLE_HOP, |hop| Some(f64::from(hop.number))));
        self.family(catalogue::ROLE_RTT_BEST, each(catalogue::ROLE_RTT_BEST, |hop| hop.rtt.best()));
        self.family(catalogue::ROLE_LOSS, each(catalogue::ROLE_LOSS, traceroute::Hop::loss_ratio));
        let infos = roles()
            .filter_map(|(role, hop)| Some(sample(catalogue::ROLE_INFO, &info(role, &who(hop.latest_router()?)), 1.0)));
        self.family(catalogue::ROLE_INFO, infos.collect());
    }

    /// What several flows met.
    fn balance(&mut self, balance: &Balance) {
        let Balance { flows: _, sufficient, paths, widths, per_flow: _, per_packet: _ } = balance;
        self.number(catalogue::PATHS, (!paths.is_empty()).then_some(paths.len() as f64));
        self.truth(catalogue::FLOWS_SUFFICIENT, *sufficient);
        let kinds = balance.balancing().into_iter().map(|kind| sample(catalogue::BALANCING, &[kind.name()], 1.0));
        self.family(catalogue::BALANCING, kinds.collect());
        let widths = widths.iter().map(|(hop, width)| sample(catalogue::HOP_WIDTH, &[&label(*hop)], *width as f64));
        self.family(catalogue::HOP_WIDTH, widths.collect());
    }

    fn per_hop(&mut self, metric: Metric, hops: &[traceroute::Hop], value: impl Fn(&traceroute::Hop) -> Option<f64>) {
        let samples = hops.iter().filter_map(|hop| Some(sample(metric, &[&label(hop.number)], value(hop)?)));
        self.family(metric, samples.collect());
    }
}

/// Address, name, AS numbers and their names of a router, as far as they are known.
fn who(router: &traceroute::Router) -> [String; 4] {
    let traceroute::Router { address, name, systems, .. } = router;
    let numbers: Vec<_> = systems.iter().map(|system| system.number.to_string()).collect();
    let names: Vec<_> = systems.iter().filter_map(|system| system.name.as_deref()).collect();
    [address.to_string(), name.clone().unwrap_or_default(), numbers.join(" "), names.join("; ")]
}

/// The values of an info: its first label, and who is meant.
fn info<'a>(first: &'a str, who: &'a [String; 4]) -> [&'a str; 5] {
    let [address, name, asn, as_name] = who;
    [first, address, name, asn, as_name]
}

pub(super) fn sample(metric: Metric, values: &[&str], value: f64) -> Sample {
    let labels = metric.labels.iter().zip(values).map(|(name, value)| (Cow::Borrowed(*name), bounded(value)));
    Sample { labels: labels.collect(), value }
}

/// A label value, cut between two characters where it is too long.
fn bounded(value: &str) -> String {
    value[..value.floor_char_boundary(LABEL_LIMIT)].to_owned()
}

/// A hop's label: two digits, so that they sort.
fn label(hop: u8) -> String {
    format!("{hop:02}")
}

/// The part that was lost; nothing where nothing was sent.
pub(crate) fn loss_ratio(sent: u32, received: u32) -> Option<f64> {
    (sent > 0).then(|| f64::from(sent.saturating_sub(received)) / f64::from(sent))
}

/// A duration in seconds, in the fewest digits that tell its nanoseconds: those of one division, which rounds once.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

/// Seconds since 1970, negative before.
pub(crate) fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// FNV-1a of 32 bits over the bytes of an address.
fn fnv1a(address: IpAddr) -> u32 {
    let hash = |bytes: &[u8]| {
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    };
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_hashes_are_those_of_blackbox_exporter() {
        assert_eq!(fnv1a("127.0.0.1".parse().unwrap()), 3_668_918_509);
        assert_eq!(fnv1a("::1".parse().unwrap()), 1_751_717_746);
    }

    #[test]
    fn labels_are_cut_between_characters() {
        assert_eq!(bounded(&"x".repeat(70_000)).len(), LABEL_LIMIT);
        assert_eq!(bounded(&"é".repeat(40_000)).chars().count(), 32_768);
        assert_eq!(bounded(&"한".repeat(30_000)).len(), 21_845 * 3);
    }

    #[test]
    fn what_was_not_sent_was_not_lost() {
        assert_eq!((loss_ratio(0, 0), loss_ratio(4, 3), loss_ratio(4, 5)), (None, Some(0.25), Some(0.0)));
    }
}
