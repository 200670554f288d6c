//! The program as it is started: exit codes, messages, signals.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uplink_exporter"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_check_tells_every_error_or_that_there_is_none() {
    let good = run(&["--config.check"]);
    assert_eq!(text(&good.stdout), "probes.yml: ok: 5 modules, 2 ISPs\n");
    assert!(good.status.success());
    let bad = run(&["--config.file=tests/fixtures/config/several.yml", "--config.check"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).ends_with(
        "tests/fixtures/config/several.yml:7: module \"c\": prober is missing; known: http, tcp, icmp, traceroute\n"
    ));
    assert_eq!(text(&bad.stderr).lines().count(), 4, "{}", text(&bad.stderr));
}

#[test]
fn a_wrong_configuration_does_not_start() {
    let output = run(&["--config.file", "tests/fixtures/config/several.yml", "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("several.yml:3: isp \"kt\": source_ip: \"10.0.0\" is not an IPv4 address\n"), "{errors}");
    assert!(errors.contains("several.yml:7: module \"c\":"), "{errors}");
    let output = run(&["--config.file=no-such.yml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such.yml: cannot be read: No such file or directory"));
}

#[test]
fn a_wrong_command_line_is_told() {
    for arguments in [&["--timeout-offset=-1"][..], &["--log.format=xml"], &["--log.level=loud"], &["--no-such-flag"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(text(&run(&["--version"]).stdout), concat!("uplink_exporter ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let output = run(&["--web.listen-address=192.0.2.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("cannot listen on \\\"192.0.2.1:1\\\" (--web.listen-address): "), "{errors}");
}

/// A program that serves, and the lines of its log.
struct Serving {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut child = program(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of the log that has the words.
    fn line(&mut self, words: &str) -> String {
        loop {
            let line = self.log.next().unwrap_or_else(|| panic!("the log ended without {words}")).unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn signals_reload_and_end_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = format!("--config.file={}", file.path().display());
    std::fs::write(file.path(), "modules: {ping: {prober: icmp}}").unwrap();
    let mut serving = Serving::start(&[
        &path,
        "--web.listen-address=127.0.0.1:0",
        "--web.listen-address",
        "[::1]:0",
        "--log.format=json",
    ]);
    for host in ["127.0.0.1:", "[::1]:"] {
        let line: serde_json::Value = serde_json::from_str(&serving.line("\"listening\"")).unwrap();
        let address = line["address"].as_str().unwrap();
        assert!(address.starts_with(host) && !address.ends_with(":0"), "{address}");
    }
    serving.signal("-HUP");
    serving.line("SIGHUP: the configuration was loaded again");
    std::fs::write(file.path(), "modules: {ping: {prober: pigeon}}").unwrap();
    serving.signal("-HUP");
    let line = serving.line("SIGHUP: the configuration in force stays");
    assert!(line.contains(":1: module \\\"ping\\\": prober: \\\"pigeon\\\" is not known"), "{line}");
    serving.signal("-TERM");
    serving.line("ended");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_blocks_a_thread_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.yml");
    std::fs::write(&file, "modules: {ping: {prober: icmp}}").unwrap();
    let mut serving = Serving::start(&[&format!("--config.file={}", file.display()), "--web.listen-address=:0"]);
    serving.line("msg=listening");
    // A file that is there and never ends, as on a server that is gone.
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    serving.signal("-HUP");
    let _unread = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    let told = Instant::now();
    serving.signal("-TERM");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    let last = serving.log.by_ref().map_while(Result::ok).last();
    assert!(last.as_ref().is_some_and(|line| line.contains("msg=ended")), "{last:?}");
}

#[test]
fn an_address_without_a_host_is_all_interfaces() {
    let mut serving = Serving::start(&["--web.listen-address=:0", "--log.level", "info"]);
    let line = serving.line("msg=listening");
    assert!(
        line.contains("level=info") && (line.contains("address=[::]:") || line.contains("address=0.0.0.0:")),
        "{line}"
    );
    serving.signal("-INT");
    serving.line("ended");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}
