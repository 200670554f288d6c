//! The program as it is started: exit codes, messages, signals.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]
#![expect(clippy::disallowed_methods, reason = "the client of these tests is no probe")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{free_port, get, request, until};

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
    assert_eq!(text(&good.stdout), "probes.yml: ok: 10 modules, 2 ISPs\n");
    assert!(good.status.success());
    let bad = run(&["--config.file=tests/fixtures/config/several.yml", "--config.check"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).ends_with(
        "tests/fixtures/config/several.yml:7: module \"c\": is empty; it needs a prober: http, tcp, icmp, dns, traceroute, unix, grpc, websocket, egress, stun\n"
    ));
    assert_eq!(text(&bad.stderr).lines().count(), 4, "{}", text(&bad.stderr));
}

#[test]
fn the_last_of_a_flag_and_its_negation_holds() {
    let file = "--config.file=tests/fixtures/config/several.yml";
    let checked = |flags: &[&str]| {
        let output = run(&[&[file, "--web.listen-address=no-address"], flags].concat());
        assert_eq!(output.status.code(), Some(1));
        // A check knows of no addresses; to serve, the configuration is loaded first.
        !text(&output.stderr).contains("descriptors")
    };
    assert!(checked(&["--no-config.check", "--config.check"]));
    assert!(checked(&["--config.check", "--no-config.enable-auto-reload"]));
    assert!(!checked(&["--config.check", "--no-config.check"]));
    assert!(!checked(&["--no-config.check", "--config.enable-auto-reload"]));
}

