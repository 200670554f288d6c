use flate2::write::GzEncoder;
use http::HeaderName;

use super::*;
use crate::re2::Regex;

/// A server that answers every request with a body of JSON.
fn server() -> String {
    says("HTTP/1.1 200 OK\r\nContent-Length: 17\r\nX-A: one\r\nX-A: two\r\n\r\n{\"status\":\"ok\", 1")
}

fn body(regex: &str, forbids: bool) -> Expectations {
    of_body(BodyRules { text: vec![BodyRule { regex: Regex::new(regex).unwrap(), forbids }], json: vec![] })
}

fn header(name: &'static str, regex: &str, forbids: bool, allow_missing: bool) -> Expectations {
    let rule = HeaderRule { name: name.parse().unwrap(), regex: Regex::new(regex).unwrap(), forbids, allow_missing };
    Expectations { headers: vec![rule], ..Expectations::default() }
}

fn json(text: &str) -> Expectations {
    of_body(BodyRules { text: vec![], json: vec![Condition::new(text, false).unwrap()] })
}

fn of_body(body: BodyRules) -> Expectations {
    Expectations { body: Arc::new(body), ..Expectations::default() }
}

#[tokio::test]
async fn headers_and_body_are_what_the_module_wants() {
    let url = server();
    let met = [
        body("^.{5}", false),
        body("down", true),
        header("x-a", "two", false, false),
        header("x-a", "three", true, false),
        header("x-b", "", false, true),
        header("x-b", "", true, true),
    ];
    for expectations in met {
        let report = get(expecting(expectations), &url, PATIENCE).await;
        check_success(&report);
        assert_eq!((measured(&report).failed_due_to_regex, measured(&report).failed_due_to_cel), (Some(false), None));
    }
    let failed = [
        (body("down", false), Reason::AssertionFailedBody),
        (body("status", true), Reason::AssertionFailedBody),
        (header("x-a", "^two$", true, false), Reason::AssertionFailedHeader),
        (header("x-a", "three", false, true), Reason::AssertionFailedHeader),
        (header("x-b", "", true, false), Reason::AssertionFailedHeader),
        (header("x-b", "", false, false), Reason::AssertionFailedHeader),
    ];
    for (expectations, reason) in failed {
        let report = get(expecting(expectations), &url, PATIENCE).await;
        check_failure(&report, Phase::Transfer, reason);
        assert_eq!(measured(&report).failed_due_to_regex, Some(true));
        // The response is read to its end all the same.
        assert_eq!(measured(&report).body_length, Some(17));
    }
}

