//! A second look at a server that speaks no TLS of ours: what it says in clear to a client that speaks older TLS, too.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout_at;

use super::Probe;
use super::connection::{self, Handshake, Plain};
use super::conversation::{self, Step};
use super::deadline::LOOK;
use crate::flight::Phase;
use crate::net::tcp::Opening;
use crate::net::tls::{Tls, TlsFacts, old_hello};
use crate::net::unix;
use crate::verdict::{Failure, Reason};
use crate::wire::tls::ServerFlight;

/// A server that is asked again, and what is said before TLS begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again<'a> {
    /// Where it is; nothing where it is the socket of this host that the target names.
    pub(super) server: Option<SocketAddr>,
    /// What was said and heard in clear.
    pub(super) said: &'a [Step],
}

/// Asks a server, on a second connection and in [`Phase::Legacy`], what it speaks. `facts` then holds what it said; the result is the
/// failure of the probe: `failure`, the one of the handshake, where the server does not turn out to speak only what this program never
/// does.
pub(super) async fn look_again(
    probe: &Probe<'_>,
    tls: &Tls,
    name: &ServerName<'_>,
    again: Again<'_>,
    failure: Failure,
    facts: &mut Option<TlsFacts>,
) -> Failure {
    probe.note(format_args!("{}; what older TLS does the server speak?", failure.detail));
    probe.timeline.enter(Phase::Legacy);
    let mut flight = ServerFlight::default();
    // Before the deadline of the probe, by the precision of timers: that the server is silent now is not why the probe failed.
    let end = probe.deadline.checked_sub(LOOK).unwrap_or(probe.deadline);
    match timeout_at(end.into(), ask(probe, name, again, &mut flight)).await {
        Ok(Ok(())) => {}
        Ok(Err(what)) => probe.note(format_args!("asking for older TLS: {what}")),
        Err(_) => {
            probe.timeline.waited(end);
            probe.note(format_args!("asking for older TLS: the answer did not end in time"));
        }
    }
    let (Some(told), Some(chosen)) = (TlsFacts::in_clear(&flight), flight.hello) else { return failure };
    let told = facts.insert(told);
    let [version, cipher] = [told.version, told.cipher.as_deref()].map(|told| told.unwrap_or("something unknown"));
    probe.note(format_args!("older TLS: {version} with {cipher}, {} certificates", told.chain.len()));
    if !tls.never_speaks(chosen) {
        return failure;
    }
    let detail = format!(
        "the server speaks {version} with {cipher}, and this program only TLS 1.3 and TLS 1.2 with ECDHE and AES-GCM or ChaCha20: {}",
        failure.detail
    );
    Failure { reason: Reason::TlsProtocolError, detail, ..failure }
}

/// Connects, says once more what was said in clear, then what a client of older TLS says, and hears the answer.
///
/// # Errors
/// Why it does not end, in one sentence.
async fn ask(
    probe: &Probe<'_>,
    name: &ServerName<'_>,
    again: Again<'_>,
    flight: &mut ServerFlight,
) -> Result<(), String> {
    let hello = old_hello(name).map_err(|error| error.to_string())?;
    let plain = connect(probe, again.server).await?;
    let mut connection = conversation::repeat(probe, again.said, plain).await.map_err(|failure| failure.detail)?;
    connection.write_all(&hello).await.map_err(|error| format!("sending: {error}"))?;
    let mut heard = BytesMut::with_capacity(4096);
    while connection.read_buf(&mut heard).await.map_err(|error| format!("reading: {error}"))? > 0 {
        if flight.feed(&heard).map_err(|error| error.to_string())? {
            return Ok(());
        }
        heard.clear();
    }
    Err("the server closed the connection".to_owned())
}

