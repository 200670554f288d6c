//! Regular expressions are read as Go reads them: the same are taken, and they match the same, as blackbox_exporter shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use support::peer::{Peer, Version};
use support::{free_port, get, value};
use uplink_exporter::re2::Regex;

/// What the two must agree on, whether that is to take it or not; one a line.
const EXPRESSIONS: &str = include_str!("fixtures/re2.txt");

/// What Go takes since 1.22 and 1.25, as blackbox_exporter 0.28 is built with; Debian's is older.
const NEWER: &[&str] =
    &["(?<n>a)", "(?<1>a)", r"\p{greek}", r"\p{Letter}", r"\p{Lowercase_Letter}", r"\p{ASCII}", r"\p{Cn}"];

#[test]
fn the_same_expressions_are_taken_as_by_go() {
    for expression in NEWER {
        assert!(Regex::new(expression).is_ok(), "{expression}");
    }
    let Some(peer) = Peer::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackbox.yml");
    assert_eq!(loads(&peer, &file, NEWER), peer.version >= Version(0, 28));
    let (mut taken, mut refused) = (Vec::new(), 0);
    for expression in EXPRESSIONS.lines() {
        match Regex::new(expression) {
            Ok(_) => taken.push(expression),
            Err(error) => {
                refused += 1;
                assert!(!loads(&peer, &file, &[expression]), "Go takes {expression}, and we do not: {error}");
            }
        }
    }
    assert!(taken.len() > 100 && refused > 80, "{} and {refused}", taken.len());
    if !loads(&peer, &file, &taken) {
        taken.retain(|expression| !loads(&peer, &file, &[expression]));
        panic!("Go does not take {taken:?}, and we do");
    }
}

/// Whether the other exporter takes all of some expressions.
fn loads(peer: &Peer, file: &Path, expressions: &[&str]) -> bool {
    std::fs::write(file, modules(expressions)).unwrap();
    peer.check(file) == Some(0)
}

/// A module per expression: `m0`, `m1`, and so on.
fn modules(expressions: &[&str]) -> String {
    let module = |(n, expression)| {
        // JSON's texts are YAML's.
        let expression = serde_json::Value::from(expression);
        format!("  m{n}: {{prober: http, http: {{fail_if_body_not_matches_regexp: [{expression}]}}}}\n")
    };
    let modules: String = expressions.iter().copied().enumerate().map(module).collect();
    format!("modules:\n{modules}")
}

#[test]
fn big_expressions_are_taken_as_far_as_go_takes_them() {
    for expression in [r"\pL{1000}", r"(?i)(?:\w{10}){100}", r"(.{100}){10}", &"[^é]{500}x".repeat(2)] {
        assert!(Regex::new(expression).is_ok(), "{expression}: {:?}", Regex::new(expression));
    }
    let too_big = r"\pL{1000}".repeat(100);
    assert_eq!(Regex::new(&too_big).unwrap_err(), "it needs more than 64 MiB");
}

#[test]
fn the_same_is_matched_as_by_go() {
    let Some(peer) = Peer::find() else { return };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    while cases.len() < 400 {
        let expression = random.text(ATOMS, 8);
        if let Ok(regex) = Regex::new(&String::from_utf8(expression.clone()).unwrap()) {
            let bodies = [random.text(BODIES, 5), random.text(BODIES, 12)];
            // What matches everything shows little.
            if regex.is_match(b"") && random.below(3) > 0 {
                continue;
            }
            let expression = String::from_utf8(expression).unwrap();
            cases.extend(bodies.map(|body| (expression.clone(), body)));
        }
    }
    let expressions: Vec<&str> = cases.iter().map(|(expression, _)| expression.as_str()).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackbox.yml");
    std::fs::write(&file, modules(&expressions)).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let _running = peer.start(&file, address);

    let server = serve(cases.iter().map(|(_, body)| body.clone()).collect());
    let (mut matched, mut different) = (0, Vec::new());
    for (n, (expression, body)) in cases.iter().enumerate() {
        let ours = Regex::new(expression).unwrap().is_match(body);
        let (status, metrics) = get(address, &format!("/probe?module=m{n}&target=http://{server}/{n}"));
        assert_eq!((status, value(&metrics, "probe_http_status_code")), (200, Some(200.0)), "{metrics}");
        matched += usize::from(ours);
        if (value(&metrics, "probe_success") == Some(1.0)) != ours {
            different.push(format!("{expression:?} in {:?}: {ours} here", body.escape_ascii().to_string()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!((cases.len() / 6..cases.len() * 5 / 6).contains(&matched), "{matched} of {} match", cases.len());
}

const ATOMS: &[&[u8]] = &[
    b"a",
    b"b",
    b"B",
    b" ",
    "é".as_bytes(),
    b"\\n",
    b".",
    b"^",
    b"$",
    b"\\A",
    b"\\z",
    b"\\b",
    b"\\B",
    b"\\d",
    b"\\D",
    b"\\s",
    b"\\S",
    b"\\w",
    b"\\W",
    b"[^a]",
    b"[a-b\\s]",
    b"[^\\w]",
    b"[\\W_]",
    b"[[:upper:]]",
    b"[^[:^lower:]b]",
    b"\\pL",
    b"\\PL",
    b"\\p{Lu}",
    b"{",
    b"}",
    b"{2}",
    b"*",
    b"+",
    b"?",
    b"??",
    b"*?",
    b"{1,2}",
    b"|",
    b"(",
    b")",
    b"(?i)",
    b"(?s:",
    b"(?m)",
    b"(?-i:",
    b"(?U)",
    b"\\Q.*\\E",
    b"\\xe9",
    b"\\x{FFFD}",
    b"\\x{D800}",
];

const BODIES: &[&[u8]] = &[
    b"a",
    b"b",
    b"A",
    b"B",
    b" ",
    b"\n",
    b"1",
    b"_",
    b"{",
    b"}",
    b"k",
    "é".as_bytes(),
    "É".as_bytes(),
    "\u{212a}".as_bytes(),
    "ſ".as_bytes(),
    b"\xe9",
    b"\xff",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xc7\xd1",
    b".*",
    "\u{a0}".as_bytes(),
    "\u{fffd}".as_bytes(),
];

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn text(&mut self, of: &[&[u8]], most: usize) -> Vec<u8> {
        (0..=self.below(most)).flat_map(|_| of[self.below(of.len())]).copied().collect()
    }
}

/// A server that answers a request for `/3` with the body of number 3.
fn serve(bodies: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bodies = Arc::new(bodies);
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &bodies);
        }
    });
    address
}

fn answer(mut stream: TcpStream, bodies: &[Vec<u8>]) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).unwrap() {
            0 => return,
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    let request = String::from_utf8(request).unwrap();
    let number: usize = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
    let body = &bodies[number];
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap();
}
