//! `uplink_exporter probe`: one probe from the command line, its output, its exit code, its end.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

#[path = "render/schema.rs"]
#[expect(dead_code, reason = "the golden files use the rest")]
mod schema;
mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Exporter, free_port, get, program, skip};
use uplink_exporter::lab::{Isp, Lab, Servers, Topology};

const CONFIGURATION: &str = "
isps: {here: {source_ip: 127.0.0.5}, gone: {source_ip: 192.0.2.1}}
modules:
  http_2xx: {prober: http, timeout: 3s}
  tcp: {prober: tcp}
  tcp_here: {prober: tcp, isp: here}
  own: {prober: tcp, tcp: {source_ip_address: 127.0.0.6}}
  silent: {prober: tcp, timeout: 20s, tcp: {query_response: [{expect: ready}]}}
";

/// A folder with the configuration as its `probes.yml`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("probes.yml"), CONFIGURATION).unwrap();
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
    command.arg("probe").args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

fn probe(arguments: &[&str]) -> Output {
    command(folder().path(), arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Something that listens and says nothing, and its address.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A server of HTTP that answers every request with 200; its address.
fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
        }
    });
    address
}

#[test]
fn a_success_is_told_to_a_person_and_by_the_exit_code() {
    let url = format!("http://{}/", web());
    let done = probe(&[&url]);
    let said = text(&done.stdout);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""), "{said}");
    for expected in [
        &format!("target   {url}\nmodule   http_2xx (http)\nISP      none, as the kernel routes\n"),
        "\nresult   success in ",
        " (timeout 3 s)\n\nGET http://",
        "\n  status 200, HTTP/1.1, 2 header fields\n",
        "\nbody     2 bytes, Content-Length 2\n",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains(" is 127.0.0.1\n"), "no log is asked for: {said}");
    let debug = probe(&["--debug", &url]);
    assert!(text(&debug.stdout).contains("s  127.0.0.1 is 127.0.0.1\n"), "{debug:?}");
}

#[test]
fn a_failure_is_told_to_a_person_and_by_the_exit_code() {
    let target = format!("127.0.0.1:{}", free_port());
    let done = probe(&["--module=tcp", "--isp", "here", &target]);
    let said = text(&done.stdout);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(1), ""), "{said}");
    assert!(said.contains("\nISP      here, from 127.0.0.5\n"), "{said}");
    assert!(said.contains(" (timeout 10 s): connection_refused\n"), "{said}");
    assert!(said.contains("\nTCP      127.0.0.5:"), "{said}");
    let own = probe(&["--module", "own", &target]);
    assert!(text(&own.stdout).contains("\nISP      none, from 127.0.0.6 (the module's)\n"), "{own:?}");
    let gone = probe(&["--module=tcp_here", "--isp=gone", &target]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stdout).contains(": source_address_unavailable\n"), "{gone:?}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_sentence_of_the_server() {
    let exporter = Exporter::start(CONFIGURATION);
    for (arguments, query) in [
        (&["--module=tpc", "x:1"][..], "module=tpc&target=x:1"),
        (&["--module=tcp", "--isp=c", "x:1"], "module=tcp&isp=c&target=x:1"),
        (&["--module=tcp", "--isp=", "x:1"], "module=tcp&isp=&target=x:1"),
        (&["--module=tcp", "x"], "module=tcp&target=x"),
        (&["ftp://x/"], "target=ftp://x/"),
        (&["--hostname=a b", "http://x/"], "hostname=a+b&target=http://x/"),
    ] {
        let (status, sentence) = get(exporter.address, &format!("/probe?{query}"));
        assert_eq!(status, 400, "{query}: {sentence}");
        let done = probe(arguments);
        assert_eq!((done.status.code(), text(&done.stdout), text(&done.stderr)), (Some(2), "", sentence.as_str()));
    }
    for (arguments, sentence) in [
        (&["--config.file=none.yml", "http://x/"][..], "none.yml: cannot be read: No such file or directory"),
        (&["--debug", "--output=metrics", "http://x/"], "metrics have no place for what --debug tells"),
        (&["--output=mtr", "http://x/"], "--output=mtr tells a trace, and the module's prober is http"),
        (&["--timeout=0", "http://x/"], "no probe ends within less than 1ms"),
        (&["--timeout=5", "http://x/"], "\"5\" is not a duration"),
        (&["--output=xml", "http://x/"], "[possible values: text, metrics, openmetrics, json, mtr]"),
        (&[""], "a value is required for '<TARGET>'"),
        (&[], "<TARGET>"),
        (&["http://x/", "http://y/"], "unexpected argument 'http://y/'"),
    ] {
        let done = probe(arguments);
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(2), ""), "{arguments:?}");
        assert!(text(&done.stderr).contains(sentence), "{arguments:?}: {}", text(&done.stderr));
    }
}

