//! Probes through proxies: small ones of the test's own, and ones that refuse, break off or say nothing.

#![expect(clippy::disallowed_methods, reason = "the test's own proxies, which probe nothing")]

use std::io::{BufRead as _, BufReader, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;

use super::*;
use crate::probe::Isp;

/// What a proxy heard.
type Heard = Arc<Mutex<Vec<String>>>;

/// Copies what each side says to the other one, until one ends.
fn splice(client: impl Read + Send + 'static, mut to_client: impl Write, server: TcpStream) {
    let mut to_server = server.try_clone().unwrap();
    let mut client = client;
    spawn_server(move || {
        let _ = std::io::copy(&mut client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut server = server;
    let _ = std::io::copy(&mut server, &mut to_client);
}

/// Reads the head of a request.
fn head(stream: &mut (impl Read + ?Sized)) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A proxy of HTTP that connects `CONNECT`s after `thinks` milliseconds, wherever to, and forwards other requests, whole, to `server`.
fn http_proxy(server: SocketAddr, thinks: u64) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let log = heard.clone();
    let address = serve(V4, move |mut stream| {
        let head = head(&mut stream);
        log.lock().unwrap().push(head.clone());
        sleep(thinks);
        let mut server = TcpStream::connect(server).unwrap();
        server.set_nodelay(true).unwrap();
        match head.starts_with("CONNECT ") {
            true => say(&mut stream, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"),
            false => server.write_all(head.as_bytes()).unwrap(),
        }
        let to_client = stream.try_clone().unwrap();
        splice(stream, to_client, server);
    });
    (address, heard)
}

/// A proxy of SOCKS 5 that wants `password`, as RFC 1929 says it, where there is one, and connects to `server` whoever is asked for.
fn socks_proxy(server: SocketAddr, password: Option<&'static [u8]>) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let log = heard.clone();
    let address = serve(V4, move |stream| {
        let read = |count| {
            let mut bytes = vec![0; count];
            (&stream).read_exact(&mut bytes).map(|()| bytes).unwrap()
        };
        let greeting = read(2);
        let methods = read(greeting[1].into());
        let answer = |bytes: &[u8]| (&stream).write_all(bytes).unwrap();
        match password {
            None => answer(&[5, 0]),
            Some(_) if !methods.contains(&2) => return answer(&[5, 255]),
            Some(expected) => {
                answer(&[5, 2]);
                let mut said = vec![0; expected.len()];
                (&stream).read_exact(&mut said).unwrap();
                if said != expected {
                    return answer(&[1, 1]);
                }
                answer(&[1, 0]);
            }
        }
        let request = read(4);
        let host = match request[3] {
            1 => <[u8; 4]>::try_from(read(4)).map(|octets| IpAddr::from(octets).to_string()).unwrap(),
            4 => <[u8; 16]>::try_from(read(16)).map(|octets| IpAddr::from(octets).to_string()).unwrap(),
            _ => {
                let length = read(1)[0];
                String::from_utf8(read(length.into())).unwrap()
            }
        };
        let port = u16::from_be_bytes(read(2).try_into().unwrap());
        log.lock().unwrap().push(format!("{host} {port}"));
        answer(b"\x05\x00\x00\x03\x04name\x00\x50");
        let to_client = stream.try_clone().unwrap();
        splice(stream, to_client, TcpStream::connect(server).unwrap());
    });
    (address, heard)
}

/// A web server, plain or under TLS, that answers after 50 ms, and what it is asked.
fn web_server(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let log = heard.clone();
    let address = serve(V4, move |mut stream| {
        let answer = |stream: &mut dyn ReadWrite| {
            log.lock().unwrap().push(head(stream));
            sleep(50);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell");
            let _ = stream.flush();
        };
        match &tls {
            Some(tls) => answer(&mut under_tls(tls, stream)),
            None => answer(&mut stream),
        }
    });
    (address, heard)
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn through(url: &str, tls: &Tls) -> Proxies {
    let tls = Arc::new(tls.offering(vec![b"http/1.1".to_vec()]));
    let headers = HeaderMap::from_iter([(header::HeaderName::from_static("x-who"), HeaderValue::from_static("me"))]);
    let proxy = Proxy::new(&Url::parse(url).unwrap(), Some(tls), headers).unwrap().map(Arc::new);
    Proxies { http: proxy.clone(), https: proxy, except: None }
}

fn with_proxy(url: &str) -> Settings {
    let settings = settings();
    Settings { proxies: Some(through(url, &settings.tls)), ..settings }
}

fn only(heard: &Heard) -> String {
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    heard[0].clone()
}

#[tokio::test]
async fn an_https_target_is_reached_through_a_tunnel_whose_time_is_connects() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let (server, asked) = web_server(Some(config));
    let (proxy, heard) = http_proxy(server, 120);
    let tls = trusting(Some(authority.pem()), &["h2", "http/1.1"]);
    let proxies = through(&format!("http://me:p%40ss@{proxy}"), &tls);
    let report = get(
        Settings { proxies: Some(proxies), tls, ..settings() },
        format!("https://localhost:{}/x", server.port()),
        PATIENCE,
    )
    .await;
    check_success(&report);
    check_phase(&report, Phase::Connect, 119..160);
    check_phase(&report, Phase::Processing, 49..90);
    assert_eq!(seconds(&report, Phase::Query), None);
    // The name is resolved as without a proxy, and the address is what the proxy is asked for.
    let target = report.resolution.as_ref().unwrap();
    assert_eq!(target.name, "localhost");
    let authority = SocketAddr::new(target.address.unwrap(), server.port());
    let expected = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: uplink_exporter/{}\r\nX-Who: me\r\n\
         Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.split("\r\n").map(str::to_owned).collect();
        lines[1..].sort_unstable();
        lines
    };
    assert_eq!(sorted(&only(&heard)), sorted(&expected));
    let inner = only(&asked);
    assert!(inner.starts_with("GET /x HTTP/1.1\r\n") && !inner.to_lowercase().contains("proxy"), "{inner}");
    let request = &measured(&report).requests[0];
    assert_eq!(request.proxy.as_deref(), Some(&*format!("http://{proxy}")));
    assert_eq!(request.handshake.remote, Some(proxy));
    assert!(measured(&report).tls.as_ref().unwrap().chain_expiry.is_some());
}

#[tokio::test]
async fn a_plain_target_is_asked_for_in_absolute_form() {
    let (server, _) = web_server(None);
    let (proxy, heard) = http_proxy(server, 0);
    let settings = Settings { skip_resolve_phase_with_proxy: true, ..with_proxy(&format!("http://me:pw@{proxy}")) };
    let report = get(settings, "http://user:secret@no-such-name.invalid:81/a?b=c", PATIENCE).await;
    check_success(&report);
    assert_eq!((&report.resolution, seconds(&report, Phase::Resolve)), (&None, None));
    let head = only(&heard);
    assert!(head.starts_with("GET http://no-such-name.invalid:81/a?b=c HTTP/1.1\r\n"), "{head}");
    for line in [
        "Host: no-such-name.invalid:81",
        "Proxy-Authorization: Basic bWU6cHc=",
        "Authorization: Basic dXNlcjpzZWNyZXQ=",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(!head.contains("X-Who"), "it is for CONNECT: {head}");
}

#[tokio::test]
async fn a_proxy_under_tls_is_verified_by_its_own_name_and_carries_tls() {
    let authority = authority();
    let config = || {
        let mut config = server_config(identity(params(), Some(&authority)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    };
    let (server, _) = web_server(Some(Arc::new(server_config(identity(params(), Some(&authority))))));
    let outer = config();
    let proxy = serve(V4, move |stream| {
        let mut stream = under_tls(&outer, stream);
        assert!(head(&mut stream).starts_with("CONNECT "));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n");
        let mut server = TcpStream::connect(server).unwrap();
        server.set_nodelay(true).unwrap();
        stream.sock.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut buffer = [0; 16384];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => server.write_all(&buffer[..count]).unwrap(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            match server.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => stream.write_all(&buffer[..count]).and_then(|()| stream.flush()).unwrap(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    });
    let tls = trusting(Some(authority.pem()), &["http/1.1"]);
    let proxies = through(&format!("https://{proxy}"), &tls);
    let report =
        get(Settings { proxies: Some(proxies), tls, ..settings() }, format!("https://{server}/"), PATIENCE).await;
    check_success(&report);

    let tls = trusting(None, &[]);
    let proxies = through(&format!("https://{proxy}"), &tls);
    let report =
        get(Settings { proxies: Some(proxies), tls, ..settings() }, format!("https://{server}/"), PATIENCE).await;
    check_failure(&report, Phase::Connect, Reason::TlsCertificateError(CertificateFault::UnknownCa));
    assert!(report.failure.unwrap().detail.starts_with(&format!("the proxy https://{proxy}: ")));
    let crate::probe::Measurement::Http(measured) = report.measurement else { panic!() };
    assert_eq!(measured.tls, None, "what is told is the target's");
}

#[tokio::test]
async fn a_socks_proxy_is_handed_the_address_or_the_name() {
    let (server, _) = web_server(None);
    let cases = [
        ("socks5", "", false, "127.0.0.1"),
        ("socks5", "me:pw@", true, "localhost"),
        ("socks5h", "", false, "localhost"),
        ("socks5h", "me:pw@", true, "localhost"),
    ];
    for (scheme, user, skip, host) in cases {
        let (proxy, heard) = socks_proxy(server, (!user.is_empty()).then_some(b"\x01\x02me\x02pw"));
        let preference = Preference { family: crate::net::Family::V4, fallback: true };
        let settings = with_proxy(&format!("{scheme}://{user}{proxy}"));
        let settings = Settings { preference, skip_resolve_phase_with_proxy: skip, ..settings };
        let report = get(settings, "http://localhost:81/", PATIENCE).await;
        check_success(&report);
        assert_eq!(only(&heard), format!("{host} 81"), "{scheme} {skip}");
        assert_eq!(report.resolution.is_none(), skip);
    }
    let (proxy, heard) = socks_proxy(server, None);
    check_success(&get(with_proxy(&format!("socks5h://{proxy}")), "http://[2001:db8::1]:81/", PATIENCE).await);
    assert_eq!(only(&heard), "2001:db8::1 81");
}

#[tokio::test]
async fn a_proxy_that_refuses_says_so_in_its_own_name() {
    use Reason::*;
    let says = |answer: &'static [u8]| {
        serve(V4, move |mut stream| {
            hear(&mut stream);
            let _ = stream.write_all(answer);
        })
    };
    let socks = |answers: &'static [&'static [u8]]| {
        serve(V4, move |mut stream| {
            for answer in answers {
                hear(&mut stream);
                let _ = stream.write_all(answer);
            }
        })
    };
    let cases = [
        (
            "http",
            says(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!"),
            ProberConfigError,
            "407",
        ),
        ("http", says(b"HTTP/1.0 403 Forbidden\r\n\r\n"), HttpStatusUnexpected(StatusClass::ClientError), "403"),
        ("http", says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), HttpStatusUnexpected(StatusClass::ServerError), "502"),
        (
            "http",
            says(b"HTTP/1.1 503 Busy\r\nProxy-Status: p; error=connection_timeout\r\n\r\n"),
            HttpUpstreamUnhealthy,
            "p; error=connection_timeout",
        ),
        ("http", says(b"HTTP/1.1 429 Slow\r\n\r\n"), HttpRateLimited { by_envoy: false }, "429"),
        ("http", says(b""), ConnectionTerminated, "CONNECT"),
        ("http", says(b"HTTP/1.1 20"), ConnectionTerminated, "CONNECT"),
        ("http", says(b"SSH-2.0\r\n"), HttpProtocolError, "CONNECT"),
        ("http", says(b"HTTP/1.1 200 OK\r\n\r\nmore"), HttpProtocolError, "4 bytes"),
        ("socks5", socks(&[b"\x05\xff"]), ProberConfigError, "who asks"),
        ("socks5", socks(&[b"HTTP"]), HttpProtocolError, "SOCKS 5"),
        ("socks5://u:p@", socks(&[b"\x05\xff"]), ProberConfigError, "nor nobody"),
        ("socks5://u:p@", socks(&[b"\x05\x02", b"\x01\x01"]), ProberConfigError, "the user"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x01\x00\x01"]), ConnectionTerminated, "general"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x02\x00\x01"]), AdminProhibited, "rules"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x03\x00\x01"]), NetUnreachable, "network"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x04\x00\x01"]), HostUnreachable, "host"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x05\x00\x01"]), Reason::ConnectionRefused, "refused"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x06\x00\x01"]), TtlExceeded, "time to live"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x07\x00\x01"]), ProberConfigError, "no connections"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x08\x00\x01"]), ProberConfigError, "such an address"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x63\x00\x01"]), ConnectionTerminated, "code 99"),
        ("socks5", socks(&[b"\x05\x00", b"\x05\x00\x00\x09x"]), HttpProtocolError, "type 9"),
        ("socks5", socks(&[b"\x05\x00", b"\x05"]), ConnectionTerminated, "ended"),
    ];
    for (scheme, proxy, reason, part) in cases {
        let url = if scheme.contains("://") { format!("{scheme}{proxy}") } else { format!("{scheme}://{proxy}") };
        let report = get(with_proxy(&url), "https://192.0.2.1/", PATIENCE).await;
        check_failure(&report, Phase::Connect, reason);
        let detail = &report.failure.as_ref().unwrap().detail;
        let whom = format!("the proxy {}://{proxy}: ", url.split("://").next().unwrap());
        assert!(detail.starts_with(&whom) && detail.contains(part), "{detail}");
    }
}

