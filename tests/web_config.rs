//! Web configurations: what loads and what does not, with its exact messages; and what the real exporter-toolkit says of the same files.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::path::Path;
use std::process::Command;

use support::program;
use support::tls::Authority;
use uplink_exporter::config::WebFile;

/// What exporter-toolkit says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toolkit {
    /// The same as we.
    Same,
    /// The same as we; it has fields that promtool of Debian 12 does not know.
    SameNewer,
    /// It takes what we refuse, for this reason.
    Takes(&'static str),
    /// Likewise, with fields that promtool of Debian 12 does not know.
    TakesNewer(&'static str),
    /// It refuses what we take, for this reason.
    Refuses(&'static str),
    /// Likewise, with fields that promtool of Debian 12 does not know.
    RefusesNewer(&'static str),
}

use Toolkit::{Refuses, RefusesNewer, Same, SameNewer, Takes, TakesNewer};

/// What would come to nothing.
const FAILS_LATER: &str = "it fails when somebody comes";
const NO_EFFECT: &str = "it does something else than it says";
const NOT_SPOKEN: &str = "rustls does not speak it";

/// `SERVER` stands for a section's good certificate and key. `CERT`, `KEY` and `CA` are PEM, in quotes.
const CASES: &[(&str, &str, Toolkit)] = &[
    // What loads.
    ("", "", Same),
    ("# nothing\n", "", Same),
    ("{}", "", Same),
    ("tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n", "", Same),
    ("tls_server_config: {}", "", Same),
    ("tls_server_config: {SERVER}", "", Same),
    ("tls_server_config: {cert: CERT, key: KEY}", "", SameNewer),
    ("tls_server_config: {cert_file: server.pem, key: KEY, cert: ''}", "", SameNewer),
    ("tls_server_config: {SERVER, client_auth_type: NoClientCert}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: ''}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: RequestClientCert}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: RequireAnyClientCert, client_ca_file: ca.pem}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: RequireClientCert, client_ca_file: ca.pem}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}", "", Same),
    ("tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_ca: CA}", "", SameNewer),
    ("tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert}", "", Same),
    (
        "tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [a, 10.0.0.1]}",
        "",
        SameNewer,
    ),
    ("tls_server_config: {SERVER, min_version: TLS12, max_version: TLS12}", "", Same),
    ("tls_server_config: {SERVER, min_version: TLS13}", "", Same),
    (
        "tls_server_config: {SERVER, prefer_server_cipher_suites: false, cipher_suites: [\
         TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, \
         TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]}",
        "",
        Same,
    ),
    ("tls_server_config: {SERVER, curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]}", "", Same),
    ("http_server_config: {http2: false}", "", Same),
    ("http_server_config: {http2: yes}", "", Same),
    (
        "http_server_config: {headers: {Strict-Transport-Security: max-age=1, X-Content-Type-Options: nosniff, \
         X-Frame-Options: deny, X-XSS-Protection: '0', Content-Security-Policy: default-src 'self'}}",
        "",
        Same,
    ),
    ("http_server_config: {headers: {X-Frame-Options: sameorigin, X-XSS-Protection: ''}}", "", Same),
    ("basic_auth_users: {ann: HASH, '': HASH}", "", Same),
    ("rate_limit: {interval: 100ms, burst: 20}", "", SameNewer),
    ("rate_limit: {interval: 0s, burst: 0}", "", SameNewer),
    (
        "rate_limit: {interval: 0}",
        "web.yml:1: rate_limit.interval: has no unit; a duration is a number and a unit (0s, 5s, 1m30s)",
        RefusesNewer("a duration without a unit is refused everywhere"),
    ),
    ("rate_limit: {burst: 3}", "", SameNewer),
    ("rate_limit: {interval: 1d, burst: 1}", "", RefusesNewer("its documentation of durations promises days")),
    (
        "http_server_config: {headers: {X-Frame-Options: }}",
        "",
        Refuses("a field without a value is one that is not there, as everywhere else"),
    ),
    // What nobody takes.
    (
        "tls_server_confg: {}",
        "web.yml:1: tls_server_confg: unknown key; known keys: http_server_config, tls_server_config, basic_auth_users, rate_limit",
        Same,
    ),
    ("a\n", "web.yml:1: must be a mapping (key: value)", Same),
    ("a: [\n", "web.yml:1: is not YAML: unclosed bracket '['", Same),
    (
        "http_server_config: {}\nhttp_server_config: {}",
        "web.yml:2: http_server_config: is there already, in line 1",
        Same,
    ),
    ("tls_server_config: []", "web.yml:1: tls_server_config: must be a mapping (key: value)", Same),
    (
        "tls_server_config:\n  SERVER\n  ca_file: ca.pem",
        "web.yml:4: tls_server_config.ca_file: unknown key; known keys: ",
        Same,
    ),
    (
        "tls_server_config: {cert_file: server.pem}",
        "web.yml:1: tls_server_config: key is missing, and the certificate needs it",
        Same,
    ),
    (
        "tls_server_config: {key_file: server.key}",
        "web.yml:1: tls_server_config: cert is missing, and the key needs it",
        Same,
    ),
    (
        "tls_server_config: {cert_file: '', key_file: ''}",
        "web.yml:1: tls_server_config.cert_file: is missing, and TLS needs it",
        Takes(NO_EFFECT),
    ),
    (
        "tls_server_config: {client_auth_type: RequireAnyClientCert}",
        "web.yml:1: tls_server_config: cert is missing, and TLS needs it",
        Same,
    ),
    (
        "tls_server_config:\n  cert_file: none.pem\n  key_file: none.key",
        "web.yml:2: tls_server_config.cert_file: \"none.pem\" cannot be read: No such file or directory (os error 2)\n\
         web.yml:3: tls_server_config.key_file: \"none.key\" cannot be read: No such file or directory (os error 2)",
        Same,
    ),
    (
        "tls_server_config: {cert_file: web.yml, key_file: server.key}",
        "web.yml:1: tls_server_config.cert_file: holds no certificate",
        Same,
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: server.pem}",
        "web.yml:1: tls_server_config.key_file: holds no private key in PEM",
        Same,
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: other.key}",
        "web.yml:1: tls_server_config.key_file: is not the certificate's",
        Same,
    ),
    (
        "tls_server_config: {cert_file: server.pem, key_file: KEY}",
        "web.yml:1: tls_server_config.key_file: is PEM and not the path of a file; PEM belongs into key",
        Same,
    ),
    (
        "tls_server_config: {cert: CERT, key: s3cret}",
        "web.yml:1: tls_server_config.key: holds no private key in PEM",
        SameNewer,
    ),
    (
        "tls_server_config: {SERVER, client_auth_type: RequireTheClientCert}",
        "web.yml:1: tls_server_config.client_auth_type: \"RequireTheClientCert\" is not known; known: NoClientCert, \
         RequestClientCert, RequireAnyClientCert, RequireClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert",
        Same,
    ),
    (
        "tls_server_config: {SERVER, client_ca_file: ca.pem}",
        "web.yml:1: tls_server_config.client_ca_file: has no effect without a client_auth_type, such as RequireAndVerifyClientCert",
        Same,
    ),
    (
        "tls_server_config: {SERVER, client_auth_type: VerifyClientCertIfGiven, client_ca_file: none.pem}",
        "web.yml:1: tls_server_config.client_ca_file: \"none.pem\" cannot be read: No such file or directory (os error 2)",
        Same,
    ),
    (
        "tls_server_config: {SERVER, min_version: TLS14}",
        "web.yml:1: tls_server_config.min_version: \"TLS14\" is not known; known: TLS12, TLS13",
        Same,
    ),
    (
        "tls_server_config: {SERVER, cipher_suites: [TLS_AES_1]}",
        "web.yml:1: tls_server_config.cipher_suites[0]: \"TLS_AES_1\" is not known; known: TLS_AES_128_GCM_SHA256, ",
        Same,
    ),
    (
        "tls_server_config: {SERVER, curve_preferences: [CurveP257]}",
        "web.yml:1: tls_server_config.curve_preferences[0]: \"CurveP257\" is not known; known: CurveP256, CurveP384, CurveP521, X25519",
        Same,
    ),
    (
        "http_server_config: {http2: 'true'}",
        "web.yml:1: http_server_config.http2: must be true or false (without quotes)",
        Same,
    ),
    (
        "http_server_config:\n  headers:\n    X-Powered-By: x\n    x-frame-options: deny",
        "web.yml:3: http_server_config.headers.X-Powered-By: unknown key; known keys: X-Frame-Options, \
         X-Content-Type-Options, Strict-Transport-Security, X-XSS-Protection, Content-Security-Policy\n\
         web.yml:4: http_server_config.headers.x-frame-options: unknown key; known keys: X-Frame-Options, \
         X-Content-Type-Options, Strict-Transport-Security, X-XSS-Protection, Content-Security-Policy",
        Same,
    ),
    (
        "http_server_config: {headers: {X-Frame-Options: allow}}",
        "web.yml:1: http_server_config.headers.X-Frame-Options: \"allow\" is not known; known: deny, sameorigin",
        Same,
    ),
    (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}",
        "web.yml:1: http_server_config.headers.X-Content-Type-Options: \"sniff\" is not known; known: nosniff",
        Same,
    ),
    ("basic_auth_users: [ann]", "web.yml:1: basic_auth_users: must be a mapping (key: value)", Same),
    (
        "basic_auth_users:\n  ann: s3cret\n  bob:",
        "web.yml:2: basic_auth_users.ann: NOHASH\nweb.yml:3: basic_auth_users.bob: NOHASH",
        Same,
    ),
    ("basic_auth_users: {ann: HASH03}", "web.yml:1: basic_auth_users.ann: NOHASH", Same),
    ("basic_auth_users: {ann: HASH32}", "web.yml:1: basic_auth_users.ann: NOHASH", Same),
    (
        "rate_limit: {interval: soon, burst: 1}",
        "web.yml:1: rate_limit.interval: \"soon\" is not a duration; ",
        SameNewer,
    ),
    (
        "rate_limit: {interval: 1s, burst: many}",
        "web.yml:1: rate_limit.burst: must be a whole number from 0 to 4294967295",
        SameNewer,
    ),
    // What only exporter-toolkit takes.
    (
        "tls_server_config: {min_version: TLS13}",
        "web.yml:1: tls_server_config: cert is missing, and TLS needs it",
        Takes(NO_EFFECT),
    ),
    (
        "tls_server_config: {SERVER, cert: CERT}",
        "web.yml:1: tls_server_config.cert_file: excludes cert, which is there too",
        TakesNewer(NO_EFFECT),
    ),
    (
        "tls_server_config: {SERVER, min_version: TLS10}",
        "web.yml:1: tls_server_config.min_version: TLS10 cannot be spoken by this program; what can: TLS12, TLS13",
        Takes(NOT_SPOKEN),
    ),
    (
        "tls_server_config: {SERVER, max_version: TLS11}",
        "web.yml:1: tls_server_config.max_version: TLS11 cannot be spoken by this program; what can: TLS12, TLS13",
        Takes(NOT_SPOKEN),
    ),
    (
        "tls_server_config: {SERVER, min_version: TLS13, max_version: TLS12}",
        "web.yml:1: tls_server_config.max_version: is lower than min_version",
        Takes(FAILS_LATER),
    ),
    (
        "tls_server_config: {SERVER, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]}",
        "web.yml:1: tls_server_config.cipher_suites[0]: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA cannot be spoken by this program; what can: ",
        Takes(NOT_SPOKEN),
    ),
    (
        "tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key}",
        "web.yml:1: tls_server_config.client_ca_file: holds no certificate",
        Takes(FAILS_LATER),
    ),
    (
        "tls_server_config: {SERVER, client_allowed_sans: [a]}",
        "web.yml:1: tls_server_config.client_allowed_sans: has no effect without a client_auth_type, such as RequireAndVerifyClientCert",
        TakesNewer(NO_EFFECT),
    ),
    (
        "tls_server_config: {SERVER, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: []}",
        "web.yml:1: tls_server_config.client_allowed_sans: names nobody, so that nobody could come in",
        TakesNewer(FAILS_LATER),
    ),
    (
        "http_server_config: {headers: {X-XSS-Protection: \"a\\nb\"}}",
        "web.yml:1: http_server_config.headers.X-XSS-Protection: is not the value of a header: it has control characters",
        Takes(NO_EFFECT),
    ),
    (
        "basic_auth_users: {'a:b': HASH}",
        "web.yml:1: basic_auth_users.a:b: is a name with a colon, which basic authentication cannot send",
        Takes(FAILS_LATER),
    ),
    ("basic_auth_users: {ann: HASHx}", "web.yml:1: basic_auth_users.ann: NOHASH", Takes(FAILS_LATER)),
    (
        "rate_limit: {interval: 1s}",
        "web.yml:1: rate_limit: needs burst, 1 or more, or no request would be answered",
        TakesNewer(FAILS_LATER),
    ),
    (
        "rate_limit: {interval: 1s, burst: 0}",
        "web.yml:1: rate_limit.burst: must be 1 or more, or no request would be answered",
        TakesNewer(FAILS_LATER),
    ),
    (
        "rate_limit: {interval: -1s, burst: 1}",
        "web.yml:1: rate_limit.interval: \"-1s\" is negative; a duration is 0s or more",
        TakesNewer(NO_EFFECT),
    ),
    (
        "rate_limit: {interval: 100000000, burst: 1}",
        "web.yml:1: rate_limit.interval: \"100000000\" is not a duration; ",
        TakesNewer("nanoseconds, which nobody means"),
    ),
];

