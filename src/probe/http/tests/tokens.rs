//! Probes that need a token.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::probe::run;

/// What was asked of a token server, head and form.
type Heard = Arc<Mutex<Vec<String>>>;

/// A token server that gives out `t1`, `t2`, … after `thinks` milliseconds; `in_form`: it does not know Basic.
fn token_server(lifetime: u32, thinks: u64, in_form: bool) -> (String, Heard) {
    let heard = Heard::default();
    let (log, count) = (heard.clone(), AtomicU32::new(0));
    let address = serve(V4, move |mut stream| {
        let mut request = hear(&mut stream);
        while request.ends_with("\r\n\r\n") {
            request += &hear(&mut stream);
        }
        let refused = in_form && request.contains("uthorization: ");
        log.lock().unwrap().push(request);
        sleep(thinks);
        let body = match refused {
            true => r#"{"error":"invalid_client"}"#.to_owned(),
            false => {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{lifetime}}}"#)
            }
        };
        let status = if refused { "401 Unauthorized" } else { "200 OK" };
        let length = body.len();
        say(
            &mut stream,
            &format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"),
        );
    });
    (format!("http://{address}/token?tenant=hidden"), heard)
}

/// A server that answers 200 to one token, and 401 to others.
fn target(token: &'static str) -> String {
    let address = serve(V4, move |mut stream| {
        let right = hear(&mut stream).contains(&format!("\r\nAuthorization: Bearer {token}\r\n"));
        let status = if right { "200 OK" } else { "401 Unauthorized" };
        say(&mut stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    });
    format!("http://{address}/")
}

fn needing_token(url: &str) -> Settings {
    let grant = Grant::ClientCredentials {
        id: "me".into(),
        secret: "s3:cret".into(),
        form: vec![("grant_type".into(), "client_credentials".into()), ("scope".into(), "a b".into())],
    };
    let tls = settings().tls;
    let url = Url::parse(url).unwrap();
    let oauth2 = OAuth2 { url, grant, tls, proxies: None, tokens: Default::default() };
    Settings { oauth2: Some(oauth2), ..settings() }
}

fn asking(settings: Settings, target: &str) -> crate::probe::Request {
    request(Prober::Http(Box::new(settings)), target, PATIENCE)
}

#[tokio::test]
async fn a_token_is_fetched_once_in_its_own_phase_and_kept() {
    let (url, heard) = token_server(3600, 100, false);
    let request = asking(needing_token(&url), &target("t1"));
    let first = probe(&request).await;
    check_success(&first);
    check_phase(&first, Phase::Token, 99..140);
    for phase in [Phase::Connect, Phase::Processing] {
        check_phase(&first, phase, 0..50);
    }
    let resolved = first.resolution.as_ref().map(|resolution| resolution.name.as_str());
    assert_eq!(resolved, Some("127.0.0.1"), "the name is the target's");
    let second = probe(&request).await;
    check_success(&second);
    assert_eq!(seconds(&second, Phase::Token), None);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    let (head, form) = heard[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token?tenant=hidden HTTP/1.1\r\n"), "{head}");
    // me and s3%3Acret
    assert!(head.contains("\r\nAuthorization: Basic bWU6czMlM0FjcmV0"), "{head}");
    assert_eq!(form, "grant_type=client_credentials&scope=a+b");
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_not_kept() {
    let (url, heard) = token_server(10, 0, false);
    let request = asking(needing_token(&url), &target("t1"));
    check_success(&probe(&request).await);
    check_failure(&probe(&request).await, Phase::Transfer, Reason::HttpStatusUnexpected(StatusClass::ClientError));
    assert_eq!(heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_dropped_and_each_probe_asks_once() {
    let (url, heard) = token_server(3600, 0, false);
    let request = asking(needing_token(&url), &target("t2"));
    check_failure(&probe(&request).await, Phase::Transfer, Reason::HttpStatusUnexpected(StatusClass::ClientError));
    check_success(&probe(&request).await);
    check_success(&probe(&request).await);
    assert_eq!(heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn of_many_probes_one_fetches_and_every_isp_has_its_own_token() {
    let (url, heard) = token_server(3600, 100, false);
    let request = asking(needing_token(&url), &target("t1"));
    let probes: Vec<_> = (0..5)
        .map(|_| {
            tokio::spawn({
                let request = request.clone();
                async move { watch(run(&request)).await }
            })
        })
        .collect();
    for probe in probes {
        let report = probe.await.unwrap();
        check_success(&report);
        check_phase(&report, Phase::Token, 90..160);
    }
    assert_eq!(heard.lock().unwrap().len(), 1);
    let source = crate::net::Source { v4: Some(std::net::Ipv4Addr::LOCALHOST), ..Default::default() };
    let isp = crate::probe::Isp { name: "a".into(), source, ..Default::default() };
    let other = crate::probe::Request { isp: Some(Arc::new(isp)), ..request };
    probe(&other).await;
    assert_eq!(heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_is_fetched_through_the_isps_proxy() {
    // A proxy that answers itself, to the one who asks for a token and to the one who has it.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = heard.clone();
    let proxy = serve(V4, move |mut stream| {
        let request = hear(&mut stream);
        let body = if request.starts_with("POST") { r#"{"access_token":"t1"}"# } else { "well" };
        log.lock().unwrap().push(request.lines().next().unwrap_or_default().to_owned());
        say(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    });
    let isps = format!("isps: {{a: {{source_ip: 127.0.0.1, proxy_url: 'http://{proxy}'}}}}\nmodules: {{}}");
    let isp = Arc::clone(&crate::config::load_str(&isps, "test.yml").unwrap().isps["a"]);
    let request = asking(needing_token("http://token.invalid/token"), "http://192.0.2.1/");
    check_success(&probe(&crate::probe::Request { isp: Some(isp), ..request }).await);
    let expected = ["POST http://token.invalid/token HTTP/1.1", "GET http://192.0.2.1/ HTTP/1.1"];
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_probe_that_is_cut_leaves_the_fetch_to_the_next() {
    let (url, heard) = token_server(3600, 200, false);
    let patient = asking(needing_token(&url), &target("t2"));
    let hasty = crate::probe::Request { timeout: Duration::from_millis(100), ..patient.clone() };
    let cut = probe(&hasty).await;
    check_failure(&cut, Phase::Token, Reason::HttpResponseTimeout(Late::Server));
    let detail = &cut.failure.as_ref().unwrap().detail;
    assert!(detail.starts_with("the token server http://") && !detail.contains("hidden"), "{detail}");
    check_success(&probe(&patient).await);
    assert_eq!(heard.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_reads_the_form_only_is_asked_so_from_then_on() {
    let (url, heard) = token_server(1, 0, true);
    let request = asking(needing_token(&url), &target("t1"));
    let report = probe(&request).await;
    check_success(&report);
    probe(&request).await;
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3, "Basic and form, then form");
    for said in &heard[1..] {
        assert!(
            said.ends_with("grant_type=client_credentials&scope=a+b&client_id=me&client_secret=s3%3Acret"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_token_server_is_told_in_its_name() {
    let says = |answer: &'static str| {
        let address = serve(V4, move |mut stream| {
            hear(&mut stream);
            say(&mut stream, answer);
        });
        format!("http://{address}/token")
    };
    let closed = format!("http://{}/token", closed(V4));
    let cases = [
        (closed, Reason::ConnectionRefused, "connecting"),
        (says(""), Reason::ConnectionTerminated, "no response"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Reason::HttpProtocolError, "no access_token"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), Reason::HttpResponseIncomplete, "broke off"),
        (
            says("HTTP/1.1 400 Bad\r\nContent-Length: 23\r\n\r\n{\"error\":\"unauthorized\"}"),
            Reason::HttpStatusUnexpected(StatusClass::ClientError),
            "400",
        ),
        (says("HTTP/1.1 500 Bad\r\n\r\n"), Reason::HttpStatusUnexpected(StatusClass::ServerError), "500"),
        ("http://no-such-name.invalid/token".into(), Reason::DnsNxdomain, "no-such-name"),
    ];
    for (url, reason, part) in cases {
        let report = probe(&asking(needing_token(&url), "http://127.0.0.1:1/")).await;
        if reason == Reason::DnsNxdomain {
            // Whether there is a name server to say so depends on the host.
            assert_eq!(report.failure.as_ref().map(|failure| failure.phase), Some(Phase::Token), "{report:#?}");
        } else {
            check_failure(&report, Phase::Token, reason);
        }
        let detail = &report.failure.as_ref().unwrap().detail;
        assert!(detail.starts_with(&format!("the token server {url}: ")) && detail.contains(part), "{detail}");
        // The target was resolved, and is told as blackbox_exporter tells it.
        let resolved = report.resolution.as_ref().map(|resolution| (resolution.name.as_str(), resolution.address));
        assert_eq!(resolved, Some(("127.0.0.1", Some(V4))));
        let metrics = crate::render::text(&crate::metrics::of_report(&report));
        for series in [
            "probe_dns_lookup_time_seconds ",
            "probe_ip_protocol 4\n",
            "probe_ip_addr_hash ",
            "probe_http_duration_seconds{phase=\"resolve\"} ",
        ] {
            assert!(metrics.contains(&format!("\n{series}")), "{series}: {metrics}");
        }
    }
}