#[test]
fn json_is_as_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../src/render/report.schema.json")).unwrap();
    let (_listener, address) = silent();
    for (arguments, code, timeout, success) in [
        (&["--module=tcp", &address][..], 0, 10.0, true),
        (&["--module=tcp", "--debug", "--timeout=1m", &address], 0, 60.0, true),
        (&["--module=silent", "--timeout", "50ms", &address], 1, 0.05, false),
        (&["--hostname=name.example", "http://127.0.0.1:1/"], 1, 3.0, false),
    ] {
        let done = probe(&[&["--output=json"], arguments].concat());
        assert_eq!(done.status.code(), Some(code), "{done:?}");
        let json: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(schema::problems(&schema, &json, &mut BTreeSet::new()), Vec::<String>::new());
        assert_eq!((&json["timeout_seconds"], &json["success"]), (&timeout.into(), &success.into()), "{json}");
        assert_eq!(json.get("log").is_some(), arguments.contains(&"--debug"), "{json}");
        // Why it failed is logged, where no person is told it.
        assert_eq!(text(&done.stderr).contains("level=info msg=\"Probe failed\""), !success, "{done:?}");
    }
    let quiet = probe(&["--output=json", "--log.prober=none", "--module=tcp", "127.0.0.1:1"]);
    assert_eq!((quiet.status.code(), text(&quiet.stderr)), (Some(1), ""));
}