#[test]
fn the_file_of_blackbox_exporter_is_loaded_where_only_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let check = |flags: &[&str]| program(flags).current_dir(folder.path()).output().unwrap();
    let missing = check(&["--config.check"]);
    assert!(text(&missing.stderr).contains("probes.yml: cannot be read"), "{missing:?}");
    std::fs::write(folder.path().join("blackbox.yml"), "modules: {a: {prober: icmp}}").unwrap();
    let found = check(&["--config.check"]);
    assert_eq!(text(&found.stdout), "blackbox.yml: ok: 1 modules, 0 ISPs\n");
    assert!(
        text(&found.stderr).contains("there is no probes.yml here, but a blackbox.yml, which is loaded"),
        "{found:?}"
    );
    let named = check(&["--config.check", "--config.file=probes.yml"]);
    assert!(text(&named.stderr).contains("probes.yml: cannot be read"), "{named:?}");
    std::fs::write(folder.path().join("probes.yml"), "modules: {a: {prober: icmp}, b: {prober: icmp}}").unwrap();
    let both = check(&["--config.check"]);
    assert_eq!((text(&both.stdout), text(&both.stderr)), ("probes.yml: ok: 2 modules, 0 ISPs\n", ""));
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
fn a_word_for_the_log_of_probers_that_is_not_known_is_warned_of() {
    let output = run(&["--log.prober=loud", "--config.check", "--config.file=no-such-file"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("level=warn") && said.contains("not \\\"loud\\\""), "{said}");
}

#[test]
fn a_wrong_command_line_is_told() {
    for arguments in [
        &["--timeout-offset=-1"][..],
        &["--log.format=xml"],
        &["--log.level=loud"],
        &["--history.limit=-1"],
        &["--config.auto-reload-interval=0"],
        &["--config.auto-reload-interval", "often"],
        &["--config.check=true"],
        &["--no-history.limit"],
        &["--no-such-flag"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for (flag, sentence) in [
        ("--web.external-url='http://x/'", "the URL must not begin or end with quotes"),
        ("--web.external-url=example.org/up", "it is a URL, as https://example.org/uplink/, or its path"),
        ("--web.route-prefix=/a?b", "a path has neither a query nor a fragment"),
    ] {
        let output = run(&[flag, "--web.listen-address=127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1), "{flag}");
        assert!(text(&output.stderr).contains(sentence), "{flag}: {}", text(&output.stderr));
    }
    for flag in ["--version", "-V"] {
        let version = run(&[flag]);
        let expected = concat!("uplink_exporter ", env!("CARGO_PKG_VERSION"));
        assert!(text(&version.stdout).starts_with(expected) && version.status.success(), "{version:?}");
    }
    assert!(text(&run(&["-h"]).stdout).contains("--history.limit"));
}

#[test]
fn a_flag_before_a_subcommand_that_does_not_take_it_is_an_error() {
    for (arguments, flag, subcommand) in [
        (&["--config.check", "demo"][..], "--config.check", "demo"),
        (&["--config.file=probes.yml", "demo"], "--config.file", "demo"),
        (&["--timeout-offset", "1", "--log.level=warn", "selftest"], "--timeout-offset", "selftest"),
        (&["--web.listen-address=:0", "selftest"], "--web.listen-address", "selftest"),
        (&["--no-config.check", "demo"], "--no-config.check", "demo"),
        (&["--config.check", "probe", "http://127.0.0.1/"], "--config.check", "probe"),
        (&["--web.listen-address=:0", "probe", "http://127.0.0.1/"], "--web.listen-address", "probe"),
        (&["--history.limit=1", "probe", "http://127.0.0.1/"], "--history.limit", "probe"),
    ] {
        let output = run(arguments);
        let sentence = format!("error: the argument '{flag}' cannot be used with '{subcommand}'\n");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with(&sentence), "{arguments:?}: {}", text(&output.stderr));
    }
    for arguments in [&["demo", "--config.file=probes.yml"][..], &["probe", "--web.listen-address=:0", "http://x/"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // Where it is taken, it holds on either side.
    for arguments in [["--web.listen-address=192.0.2.1:1", "demo"], ["demo", "--web.listen-address=192.0.2.1:1"]] {
        let output = run(&arguments);
        assert!(text(&output.stderr).contains("192.0.2.1:1"), "{arguments:?}: {}", text(&output.stderr));
    }
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
        let line: serde_json::Value = serde_json::from_str(&serving.line("\"msg\":\"listening\"")).unwrap();
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
fn a_configuration_may_come_by_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("body"), "hello").unwrap();
    let mut check = program(&["--config.check", "--config.file=/dev/stdin"]);
    check.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    // The files that it names are beside whoever wrote it.
    check.stdin.take().unwrap().write_all(b"modules: {a: {prober: http, http: {body_file: body}}}").unwrap();
    let checked = check.wait_with_output().unwrap();
    assert_eq!(text(&checked.stdout), "/dev/stdin: ok: 1 modules, 0 ISPs\n", "{}", text(&checked.stderr));

    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let write = |module: &str| {
        let (pipe, content) = (pipe.clone(), format!("modules: {{{module}: {{prober: icmp}}}}"));
        thread::spawn(move || std::fs::write(pipe, content).unwrap())
    };
    let first = write("one");
    let file = format!("--config.file={}", pipe.display());
    let (serving, address) = serving(&[&file, "--config.enable-auto-reload", "--config.auto-reload-interval=1"]);
    first.join().unwrap();
    // Nobody writes: the reload fails, and all else goes on meanwhile.
    let reload = thread::spawn(move || request(address, "POST", "/-/reload", ""));
    until("the reload waits for its pipe", || {
        File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&pipe).is_ok()
    });
    assert!(get(address, "/config").1.contains("one:"));
    let (status, body) = reload.join().unwrap();
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("it is a pipe"), "{body}");
    assert!(get(address, "/config").1.contains("one:"));
    let second = write("two");
    assert_eq!(request(address, "POST", "/-/reload", "").0, 200);
    second.join().unwrap();
    assert!(get(address, "/config").1.contains("two:"));
    drop(serving);
}

#[test]
fn what_blocks_a_thread_does_not_hold_up_the_end() {
    // A search in what a server says that takes far longer than its probe may.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        // Random bits (Marsaglia's xorshift), of which no search remembers enough to be quick.
        let mut state = 1_u64;
        let mut bit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'0' + (state & 1) as u8
        };
        let noise: Vec<u8> = (0..16 << 20).map(|_| bit()).collect();
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", noise.len()).as_bytes());
        let _ = client.write_all(&noise);
        let _ = client.read(&mut [0; 1]);
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let module = "{prober: http, timeout: 1s, http: {fail_if_body_not_matches_regexp: ['[01]*1[01]{150}x']}}";
    writeln!(file, "modules: {{slow: {module}}}").unwrap();
    let (mut serving, address) = serving(&["--config.file", file.path().to_str().unwrap()]);
    let reply = get(address, &format!("/probe?module=slow&target={target}")).1;
    assert!(reply.contains("reason=\"prober_overload\""), "{reply}");
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

/// The program on a free port, once it serves, and where that is. Its log may say nothing.
fn serving(flags: &[&str]) -> (Serving, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let serving = Serving::start(&[&["--web.listen-address", &address.to_string()], flags].concat());
    until("the program serves", || TcpStream::connect(address).is_ok());
    (serving, address)
}

#[test]
fn a_probes_lines_are_logged_as_far_as_they_are_wanted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "isps: {gone: {source_ip: 192.0.2.1}}\nmodules: {tcp: {prober: tcp}}").unwrap();
    let configured = format!("--config.file={}", file.path().display());
    let probes = |address: SocketAddr| {
        let good = format!("/probe?module=tcp&target={address}");
        for path in [&good, "/probe?module=tcp&target=127.0.0.1:1", "/probe?module=tcp&isp=gone&target=127.0.0.1:1"] {
            assert!(get(address, path).1.contains("probe_success"), "{path}");
        }
    };
    let refused =
        "level=info msg=\"Probe failed\" module=tcp target=127.0.0.1:1 phase=connect reason=connection_refused err=";
    let ours = "level=error msg=\"Probe failed\" module=tcp target=127.0.0.1:1 isp=gone phase=connect reason=source_address_unavailable err=";
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &[refused, ours]),
        (&["--log.prober=warn"], &[ours]),
        (&["--log.prober=none"], &[]),
        (&["--log.prober", "debug"], &[refused, ours]),
        (&["--log.level=error", "--log.prober=debug"], &[ours]),
        (
            &["--log.level=debug", "--log.prober=debug"],
            &["127.0.0.1 is 127.0.0.1", "level=debug msg=\"Probe succeeded\" module=tcp", refused, ours],
        ),
    ];
    for (flags, expected) in cases {
        let (mut serving, address) = serving(&[&[configured.as_str()], flags].concat());
        probes(address);
        serving.signal("-TERM");
        let lines: Vec<String> = serving.log.by_ref().map_while(Result::ok).collect();
        let about: Vec<&String> = lines.iter().filter(|line| line.contains("module=tcp")).collect();
        for words in expected {
            assert!(about.iter().any(|line| line.contains(words)), "{flags:?} {words}: {lines:#?}");
        }
        if !flags.contains(&"--log.level=debug") {
            assert_eq!(about.len(), expected.len(), "{flags:?}: {about:#?}");
        }
    }
}

