//! The `http:` section: what it takes, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

use std::process::Command;

use uplink_exporter::config::{load, load_str};
use uplink_exporter::probe::Prober;
use uplink_exporter::probe::http::{Compression, Grant, Settings};

/// The settings of the only module of a folder's configuration.
fn settings(folder: &tempfile::TempDir, section: &str) -> Settings {
    let path = folder.path().join("probes.yml");
    std::fs::write(&path, format!("modules: {{web: {{prober: http, http: {section}}}}}")).unwrap();
    let config = load(&path).unwrap_or_else(|errors| panic!("{section}: {errors}"));
    let module = config.modules["web"].clone();
    drop(config);
    match std::sync::Arc::into_inner(module).unwrap().prober {
        Prober::Http(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_asks_is_told_in_every_way_that_prometheus_has() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "  s3cret\n").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let cases = [
        ("{basic_auth: {username: me, password: s3cret}}", "Basic bWU6czNjcmV0"),
        ("{basic_auth: {username_file: secret, password_file: secret}}", "Basic czNjcmV0OnMzY3JldA=="),
        ("{basic_auth: {username: me}}", "Basic bWU6"),
        ("{authorization: {credentials: s3cret}}", "Bearer s3cret"),
        ("{authorization: {type: Token, credentials_file: secret}}", "Token s3cret"),
        ("{bearer_token: s3cret}", "Bearer s3cret"),
        ("{bearer_token_file: secret}", "Bearer s3cret"),
        // What 0.28 sends of nothing, and of what is empty, and of blanks.
        ("{authorization: {}}", "Bearer"),
        ("{authorization: {credentials: '', type: ''}}", "Bearer"),
        ("{authorization: {type: ' Token ', credentials_file: ''}}", "Token"),
        ("{authorization: {credentials: ' s3cret '}}", "Bearer  s3cret"),
        ("{authorization: {credentials_file: empty}}", "Bearer"),
        ("{bearer_token: '', bearer_token_file: empty}", "Bearer"),
        ("{basic_auth: {}}", "Basic Og=="),
        ("{basic_auth: {username: me, username_file: '', password_ref: ''}, bearer_token: ''}", "Basic bWU6"),
    ];
    for (section, expected) in cases {
        let authorization = settings(&folder, section).authorization.unwrap();
        assert_eq!((authorization.to_str().unwrap(), authorization.is_sensitive()), (expected, true), "{section}");
    }
    for nothing in ["{}", "{authorization: }", "{basic_auth: }", "{bearer_token: '', bearer_token_file: ''}"] {
        assert_eq!(settings(&folder, nothing).authorization, None, "{nothing}");
    }
    let section = "{headers: {X-A: ' one\t'}, http_headers: {X-A: {values: [two], secrets: [three], files: [secret]}}}";
    let headers = settings(&folder, section).headers;
    let values: Vec<_> =
        headers.get_all("x-a").iter().map(|value| (value.to_str().unwrap(), value.is_sensitive())).collect();
    assert_eq!(values, [("one", false), ("two", false), ("three", true), ("s3cret", true)]);
}

#[test]
fn bodies_and_expectations_load() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("body.json"), "{}\n").unwrap();
    for section in ["{method: POST, body_file: body.json}", "{method: '', body: '', body_file: body.json}"] {
        assert_eq!(&settings(&folder, section).body[..], b"{}\n", "{section}");
    }
    let codings = [
        ("gzip", Some(Compression::Gzip)),
        ("GZIP", Some(Compression::Gzip)),
        ("br", Some(Compression::Brotli)),
        ("deflate", Some(Compression::Deflate)),
        ("identity", None),
        ("''", None),
    ];
    for (name, expected) in codings {
        assert_eq!(settings(&folder, &format!("{{compression: {name}}}")).compression, expected, "{name}");
    }
    let section = "{
        fail_if_body_matches_regexp: [a, b], fail_if_body_not_matches_regexp: [c],
        fail_if_header_matches: [{header: X-A, regexp: a, allow_missing: true}],
        fail_if_header_not_matches: [{header: X-B, regexp: b}],
        fail_if_body_json_matches_cel: body.n == 1, fail_if_body_json_not_matches_cel: body.m == 1,
        no_follow_redirects: true}";
    let settings = settings(&folder, section);
    let expectations = settings.expectations;
    let body: Vec<_> = expectations.body.text.iter().map(|rule| (rule.regex.as_str(), rule.forbids)).collect();
    assert_eq!(body, [("a", true), ("b", true), ("c", false)]);
    let headers: Vec<_> =
        expectations.headers.iter().map(|rule| (rule.name.as_str(), rule.forbids, rule.allow_missing)).collect();
    assert_eq!(headers, [("x-a", true, true), ("x-b", false, false)]);
    assert_eq!(expectations.body.json.len(), 2);
    assert!(!settings.follow_redirects);
    let both = |section: &str| self::settings(&folder, section).follow_redirects;
    assert!(!both("{follow_redirects: true, no_follow_redirects: true}"));
    assert!(both("{follow_redirects: false, no_follow_redirects: false}"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("{basic_auth: {username: a}, bearer_token: b}", "http.bearer_token: excludes basic_auth, which is there too"),
        ("{authorization: {type: Basic}}", "http.authorization.type: is what basic_auth is for"),
        ("{authorization: {credentials: a, credentials_file: b}}", "credentials_file: excludes credentials"),
        (
            "{basic_auth: {password_ref: a}}",
            "http.basic_auth.password_ref: needs a manager of secrets, which there is none",
        ),
        ("{basic_auth: {password_file: none}}", "http.basic_auth.password_file: \"none\" cannot be read"),
        ("{bearer_token: \"a\\nb\"}", "http.bearer_token: has a character that no header may have"),
        ("{http_headers: {Host: {values: [a]}}}", "http.http_headers.Host: is a header that http_headers may not set"),
        ("{http_headers: {X-Amz-Date: {values: [a]}}}", "X-Amz-Date: is a header that http_headers may not set"),
        ("{http_headers: {X: a}}", "http.http_headers.X: must be a mapping"),
        ("{body: a, body_file: b}", "http.body_file: excludes body, which is there too"),
        ("{body_file: none}", "http.body_file: \"none\" cannot be read"),
        ("{compression: zstd}", "http.compression: \"zstd\" is not known; known: gzip, br, deflate, identity"),
        (
            "{compression: gzip, headers: {Accept-Encoding: 'br, gzip;q=0'}}",
            "http.compression: gzip is not what the header Accept-Encoding asks for",
        ),
        ("{fail_if_body_matches_regexp: ['(']}", "http.fail_if_body_matches_regexp[0]: is not a regular expression"),
        ("{fail_if_body_matches_regexp: a}", "http.fail_if_body_matches_regexp: must be a list"),
        ("{fail_if_header_matches: [{header: X}]}", "http.fail_if_header_matches[0]: regexp is missing"),
        ("{fail_if_header_matches: [{regexp: X}]}", "http.fail_if_header_matches[0]: header is missing"),
        ("{fail_if_header_matches: [{header: 'X Y', regexp: a}]}", "header: \"X Y\" is not the name of a header"),
        ("{fail_if_body_json_matches_cel: 'body.'}", "http.fail_if_body_json_matches_cel: is not an expression of CEL"),
        ("{fail_if_body_json_matches_cel: 'boddy.n == 1'}", "boddy is not known; the JSON is called body"),
    ];
    for (section, expected) in cases {
        let text = format!("modules:\n  web: {{prober: http, http: {section}}}");
        let errors = load_str(&text, "x.yml").map(drop).unwrap_err().to_string();
        assert!(errors.starts_with("x.yml:2: module \"web\": ") && errors.contains(expected), "{section}: {errors}");
        assert!(!errors.contains('\n'), "one error for one mistake: {errors}");
    }
}

