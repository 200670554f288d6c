//! What differs in targets, and where redirects lead.

use super::{Difference, Shape};

pub(super) const TARGETS: &[Difference] = &[
    Difference {
        series: &[""],
        cases: &[
            "http_target_is_no_url",
            "http_target_of_another_scheme",
            "http_target_with_a_port_of_no_number",
            "http_target_with_a_port_too_many",
            "http_target_of_port_0",
            "http_target_of_no_host",
            "tcp_target_without_a_port",
            "tcp_target_of_port_0",
            "tcp_target_with_a_port_too_many",
            "tcp_target_of_no_host",
            "tcp_target_without_brackets",
            "tcp_target_with_blanks_around",
            "icmp_target_with_a_port",
            "icmp_target_is_a_url",
            "dns_target_is_a_url",
            "tcp_target_with_a_name_of_no_port",
            "http_target_with_a_zone_that_is_not_escaped",
            "unix_path_that_is_too_long",
            "websocket_target_of_http",
        ],
        shapes: &[Shape::Refused],
        row: [
            "a target that the prober cannot take",
            "200, a failed probe",
            "400, and one sentence",
            "it is a mistake in the scrape job, not an outage",
        ],
    },
    Difference {
        series: &[""],
        cases: &["http_target_of_any_address", "tcp_target_of_any_address"],
        shapes: &[Shape::Refused],
        row: [
            "a target of `0.0.0.0` or `[::]`, for `http` and `tcp`",
            "this host",
            "400, and one sentence",
            "it says where something listens, not who is asked; write `localhost`",
        ],
    },
    Difference {
        series: &["probe_success", "probe_http_", "probe_failed_due_to_regex"],
        cases: &[
            "http_redirect_of_a_name_with_a_token",
            "http_redirect_of_a_name_with_a_cookie_of_the_module",
            "http_redirect_of_a_name_says_where_it_comes_from",
            "http_redirect_of_a_name_to_two_slashes",
        ],
        shapes: &[Shape::Any],
        row: [
            "a redirect of a target that is a name: `Authorization` and `Cookie` of `headers` to the same name, `Referer`, `Host` for `//other/…`, a `server_name` to the same name",
            "as if the target were its address: not shown, of the address, the old one, forgotten",
            "as of a name: shown, of the name, the other one, kept",
            "as by a browser; there, the URL has the address that was found",
        ],
    },
    Difference {
        series: &[""],
        cases: &["icmp_target_with_a_zone", "grpc_target_with_a_zone", "grpc_target_with_a_name_of_a_port"],
        shapes: &[Shape::Any],
        row: [
            "a target of `grpc` with a zone (`[fe80::1%eth0]:80`), or a port by its name (`host:https`); of `icmp` with a zone that its address needs not (`::1%lo`)",
            "fails",
            "probed",
            "as those of `tcp`",
        ],
    },
    Difference {
        series: &["probe_"],
        cases: &["icmp_target_in_brackets", "dns_target_in_brackets"],
        shapes: &[Shape::Opposite, Shape::Measured],
        row: ["an IPv6 address in brackets, without a port", "fails", "probed", "it can be meant in one way only"],
    },
    Difference {
        series: &["probe_"],
        cases: &[
            "http_target_in_capitals",
            "http_target_beyond_ascii",
            "http_target_with_a_wrong_escape",
            "http_target_with_a_backslash_before_its_path",
            "http_target_with_a_short_address",
            "http_target_in_hexadecimal",
            "http_target_with_blanks_around",
        ],
        shapes: &[Shape::Any],
        row: [
            "a URL that begins with `HTTP://` or a blank; a `\\` before its path; `%zz` in its path, letters beyond ASCII in its query; the hosts `127.1` and `0x7f.1`",
            "a host `HTTP`, errors, sent as they are, names",
            "as browsers read them",
            "what a browser opens can be probed",
        ],
    },
    Difference {
        series: &["probe_ip_addr_hash"],
        cases: &["icmp_of_a_name_with_two_addresses_of_the_other_family"],
        shapes: &[Shape::Any],
        row: [
            "which address is probed of a name that has several, and none of the preferred family",
            "the last",
            "the first",
            "name servers and hosts files have the one first that is meant first",
        ],
    },
];
