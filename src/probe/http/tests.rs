mod expectations;
mod http2;
mod http3;
mod proxies;
mod requests;
mod targets;
mod tokens;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConfig;

use super::*;
use crate::net::tls::TlsOptions;
use crate::probe::testing::*;
use crate::probe::{Prober, Report};
use crate::verdict::{CertificateFault, Late, StatusClass};

const PATIENCE: Duration = Duration::from_secs(5);

fn settings() -> Settings {
    Settings::new(Arc::new(Tls::new(TlsOptions::default()).unwrap()))
}

/// The settings, with something that is wanted of the response.
fn expecting(expectations: Expectations) -> Settings {
    Settings { expectations, ..settings() }
}

async fn get(settings: Settings, url: impl ToString, timeout: Duration) -> Report {
    probe(&request(Prober::Http(Box::new(settings)), url, timeout)).await
}

fn measured(report: &Report) -> &Measurement {
    match &report.measurement {
        crate::probe::Measurement::Http(measured) => measured,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_phase_is_as_long_as_the_server_makes_it() {
    for ip in BOTH {
        let address = serve(ip, |mut stream| {
            let request = hear(&mut stream);
            let expected = format!(
                "GET /a?b=c HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: uplink_exporter/{}\r\n\r\n",
                stream.local_addr().unwrap(),
                env!("CARGO_PKG_VERSION"),
            );
            let mut lines: Vec<_> = request.split("\r\n").collect();
            let mut expected: Vec<_> = expected.split("\r\n").collect();
            lines.sort_unstable();
            expected.sort_unstable();
            assert_eq!(lines, expected);
            sleep(80);
            say(&mut stream, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            sleep(40);
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
            sleep(50);
            say(&mut stream, "56789");
        });
        let report = get(settings(), format!("http://{address}/a?b=c"), PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Processing, 119..160);
        check_phase(&report, Phase::Transfer, 49..80);
        assert_eq!(seconds(&report, Phase::Tls), None);
        let expected = Measurement {
            status: Some(200),
            version: Some(1.1),
            content_length: Some(10),
            body_length: Some(10),
            failed_due_to_regex: Some(false),
            ssl: Some(false),
            ..Measurement::default()
        };
        let measured = Measurement { requests: vec![], ..measured(&report).clone() };
        assert_eq!(measured, expected);
    }
}

/// A server that says one thing to every request, and ends the connection.
fn says(answer: impl AsRef<str> + Send + Sync + 'static) -> String {
    let address = serve(V4, move |mut stream| {
        hear(&mut stream);
        say(&mut stream, answer.as_ref());
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn what_is_wrong_with_a_response_is_told() {
    use Phase::{Processing, Transfer};
    use Reason::*;
    let cases = [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            Transfer,
            HttpStatusUnexpected(StatusClass::ClientError),
        ),
        ("HTTP/1.1 500 x\r\n\r\nend", Transfer, HttpStatusUnexpected(StatusClass::ServerError)),
        ("HTTP/1.1 302 x\r\n\r\n", Transfer, HttpStatusUnexpected(StatusClass::Redirection)),
        ("HTTP/1.1 429 x\r\n\r\n", Transfer, HttpRateLimited { by_envoy: false }),
        ("HTTP/1.1 503 x\r\nServer: envoy\r\n\r\nno healthy upstream", Transfer, HttpUpstreamUnhealthy),
        ("HTTP/1.1 404 x\r\nServer: envoy\r\nContent-Length: 0\r\n\r\n", Transfer, HttpNoRoute),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            Transfer,
            HttpStatusUnexpected(StatusClass::Informational),
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", Processing, HttpProtocolError),
        ("HTTP/1.1 OK\r\n\r\n", Processing, HttpProtocolError),
        ("\r\nHTTP/1.1 500 x\r\n\r\n", Transfer, HttpStatusUnexpected(StatusClass::ServerError)),
        ("", Processing, ConnectionTerminated),
        ("HTTP/1.1 20", Transfer, HttpResponseIncomplete),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123", Transfer, HttpResponseIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n", Transfer, HttpResponseIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Transfer, HttpProtocolError),
        ("HTTP/1.1 302 x\r\nLocation: ftp://a/\r\n\r\n", Transfer, HttpProtocolError),
    ];
    for (answer, phase, reason) in cases {
        let report = get(settings(), says(answer), PATIENCE).await;
        check_failure(&report, phase, reason);
    }
}

#[tokio::test]
async fn a_response_may_have_many_headers_but_not_any_number() {
    let many = |count: usize, length: usize| {
        let address = serve(V4, move |mut stream| {
            hear(&mut stream);
            let value = "x".repeat(length);
            let headers: String = (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect();
            say(&mut stream, &format!("HTTP/1.1 200 OK\r\n{headers}\r\n"));
        });
        get(settings(), address, PATIENCE)
    };
    for (count, length) in [(101, 1), (9_000, 50), (10, 50_000)] {
        let report = many(count, length).await;
        check_success(&report);
        assert_eq!(measured(&report).requests[0].response_headers, Some(count));
    }
    for (count, length) in [(30_000, 1), (80, 50_000)] {
        check_failure(&many(count, length).await, Phase::Transfer, Reason::HttpResponseHeaderSize);
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_a_timeout_in_its_phase() {
    let short = Duration::from_millis(300);
    let silent = serve(V4, |stream| {
        sleep(1000);
        drop(stream);
    });
    let report = get(settings(), silent, short).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));
    check_phase(&report, Phase::Processing, 290..301);

    let stalled = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123");
        sleep(1000);
    });
    let report = get(settings(), stalled, short).await;
    check_failure(&report, Phase::Transfer, Reason::HttpResponseTimeout(Late::Unknown));
    check_phase(&report, Phase::Transfer, 280..301);
    assert_eq!((measured(&report).status, measured(&report).body_length), (Some(200), Some(4)));

    let report = get(settings(), format!("https://{silent}"), short).await;
    check_failure(&report, Phase::Tls, Reason::TlsTimeout);
    check_phase(&report, Phase::Tls, 290..301);
}

#[tokio::test]
async fn a_server_that_does_not_take_the_body_is_not_one_that_thinks() {
    let short = Duration::from_millis(900);
    let deaf = || serve(V4, |stream| drop((sleep(2000), stream)));
    let posting = |length| Settings { method: Method::POST, body: Bytes::from(vec![b'x'; length]), ..settings() };
    let report = get(posting(16 << 20), deaf(), short).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionWriteTimeout);
    check_phase(&report, Phase::Processing, 880..901);
    let report = get(posting(1000), deaf(), short).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));

    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let deaf = serve(V4, move |stream| {
        let mut stream = under_tls(&config, stream);
        let _ = stream.conn.complete_io(&mut stream.sock);
        sleep(2000);
    });
    let tls = trusting(Some(authority.pem()), &[]);
    let report = get(Settings { tls, ..posting(16 << 20) }, format!("https://{deaf}"), short).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionWriteTimeout);
}