#[tokio::test]
async fn a_condition_on_json_and_an_expression_are_both_asked() {
    let url = says("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}");
    let text = vec![BodyRule { regex: Regex::new("ok").unwrap(), forbids: false }];
    let both = BodyRules { text, json: vec![Condition::new("body.status == 'ok'", false).unwrap()] };
    let report = get(expecting(of_body(both)), &url, PATIENCE).await;
    check_success(&report);
    assert_eq!(measured(&report).failed_due_to_cel, Some(false));
    for (text, url) in [("body.status == 'down'", url), ("body.status == 'ok'", server())] {
        let report = get(expecting(json(text)), url, PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
        assert_eq!(
            (measured(&report).failed_due_to_regex, measured(&report).failed_due_to_cel),
            (Some(false), Some(true))
        );
    }
    let report = get(expecting(json("true")), "http://127.0.0.1:1/", PATIENCE).await;
    assert_eq!((measured(&report).failed_due_to_regex, measured(&report).failed_due_to_cel), (None, None));
}

#[tokio::test]
async fn the_body_of_a_redirect_that_is_not_followed_is_looked_at() {
    let url = says("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 4\r\n\r\ngone");
    let expectations = Expectations { status_codes: vec![302], ..body("gone", false) };
    let report = get(Settings { follow_redirects: false, ..expecting(expectations) }, url, PATIENCE).await;
    check_success(&report);
}

/// A server whose body is compressed by gzip; of `length` bytes before that.
fn zipped(length: usize) -> String {
    let address = serve(V4, move |mut stream| {
        hear(&mut stream);
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b'a'; length]).unwrap();
        let body = encoder.finish().unwrap();
        say(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        // The client may have had enough.
        let _ = stream.write_all(&body);
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn a_compressed_body_is_looked_at_uncompressed() {
    let unzip = |expectations| Settings { compression: Some(Compression::Gzip), ..expecting(expectations) };
    let report = get(unzip(body("^a+$", false)), zipped(1000), PATIENCE).await;
    check_success(&report);
    let found = measured(&report);
    assert_eq!(found.body_length, Some(1000));
    assert!(found.content_length.is_some_and(|length| length > 0 && length < 100), "{found:?}");

    let report = get(unzip(Expectations::default()), server(), PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
    assert_eq!(measured(&report).failed_due_to_regex, Some(false));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_a_failure_and_no_more_of_it_is_read() {
    let limited = |limit, compression| Settings { body_size_limit: Some(limit), compression, ..settings() };
    check_success(&get(limited(17, None), server(), PATIENCE).await);
    for (limit, compression, url) in [(16, None, server()), (1000, Some(Compression::Gzip), zipped(1 << 20))] {
        let report = get(limited(limit, compression), url, PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::HttpResponseBodySize);
        assert_eq!(measured(&report).body_length, Some(limit));
    }
}

#[test]
fn credentials_go_to_the_domain_of_the_target_and_not_beyond() {
    let mut secret = HeaderValue::from_static("s3cret");
    secret.set_sensitive(true);
    let settings = Settings {
        authorization: Some(HeaderValue::from_static("Bearer s3cret")),
        headers: HeaderMap::from_iter([
            (HeaderName::from_static("x-key"), secret.clone()),
            (HeaderName::from_static("x-open"), secret),
            (HeaderName::from_static("x-open"), HeaderValue::from_static("open")),
        ]),
        ..settings()
    };
    let sent = |url: &str, location: Option<&str>| {
        let hop = Hop::first(&settings, parse(url).unwrap(), None);
        let hop = match location {
            Some(location) => hop.follow(http::StatusCode::FOUND, location).unwrap(),
            None => hop,
        };
        let request = hop.request(Version::HTTP_11, None).unwrap();
        ["authorization", "x-key", "x-open"].map(|name| {
            let values: Vec<_> = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            values.join(" and ")
        })
    };
    let all = ["Bearer s3cret", "s3cret", "s3cret and open"].map(str::to_owned);
    assert_eq!(sent("http://a.example/", None), all);
    assert_eq!(sent("http://a.example/", Some("https://www.a.example/")), all);
    assert_eq!(sent("http://a.example/", Some("http://b.example/")), ["", "", "open"].map(str::to_owned));
    assert_eq!(sent("http://me:x@a.example/", None)[0], "Basic bWU6eA==");
}

#[tokio::test]
async fn a_body_that_is_an_address_and_nothing_else_is_the_public_one() {
    let reading = || Settings { public_ip: true, ..expecting(Expectations::default()) };
    let said = |body: &str| says(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    for (body, address) in [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7\r\n", "203.0.113.7"),
        ("2001:db8::7\n", "2001:db8::7"),
        ("::ffff:203.0.113.7\n", "203.0.113.7"),
    ] {
        let report = get(reading(), &said(body), PATIENCE).await;
        check_success(&report);
        assert_eq!(report.public_ip(), address.parse().ok(), "{body:?}");
    }
    for body in ["", "203.0.113.7 x", "203.0.113.7:80", "[2001:db8::7]", "<html>", "\u{ff}"] {
        let report = get(reading(), &said(body), PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
        let detail = &report.failure.as_ref().unwrap().detail;
        assert!(detail.starts_with("public_ip: the body is not an address and nothing else: "), "{detail}");
        assert_eq!((report.public_ip(), measured(&report).failed_due_to_regex), (None, Some(false)));
    }
    // Of what fails anyway nothing is read, and without the field nothing is.
    let failed = says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 11\r\n\r\n203.0.113.7");
    let report = get(reading(), &failed, PATIENCE).await;
    assert_eq!((report.public_ip(), report.failure.is_some()), (None, true));
    let report = get(expecting(Expectations::default()), &said("203.0.113.7"), PATIENCE).await;
    assert_eq!((report.public_ip(), report.failure.as_ref()), (None, None));
    // Other rules for the body hold, too.
    let report =
        get(Settings { public_ip: true, ..expecting(body("^198", false)) }, &said("203.0.113.7"), PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::AssertionFailedBody);
    assert_eq!((report.public_ip(), measured(&report).failed_due_to_regex), ("203.0.113.7".parse().ok(), Some(true)));
}
