//! Tells the program what it is built by and from, where that can be told: without the network, and without git where there is none.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var("RUSTC").ok().and_then(|rustc| said(&rustc, &["--version"])).unwrap_or_default();
    println!("cargo::rustc-env=UPLINK_EXPORTER_RUSTC={}", rustc.split(' ').nth(1).unwrap_or_default());
    // Else every commit would have all tests built again.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = if release { revision() } else { None };
    let of_revision = revision.as_ref().map(|revision| format!(" (revision {revision})"));
    println!("cargo::rustc-env=UPLINK_EXPORTER_REVISION={}", revision.unwrap_or_default());
    println!("cargo::rustc-env=UPLINK_EXPORTER_OF_REVISION={}", of_revision.unwrap_or_default());
}

/// The commit, with `-modified` where the sources are not quite its; nothing where this is not the folder of a repository of its own.
fn revision() -> Option<String> {
    for source in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={source}");
    }
    // It grows with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    // Sources that lie in somebody else's repository are not of its commits.
    git(&["rev-parse", "--show-prefix"]).filter(|prefix| prefix.is_empty())?;
    let commit = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock", "build.rs"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-modified") })
}

fn git(arguments: &[&str]) -> Option<String> {
    said("git", arguments)
}

/// What a program says, where it is there and content.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