#[tokio::test]
async fn a_reset_is_told_by_its_phase() {
    let reset = |before: &'static str| {
        serve(V4, move |mut stream| {
            hear(&mut stream);
            say(&mut stream, before);
            sleep(20);
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        })
    };
    let report = get(settings(), reset(""), PATIENCE).await;
    check_failure(&report, Phase::Processing, Reason::ConnectionTerminated);
    let report = get(settings(), reset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::HttpResponseIncomplete);
    let report = get(settings(), format!("https://{}", reset("")), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::ConnectionResetHandshake);
    let closed = closed(V4);
    let report = get(settings(), closed, PATIENCE).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionRefused);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_accepting_is_told_alike_every_time() {
    let cases = [
        ("http", Phase::Processing, Reason::ConnectionTerminated),
        ("https", Phase::Tls, Reason::ConnectionResetHandshake),
    ];
    for by_reset in [true, false] {
        let server = serve(V4, move |stream| {
            if by_reset {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        });
        for (scheme, phase, reason) in cases {
            let request = request(Prober::Http(Box::new(settings())), format!("{scheme}://{server}/"), PATIENCE);
            for _ in 0..200 {
                check_failure(&probe(&request).await, phase, reason);
            }
        }
    }
}

#[tokio::test]
async fn the_length_of_a_body_is_known_or_not() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n", -1, 4),
        ("HTTP/1.0 200 OK\r\n\r\n012345", -1, 6),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0, 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nLast-Modified: Thu, 01 Jan 1970 00:00:09 GMT\r\n\r\nabc", 3, 3),
    ];
    for (answer, content, body) in cases {
        let report = get(settings(), says(answer), PATIENCE).await;
        check_success(&report);
        let measured = measured(&report);
        assert_eq!((measured.content_length, measured.body_length), (Some(content), Some(body)), "{answer}");
        let modified = answer.contains("Last").then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        assert_eq!(measured.last_modified, modified);
    }
}

