//! The names, what they mean, and their labels.

use super::Kind;

/// A metric that a probe may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name in text 0.0.4.
    pub name: &'static str,
    /// What it is, for a stranger.
    pub help: &'static str,
    /// The type.
    pub kind: Kind,
    /// The names of its labels, in order; `probe_expect_info` has those of its module instead.
    pub labels: &'static [&'static str],
}

/// Declares the metrics, and the list of all of them, which therefore forgets none.
macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*

        /// Every metric that `/probe` may return.
        pub const CATALOGUE: &[Metric] = &[$($constant),*];
    };
}

catalogue! {
    // Every probe.
    SUCCESS = Gauge "probe_success" [] "Whether the probe was a success (1) or not (0)";
    DURATION = Gauge "probe_duration_seconds" [] "How long the probe took, by the wall clock";
    TIMEOUT = Gauge "probe_timeout_seconds" [] "How long the probe might have taken";
    OVERHEAD = Gauge "probe_measurement_overhead_seconds" []
        "The part of the duration that was the exporter's own: the phases and this add up to probe_duration_seconds";
    PHASE = Gauge "probe_phase_duration_seconds" ["phase"]
        "Time on the wire by phase; after a failure the last phase holds the time spent in it, phases not reached are absent";
    ISP = Info "probe_isp_info" ["name", "site", "source_ip", "interface", "fwmark"]
        "The ISP that the probe was sent through, and what bound it there; whether it left through it is probe_egress_verified";
    EGRESS = Info "probe_egress_info" ["device", "gateway", "first_hop"]
        "Which way the packets left this host: device and next router by the kernel's routes (no router where the destination is next door), and the first router that answered a trace";
    EGRESS_VERIFIED = Gauge "probe_egress_verified" []
        "Whether the packets left through the ISP that was named (1) or through another one (0); absent where nothing proves either";
    RETURN_MISMATCH = Gauge "probe_return_mismatch" []
        "Whether answers arrived on another device than the packets left by (1) or not (0); absent where the sockets cannot see it";
    FAILURE = Info "probe_failure_info" ["phase", "reason", "haproxy", "envoy"]
        "Why the probe failed: the phase that was running and the reason, with HAProxy's check status and Envoy's response flag where they have one";

    // Several ISPs in one question; all others then have the label isp, too.
    VERDICT = Gauge "probe_verdict" ["verdict"]
        "Whose fault it is, as the probes through several ISPs tell together: 1 for the verdict, 0 for all others";
    BLAMED = Gauge "probe_blamed_isp" ["isp"]
        "1 for each ISP that the verdict blames; absent where it blames none";
    PATH_DIVERGES = Gauge "probe_path_diverges_hop" ["isp", "other"]
        "The first hop of a trace through an ISP that is not on the path through another one; absent where there is none";
    PATH_REJOINS = Gauge "probe_path_rejoins_hop" ["isp", "other"]
        "The first hop of the end that the paths through two ISPs have in common; absent where that is the destination at most";
    PATH_TROUBLE = Gauge "probe_path_trouble_shared" ["isp", "other", "trouble"]
        "Whether what is wrong with the path through an ISP (end, loss, delay) begins where that through another one goes, too (1), or where it does not (0); absent where nothing is wrong, or that is not known";
    REROUTE_HELPS = Gauge "probe_reroute_helps" ["isp"]
        "Whether the target would be better off through another ISP than this one (1) or not (0); absent where nothing is wrong, or that is not known";

    // http and tcp, with on_failure: trace.
    FAILED_FLOW = Info "probe_failed_flow_info" ["cause", "end"]
        "That the flow of a connection was to be traced: why (failure, or the phase that took too long), and how that ended: reached, lossy, unreachable, silent, cut_short, not_permitted, not_traced";
    FAILED_FLOW_REACHED = Gauge "probe_failed_flow_reached" []
        "Whether the destination answered packets of the flow (1) or not (0); absent where that is not known";
    FAILED_FLOW_LAST_HOP = Gauge "probe_failed_flow_last_hop" []
        "The last hop that answered packets of the flow; absent where none did";
    FAILED_FLOW_LAST_HOP_INFO = Info "probe_failed_flow_last_hop_info" ["address", "name", "asn", "as_name"]
        "Who answered there: where the destination was not reached, the flow ends behind it";

    // stun, and http with public_ip.
    PUBLIC_IP = Info "probe_public_ip_info" ["ip"]
        "The address that the server sees our packets come from, which is what SNAT made of theirs";
    PUBLIC_IP_EXPECTED = Gauge "probe_public_ip_expected" []
        "Whether that address is among the public_ips of the ISP (1) or not (0); absent where the ISP names none of the family";

    // Every probe that resolved its target.
    DNS_LOOKUP = Gauge "probe_dns_lookup_time_seconds" [] "How long it took to resolve the target's name";
    IP_PROTOCOL = Gauge "probe_ip_protocol" [] "The IP version that was probed: 4 or 6";
    IP_ADDR_HASH = Gauge "probe_ip_addr_hash" []
        "Hash (FNV-1a, 32 bits) of the address that was probed; it changes when the address does";

    // http.
    HTTP_DURATION = Gauge "probe_http_duration_seconds" ["phase"]
        "Duration of the HTTP request by phase, summed over all redirects";
    HTTP_STATUS_CODE = Gauge "probe_http_status_code" [] "Status code of the last response";
    HTTP_CONTENT_LENGTH = Gauge "probe_http_content_length" []
        "Length of the last response's content as its header says it; -1 where it does not";
    HTTP_BODY_LENGTH = Gauge "probe_http_uncompressed_body_length" [] "Bytes of the last response's body that were read";
    HTTP_REDIRECTS = Gauge "probe_http_redirects" [] "The number of redirects";
    HTTP_SSL = Gauge "probe_http_ssl" [] "Whether the last response came over TLS (1) or not (0)";
    HTTP_VERSION = Gauge "probe_http_version" [] "The HTTP version of the last response";
    HTTP_LAST_MODIFIED = Gauge "probe_http_last_modified_timestamp_seconds" []
        "The last response's Last-Modified header, in seconds since 1970";

    // grpc.
    GRPC_DURATION = Gauge "probe_grpc_duration_seconds" ["phase"]
        "Duration of the gRPC health check by phase: resolve, and check, which is all the rest";
    GRPC_SSL = Gauge "probe_grpc_ssl" [] "Whether the call was made over TLS (1) or not (0)";
    GRPC_STATUS_CODE = Gauge "probe_grpc_status_code" [] "The gRPC status code that the call ended with";
    GRPC_RESPONSE = Gauge "probe_grpc_healthcheck_response" ["serving_status"]
        "What the service says of itself: 1 for that status, 0 for the others";

    // websocket.
    WEBSOCKET_DURATION = Gauge "probe_websocket_duration_seconds" ["phase"]
        "Duration of the WebSocket probe by phase: resolve, connect, processing (TLS and the handshake), transfer (the messages)";
    WEBSOCKET_STATUS_CODE = Gauge "probe_websocket_status_code" [] "Status code of the answer to the handshake";
    WEBSOCKET_UPGRADED = Gauge "probe_websocket_connection_upgraded" []
        "Whether the answer made the connection a WebSocket (1) or not (0)";
    WEBSOCKET_FAILED_REGEX = Gauge "probe_websocket_failed_due_to_regex" []
        "Whether the probe failed because of a regular expression (1) or not (0)";

    // Every probe over TCP.
    TCP_HANDSHAKE_RTT = Gauge "probe_tcp_handshake_rtt_seconds" []
        "Round-trip time of the last TCP handshake by the kernel's clock; where a SYN was sent again, that of the one that was answered, and absent where nothing tells which that was";
    TCP_SYN_RETRANSMITS = Gauge "probe_tcp_syn_retransmits" [] "SYNs that had to be sent again, summed over all redirects";

    // Every probe over TLS.
    CERT_EXPIRY = Gauge "probe_ssl_earliest_cert_expiry" []
        "When the first of the certificates that the server sent expires, in seconds since 1970";
    CHAIN_EXPIRY = Gauge "probe_ssl_last_chain_expiry_timestamp_seconds" []
        "When the chain that was verified expires, in seconds since 1970; absent where none was verified";
    CHAIN = Info "probe_ssl_last_chain_info"
        ["fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"]
        "The server's own certificate";
    TLS_VERSION = Info "probe_tls_version_info" ["version"] "The TLS version that was agreed on; after a refused handshake, the one that the server would speak";
    TLS_CIPHER = Info "probe_tls_cipher_info" ["cipher"] "The TLS cipher suite that was agreed on; after a refused handshake, the one that the server would take";

    // tcp.
    TCP_DURATION = Gauge "probe_tcp_duration_seconds" ["phase"] "Duration of the TCP probe by phase";
    TCP_MSS = Gauge "probe_tcp_mss_bytes" []
        "The largest segment that the destination takes, as its SYN-ACK said it when it got here";
    FAILED_REGEX = Gauge "probe_failed_due_to_regex" [] "Whether the probe failed because of a regular expression (1) or not (0)";
    FAILED_CEL = Gauge "probe_failed_due_to_cel" [] "Whether the probe failed because of a CEL expression for the JSON of the body (1) or not (0)";
    FAILED_BYTES = Gauge "probe_failed_due_to_bytes" [] "Whether the probe failed because of expected bytes (1) or not (0)";
    EXPECT = Info "probe_expect_info" [] "What the module took from the server's answers as labels";

    // stun.
    STUN_REQUESTS = Gauge "probe_stun_requests_sent" [] "How often the request was sent until there was an answer, or no more time";
    STUN_RTT = Gauge "probe_stun_rtt_seconds" []
        "Round-trip time of the datagram that was answered, by the kernel's stamps; absent where the request was sent again, so that nobody knows which that was, and over TCP";

    // icmp.
    ICMP_DURATION = Gauge "probe_icmp_duration_seconds" ["phase"] "Duration of the ICMP probe by phase";
    ICMP_SENT = Gauge "probe_icmp_packets_sent" [] "Echo requests that were sent";
    ICMP_RECEIVED = Gauge "probe_icmp_packets_received" [] "Echo requests that were answered";
    ICMP_LOSS = Gauge "probe_icmp_loss_ratio" [] "The part of the echo requests that was not answered, from 0 to 1";
    ICMP_RTT_MIN = Gauge "probe_icmp_rtt_min_seconds" [] "The shortest round-trip time";
    ICMP_RTT_AVG = Gauge "probe_icmp_rtt_avg_seconds" [] "The mean of the round-trip times";
    ICMP_RTT_MAX = Gauge "probe_icmp_rtt_max_seconds" [] "The longest round-trip time";
    ICMP_RTT_STDDEV = Gauge "probe_icmp_rtt_stddev_seconds" []
        "The standard deviation of the round-trip times, where there are two or more";
    ICMP_JITTER = Gauge "probe_icmp_jitter_seconds" []
        "The mean difference between one round-trip time and the next, where there are two or more";
    ICMP_HOP_LIMIT = Gauge "probe_icmp_reply_hop_limit" [] "The hop limit (IPv4: TTL) that the last reply arrived with";

    // dns.
    DNS_DURATION = Gauge "probe_dns_duration_seconds" ["phase"]
        "Duration of the DNS request by phase: connect has the TLS handshake in it, request is from the question to the end of the reply";
    DNS_ANSWER_RRS = Gauge "probe_dns_answer_rrs" [] "The number of records in the answer section of the reply";
    DNS_AUTHORITY_RRS = Gauge "probe_dns_authority_rrs" [] "The number of records in the authority section of the reply";
    DNS_ADDITIONAL_RRS = Gauge "probe_dns_additional_rrs" []
        "The number of records in the additional section of the reply; what EDNS says is one of them";
    DNS_SUCCEEDED = Gauge "probe_dns_query_succeeded" []
        "Whether a whole reply came that can be read, whatever it says (1), or not (0)";
    DNS_SERIAL = Gauge "probe_dns_serial" [] "The serial number of the zone, where query_type is SOA and the answer has one";
    DNS_RCODE = Gauge "probe_dns_rcode" []
        "The response code of the reply: 0 NOERROR, 1 FORMERR, 2 SERVFAIL, 3 NXDOMAIN, 4 NOTIMP, 5 REFUSED, others as IANA has them";
    DNS_TRUNCATED = Gauge "probe_dns_truncated" []
        "Whether the server left out of the reply what did not fit into a datagram (flag TC; 1) or not (0)";
    DNS_TTL = Gauge "probe_dns_answer_ttl_min_seconds" [] "The smallest TTL of the records in the answer section";
    DNS_EDNS_SIZE = Gauge "probe_dns_edns_udp_size_bytes" []
        "The longest datagram that the server says it takes (EDNS); absent where it does not say so";

    // egress.
    EGRESS_SENT = Gauge "probe_egress_flows_sent" [] "Flows that were sent, bound to no ISP";
    EGRESS_ANSWERED = Gauge "probe_egress_flows_answered" [] "Flows of which a router told the ISP that they left through";
    EGRESS_FLOWS = Gauge "probe_egress_flows" ["isp"]
        "Flows that left through an ISP, by its networks or AS numbers; absent, as the shares, where too few flows told";
    EGRESS_SHARE = Gauge "probe_egress_share_ratio" ["isp"] "The part of the flows that left through an ISP, from 0 to 1";
    EGRESS_SHARE_LOWER = Gauge "probe_egress_share_lower_ratio" ["isp"]
        "The least that an ISP's share of all traffic of such flows is, with 95 % certainty";
    EGRESS_SHARE_UPPER = Gauge "probe_egress_share_upper_ratio" ["isp"]
        "The most that an ISP's share of all traffic of such flows is, with 95 % certainty";

    // traceroute.
    TRACE_REACHED = Gauge "probe_traceroute_reached" [] "Whether the destination answered (1) or not (0)";
    TRACE_HOPS = Gauge "probe_traceroute_total_hops" []
        "The number of the destination's hop, or of the last hop that answered";
    ROUTE_HASH = Gauge "probe_traceroute_route_hash" []
        "A number (53 bits, exact in a float) for the routers of a path that leads to its destination, and their hops; it changes when the path does";
    AS_PATH_HASH = Gauge "probe_traceroute_as_path_hash" []
        "The same for the autonomous systems of the path; absent where there are none, or a name server could not say which";
    FLOWS = Gauge "probe_traceroute_flows" [] "The number of flows that were followed; all hop metrics but the width are of the first";
    PATHS = Gauge "probe_traceroute_paths" []
        "The number of paths of several flows that surely differ: hops that did not answer make no other path";
    FLOWS_SUFFICIENT = Gauge "probe_traceroute_flows_sufficient" []
        "Whether the flows were enough to know, with 95 % certainty at each hop that answers, all its routers (1), or there may be more (0)";
    BALANCING = Info "probe_traceroute_balancing_info" ["kind"]
        "How packets are shared between several routers: per_flow, per_packet (one series each), or, where flows were sufficient to be sure, none";
    DELAY_ONSET = Gauge "probe_traceroute_delay_onset_hop" []
        "The hop at which the round-trip time grows most, and stays so; absent where nothing stands out";
    DELAY_ONSET_STEP = Gauge "probe_traceroute_delay_onset_seconds" []
        "By how much the round-trip time grows there";
    DELAY_ONSET_INFO = Info "probe_traceroute_delay_onset_info" ["hop", "address", "name", "asn", "as_name"] "Who answered there";
    LOSS_ONSET = Gauge "probe_traceroute_loss_onset_hop" []
        "The first hop from which loss surely persists to the end of the path; absent where none does";
    PATH_MTU = Gauge "probe_path_mtu_bytes" []
        "The largest packet that the path to the destination carries, in bytes with its IP header";
    PATH_MTU_BLACK_HOLE = Gauge "probe_path_mtu_black_hole" []
        "Whether larger packets vanish without a word (1) or a router says that they are too big (0); absent where this host sends no larger ones";
    PATH_MTU_HOP = Gauge "probe_path_mtu_hop" []
        "The hop behind which larger packets do not go on: the one that says so, or else the last that they are known to get to, 0 where they do not get to the first";
    TCP_MSS_CLAMPED = Gauge "probe_tcp_mss_clamped" []
        "Whether somebody on the way was seen to make the largest segment smaller that an end takes (1) or was seen not to (0); absent where nothing shows either";
    ROLE_HOP = Gauge "probe_traceroute_role_hop" ["role"]
        "The number of the hop that has a role: first, isp_edge, delay_onset, last";
    ROLE_RTT_BEST = Gauge "probe_traceroute_role_rtt_best_seconds" ["role"] "The shortest round-trip time to the hop of a role";
    ROLE_LOSS = Gauge "probe_traceroute_role_loss_ratio" ["role"]
        "The part of the packets that the hop of a role did not answer, from 0 to 1";
    ROLE_INFO = Info "probe_traceroute_role_info" ["role", "address", "name", "asn", "as_name"] "Who answered at the hop of a role";
    HOP = Info "probe_traceroute_hop_info" ["hop", "address", "name", "asn", "as_name"]
        "Who answered at a hop: address, name, number and name of the autonomous system, as far as they are known; one series per address, at most 8 per hop";
    HOP_WIDTH = Gauge "probe_traceroute_hop_width" ["hop"]
        "The number of routers that answered several flows at a hop; there may be more where flows were not sufficient";
    HOP_SENT = Gauge "probe_traceroute_hop_sent" ["hop"] "Packets that were sent to expire at a hop";
    HOP_RECEIVED = Gauge "probe_traceroute_hop_received" ["hop"] "Packets that were answered by a hop";
    HOP_LOSS = Gauge "probe_traceroute_hop_loss_ratio" ["hop"]
        "The part of a hop's packets that was not answered, of those that were not still under way, from 0 to 1; routers answer less than they forward";
    HOP_LOSS_INFO = Info "probe_traceroute_hop_loss_info" ["hop", "class"]
        "What the loss of a hop is: none; rate_limited, answers that its router does not give; forwarding, packets lost on the way; unknown";
    HOP_SEGMENT = Gauge "probe_traceroute_hop_segment_seconds" ["hop"]
        "What a hop is known to add to the round-trip time; over all hops that answer, the time to the destination";
    HOP_RTT_LAST = Gauge "probe_traceroute_hop_rtt_last_seconds" ["hop"] "The last round-trip time to a hop";
    HOP_RTT_AVG = Gauge "probe_traceroute_hop_rtt_avg_seconds" ["hop"] "The mean of the round-trip times to a hop";
    HOP_RTT_BEST = Gauge "probe_traceroute_hop_rtt_best_seconds" ["hop"] "The shortest round-trip time to a hop";
    HOP_RTT_WORST = Gauge "probe_traceroute_hop_rtt_worst_seconds" ["hop"] "The longest round-trip time to a hop";
    HOP_RTT_STDDEV = Gauge "probe_traceroute_hop_rtt_stddev_seconds" ["hop"]
        "The standard deviation of the round-trip times to a hop, where there are two or more";
    HOP_JITTER = Gauge "probe_traceroute_hop_jitter_seconds" ["hop"]
        "The mean difference between one round-trip time to a hop and the next, where there are two or more";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for (n, metric) in CATALOGUE.iter().enumerate() {
            let Metric { name, help, kind, labels } = metric;
            assert!(CATALOGUE[..n].iter().all(|other| other.name != *name), "{name} is there twice");
            assert!(name.starts_with("probe_") && !name.ends_with("_total"), "{name}");
            assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
            assert!(!help.is_empty() && !help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            // They belong to the scrape configuration, which would rename ours to exported_…
            let taken = ["dc", "isp", "target", "module", "instance", "job"];
            // A probe that finds out which ISPs are taken is sent through none, and a comparison through several.
            let of_all_isps = labels.first() == Some(&"isp")
                && ["probe_egress_", "probe_blamed_isp", "probe_path_", "probe_reroute_"]
                    .iter()
                    .any(|of_all| name.starts_with(of_all));
            assert!(of_all_isps || labels.iter().all(|label| !taken.contains(label)), "{name}");
        }
    }
}
