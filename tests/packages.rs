//! `tests/run` looks for every program that the tests start.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// Of packages that are Essential in Debian (coreutils, dash, util-linux): every system has them.
const ESSENTIAL: [&str; 6] = ["mkfifo", "nsenter", "setpriv", "sh", "true", "unshare"];

/// Every Rust file of a folder, in one text.
fn sources(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => std::fs::read_to_string(path).unwrap(),
            _ => String::new(),
        })
        .collect()
}

/// The words between the parentheses of a list in `tests/run`.
fn list(name: &str) -> Vec<&'static str> {
    let (_, list) = include_str!("run").split_once(&format!("\n{name}=(")).unwrap();
    list.split_once(')').unwrap().0.split(' ').collect()
}

/// What `tests/run` says and does where none of its programs is there, and `apt-get install` is this script.
fn run_without_programs(install: &str) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (bin, calls) = (folder.path().join("bin"), folder.path().join("calls"));
    fs::create_dir_all(folder.path().join("tests")).unwrap();
    fs::create_dir(&bin).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run"), folder.path().join("tests/run")).unwrap();
    let find = |name: &str| {
        ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists())
    };
    for name in ["bash", "dirname", "env", "id", "sh", "touch", "chmod"] {
        symlink(find(name).unwrap(), bin.join(name)).unwrap();
    }
    let script = |name: &str, text: &str| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{text}\n", calls.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("apt-get", &format!("[ \"$1\" != install ] || {{ cd {}; {install}; }}", bin.display()));
    // Whoever runs this test may be root, or not.
    script("sudo", "shift; exec \"$@\"");
    script("cargo", "");
    // With an argument, blackbox_exporter is not built.
    let output = Command::new(folder.path().join("tests/run")).arg("--lib").env("PATH", &bin).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said, fs::read_to_string(calls).unwrap())
}

#[test]
fn what_is_missing_is_installed_and_where_that_cannot_be_the_rest_is_run() {
    let programs = list("programs").join(" ");
    let (succeeded, said, calls) = run_without_programs(&format!("touch {programs}; chmod +x {programs}"));
    assert!(succeeded && !said.contains("skipped: "), "{said}");
    let install = format!("apt-get install -y -qq --no-install-recommends {}\n", list("packages").join(" "));
    assert!(calls.contains("apt-get update -qq\n") && calls.contains(&install), "{calls}");

    let (succeeded, said, calls) = run_without_programs("exit 100");
    assert!(succeeded && said.contains("so the tests that use them are skipped: "), "{said}");
    assert!(said.contains("cannot all be installed") && said.contains("mtr"), "{said}");
    assert!(calls.contains("cargo test --no-fail-fast --lib\n"), "{calls}");
}

#[test]
fn every_program_that_the_tests_start_is_looked_for() {
    let listed: BTreeSet<&str> = list("programs").into_iter().collect();
    let folders = ["src", "tests", "benches"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let text: String = folders.iter().map(|folder| sources(folder)).collect();
    let started = regex::Regex::new(r#"(?:Command::new|program)\("([a-z][a-z0-9-]*)"\)"#).unwrap();
    // As words of a shell.
    let in_scripts = regex::Regex::new(r#""(mount) --bind"#).unwrap();
    let started = started.captures_iter(&text).chain(in_scripts.captures_iter(&text));
    let started: BTreeSet<&str> = started.map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(started.len() > 10, "{started:?}");
    let unlisted: Vec<_> = started.iter().filter(|name| !listed.contains(*name) && !ESSENTIAL.contains(name)).collect();
    assert!(unlisted.is_empty(), "tests/run does not look for {unlisted:?}");
}