/// `fakepassword`, by exporter-toolkit's documentation.
const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
const NOT_A_HASH: &str = "is not a hash of bcrypt ($2y$10$…, 60 characters); htpasswd -nBC 10 \"\" makes one";

/// Writes the files that the cases name, and returns what to put into a case.
fn prepare(folder: &Path) -> impl Fn(&str) -> String {
    let authority = Authority::new("authority");
    let [server, other] = ["server", "other"].map(|name| authority.server(name));
    server.write(folder, "server");
    other.write(folder, "other");
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let words = [
        ("  SERVER", "  cert_file: server.pem\n  key_file: server.key".to_owned()),
        ("SERVER", "cert_file: server.pem, key_file: server.key".to_owned()),
        ("cert: CERT", format!("cert: {}", quoted(&server.cert))),
        ("key: KEY", format!("key: {}", quoted(&server.key))),
        ("key_file: KEY", format!("key_file: {}", quoted(&server.key))),
        ("client_ca: CA", format!("client_ca: {}", quoted(&authority.pem()))),
        ("HASH03", HASH.replace("$10$", "$03$")),
        ("HASH32", HASH.replace("$10$", "$32$")),
        ("HASH", HASH.to_owned()),
    ];
    move |yaml| words.iter().fold(yaml.to_owned(), |yaml, (word, text)| yaml.replace(word, text))
}