/// Redirects `/<n>` to `/<n - 1>`, and answers `/0` with the request.
fn countdown(status: u16) -> String {
    let address = serve(V4, move |mut stream| {
        let request = hear(&mut stream);
        let path = request.split(' ').nth(1).unwrap();
        match path[1..].parse::<u32>() {
            Ok(left) if left > 0 => {
                say(&mut stream, &format!("HTTP/1.1 {status} x\r\nLocation: /{}\r\n\r\nmoved", left - 1));
            }
            _ => say(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len())),
        }
    });
    format!("http://{address}/")
}

#[tokio::test]
async fn ten_redirects_are_followed() {
    let url = countdown(302);
    let report = get(settings(), format!("{url}10"), PATIENCE).await;
    check_success(&report);
    assert_eq!((measured(&report).redirects, measured(&report).status), (10, Some(200)));

    let report = get(settings(), format!("{url}11"), PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::TooManyRedirects);
    assert_eq!((measured(&report).redirects, measured(&report).status), (11, Some(302)));

    let stay = Settings {
        follow_redirects: false,
        ..expecting(Expectations { status_codes: vec![302], ..Expectations::default() })
    };
    let report = get(stay, format!("{url}11"), PATIENCE).await;
    check_success(&report);
    assert_eq!((measured(&report).redirects, measured(&report).body_length), (1, Some(5)));
}

#[test]
fn a_redirect_changes_method_body_and_secrets_as_it_must() {
    let settings = Settings {
        method: Method::POST,
        body: Bytes::from_static(b"question"),
        host: Some("virtual.example".into()),
        headers: HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_static("secret")),
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        ]),
        ..settings()
    };
    let hop = || Hop::first(&settings, parse("https://user:p%40ss@a.example/x/y").unwrap(), None);
    let request = hop().request(Version::HTTP_11, None).unwrap();
    assert_eq!(request.uri(), "/x/y");
    assert_eq!(request.headers()["host"], "virtual.example");
    assert_eq!(request.headers()["authorization"], "secret");
    assert_eq!(hop().server_name(Some("configured")), "configured");
    assert_eq!(hop().server_name(None), "virtual.example");

    let follow = |status: u16, location| hop().follow(status.try_into().unwrap(), location).unwrap();
    let kept = follow(307, "../z").request(Version::HTTP_2, None).unwrap();
    assert_eq!(kept.uri(), "https://virtual.example/z");
    assert_eq!((kept.method(), kept.headers().len()), (&Method::POST, 4));
    assert_eq!(kept.headers()["referer"], "https://a.example/x/y");
    let beside = follow(303, "https://a.example:444/");
    assert_eq!(beside.server_name(Some("configured")), "a.example", "another port is another server");
    assert_eq!(follow(303, "https://a.example:443/").server_name(Some("configured")), "configured");
    let elsewhere = follow(303, "https://b.example/");
    assert_eq!(elsewhere.server_name(Some("configured")), "b.example");
    let elsewhere = elsewhere.request(Version::HTTP_2, None).unwrap();
    assert_eq!((elsewhere.method(), elsewhere.uri().host()), (&Method::GET, Some("b.example")));
    assert_eq!(elsewhere.headers().len(), 2, "{:?}", elsewhere.headers());
    assert_eq!(elsewhere.headers()["referer"], "https://a.example/x/y");
    let plain = follow(307, "http://a.example/").request(Version::HTTP_11, None).unwrap();
    assert!(!plain.headers().contains_key("referer"), "what was asked for under TLS is told in clear");
    let below = follow(308, "//www.a.example/").request(Version::HTTP_11, None).unwrap();
    assert_eq!(below.headers()["host"], "www.a.example");
    assert_eq!(below.headers()["authorization"], "secret");

    let own = Settings {
        headers: HeaderMap::from_iter([
            (header::REFERER, HeaderValue::from_static("mine")),
            (header::USER_AGENT, HeaderValue::from_static("")),
        ]),
        ..super::tests::settings()
    };
    let own =
        Hop::first(&own, parse("http://a.example/x#y").unwrap(), None).follow(http::StatusCode::FOUND, "/z").unwrap();
    let own = own.request(Version::HTTP_11, None).unwrap();
    assert_eq!(own.headers()["referer"], "mine");
    assert!(!own.headers().contains_key("user-agent"), "an empty one says that there is to be none");

    let basic = Hop::first(&super::tests::settings(), parse("user:p%40ss@a.example").unwrap(), None);
    let basic = basic.request(Version::HTTP_11, None).unwrap();
    assert_eq!(basic.headers()["authorization"], "Basic dXNlcjpwQHNz");
}

