//! Pages for people: the landing page and the configuration in force.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::HeaderMap;
use axum::response::Response;
use httpdate::fmt_http_date;

use super::history::History;
use super::{State, reply};

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>uplink_exporter</title>
<style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}label{margin-right:1em}td{padding-right:1.5em}</style>
"#;

/// `/config`: without its secrets.
pub(super) async fn config(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    reply::content(&headers, reply::PLAIN, state.store.current().to_yaml())
}

/// `/`: what there is, a form that probes, and the latest probes. Its links are relative, since a proxy may have other paths.
pub(super) async fn landing(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    let config = state.store.current();
    let mut page = HEAD.to_owned();
    let _ = write!(
        page,
        "<h1>uplink_exporter {}</h1>\n<p>Probes the outside world through each ISP uplink, for Prometheus.</p>\n\
         <p><a href=\"metrics\">own metrics</a> · <a href=\"config\">configuration</a> · \
         <a href=\"-/healthy\">healthy</a> · <a href=\"-/ready\">ready</a></p>\n\
         <h2>Probe</h2>\n<form action=\"probe\">\n\
         <p><label>target <input name=\"target\" size=\"40\" required></label>\n<label>module <select name=\"module\">\n",
        env!("CARGO_PKG_VERSION")
    );
    for name in config.modules.keys() {
        let _ = writeln!(page, "<option>{}</option>", escaped(name));
    }
    page.push_str("</select></label></p>\n<p>ISP:\n");
    // Radio buttons of which none is set send nothing: the probe takes the module's ISP, or the kernel's route.
    for name in config.isps.keys() {
        let name = escaped(name);
        let _ = writeln!(page, "<label><input type=\"radio\" name=\"isp\" value=\"{name}\">{name}</label>");
    }
    page.push_str(
        "</p>\n<p><label><input type=\"checkbox\" name=\"debug\" value=\"true\" checked>debug</label>\n\
         <label><input type=\"checkbox\" name=\"format\" value=\"json\">JSON</label>\n<button>Probe</button></p>\n</form>\n\
         <h2>Modules</h2>\n<table>\n",
    );
    for module in config.modules.values() {
        let _ = writeln!(page, "<tr><td>{}<td>{}", escaped(&module.name), module.prober.name());
    }
    page.push_str("</table>\n<h2>ISPs</h2>\n<table>\n");
    for isp in config.isps.values() {
        let source = &isp.source;
        let bindings = [
            source.v4.map(|address| address.to_string()),
            source.v6.map(|address| address.to_string()),
            source.interface.as_ref().map(|interface| format!("interface {interface}")),
            source.mark.map(|mark| format!("fwmark {mark}")),
        ];
        let bindings: Vec<String> = bindings.into_iter().flatten().collect();
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}",
            escaped(&isp.name),
            escaped(&isp.site),
            escaped(&bindings.join(", "))
        );
    }
    page.push_str("</table>\n");
    recent_probes(&state.history, &mut page);
    page.push_str("</html>\n");
    reply::content(&headers, "text/html; charset=utf-8", page)
}

/// A table of the probes that ended lately, the newest first.
fn recent_probes(history: &History, page: &mut String) {
    if !history.is_kept() {
        return;
    }
    page.push_str(
        "<h2>Recent Probes</h2>\n<table>\n\
         <tr><th>Module<th>Target<th>ISP<th>Result<th>Reason<th>Duration<th>Began<th>Debug\n",
    );
    for entry in history.newest_first() {
        let report = &entry.report;
        let (result, reason) = match &report.failure {
            None => ("Success", String::new()),
            Some(failure) => {
                ("<strong>Failure</strong>", format!("{}: {}", failure.phase.name(), failure.reason.name()))
            }
        };
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{result}<td>{}<td>{:.6} s<td>{}<td><a href=\"logs?id={}\">Logs</a>",
            escaped(&report.module),
            escaped(&report.target),
            escaped(entry.isp()),
            escaped(&reason),
            report.duration.as_secs_f64(),
            fmt_http_date(report.started),
            entry.id,
        );
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