async fn connect(probe: &Probe<'_>, server: Option<SocketAddr>) -> Result<Plain, String> {
    if let Some(server) = server {
        let opened = connection::open(probe, server, Opening::Full, &mut Handshake::default()).await;
        let tcp = opened.map_err(|failure| failure.detail)?.into_stream().map_err(|error| error.to_string())?;
        return Ok(Plain::aside(tcp, probe));
    }
    probe.timeline.sent(Instant::now());
    let connected = unix::connect(&probe.request.target).await;
    probe.timeline.received(Instant::now());
    connected.map(|unix| Plain::aside(unix, probe)).map_err(|error| format!("connecting: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{IpAddr, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::flight::Traffic;
    use crate::probe::conversation::Step;
    use crate::probe::resolve::Preference;
    use crate::probe::tcp::{self, Open};
    use crate::probe::testing::*;
    use crate::probe::{Measurement, Prober, Report};
    use crate::re2::Regex;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// The alert handshake_failure.
    const REFUSAL: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

    /// A ServerHello of TLS 1.0 with TLS_RSA_WITH_RC4_128_SHA.
    fn hello() -> Vec<u8> {
        [&[22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[0xa5; 32], &[0, 0, 5, 0]].concat()
    }

    /// A Certificate message.
    fn certificate(der: &[u8]) -> Vec<u8> {
        let length = |more: usize| ((der.len() + more) as u32).to_be_bytes();
        let record = length(10);
        [&[22, 3, 1], &record[2..], &[11], &length(6)[1..], &length(3)[1..], &length(0)[1..], der].concat()
    }

    /// A server that reads a hello, and treats its first connection and the later ones in two ways; counts them.
    fn server(
        ip: IpAddr,
        first: impl Fn(TcpStream) + Send + Sync + 'static,
        later: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> (SocketAddr, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let address = serve(ip, move |mut stream| {
            hear(&mut stream);
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => first(stream),
                _ => later(stream),
            }
        });
        (address, count)
    }

    /// Says something; the client closes.
    fn answer(mut stream: TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).unwrap();
        hear(&mut stream);
    }

    fn refuse(stream: TcpStream) {
        answer(stream, REFUSAL);
    }

    /// What a server does with a connection.
    type Treat = fn(TcpStream);

    /// Hangs up.
    const RESET: Treat = |stream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    const CLOSE: Treat = drop;

    fn prober(tls: bool, query_response: Vec<Step>) -> Prober {
        let tls_config = trusting(None, &[]);
        Prober::Tcp(tcp::Settings {
            open: Open::Full { tls, tls_config, query_response },
            preference: Preference::default(),
            tracing: None,
        })
    }

    async fn look(server: SocketAddr, timeout: Duration) -> Report {
        probe(&request(prober(true, Vec::new()), server, timeout)).await
    }

    fn measured(report: &Report) -> &tcp::Measurement {
        let Measurement::Tcp(measured) = &report.measurement else { panic!("{report:#?}") };
        measured
    }

    /// Version, cipher suite and number of certificates.
    fn told(report: &Report) -> Option<(&str, &str, usize)> {
        let facts = measured(report).tls.as_ref()?;
        assert_eq!(facts.chain_expiry, None);
        Some((facts.version.unwrap(), facts.cipher.as_deref().unwrap(), facts.chain.len()))
    }

    #[tokio::test]
    async fn a_server_that_knows_no_newer_version_is_recognised_and_the_second_look_is_a_phase_of_its_own() {
        for ip in BOTH {
            let der = identity(params(), None).chain.remove(0);
            let all = [hello(), certificate(&der)].concat();
            // One that refuses, and one that says in which version it would go on.
            for first in [REFUSAL.to_vec(), hello()] {
                let (length, all) = (first.len() as u64, all.clone());
                let (address, count) = server(
                    ip,
                    move |stream| answer(stream, &first),
                    move |mut stream| {
                        sleep(150);
                        let (start, end) = all.split_at(100);
                        stream.write_all(start).unwrap();
                        sleep(50);
                        answer(stream, end);
                    },
                );
                let report = look(address, PATIENCE).await;
                check_failure(&report, Phase::Tls, Reason::TlsProtocolError);
                assert_eq!(told(&report), Some(("TLS 1.0", "TLS_RSA_WITH_RC4_128_SHA", 1)));
                assert_eq!(count.load(Ordering::SeqCst), 2);
                check_phase(&report, Phase::Tls, 0..100);
                check_phase(&report, Phase::Legacy, 200..350);
                let Some(Traffic { sent, received }) = measured(&report).traffic else { panic!("{report:#?}") };
                assert!(received == length && (100..1000).contains(&sent), "the first connection's: {report:#?}");
                let detail = &report.failure.as_ref().unwrap().detail;
                assert!(detail.contains("TLS 1.0 with TLS_RSA_WITH_RC4_128_SHA"), "{detail}");
                assert!(report.log.iter().any(|line| line.text.contains("older TLS: TLS 1.0 with")), "{report:#?}");
            }
        }
    }

    #[tokio::test]
    async fn a_second_look_that_sees_nothing_leaves_the_first_failure() {
        let plain: Treat = |stream| answer(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let malformed: Treat = |stream| answer(stream, &[22, 3, 1, 0, 4, 2, 0, 0, 0]);
        for ip in BOTH {
            for later in [refuse, RESET, CLOSE, plain, malformed] {
                let (address, count) = server(ip, refuse, later);
                let report = look(address, PATIENCE).await;
                check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(40));
                assert_eq!((told(&report), count.load(Ordering::SeqCst)), (None, 2));
                assert!(report.duration < PATIENCE / 2, "{report:#?}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_when_it_is_looked_at_again_keeps_nobody_beyond_the_deadline() {
        let timeout = Duration::from_millis(400);
        for ip in BOTH {
            let (address, _) = server(ip, refuse, |stream| answer(stream, &[]));
            let report = look(address, timeout).await;
            check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(40));
            assert_eq!(told(&report), None);
            check_phase(&report, Phase::Tls, 0..100);
            check_phase(&report, Phase::Legacy, 300..401);
            assert!(report.duration - report.overhead <= timeout, "{report:#?}");
            // What it has said stays.
            let (address, _) = server(ip, refuse, |stream| answer(stream, &hello()));
            let report = look(address, timeout).await;
            check_failure(&report, Phase::Tls, Reason::TlsProtocolError);
            assert_eq!(told(&report), Some(("TLS 1.0", "TLS_RSA_WITH_RC4_128_SHA", 0)));
        }
    }

    #[tokio::test]
    async fn only_what_old_servers_say_is_a_reason_to_look_again() {
        for (first, reason) in [
            (&[21, 3, 3, 0, 2, 2, 80][..], Reason::TlsAlertReceived(80)),
            (&[21, 3, 3, 0, 2, 2, 112], Reason::TlsAlertReceived(112)),
            (b"SSH-2.0-OpenSSH_9\r\n", Reason::TlsProtocolError),
        ] {
            let (address, count) = server(V4, |stream| answer(stream, first), refuse);
            let report = look(address, PATIENCE).await;
            check_failure(&report, Phase::Tls, reason);
            assert_eq!((count.load(Ordering::SeqCst), seconds(&report, Phase::Legacy)), (1, None));
        }
    }

    #[tokio::test]
    async fn what_was_said_before_tls_is_said_again_and_counts_once() {
        let steps = || {
            let greeting = Some(Regex::new("^220 (.*)").unwrap());
            let labels = vec![("number".to_owned(), "${1}".to_owned())];
            let go = Some(Regex::new("go").unwrap());
            vec![
                Step { expect: greeting, labels, send: Some("STARTTLS ${1}".into()), ..Step::default() },
                Step { expect: go, starttls: true, ..Step::default() },
            ]
        };
        for ip in BOTH {
            let der = identity(params(), None).chain.remove(0);
            let all = [hello(), certificate(&der)].concat();
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let address = serve(ip, move |mut stream| {
                // It greets every client in another way.
                let number = counted.fetch_add(1, Ordering::SeqCst);
                say(&mut stream, &format!("220 {number}\n"));
                assert_eq!(hear(&mut stream), format!("STARTTLS {number}\n"));
                say(&mut stream, "go\n");
                hear(&mut stream);
                answer(stream, if number == 0 { REFUSAL } else { &all });
            });
            let report = probe(&request(prober(false, steps()), address, PATIENCE)).await;
            check_failure(&report, Phase::Tls, Reason::TlsProtocolError);
            assert_eq!(told(&report), Some(("TLS 1.0", "TLS_RSA_WITH_RC4_128_SHA", 1)));
            assert_eq!(count.load(Ordering::SeqCst), 2);
            let Some(Traffic { received, .. }) = measured(&report).traffic else { panic!("{report:#?}") };
            assert_eq!(received, ("220 0\ngo\n".len() + REFUSAL.len()) as u64, "the first connection's: {report:#?}");
            assert_eq!(measured(&report).heard.expect_info, [("number".to_owned(), "0".to_owned())]);
            assert!(seconds(&report, Phase::Legacy).is_some());
        }
    }

    #[tokio::test]
    async fn a_second_conversation_that_goes_another_way_leaves_the_first_failure() {
        let expect = Some(Regex::new("go").unwrap());
        let step = || Step { send: Some("STARTTLS".into()), ..Step::default() };
        let go = || Step { expect: expect.clone(), starttls: true, ..Step::default() };
        let (address, count) = server(
            V4,
            |mut stream| {
                say(&mut stream, "go\n");
                hear(&mut stream);
                refuse(stream);
            },
            |stream| answer(stream, b"not now\n"),
        );
        let report = probe(&request(prober(false, vec![step(), go()]), address, Duration::from_millis(400))).await;
        check_failure(&report, Phase::Tls, Reason::TlsAlertReceived(40));
        assert_eq!((told(&report), count.load(Ordering::SeqCst)), (None, 2));
        assert_eq!(measured(&report).heard.failed_due_to_regex, Some(false));
        check_phase(&report, Phase::Legacy, 300..410);
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_on_what_it_does_not_understand_is_looked_at_again() {
        for ip in BOTH {
            let der = identity(params(), None).chain.remove(0);
            for first in [RESET, CLOSE] {
                let all = [hello(), certificate(&der)].concat();
                let (address, count) = server(ip, first, move |stream| answer(stream, &all));
                let report = look(address, PATIENCE).await;
                check_failure(&report, Phase::Tls, Reason::TlsProtocolError);
                assert_eq!(told(&report), Some(("TLS 1.0", "TLS_RSA_WITH_RC4_128_SHA", 1)));
                assert_eq!(count.load(Ordering::SeqCst), 2);
                // Of one that always does, the first time is told.
                let (address, count) = server(ip, first, first);
                let report = look(address, PATIENCE).await;
                let failure = report.failure.as_ref().unwrap();
                assert!(failure.phase == Phase::Tls && failure.reason != Reason::TlsProtocolError, "{failure:?}");
                assert_eq!((told(&report), count.load(Ordering::SeqCst)), (None, 2));
            }
            // One that has begun to answer has understood.
            let (address, count) = server(ip, |mut stream| stream.write_all(&hello()[..20]).unwrap(), refuse);
            let report = look(address, PATIENCE).await;
            assert!(report.failure.is_some());
            assert_eq!((count.load(Ordering::SeqCst), seconds(&report, Phase::Legacy)), (1, None));
        }
    }
}