/// Answers over TLS; the first line says how long it takes where.
fn tls_server(config: ServerConfig) -> String {
    let config = Arc::new(config);
    let address = serve(V4, move |stream| {
        sleep(60);
        let mut stream = under_tls(&config, stream);
        if hear(&mut stream).is_empty() {
            return;
        }
        sleep(80);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        sleep(50);
        say(&mut stream, "56789");
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    format!("https://localhost:{}/", address.port())
}

#[tokio::test]
async fn tls_has_its_phase_and_its_facts() {
    let authority = authority();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let identity = identity(params(), Some(&authority));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = config.with_no_client_auth().with_single_cert(identity.chain, identity.key).unwrap();
        let url = tls_server(config);
        let settings = Settings { tls: trusting(Some(authority.pem()), &["h2", "http/1.1"]), ..settings() };
        let report = get(settings, url, PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Tls, 59..100);
        check_phase(&report, Phase::Processing, 79..120);
        check_phase(&report, Phase::Transfer, 49..90);
        let measured = measured(&report);
        assert_eq!((measured.ssl, measured.version), (Some(true), Some(1.1)));
        let facts = measured.tls.as_ref().unwrap();
        assert_eq!(facts.version == Some("TLS 1.3"), version.version == rustls::ProtocolVersion::TLSv1_3);
        assert_eq!(facts.chain[0].subject_alternative, "localhost");
        assert_eq!(facts.chain_expiry, Some(facts.chain[0].not_after));
    }
}

#[tokio::test]
async fn a_bad_certificate_is_told_with_its_facts() {
    let authority = authority();
    let trusted = trusting(Some(authority.pem()), &[]);
    let dated = |from, to| {
        let mut params = params();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params
    };
    let other = CertificateParams::new(vec!["other.example".into()]).unwrap();
    let stranger = super::super::testing::authority();
    let cases = [
        (identity(dated(2001, 2002), Some(&authority)), CertificateFault::Expired),
        (identity(dated(2901, 2902), Some(&authority)), CertificateFault::NotYetValid),
        (identity(other, Some(&authority)), CertificateFault::NameMismatch),
        (identity(params(), None), CertificateFault::SelfSigned),
        (identity(params(), Some(&stranger)), CertificateFault::UnknownCa),
    ];
    for (identity, fault) in cases {
        let url = tls_server(server_config(identity));
        let report = get(Settings { tls: trusted.clone(), ..settings() }, &url, PATIENCE).await;
        check_failure(&report, Phase::Tls, Reason::TlsCertificateError(fault));
        let facts = measured(&report).tls.as_ref().unwrap();
        assert_eq!((facts.version, facts.chain.len(), facts.chain_expiry), (Some("TLS 1.3"), 1, None));
        assert_eq!(measured(&report).status, None);

        let options = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        let report = get(Settings { tls: Arc::new(Tls::new(options).unwrap()), ..settings() }, &url, PATIENCE).await;
        check_success(&report);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_in_ca_file_is_trusted() {
    let key = rcgen::KeyPair::generate().unwrap();
    for is_ca in [rcgen::IsCa::NoCa, rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
        let mut params = params();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let url = tls_server(server_config(Identity { chain: vec![certificate.der().clone()], key }));
        let tls = trusting(Some(certificate.pem()), &[]);
        let report = get(Settings { tls: tls.clone(), ..settings() }, &url, PATIENCE).await;
        check_success(&report);
        let by_address = url.replace("localhost", "127.0.0.1");
        check_success(&get(Settings { tls: tls.clone(), ..settings() }, by_address, PATIENCE).await);
        let host = Some("other.example".to_owned());
        let report = get(Settings { tls, host, ..settings() }, url, PATIENCE).await;
        check_failure(&report, Phase::Tls, Reason::TlsCertificateError(CertificateFault::NameMismatch));
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_refuses() {
    let plain = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n");
        sleep(100);
    });
    let report = get(settings(), format!("https://{plain}"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsProtocolError);

    let closing = serve(V4, |mut stream| drop(hear(&mut stream)));
    let report = get(settings(), format!("https://{closing}"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::ConnectionResetHandshake);

    let half = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "\x16\x03\x03");
    });
    let report = get(settings(), format!("https://{half}"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::ConnectionTerminated);

    let alert = serve(V4, |mut stream| {
        hear(&mut stream);
        stream.write_all(&[21, 3, 3, 0, 2, 2, 112]).unwrap();
        sleep(100);
    });
    let report = get(settings(), format!("https://{alert}"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(112));

    // Of a certificate that nobody asked for, nothing can be said.
    let alert = serve(V4, |mut stream| {
        hear(&mut stream);
        stream.write_all(&[21, 3, 3, 0, 2, 2, 42]).unwrap();
        sleep(100);
    });
    let report = get(settings(), format!("https://{alert}"), PATIENCE).await;
    check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(42));
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_refuses_in_the_tls_phase() {
    let authority = authority();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let url = tls_server(demanding(version, &authority));
        let tls = trusting(Some(authority.pem()), &[]);
        let report = get(Settings { tls, ..settings() }, &url, PATIENCE).await;
        check_failure(&report, Phase::Tls, Reason::TlsClientCertRejected);

        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().signed_by(&key, &authority).unwrap();
        let options = TlsOptions {
            ca: Some(authority.pem().into_bytes()),
            cert: Some(certificate.pem().into_bytes()),
            key: Some(key.serialize_pem().into_bytes()),
            ..TlsOptions::default()
        };
        let tls = Arc::new(Tls::new(options).unwrap());
        check_success(&get(Settings { tls, ..settings() }, &url, PATIENCE).await);

        // h2 does not keep what it met; nor does it read on where the server hangs up with what we say unread.
        let mut config = demanding(version, &authority);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let url = tls_server(config);
        for _ in 0..20 {
            let tls = trusting(Some(authority.pem()), &["h2"]);
            let report = get(Settings { tls, ..settings() }, &url, PATIENCE).await;
            check_failure(&report, Phase::Tls, Reason::TlsClientCertRejected);
        }
    }
}

#[tokio::test]
async fn a_final_response_must_be_as_the_module_wants() {
    let url = says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let wants = |versions: &[&str]| versions.iter().map(|version| (*version).to_owned()).collect();
    let one = expecting(Expectations { versions: wants(&["HTTP/1.1"]), ..Expectations::default() });
    check_success(&get(one, &url, PATIENCE).await);
    let two = expecting(Expectations { versions: wants(&["HTTP/2.0"]), ..Expectations::default() });
    check_failure(&get(two, &url, PATIENCE).await, Phase::Transfer, Reason::AssertionFailedHeader);
    let encrypted = expecting(Expectations { tls: true, ..Expectations::default() });
    check_failure(&get(encrypted, &url, PATIENCE).await, Phase::Transfer, Reason::AssertionFailedTls);
    let codes = expecting(Expectations { status_codes: vec![404], ..Expectations::default() });
    let unexpected = Reason::HttpStatusUnexpected(StatusClass::Success);
    check_failure(&get(codes, &url, PATIENCE).await, Phase::Transfer, unexpected);
}

/// A server need not wait for the request, nor for all of it; one that closes while there is something to be read resets the connection.
#[tokio::test]
async fn a_server_that_speaks_first_is_heard() {
    let unexpected = Reason::HttpStatusUnexpected(StatusClass::ClientError);
    let cases = [
        ("HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nno\n", Phase::Transfer, unexpected),
        ("SSH-2.0-OpenSSH_9.2\r\n", Phase::Processing, Reason::HttpProtocolError),
    ];
    for ip in BOTH {
        for (words, phase, reason) in cases {
            for size in [0, 4 << 20] {
                let address = serve(ip, |mut stream| say(&mut stream, words));
                for _ in 0..20 {
                    let post = Settings { method: Method::POST, body: vec![b'.'; size].into(), ..settings() };
                    check_failure(&get(post, format!("http://{address}/"), PATIENCE).await, phase, reason);
                }
            }
        }
    }
}
