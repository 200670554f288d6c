//! What differs in the surface of the program: parameters, time limits, pages, flags, own metrics.

use super::{Difference, Shape};

pub(super) const SURFACE: &[Difference] = &[
    Difference {
        series: &["status"],
        cases: &["probe_by_a_hostname_that_is_none"],
        shapes: &[Shape::Values(200.0, 400.0)],
        row: ["`hostname=a b`", "a request without a host", "400", "it is no name of a host"],
    },
    Difference {
        series: &["status"],
        cases: &[
            "probe_of_a_misspelt_parameter",
            "probe_of_two_targets",
            "probe_with_an_unknown_word_for_its_log",
            "probe_of_a_wrong_escape",
        ],
        shapes: &[Shape::Values(200.0, 400.0)],
        row: [
            "a misspelt or a repeated parameter, `debug` with another word than `true` and `false`",
            "ignored; of a repeated one the first holds",
            "400",
            "what is probed would not be what was meant",
        ],
    },
    Difference {
        series: &["status"],
        cases: &[
            "probe_within_a_time_of_no_number",
            "timeout_of_a_scrape_of_a_word",
            "timeout_of_a_scrape_with_a_unit",
        ],
        shapes: &[Shape::Values(500.0, 400.0)],
        row: ["a scrape timeout that is no number", "500", "400", "it is the client's mistake"],
    },
    Difference {
        series: &["status", "timeout"],
        cases: &[
            "timeout_of_a_negative_scrape",
            "timeout_of_the_module_and_a_negative_scrape",
            "timeout_of_an_endless_scrape",
            "timeout_of_the_module_and_an_endless_scrape",
            "timeout_of_a_scrape_that_is_no_number",
            "timeout_of_a_scrape_in_hexadecimal",
            "timeout_of_a_scrape_with_an_underscore",
        ],
        shapes: &[Shape::Refused],
        row: [
            "a scrape timeout of `-1`, `Inf`, `NaN`, `0x1p3`",
            "the module's, or a probe that fails at once; 8",
            "400",
            "no client waits so long",
        ],
    },
    Difference {
        series: &["timeout"],
        cases: &[
            "timeout_of_a_short_scrape",
            "timeout_of_a_scrape_of_the_offset",
            "timeout_of_a_scrape_below_the_offset",
            "timeout_of_the_module_and_a_scrape_below_the_offset",
        ],
        shapes: &[Shape::Any],
        row: [
            "what a probe gets of a scrape timeout below twice `--timeout-offset`",
            "the rest; where there is none, the module's timeout, or nothing",
            "half of it",
            "a probe of no time fails always, and one that outlasts the scrape is lost",
        ],
    },
    Difference {
        series: &["timeout"],
        cases: &["timeout_of_a_scrape_longer_than_a_day"],
        shapes: &[Shape::Any],
        row: ["a scrape timeout of more than a day", "taken", "a day", "clocks cannot add any number"],
    },
    Difference {
        series: &["status", "text/"],
        cases: &["unknown_path", "profiles", "probe_of_a_slash_too_many"],
        shapes: &[Shape::Values(200.0, 404.0), Shape::Here, Shape::There(None)],
        row: [
            "unknown paths; `/debug/pprof/`",
            "200; open to all",
            "404; none",
            "a check of a path that is not there must not succeed",
        ],
    },
    Difference {
        series: &["text/"],
        cases: &["ready"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: [
            "`/-/ready`",
            "is the landing page, as every unknown path",
            "says whether it is ready",
            "as Prometheus has it",
        ],
    },
    Difference {
        series: &["status", "text/"],
        cases: &[
            "probe_by_delete",
            "metrics_by_post",
            "configuration_by_post",
            "landing_page_by_post",
            "healthy_by_post",
        ],
        shapes: &[Shape::Values(200.0, 405.0), Shape::Here, Shape::There(None)],
        row: ["methods of pages", "any", "GET and HEAD; `/probe` POST, too", "others mean something else"],
    },
    Difference {
        series: &["status"],
        cases: &["reload_by_put"],
        shapes: &[Shape::Values(405.0, 200.0)],
        row: ["PUT of `/-/reload`", "405", "reloads", "as Prometheus does"],
    },
    Difference {
        series: &["status"],
        cases: &["logs_of_a_negative_number"],
        shapes: &[Shape::Values(404.0, 400.0)],
        row: ["a negative `id` of `/logs`", "404", "400", "no probe can have it"],
    },
    Difference {
        series: &["application/openmetrics-text", "text/plain"],
        cases: &["metrics_in_openmetrics", "probe_in_openmetrics"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: ["OpenMetrics, where it is asked for", "text 0.0.4", "OpenMetrics 1.0", "Prometheus asks for it first"],
    },
    Difference {
        series: &["application/vnd.google.protobuf", "text/plain"],
        cases: &["metrics_in_protobuf"],
        shapes: &[Shape::Here, Shape::There(None)],
        row: ["protobuf, where it is asked for", "protobuf", "text 0.0.4", "who takes that takes text, too"],
    },
    Difference {
        series: &["exit"],
        cases: &[
            "start_with_an_unknown_flag",
            "start_with_a_word",
            "start_with_an_unknown_level",
            "start_with_an_unknown_format",
            "start_with_an_offset_of_no_number",
            "start_with_a_flag_twice",
            "start_with_no_value",
            "start_with_a_value_too_many",
            "start_with_a_negative_history",
        ],
        shapes: &[Shape::Values(1.0, 2.0)],
        row: ["the exit code of wrong flags", "1", "2", "`probe` says by 1 that the probe failed"],
    },
    Difference {
        series: &["exit"],
        cases: &["start_with_a_flag_and_its_opposite"],
        shapes: &[Shape::Values(1.0, 0.0)],
        row: [
            "`--config.check --no-config.check`",
            "an error",
            "the last one holds",
            "what a wrapper sets can be turned off",
        ],
    },
    Difference {
        series: &["--config.file"],
        cases: &["flags"],
        shapes: &[Shape::There(None)],
        row: [
            "`--config.file`, where it is not given",
            "`blackbox.yml`",
            "`probes.yml`, or, where only that is there, `blackbox.yml`",
            "it has more than blackbox_exporter's modules",
        ],
    },
    Difference {
        series: &["go_", "net_conntrack_", "promhttp_", "blackbox_exporter_build_info by "],
        cases: &["own_metrics"],
        shapes: &[Shape::There(None)],
        row: [
            "`go_*`, `net_conntrack_*`, `promhttp_*` on `/metrics`; labels of `blackbox_exporter_build_info`",
            "there; `branch`, `goarch`, `goos`, `goversion`, `tags` beside `version` and `revision`",
            "`uplink_exporter_*`; `arch`, `os`, `rustc`, and this program's `version`",
            "this is another program, without these libraries",
        ],
    },
];
