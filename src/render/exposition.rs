//! Families as text: OpenMetrics 1.0 and Prometheus' older 0.0.4.

use std::fmt::Write;

use crate::metrics::{Family, Kind, Sample};

/// The families as OpenMetrics 1.0.
#[must_use]
pub fn openmetrics(families: &[Family]) -> String {
    let mut out = String::with_capacity(256 * families.len());
    for Family { name, help, kind, samples } in families {
        let (family, ty) = match kind {
            Kind::Gauge => (*name, "gauge"),
            Kind::Info => (name.strip_suffix("_info").unwrap_or(name), "info"),
        };
        let _ = writeln!(out, "# TYPE {family} {ty}");
        let _ = writeln!(out, "# HELP {family} {}", escaped(help, true));
        samples.iter().for_each(|sample| series(&mut out, name, sample));
    }
    out.push_str("# EOF\n");
    out
}

/// The families as text 0.0.4, which knows no infos: they are gauges there.
#[must_use]
pub fn text(families: &[Family]) -> String {
    let mut out = String::with_capacity(256 * families.len());
    for Family { name, help, kind: Kind::Gauge | Kind::Info, samples } in families {
        let _ = writeln!(out, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(out, "# TYPE {name} gauge");
        samples.iter().for_each(|sample| series(&mut out, name, sample));
    }
    out
}

/// OpenMetrics, as prometheus-client prints it, as text 0.0.4: there a counter's family has the name of its samples, infos are gauges,
/// units do not exist, quotes in help are not escaped, and there is no end mark.
#[must_use]
pub fn text_of_openmetrics(openmetrics: &str) -> String {
    let lines: Vec<&str> = openmetrics.lines().collect();
    let mut out = String::with_capacity(openmetrics.len());
    for line in &lines {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("TYPE"), Some(family), Some(ty)) => {
                let ty = if ty == "info" { "gauge" } else { ty };
                let _ = writeln!(out, "# TYPE {} {ty}", sample_name(&lines, family));
            }
            (Some("#"), Some("HELP"), Some(family), help) => {
                let help = help.unwrap_or_default().replace("\\\"", "\"");
                let _ = writeln!(out, "# HELP {} {help}", sample_name(&lines, family));
            }
            (Some("#"), ..) => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// The name of a family in text 0.0.4.
fn sample_name(openmetrics: &[&str], family: &str) -> String {
    let ty = openmetrics.iter().find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(family)?.strip_prefix(' '));
    match ty {
        Some("counter") => format!("{family}_total"),
        Some("info") => format!("{family}_info"),
        _ => family.to_owned(),
    }
}

fn series(out: &mut String, name: &str, Sample { labels, value }: &Sample) {
    out.push_str(name);
    for (n, (label, value)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{label}=\"{}\"", if n == 0 { '{' } else { ',' }, escaped(value, true));
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {}", number(*value));
}

/// A number in the shortest form that reads back as the same.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        let labels = |value: &str| vec![("a".into(), value.to_owned()), ("b".into(), String::new())];
        vec![
            Family {
                name: "x_seconds",
                help: "A \"quoted\" back\\slash\nand a line",
                kind: Kind::Gauge,
                samples: vec![Sample { labels: Vec::new(), value: 0.1 }],
            },
            Family {
                name: "y_info",
                help: "y",
                kind: Kind::Info,
                samples: vec![Sample { labels: labels("q\" b\\ n\n é"), value: 1.0 }],
            },
        ]
    }

    #[test]
    fn openmetrics_names_infos_without_their_suffix_and_ends_with_eof() {
        let expected = "# TYPE x_seconds gauge\n\
            # HELP x_seconds A \\\"quoted\\\" back\\\\slash\\nand a line\n\
            x_seconds 0.1\n\
            # TYPE y info\n\
            # HELP y y\n\
            y_info{a=\"q\\\" b\\\\ n\\n é\",b=\"\"} 1\n\
            # EOF\n";
        assert_eq!(openmetrics(&families()), expected);
    }

    #[test]
    fn text_has_gauges_only_and_no_end_mark() {
        let expected = "# HELP x_seconds A \"quoted\" back\\\\slash\\nand a line\n\
            # TYPE x_seconds gauge\n\
            x_seconds 0.1\n\
            # HELP y_info y\n\
            # TYPE y_info gauge\n\
            y_info{a=\"q\\\" b\\\\ n\\n é\",b=\"\"} 1\n";
        assert_eq!(text(&families()), expected);
    }

    #[test]
    fn numbers_read_back_as_the_same() {
        let cases = [
            (0.0, "0"),
            (-1.0, "-1"),
            (3_668_918_509.0, "3668918509"),
            (0.000_000_1, "0.0000001"),
            (1.1, "1.1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn counters_and_infos_get_their_suffix_in_text() {
        let openmetrics = "# HELP a_b A \\\"b\\\".\n# TYPE a_b counter\na_b_total{c=\"d\"} 5\n\
            # HELP e E.\n# TYPE e info\ne_info{v=\"1\"} 1\n\
            # HELP h_seconds H.\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\nh_seconds_sum 1.0\n\
            h_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";
        let text = "# HELP a_b_total A \"b\".\n# TYPE a_b_total counter\na_b_total{c=\"d\"} 5\n\
            # HELP e_info E.\n# TYPE e_info gauge\ne_info{v=\"1\"} 1\n\
            # HELP h_seconds H.\n# TYPE h_seconds histogram\nh_seconds_sum 1.0\n\
            h_seconds_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(text_of_openmetrics(openmetrics), text);
    }

    proptest::proptest! {
        #[test]
        fn every_label_value_stays_on_its_line(value in "\\PC*|.*[\"\\\\\n].*") {
            let sample = Sample { labels: vec![("a".into(), value.clone())], value: 1.0 };
            let family = Family { name: "x_info", help: "x", kind: Kind::Info, samples: vec![sample] };
            let printed = openmetrics(&[family]);
            proptest::prop_assert_eq!(printed.matches('\n').count(), 4);
        }
    }
}