#[test]
fn a_file_that_changes_is_loaded_by_itself_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Whole at once: no half of it is ever loaded.
    let write = |name: &str, text: &str| {
        std::fs::write(path("new"), text).unwrap();
        std::fs::rename(path("new"), path(name)).unwrap();
    };
    // As Kubernetes mounts it: the file is a link into a folder that is itself a link, which is swapped.
    for (name, module) in [("first", "one"), ("second", "two")] {
        std::fs::create_dir(path(name)).unwrap();
        write(&format!("{name}/probes.yml"), &format!("modules: {{{module}: {{prober: icmp}}}}"));
    }
    std::os::unix::fs::symlink("first", path("data")).unwrap();
    std::os::unix::fs::symlink("data/probes.yml", path("probes.yml")).unwrap();
    let file = format!("--config.file={}", path("probes.yml").display());
    let (mut serving, address) = serving(&[&file, "--config.enable-auto-reload", "--config.auto-reload-interval=1"]);
    assert!(get(address, "/config").1.contains("one:"));
    std::os::unix::fs::symlink("second", path("swap")).unwrap();
    std::fs::rename(path("swap"), path("data")).unwrap();
    serving.line("auto-reload: the configuration was loaded again");
    assert!(get(address, "/config").1.contains("two:"));
    // A file that it names, which is not there yet.
    let tls =
        format!("modules: {{web: {{prober: http, http: {{tls_config: {{ca_file: {}}}}}}}}}", path("ca.pem").display());
    write("second/probes.yml", &tls);
    let line = serving.line("auto-reload: the configuration in force stays");
    assert!(line.contains("ca.pem") && line.contains("cannot be read"), "{line}");
    assert!(get(address, "/metrics").1.contains("blackbox_exporter_config_last_reload_successful 0\n"));
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    write("ca.pem", &ca.pem());
    serving.line("auto-reload: the configuration was loaded again");
    let metrics = get(address, "/metrics").1;
    assert!(metrics.contains("blackbox_exporter_config_last_reload_successful 1\n"), "{metrics}");
    serving.signal("-TERM");
    let rest: Vec<String> = serving.log.by_ref().map_while(Result::ok).collect();
    assert!(!rest.iter().any(|line| line.contains("auto-reload")), "what is unchanged is not loaded: {rest:#?}");
}