#[test]
fn an_accepted_coding_need_not_be_the_preferred_one() {
    for header in ["br;q=1.0, gzip;q=0.9", "gzip", "*", "br, *;q=0.1", ""] {
        let section = format!("{{compression: gzip, headers: {{Accept-Encoding: '{header}'}}}}");
        let text = format!("modules: {{web: {{prober: http, http: {section}}}}}");
        assert!(load_str(&text, "x.yml").is_ok(), "{header}");
    }
    for header in ["br, identity", "*;q=0", "gzip;q=no", "GZIP"] {
        let section = format!("{{compression: gzip, headers: {{Accept-Encoding: '{header}'}}}}");
        let text = format!("modules: {{web: {{prober: http, http: {section}}}}}");
        assert!(load_str(&text, "x.yml").is_err(), "{header}");
    }
}

#[test]
fn proxies_and_tokens_are_taken_as_prometheus_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let key = Command::new("openssl").args(["genrsa", "2048"]).output().unwrap();
    std::fs::write(folder.path().join("key.pem"), key.stdout).unwrap();
    let sections = [
        "{proxy_url: 'http://u:p@proxy.example:3128', no_proxy: 'a.example,10.0.0.0/8', skip_resolve_phase_with_proxy: true}",
        "{proxy_url: 'socks5://10.0.0.1', proxy_connect_header: {X-A: [a, b]}}",
        "{proxy_from_environment: true, proxy_connect_header: {X-A: [a]}}",
        "{oauth2: {client_id: a, client_secret: b, token_url: 'https://u:p@t/x', scopes: [c], endpoint_params: {d: e}}}",
        "{oauth2: {client_id: a, token_url: 'http://t', proxy_url: 'https://p', tls_config: {insecure_skip_verify: true}}}",
        "{oauth2: {client_id: a, token_url: 'http://t', grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', \
          client_certificate_key_file: key.pem, client_certificate_key_id: k, signature_algorithm: RS384, iss: i, \
          audience: u, claims: {n: 1, t: true, s: 'true', l: [1.5, ~]}}}",
    ];
    for section in sections {
        settings(&folder, section);
    }
    let Grant::JwtBearer(assertion) = settings(&folder, sections[5]).oauth2.unwrap().grant else { panic!("no key") };
    let claims = serde_json::Value::from(assertion.claims);
    assert_eq!(claims.to_string(), r#"{"iss":"i","l":[1.5,null],"n":1,"s":"true","sub":"a","t":true}"#);
    assert_eq!((assertion.audience.as_str(), assertion.key_id.as_deref()), ("u", Some("k")));
}
