//! HTTP/2, whose responses are frames of a stream.

use std::io::Read as _;

use super::*;
use hyper::body::Body;

/// A body of two halves, with a pause before each.
struct Halves {
    pause: Duration,
    half: Bytes,
    left: u32,
    timer: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Body for Halves {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::ready!(self.timer.as_mut().poll(cx));
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.left -= 1;
        let next = tokio::time::Instant::now() + if self.left == 0 { Duration::ZERO } else { self.pause };
        self.timer.as_mut().reset(next);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(self.half.clone()))))
    }
}

/// An HTTP/2 server in a thread of its own: it waits 60 ms before TLS, 80 ms before the head, 50 ms before the second half of
/// its body, of `half` bytes each; a request for `/reset` it ends without an answer, one for
/// `/many` it answers with a thousand headers. Counts its requests.
fn http2_server(identity: Identity, half: usize) -> (String, Arc<std::sync::atomic::AtomicU32>) {
    use std::sync::atomic::Ordering::Relaxed;
    let requests = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = requests.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let mut config = server_config(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let half = Bytes::from(vec![b'x'; half]);
    spawn_server(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (acceptor, counter, half) = (acceptor.clone(), counter.clone(), half.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
                        counter.fetch_add(1, Relaxed);
                        let half = half.clone();
                        async move {
                            if request.uri().path() == "/reset" {
                                return Err("no answer");
                            }
                            tokio::time::sleep(Duration::from_millis(80)).await;
                            let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
                            let pause = Duration::from_millis(50);
                            let mut response = http::Response::new(Halves { pause, half, left: 2, timer });
                            let many = if request.uri().path() == "/many" { 1000 } else { 0 };
                            let value = HeaderValue::from_static("a value as long as others are");
                            for _ in 0..many {
                                response.headers_mut().append("x-many", value.clone());
                            }
                            Ok(response)
                        }
                    });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let _ = hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service).await;
                });
            }
        });
    });
    (url, requests)
}

#[tokio::test]
async fn http2_has_the_phases_of_its_stream_and_not_of_its_settings() {
    let authority = authority();
    for half in [5, 3 << 20] {
        let (url, requests) = http2_server(identity(params(), Some(&authority)), half);
        let settings = || Settings { tls: trusting(Some(authority.pem()), &["h2", "http/1.1"]), ..settings() };
        let report = get(settings(), &url, PATIENCE).await;
        check_success(&report);
        check_phase(&report, Phase::Tls, 59..100);
        check_phase(&report, Phase::Processing, 79..120);
        check_phase(&report, Phase::Transfer, 49..500);
        let measured = measured(&report);
        assert_eq!((measured.version, measured.status), (Some(2.0), Some(200)));
        assert_eq!((measured.content_length, measured.body_length), (Some(-1), Some(half as u64 * 2)));
        assert_eq!(measured.tls.as_ref().unwrap().alpn.as_deref(), Some("h2"));

        let report = get(settings(), format!("{url}reset"), PATIENCE).await;
        check_failure(&report, Phase::Processing, Reason::HttpStreamReset);
        assert_eq!(requests.load(std::sync::atomic::Ordering::Relaxed), 2, "one request per probe, whatever comes");

        let report = get(settings(), format!("{url}many"), PATIENCE).await;
        check_success(&report);
        assert!(self::measured(&report).requests[0].response_headers.is_some_and(|count| count >= 1000));
    }
}

/// How a server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a reset.
    Reset,
    /// By a FIN, and nothing before it.
    Fin,
    /// By `close_notify`, and a FIN.
    Notified,
    /// By a GOAWAY of HTTP/2 that counts the request as one that is answered (RFC 9113, section 6.8), and a FIN.
    GoAway,
}

/// A server that says the head of a response over HTTP/2, and with it the first four bytes of its body, and ends the connection.
fn breaks_off(identity: Identity, end: End) -> String {
    let mut config = server_config(identity);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let address = serve(V4, move |stream| {
        let mut stream = under_tls(&config, stream);
        stream.read_exact(&mut [0; 24]).unwrap();
        let mut frame = [0; 9];
        // HEADERS are of the type 1.
        while frame[3] != 1 {
            stream.read_exact(&mut frame).unwrap();
            let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
            stream.read_exact(&mut vec![0; length as usize]).unwrap();
        }
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // 0x88 is `:status: 200` of the static table (RFC 7541, appendix A); END_HEADERS.
        let head = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];
        let data = *b"\0\0\x04\0\0\0\0\0\x01well";
        let mut said = [&settings[..], &head, &data].concat();
        if end == End::GoAway {
            said.extend([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        }
        stream.write_all(&said).and_then(|()| stream.flush()).unwrap();
        sleep(30);
        match end {
            End::Reset => socket2::SockRef::from(&stream.sock).set_linger(Some(Duration::ZERO)).unwrap(),
            End::Fin | End::GoAway => {}
            End::Notified => {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
        if end != End::Reset {
            // What was not read would make a reset of it.
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            while stream.sock.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        }
    });
    format!("https://localhost:{}/", address.port())
}

#[tokio::test]
async fn a_body_that_breaks_off_is_incomplete_however_the_connection_ends() {
    let authority = authority();
    for end in [End::Reset, End::Fin, End::Notified, End::GoAway] {
        let url = breaks_off(identity(params(), Some(&authority)), end);
        let settings = Settings { tls: trusting(Some(authority.pem()), &["h2", "http/1.1"]), ..settings() };
        let report = get(settings, url, PATIENCE).await;
        check_failure(&report, Phase::Transfer, Reason::HttpResponseIncomplete);
        check_phase(&report, Phase::Transfer, 29..200);
        let measured = measured(&report);
        assert_eq!(
            (measured.status, measured.version, measured.body_length),
            (Some(200), Some(2.0), Some(4)),
            "{end:?}"
        );
    }
}

/// A frame of HTTP/2.
fn frame(ty: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, payload.len() as u8, ty, flags, 0, 0, 0, stream], payload].concat()
}

/// A server of HTTP/2 that says all this to a request: pauses in milliseconds, and bytes.
fn frames(authority: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, answer: Vec<(u64, Vec<u8>)>) -> String {
    let mut config = server_config(identity(params(), Some(authority)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let address = serve(V4, move |stream| {
        let mut stream = under_tls(&config, stream);
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).unwrap();
        stream.flush().unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let [l0, l1, l2, ty, ..] = head;
            stream.read_exact(&mut vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize]).unwrap();
            if ty == 1 {
                break;
            }
        }
        for (pause, bytes) in &answer {
            sleep(*pause);
            stream.write_all(bytes).unwrap();
            stream.flush().unwrap();
        }
        hear(&mut stream);
        sleep(100);
    });
    format!("https://localhost:{}/", address.port())
}

