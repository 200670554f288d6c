//! The requests of a chain of redirects, each told by itself.

use super::*;

fn phases(request: &Request) -> Vec<Phase> {
    request.phases.iter().map(|(phase, _)| *phase).collect()
}

fn span(request: &Request, wanted: Phase) -> Duration {
    request.phases.iter().find(|(phase, _)| *phase == wanted).unwrap().1
}

#[tokio::test]
async fn each_request_of_a_chain_has_its_own_part() {
    for ip in BOTH {
        let address = serve(ip, |mut stream| {
            let request = hear(&mut stream);
            match request.split(' ').nth(1).unwrap() {
                "/a" => {
                    sleep(60);
                    let location = format!("//user:secret@{}/b", stream.local_addr().unwrap());
                    say(&mut stream, &format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
                }
                "/b" => {
                    sleep(20);
                    say(&mut stream, "HTTP/1.1 307 x\r\nlocation: c?d#e\r\n\r\n");
                }
                _ => {
                    say(&mut stream, "HTTP/1.1 200 x\r\nContent-Type: text/plain\r\nA: 1\r\nA: 2\r\n\r\n01234");
                    sleep(40);
                    say(&mut stream, "56789");
                }
            }
        });
        let settings = Settings { method: Method::POST, body: Bytes::from_static(b"question"), ..settings() };
        let report = get(settings, format!("http://user:secret@{address}/a"), PATIENCE).await;
        check_success(&report);
        let [a, b, c] = &measured(&report).requests[..] else { panic!("{report:#?}") };

        let url = |path: &str| format!("http://{address}{path}");
        assert_eq!([&a.url, &b.url, &c.url], [&url("/a"), &url("/b"), &url("/c?d#e")]);
        assert_eq!(
            [&a.redirect_url, &b.redirect_url, &c.redirect_url],
            [&Some(url("/b")), &Some(url("/c?d#e")), &None]
        );
        assert_eq!([&a.method, &b.method, &c.method], [&Method::POST, &Method::GET, &Method::GET]);
        assert_eq!([a, b, c].map(|request| request.body_length), [Some(8), Some(0), Some(0)]);
        assert_eq!([a, b, c].map(|request| request.status), [Some(302), Some(307), Some(200)]);
        assert_eq!([a, b, c].map(|request| request.response_headers), [Some(2), Some(1), Some(3)]);
        assert_eq!([&a.content_type, &c.content_type], [&None, &Some("text/plain".to_owned())]);

        let all = [Phase::Resolve, Phase::Connect, Phase::Processing, Phase::Transfer];
        for request in [a, b, c] {
            assert_eq!(
                phases(request)[..],
                all[usize::from(request.url == c.url)..],
                "a relative redirect stays with the address"
            );
            let Handshake { local, remote, rtt, syn_retransmits } = request.handshake;
            assert_eq!((local.unwrap().ip(), remote, syn_retransmits), (ip, Some(address), Some(0)));
            assert_eq!(rtt, Some(span(request, Phase::Connect)));
            assert_eq!(request.version, Some(1.1));
        }
        assert_ne!(a.handshake.local, b.handshake.local);
        for (request, phase, least) in
            [(a, Phase::Processing, 60), (b, Phase::Processing, 20), (b, Phase::Transfer, 0), (c, Phase::Transfer, 40)]
        {
            check_span(&report, phase, Some(span(request, phase)), least..least + 20);
        }
        assert_eq!(b.traffic.unwrap().received, "HTTP/1.1 307 x\r\nlocation: c?d#e\r\n\r\n".len() as u64);
        let referer = format!("Referer: {}\r\n", url("/a")).len() as u64;
        assert!(a.traffic.unwrap().sent + referer > b.traffic.unwrap().sent, "{report:#?}");
    }
}

#[tokio::test]
async fn a_redirect_that_is_not_followed_still_says_where_to() {
    let cases = [
        ("/a/b?c", Some("http://HOST/a/b?c")),
        ("https://user@b.example/", Some("https://b.example/")),
        ("ftp://a/", Some("ftp://a/")),
        ("http://:0:0/", None),
    ];
    for (location, expected) in cases {
        let address = serve(V4, move |mut stream| {
            hear(&mut stream);
            say(&mut stream, &format!("HTTP/1.1 301 x\r\nLocation: {location}\r\n\r\n"));
        });
        let stay = Settings {
            follow_redirects: false,
            ..expecting(Expectations { status_codes: vec![301], ..Expectations::default() })
        };
        let report = get(stay, address, PATIENCE).await;
        check_success(&report);
        let [request] = &measured(&report).requests[..] else { panic!("{report:#?}") };
        let expected = expected.map(|url| url.replace("HOST", &address.to_string()));
        assert_eq!(request.redirect_url, expected, "{location}");
    }
}

#[tokio::test]
async fn the_certificates_are_those_of_the_last_response() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let closed = closed(V4);
    let plain = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    // Nobody is there; somebody speaks no TLS; and one that answers, without TLS.
    for (to, reason) in [
        (format!("https://{closed}/"), Some(Reason::ConnectionRefused)),
        (format!("http://{closed}/"), Some(Reason::ConnectionRefused)),
        (format!("https://{plain}/"), Some(Reason::TlsProtocolError)),
        (format!("http://{plain}/"), None),
    ] {
        let (config, location) = (Arc::clone(&config), to.clone());
        let redirecting = serve(V4, move |stream| {
            let mut stream = under_tls(&config, stream);
            if !hear(&mut stream).is_empty() {
                say(&mut stream, &format!("HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
            }
        });
        let url = format!("https://localhost:{}/", redirecting.port());
        let report = get(Settings { tls: trusting(Some(authority.pem()), &[]), ..settings() }, &url, PATIENCE).await;
        assert_eq!(report.failure.as_ref().map(|failure| failure.reason), reason, "{to}: {report:#?}");
        let measured = measured(&report);
        let shown = measured.tls.as_ref().map(|facts| facts.chain.len());
        let expected = match reason {
            Some(_) => (Some(302), Some(true), Some(1)),
            None => (Some(200), Some(false), None),
        };
        assert_eq!((measured.status, measured.ssl, shown), expected, "{to}");
    }
}

#[tokio::test]
async fn what_comes_instead_of_a_response_came_when_it_came() {
    for words in ["", "nonsense\r\n\r\n"] {
        let server = serve(V4, move |mut stream| {
            hear(&mut stream);
            sleep(80);
            say(&mut stream, words);
        });
        let stall = stall();
        let report = get(settings(), server, PATIENCE).await;
        stall.await.unwrap();
        assert!(!report.success(), "{report:#?}");
        check_phase(&report, Phase::Processing, 79..105);
    }
}

#[tokio::test]
async fn the_request_that_failed_is_told_as_far_as_it_got() {
    let closed = closed(V4);
    let redirecting = serve(V4, move |mut stream| {
        hear(&mut stream);
        say(&mut stream, &format!("HTTP/1.1 302 x\r\nLocation: http://{closed}/\r\n\r\n"));
    });
    let report = get(settings(), redirecting, PATIENCE).await;
    check_failure(&report, Phase::Connect, Reason::ConnectionRefused);
    let [first, refused] = &measured(&report).requests[..] else { panic!("{report:#?}") };
    assert_eq!((first.status, phases(first).len()), (Some(302), 4));
    assert_eq!(phases(refused), [Phase::Resolve, Phase::Connect]);
    let Handshake { local, remote, rtt, syn_retransmits } = refused.handshake;
    assert_eq!((local.map(|local| local.ip()), remote), (Some(V4), Some(closed)));
    assert_ne!(local.unwrap().port(), 0);
    assert_eq!((rtt, syn_retransmits), (None, Some(0)));
    assert_eq!((refused.status, refused.traffic, refused.body_length), (None, None, None));

    let silent = serve(V4, |stream| {
        sleep(1000);
        drop(stream);
    });
    let report = get(settings(), silent, Duration::from_millis(200)).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Server));
    let [request] = &measured(&report).requests[..] else { panic!("{report:#?}") };
    assert_eq!(request.phases, report.phases);
    assert_eq!((request.status, request.body_length), (None, Some(0)));
    let traffic = request.traffic.unwrap();
    assert!(traffic.sent > 50 && traffic.received == 0, "{traffic:?}");
}