#[test]
fn every_web_configuration_loads_or_has_its_exact_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (file, filled) = (folder.path().join("web.yml"), prepare(folder.path()));
    for (yaml, expected, _) in CASES {
        std::fs::write(&file, filled(yaml)).unwrap();
        let found = WebFile::open(&file).map(drop).map_err(|errors| errors.to_string()).err().unwrap_or_default();
        let found = found.replace(&file.display().to_string(), "web.yml");
        assert!(!found.contains("s3cret") && !found.contains("PRIVATE"), "a secret is told:\n{found}");
        let expected = expected.replace("NOHASH", NOT_A_HASH);
        // What ends so goes on with a list.
        let begins = expected.ends_with([' ']) && found.starts_with(&expected) && found.lines().count() == 1;
        assert!(begins || found == expected, "{yaml}\nis told:\n{found}\nand not:\n{expected}");
    }
}

#[test]
fn exporter_toolkit_takes_and_refuses_the_same_but_for_what_is_listed() {
    let Some(promtool) = program("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, filled) = (folder.path().join("web.yml"), prepare(folder.path()));
    for (yaml, expected, toolkit) in CASES {
        let (ours, same) = match toolkit {
            Same => (expected.is_empty(), true),
            Takes(_) => (false, false),
            Refuses(_) => (true, false),
            SameNewer | TakesNewer(_) | RefusesNewer(_) => continue,
        };
        assert_eq!(ours, expected.is_empty(), "{yaml}");
        std::fs::write(&file, filled(yaml)).unwrap();
        let checked = Command::new(&promtool).args(["check", "web-config"]).arg(&file).output().unwrap();
        assert_eq!(checked.status.success(), ours == same, "{yaml}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