#[tokio::test]
async fn interim_responses_are_no_response() {
    let authority = authority();
    let hints = |status: &[u8]| frame(1, 4, 1, &[&[8, 3], status].concat());
    let url = frames(
        &authority,
        vec![
            (40, hints(b"103")),
            (40, hints(b"103")),
            (40, [hints(b"102"), frame(1, 4, 1, &[0x88])].concat()),
            (60, frame(0, 0, 1, b"well")),
            // Trailers are no response either.
            (60, frame(1, 5, 1, b"\x00\x01a\x01b")),
        ],
    );
    let settings = Settings { tls: trusting(Some(authority.pem()), &["h2"]), ..settings() };
    let report = get(settings, &url, PATIENCE).await;
    check_success(&report);
    assert_eq!((measured(&report).status, measured(&report).body_length), (Some(200), Some(4)));
    check_phase(&report, Phase::Processing, 119..170);
    check_phase(&report, Phase::Transfer, 119..170);
}

#[tokio::test]
async fn what_comes_instead_of_a_response_came_when_it_came() {
    let authority = authority();
    for words in
        [frame(3, 0, 1, &[0, 0, 0, 2]), frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]), b"HTTP/1.1 400 x\r\n\r\n".to_vec()]
    {
        // What comes behind it, while nobody reads, would give it its own stamp.
        let url = frames(&authority, vec![(80, words), (200, Vec::new())]);
        let settings = Settings { tls: trusting(Some(authority.pem()), &["h2"]), ..settings() };
        let stall = stall();
        let report = get(settings, &url, PATIENCE).await;
        stall.await.unwrap();
        assert!(!report.success(), "{report:#?}");
        check_phase(&report, Phase::Processing, 79..105);
    }
}

#[tokio::test]
async fn whoever_ends_a_stream_or_the_connection_does_not_break_the_protocol_unless_he_says_so() {
    let authority = authority();
    let head = frame(1, 4, 1, &[0x88]);
    let reset = |code: u8| frame(3, 0, 1, &[0, 0, 0, code]);
    let go_away = |code: u8| frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
    for (code, is_violation) in [(0, false), (1, true), (2, false), (7, false), (8, false), (11, false), (13, true)] {
        let of_connection = match is_violation {
            true => [Reason::HttpProtocolError; 2],
            false => [Reason::ConnectionTerminated, Reason::HttpResponseIncomplete],
        };
        // For no fault it is an end before the end, and nothing else.
        let in_body = if code == 0 { Reason::HttpResponseIncomplete } else { Reason::HttpStreamReset };
        let ends =
            [("RST_STREAM", reset(code), [Reason::HttpStreamReset, in_body]), ("GOAWAY", go_away(code), of_connection)];
        for (what, end, reasons) in ends {
            let begun = [head.clone(), frame(0, 0, 1, b"we"), end.clone()].concat();
            let places = [(Phase::Processing, end), (Phase::Transfer, begun)];
            for ((phase, answer), reason) in places.into_iter().zip(reasons) {
                let url = frames(&authority, vec![(0, answer)]);
                let settings = Settings { tls: trusting(Some(authority.pem()), &["h2"]), ..settings() };
                let report = get(settings, &url, PATIENCE).await;
                let failure = report.failure.as_ref().map(|failure| (failure.phase, failure.reason));
                assert_eq!(failure, Some((phase, reason)), "{what} with {code}: {report:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_that_http2_forbids_is_no_response_and_the_failure_names_the_likely_cause() {
    let authority = authority();
    // Literals without indexing (RFC 7541, section 6.2.2).
    for header in [
        &b"\x00\x0akeep-alive\x01x"[..],
        b"\x00\x0aconnection\x05close",
        b"\x00\x07upgrade\x02h2",
        b"\x00\x02te\x04gzip",
    ] {
        let head = frame(1, 4, 1, &[&[0x88], header].concat());
        let url = frames(&authority, vec![(40, [head, frame(0, 1, 1, b"well")].concat())]);
        let settings = Settings { tls: trusting(Some(authority.pem()), &["h2"]), ..settings() };
        let report = get(settings, &url, PATIENCE).await;
        check_failure(&report, Phase::Processing, Reason::HttpProtocolError);
        check_phase(&report, Phase::Processing, 39..90);
        let detail = &report.failure.as_ref().unwrap().detail;
        assert!(detail.contains("a header that HTTP/2 forbids (Connection, Keep-Alive,"), "{detail}");
        assert_eq!(measured(&report).status, None);
    }
}
