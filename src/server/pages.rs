//! Pages for people: the landing page and the configuration in force.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::HeaderMap;
use axum::response::Response;

use super::{State, reply};

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>uplink_exporter</title>
<style>body{font-family:sans-serif;max-width:45em;margin:2em auto;padding:0 1em}label{margin-right:1em}td{padding-right:1.5em}</style>
"#;

/// `/config`: without its secrets.
pub(super) async fn config(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    reply::content(&headers, reply::PLAIN, state.store.current().to_yaml())
}

/// `/`: what there is, and a form that probes.
pub(super) async fn landing(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    let config = state.store.current();
    let mut page = HEAD.to_owned();
    let _ = write!(
        page,
        "<h1>uplink_exporter {}</h1>\n<p>Probes the outside world through each ISP uplink, for Prometheus.</p>\n\
         <p><a href=\"/metrics\">own metrics</a> · <a href=\"/config\">configuration</a> · \
         <a href=\"/-/healthy\">healthy</a> · <a href=\"/-/ready\">ready</a></p>\n\
         <h2>Probe</h2>\n<form action=\"/probe\">\n\
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
    page.push_str("</table>\n</html>\n");
    reply::content(&headers, "text/html; charset=utf-8", page)
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