/// It need not wait for the request, and one that closes while there is something to be read resets the connection.
#[tokio::test]
async fn a_proxy_that_speaks_first_is_heard() {
    let refused = Reason::HttpStatusUnexpected(StatusClass::ClientError);
    let cases = [
        ("http", "HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno\n", refused, "403"),
        ("http", "SSH-2.0-OpenSSH_9.2\r\n", Reason::HttpProtocolError, "CONNECT"),
        ("socks5", "SSH-2.0-OpenSSH_9.2\r\n", Reason::HttpProtocolError, "SOCKS 5"),
    ];
    for (scheme, words, reason, part) in cases {
        for pause in [0, 20] {
            let address = serve(V4, move |mut stream| {
                say(&mut stream, words);
                sleep(pause);
            });
            for _ in 0..20 {
                let settings = with_proxy(&format!("{scheme}://{address}"));
                let report = get(settings, "https://192.0.2.1/", PATIENCE).await;
                check_failure(&report, Phase::Connect, reason);
                let detail = &report.failure.as_ref().unwrap().detail;
                assert!(detail.contains(part), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_or_says_nothing_is_told_by_its_address() {
    let closed = closed(V4);
    for scheme in ["http", "socks5"] {
        let report = get(with_proxy(&format!("{scheme}://{closed}")), "http://192.0.2.1/", PATIENCE).await;
        check_failure(&report, Phase::Connect, Reason::ConnectionRefused);
        let detail = report.failure.unwrap().detail;
        assert!(detail.starts_with(&format!("the proxy {scheme}://{closed}: connecting to {closed}: ")), "{detail}");
    }
    let report = get(with_proxy("http://no-such-proxy.invalid:1"), "http://192.0.2.1/", PATIENCE).await;
    assert_eq!(report.failure.as_ref().map(|failure| failure.phase), Some(Phase::Resolve), "{report:#?}");
    assert!(report.failure.unwrap().detail.starts_with("the proxy http://no-such-proxy.invalid:1: "));

    let silent = serve(V4, |stream| drop((sleep(1000), stream)));
    let short = Duration::from_millis(300);
    for (scheme, target) in [("http", "https"), ("socks5", "http"), ("socks5h", "https")] {
        let report = get(with_proxy(&format!("{scheme}://{silent}")), format!("{target}://192.0.2.1/"), short).await;
        check_failure(&report, Phase::Connect, Reason::ConnectionReadTimeout);
        check_phase(&report, Phase::Connect, 280..301);
        assert!(report.failure.unwrap().detail.starts_with(&format!("the proxy {scheme}://{silent}: ")));
    }
    // Without a tunnel it is the response that does not come.
    let report = get(with_proxy(&format!("http://{silent}")), "http://192.0.2.1/", short).await;
    check_failure(&report, Phase::Processing, Reason::HttpResponseTimeout(Late::Unknown));
}

#[tokio::test]
async fn what_a_proxy_forwards_may_be_its_own_words() {
    let proxy = serve(V4, |mut stream| {
        hear(&mut stream);
        say(&mut stream, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    });
    let report = get(with_proxy(&format!("http://{proxy}")), "http://192.0.2.1/", PATIENCE).await;
    check_failure(&report, Phase::Transfer, Reason::HttpStatusUnexpected(StatusClass::ServerError));
    assert_eq!(measured(&report).status, Some(502));
    let detail = report.failure.unwrap().detail;
    assert_eq!(detail, format!("through the proxy http://{proxy}: the status is 502 Bad Gateway"));
}

#[tokio::test]
async fn hosts_of_no_proxy_are_connected_to_directly_by_name_or_by_address() {
    let (server, _) = web_server(None);
    let closed = closed(V4);
    let preference = Preference { family: crate::net::Family::V4, fallback: true };
    for list in ["localhost", "127.0.0.0/8", "*", "unrelated.example"] {
        let mut settings = Settings { preference, ..with_proxy(&format!("http://{closed}")) };
        settings.proxies.as_mut().unwrap().except = Some(NoProxy::parse(list).unwrap());
        let report = get(settings, format!("http://localhost:{}/", server.port()), PATIENCE).await;
        check_success(&report);
        assert_eq!(measured(&report).requests[0].proxy, None);
    }
}

#[tokio::test]
async fn every_request_of_a_chain_of_redirects_goes_its_own_way() {
    let (server, _) = web_server(None);
    let url = format!("http://{server}/there");
    let redirect = serve(V4, move |mut stream| {
        let mut lines = BufReader::new(&mut stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        say(&mut stream, &format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"));
    });
    let (proxy, heard) = http_proxy(redirect, 0);
    let mut settings = with_proxy(&format!("http://{proxy}"));
    settings.proxies.as_mut().unwrap().except = Some(NoProxy::parse("").unwrap());
    let report = get(settings, "http://192.0.2.1/here", PATIENCE).await;
    check_success(&report);
    assert!(only(&heard).starts_with("GET http://192.0.2.1/here "));
    let proxies: Vec<_> = measured(&report).requests.iter().map(|request| request.proxy.is_some()).collect();
    assert_eq!(proxies, [true, false]);
}

/// An ISP with a proxy.
fn isp(proxy: &str) -> Option<Arc<Isp>> {
    let isps = format!("isps: {{a: {{source_ip: 127.0.0.1, proxy_url: '{proxy}'}}}}\nmodules: {{}}");
    Some(Arc::clone(&crate::config::load_str(&isps, "test.yml").unwrap().isps["a"]))
}

async fn get_through(isp: Option<Arc<Isp>>, settings: Settings, url: impl ToString) -> Report {
    let request = request(Prober::Http(Box::new(settings)), url, PATIENCE);
    probe(&crate::probe::Request { isp, ..request }).await
}

#[tokio::test]
async fn requests_go_through_the_isps_proxy_unless_the_module_speaks_of_proxies() {
    let (server, _) = web_server(None);
    let url = format!("http://{server}/");
    let (proxy, heard) = http_proxy(server, 0);
    let isp = isp(&format!("http://me:pw@{proxy}"));
    let report = get_through(isp.clone(), settings(), &url).await;
    check_success(&report);
    assert_eq!(measured(&report).requests[0].proxy.as_deref(), Some(&*format!("http://{proxy}")));
    let head = only(&heard);
    assert!(head.starts_with(&format!("GET {url} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6cHc=\r\n"), "{head}");

    let (own, heard_by_own) = http_proxy(server, 0);
    check_success(&get_through(isp.clone(), with_proxy(&format!("http://{own}")), &url).await);
    only(&heard_by_own);
    // What the environment of the module says may be that there is none.
    let settings = Settings { proxies: Some(Proxies::default()), ..settings() };
    let report = get_through(isp, settings, &url).await;
    check_success(&report);
    assert_eq!(measured(&report).requests[0].proxy, None);
    only(&heard);
}

#[tokio::test]
async fn an_isps_proxy_may_be_any_and_resolves_names_where_the_module_leaves_them_to_it() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let (server, _) = web_server(Some(config));
    let (http, heard_by_http) = http_proxy(server, 0);
    let (socks, heard_by_socks) = socks_proxy(server, Some(b"\x01\x02me\x02pw"));
    let url = "https://localhost:81/";
    for proxy in [format!("http://{http}"), format!("socks5://me:pw@{socks}")] {
        let tls = trusting(Some(authority.pem()), &["http/1.1"]);
        let settings = Settings { tls, skip_resolve_phase_with_proxy: true, ..settings() };
        check_success(&get_through(isp(&proxy), settings, url).await);
    }
    assert!(only(&heard_by_http).starts_with("CONNECT localhost:81 HTTP/1.1\r\n"));
    assert_eq!(only(&heard_by_socks), "localhost 81");
}

#[tokio::test]
async fn an_isps_proxy_under_tls_is_verified_by_the_system() {
    let authority = authority();
    let config = Arc::new(server_config(identity(params(), Some(&authority))));
    let proxy = serve(V4, move |stream| drop(hear(&mut under_tls(&config, stream))));
    // That the module trusts the authority is for its targets.
    let settings = Settings { tls: trusting(Some(authority.pem()), &["http/1.1"]), ..settings() };
    let report = get_through(isp(&format!("https://{proxy}")), settings, "http://192.0.2.1/").await;
    check_failure(&report, Phase::Connect, Reason::TlsCertificateError(CertificateFault::UnknownCa));
    assert!(report.failure.unwrap().detail.starts_with(&format!("the proxy https://{proxy}: ")));
}

#[tokio::test]
async fn http3_is_not_spoken_past_the_isps_proxy() {
    let module = "{prober: http, http: {enable_http3: true, enable_http2: false}}";
    let request = configured(module, "https://192.0.2.1/", PATIENCE);
    let report = probe(&crate::probe::Request { isp: isp("http://127.0.0.1:9"), ..request }).await;
    check_failure(&report, Phase::Resolve, Reason::ProberConfigError);
    let detail = report.failure.unwrap().detail;
    assert_eq!(detail, "HTTP/3 goes through no proxy, and the ISP a has a proxy_url");
}

#[tokio::test]
async fn other_probers_pass_the_isps_proxy_by() {
    let closed = closed(V4);
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let request = configured("{prober: tcp}", listener.local_addr().unwrap(), PATIENCE);
    check_success(&probe(&crate::probe::Request { isp: isp(&format!("http://{closed}")), ..request }).await);
}
