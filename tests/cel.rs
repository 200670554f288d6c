//! Conditions in CEL are read as blackbox_exporter reads them: the same are taken, and the same are told of JSON.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use support::peer::{Peer, Version};
use support::{Exporter, free_port, get, value};
use uplink_exporter::config::load_str;

/// Conditions, one a line.
const CONDITIONS: &str = include_str!("fixtures/cel.txt");

/// What is no condition, whatever the JSON is.
const NONE: &[&str] = &["1", "\"a\"", "null", "[true]", "body.list.map(x, x)", "body.t ? 1 : 2"];

/// What is an error here, and none there: what no JSON has a part in, but for `has` of a field of no object, and hexadecimal numbers.
const OTHERWISE: &[&str] = &[
    "has(body.n.a)",
    "{1.5: 1}[1.5] == 1",
    "{\"a\": 1, \"a\": 2}[\"a\"] == 2",
    "{{}: 1} == {}",
    "{timestamp(0): 1} == {}",
    "double(\"0x1p3\") == 8.0",
];

/// What they are about.
const BODY: &str = r#"{"n": 5, "half": 2.5, "neg": -3, "big": 1e20, "zero": 0, "id": 1234567, "tiny": 0.00001, "s": "text", "u": "grüße", "empty": "", "t": true,
    "f": false, "none": null, "list": [1, 2, 3], "words": ["a", "b"], "mixed": [1, "a", null], "el": [],
    "m": {"a": 1, "b": "x", "a-b": 2}, "em": {}, "time": "2024-02-29T12:34:56.789Z", "dur": "1h30m",
    "nested": {"deep": {"up": true}}, "objs": [{"id": 1, "ok": true}, {"id": 2, "ok": false}]}"#;

/// A module that fails where a condition does not hold, and one that fails where it does.
fn modules<'a>(conditions: impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut modules = "modules:\n".to_owned();
    for (n, condition) in conditions {
        // JSON's texts are YAML's.
        let condition = serde_json::Value::from(condition);
        for (name, key) in [("must", "not_matches"), ("must_not", "matches")] {
            modules += &format!("  {name}_{n}: {{prober: http, http: {{fail_if_body_json_{key}_cel: {condition}}}}}\n");
        }
    }
    modules
}

fn loads(peer: &Peer, file: &Path, condition: &str) -> bool {
    std::fs::write(file, modules([(0, condition)].into_iter())).unwrap();
    peer.check(file) == Some(0)
}

#[test]
fn the_same_is_told_of_json_as_by_blackbox_exporter() {
    let conditions: BTreeMap<usize, &str> = CONDITIONS.lines().enumerate().collect();
    let Some(peer) = Peer::find() else { return };
    if peer.version < Version(0, 27) {
        return support::tell(&format!("blackbox_exporter {} has no CEL yet", peer.version));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackbox.yml");
    let mut wrong = Vec::new();
    let mut taken = BTreeMap::new();
    for (n, condition) in conditions {
        let ours = load_str(&modules([(n, condition)].into_iter()), "x.yml").map(drop);
        match (loads(&peer, &file, condition), ours) {
            (true, Ok(())) => drop(taken.insert(n, condition)),
            (false, Err(_)) => {}
            // A condition that is none is refused here when it is loaded.
            (true, Err(errors)) if NONE.contains(&condition) => {
                assert!(errors.to_string().contains("it is no condition"))
            }
            (theirs, ours) => wrong.push(format!("{condition}: taken {theirs} there, {ours:?} here")),
        }
    }
    let text = modules(taken.iter().map(|(n, condition)| (*n, *condition)));
    std::fs::write(&file, &text).unwrap();
    let theirs = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let _running = peer.start(&file, theirs);
    let ours = Exporter::start(&text);
    let server = serve();
    for (n, condition) in taken {
        let told = [theirs, ours.address].map(|exporter| {
            ["must", "must_not"].map(|name| {
                let (status, metrics) = get(exporter, &format!("/probe?module={name}_{n}&target=http://{server}/"));
                assert_eq!((status, value(&metrics, "probe_http_status_code")), (200, Some(200.0)), "{metrics}");
                value(&metrics, "probe_success") == Some(1.0)
            })
        });
        let word = |told: [bool; 2]| match told {
            [true, false] => "true",
            [false, true] => "false",
            [false, false] => "an error",
            [true, true] => "both",
        };
        if (told[0] != told[1]) != OTHERWISE.contains(&condition) {
            wrong.push(format!("{condition} is {} there, {} here", word(told[0]), word(told[1])));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Answers everything with the body.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
        }
    });
    address
}
