//! `tests/run` looks for every program that the tests start.
#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

use std::collections::BTreeSet;
use std::path::Path;

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

#[test]
fn every_program_that_the_tests_start_is_looked_for() {
    let (_, list) = include_str!("run").split_once("\nprograms=(").unwrap();
    let listed: BTreeSet<&str> = list.split_once(')').unwrap().0.split(' ').collect();
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