#[test]
fn metrics_are_metrics() {
    let (_listener, address) = silent();
    let openmetrics = probe(&["--output=openmetrics", "--module=tcp", "--isp=here", &address]);
    let said = text(&openmetrics.stdout);
    assert!(openmetrics.status.success() && said.ends_with("\n# EOF\n"), "{said}");
    assert!(said.contains("# TYPE probe_isp info\n") && said.contains("\nprobe_success 1\n"), "{said}");
    let metrics = probe(&["--output=metrics", "--module=tcp", "--isp=here", &address]);
    let said = text(&metrics.stdout);
    assert!(metrics.status.success() && said.contains("\nprobe_success 1\n") && !said.contains("# EOF"), "{said}");
    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(promtool);
    let mut check = check.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(&metrics.stdout).unwrap();
    let checked = check.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[test]
fn a_file_of_blackbox_exporter_works() {
    let (web, folder) = (web(), tempfile::tempdir().unwrap());
    let blackbox = "
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: [HTTP/1.1, HTTP/2.0]
      valid_status_codes: []
      method: GET
      headers: {Accept-Language: en-US}
      fail_if_body_not_matches_regexp: [\"^ok$\"]
      preferred_ip_protocol: ip4
  ssh_banner:
    prober: tcp
    tcp: {query_response: [{expect: \"^SSH-2.0-\"}, {send: SSH-2.0-blackbox-ssh-check}]}
";
    std::fs::write(folder.path().join("blackbox.yml"), blackbox).unwrap();
    let url = format!("http://{web}/");
    for arguments in [&[url.as_str()][..], &["--config.file=blackbox.yml", "--module=http_2xx", &url]] {
        let done = command(folder.path(), arguments).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert!(text(&done.stdout).contains(" (timeout 5 s)\n"), "{done:?}");
    }
    // The flags of all stand on either side of the subcommand.
    let mut before = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
    before.args(["--log.level=error", "--config.file=blackbox.yml", "probe", &url]).current_dir(folder.path());
    assert_eq!(before.output().unwrap().status.code(), Some(0));
}

#[test]
fn what_is_wrong_with_other_modules_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = web();
    let secret = "{prober: http, http: {basic_auth: {username: u, password_file: /none/such}}}";
    std::fs::write(
        folder.path().join("blackbox.yml"),
        format!("modules:\n  http_2xx: {{prober: http}}\n  internal: {secret}\n"),
    )
    .unwrap();
    let probe = |module: &str| {
        let module = format!("--module={module}");
        command(folder.path(), &["--config.file=blackbox.yml", &module, &format!("http://{server}/")]).output().unwrap()
    };
    let output = probe("http_2xx");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = probe("internal");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("module \"internal\": http.basic_auth.password_file"),
        "{}",
        text(&output.stderr)
    );
    // Where there is no such module, nobody knows which one was meant.
    let output = probe("http_2xy");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("module \"internal\""), "{}", text(&output.stderr));
}

#[test]
fn a_signal_ends_a_probe_and_leaves_nothing_open() {
    let folder = folder();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (listener, address) = silent();
        let mut running = command(folder.path(), &["--module=silent", &address]);
        let running = running.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert!(Command::new("kill").args([signal, &running.id().to_string()]).status().unwrap().success());
        let done = running.wait_with_output().unwrap();
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(code), ""), "{done:?}");
        assert!(text(&done.stderr).contains("the probe was ended by signal "), "{done:?}");
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(matches!(peer.read(&mut [0; 16]), Ok(0)));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_told() {
    let (_listener, address) = silent();
    let folder = folder();
    let mut full = command(folder.path(), &["--module=tcp", &address]);
    let full = full.stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    assert_eq!(full.status.code(), Some(2));
    assert!(text(&full.stderr).contains("the result cannot be written: No space left on device"), "{full:?}");
    let (closed, written) = std::io::pipe().unwrap();
    drop(closed);
    let closed = command(folder.path(), &["--module=tcp", &address]).stdout(written).output().unwrap();
    assert_eq!((closed.status.code(), text(&closed.stderr)), (Some(0), ""), "who closes it wants no more of it");
}

/// The prober's host is told the ISP by the mark only, so that what the kernel refuses for a socket that is gone leaves by the default route.
#[test]
fn an_answer_after_the_end_is_not_refused_through_another_isp() {
    if let Err(why) = Lab::available() {
        return skip(&why);
    }
    let lab = Lab::start(Topology::demo()).unwrap();
    let _servers = Servers::start(lab.far()).unwrap();
    lab.default_route(Isp::A).unwrap();
    for isp in Isp::ALL {
        let preference = (1_000 + isp.mark()).to_string();
        let mut command = Command::new("ip");
        command.args(["-4", "rule", "del", "pref", &preference]);
        assert!(lab.prober().spawn(&mut command).unwrap().wait().unwrap().success());
    }
    let folder = tempfile::tempdir().unwrap();
    let configuration = "isps: {b: {fwmark: 102}}\nmodules: {tcp: {prober: tcp, timeout: 5s}}";
    std::fs::write(folder.path().join("probes.yml"), configuration).unwrap();
    // A round trip is 60 ms.
    let mut late = command(folder.path(), &["--module=tcp", "--isp=b", "--timeout=30ms", "198.51.100.10:25"]);
    let late = lab.prober().spawn(late.stdout(Stdio::piped())).unwrap().wait_with_output().unwrap();
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stdout).contains(": connection_timeout\n"), "{late:?}");
    let sent: Vec<_> = lab.observed().iter().map(|packet| (packet.isp, packet.tcp_flags)).collect();
    assert!(sent.len() > 1 && sent.iter().all(|(isp, _)| *isp == Isp::B), "{sent:?}");
    // Where nothing is to come, nothing is waited for.
    let begun = std::time::Instant::now();
    let mut whole = command(folder.path(), &["--module=tcp", "--isp=b", "198.51.100.10:25"]);
    let whole = lab.prober().spawn(whole.stdout(Stdio::piped())).unwrap().wait_with_output().unwrap();
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
}
