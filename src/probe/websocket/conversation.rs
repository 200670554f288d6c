//! What is heard and said once a connection is a WebSocket: `query_response`, and the end.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout_at;

use super::{Measurement, Step, fill};
use crate::flight::Phase;
use crate::net::share;
use crate::probe::connection::Connection;
use crate::probe::{Probe, tls};
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};
use crate::wire::websocket::{self as wire, Decoder, Event, Kind, Violation};

/// The longest message that is taken, in bytes.
const LONGEST_MESSAGE: usize = 1 << 20;

/// How long the server may take to close its side, once all is said; half of the time that is left, where that is less. It is good
/// manners to wait for it (section 7.1.1), and no part of what is probed.
const CLOSING: Duration = Duration::from_millis(500);

/// Goes through the steps, in [`Phase::Query`], and ends the connection; within a step: `expect`, `send`, `send_bytes`. `received` came
/// behind the handshake.
///
/// # Errors
/// The first step that did not hold.
pub(super) async fn hold(
    probe: &Probe<'_>,
    steps: &[Step],
    connection: Connection,
    received: BytesMut,
    measured: &mut Measurement,
) -> Result<(), Failure> {
    probe.timeline.enter(Phase::Query);
    measured.failed_due_to_regex = Some(false);
    let mut peer =
        Peer { probe, connection, received, decoder: Decoder::new(LONGEST_MESSAGE), answered: false, measured };
    for step in steps {
        let mut send = step.send.clone();
        if let Some(expect) = &step.expect {
            let message = peer.expect(expect).await?;
            if let Some(template) = send {
                send = Some(expanded(probe, expect, &message, template).await?);
            }
        }
        if let Some(text) = send.filter(|send| !send.is_empty()) {
            peer.say(Kind::Text, text.as_bytes()).await?;
        }
        if let Some(bytes) = &step.send_bytes {
            peer.say(Kind::Binary, bytes).await?;
        }
    }
    peer.end().await;
    Ok(())
}

/// A text with `${1}` and the like, from what matched.
async fn expanded(probe: &Probe<'_>, expect: &Regex, message: &Bytes, send: String) -> Result<String, Failure> {
    let expand = move |expect: &Regex, message: &[u8]| expect.captures(message).map(|captures| captures.expand(&send));
    let expanded = search(probe, expect, message, expand).await;
    String::from_utf8(expanded.unwrap_or_default()).map_err(|_| {
        let detail = "what the server said is not UTF-8, and so can be no part of a text that is sent";
        probe.failure(Reason::AssertionFailedBody, detail)
    })
}

/// Looks for an expression in a message, which may be long.
async fn search<T: Send + 'static>(
    probe: &Probe<'_>,
    expect: &Regex,
    message: &Bytes,
    find: impl FnOnce(&Regex, &[u8]) -> T + Send + 'static,
) -> T {
    if message.len() <= share::PIECE {
        return find(expect, message);
    }
    let (expect, message) = (expect.clone(), message.clone());
    probe.compute(move || find(&expect, &message)).await
}

/// The other side.
struct Peer<'a> {
    probe: &'a Probe<'a>,
    connection: Connection,
    /// What came, and was not asked for yet.
    received: BytesMut,
    decoder: Decoder,
    /// Whether a message came since we last said something.
    answered: bool,
    measured: &'a mut Measurement,
}

/// What a server says to us, and not to our connection.
enum Said {
    Message(Bytes),
    /// All is said: how it ended.
    End(String),
}

impl Peer<'_> {
    /// The first message that matches; others are passed over.
    async fn expect(&mut self, expect: &Regex) -> Result<Bytes, Failure> {
        let how = loop {
            match self.message().await? {
                Said::Message(message) => {
                    let matches = search(self.probe, expect, &message, Regex::is_match).await;
                    let shown = String::from_utf8_lossy(&message);
                    self.probe.note(format_args!("heard {shown:?}, matches: {matches}"));
                    if matches {
                        return Ok(message);
                    }
                }
                Said::End(how) => break how,
            }
        };
        self.measured.failed_due_to_regex = Some(true);
        Err(match self.answered {
            true => self.probe.failure(Reason::AssertionFailedBody, format!("{how}, and no message matched")),
            false => self.probe.failure(Reason::ConnectionTerminated, format!("{how} without an answer")),
        })
    }

    /// The next message, or the end. Pings are answered on the way.
    async fn message(&mut self) -> Result<Said, Failure> {
        loop {
            match self.event().await? {
                Some(Event::Text(message) | Event::Binary(message)) => {
                    self.answered = true;
                    return Ok(Said::Message(message));
                }
                Some(Event::Ping(payload)) => {
                    self.probe.note(format_args!("a ping came, and is answered"));
                    self.send(Kind::Pong, &payload).await?;
                }
                Some(Event::Pong) => {}
                Some(Event::Close(said)) => {
                    self.measured.close_code = said.as_ref().map(|(code, _)| *code);
                    let code = said.as_ref().map_or(wire::NORMAL, |(code, _)| *code);
                    // It is gone in any case.
                    let _ = self.send(Kind::Close, &wire::close(code)).await;
                    let how = match said {
                        Some((code, reason)) if reason.is_empty() => format!("the server closed with the code {code}"),
                        Some((code, reason)) => format!("the server closed with the code {code} ({reason})"),
                        None => "the server closed without a code".to_owned(),
                    };
                    return Ok(Said::End(how));
                }
                None => return Ok(Said::End("the server ended the connection without closing it".to_owned())),
            }
        }
    }

    /// What comes next; nothing at the end of the connection.
    async fn event(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            share::worked(0).await;
            match self.decoder.next(&mut self.received) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(violation) => return Err(self.violated(violation).await),
            }
            self.received.reserve(4096);
            let read = self.connection.read_buf(&mut self.received).await;
            if read.map_err(|error| self.failure("reading", &error))? == 0 {
                return Ok(None);
            }
        }
    }

    async fn violated(&mut self, violation: Violation) -> Failure {
        let Violation { code, what } = violation;
        // It tells the server, if it listens.
        let _ = self.send(Kind::Close, &wire::close(code)).await;
        let reason = match code {
            wire::TOO_LONG => Reason::HttpResponseBodySize,
            _ => Reason::HttpProtocolError,
        };
        let limit = if code == wire::TOO_LONG { format!(", {LONGEST_MESSAGE} bytes") } else { String::new() };
        self.probe.failure(reason, format!("what the server sent {what}{limit}"))
    }

    /// Sends a message.
    async fn say(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Failure> {
        self.answered = false;
        self.send(kind, payload).await
    }

    async fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Failure> {
        let mut mask = [0; 4];
        fill(self.probe, &mut mask)?;
        let frame = wire::frame(kind, payload, mask);
        let written = match self.connection.write_all(&frame).await {
            Ok(()) => self.connection.flush().await,
            error => error,
        };
        written.map_err(|error| self.failure("sending", &error))
    }

    /// Closes, and waits a moment for the server to close, too. However that ends, what was to be probed has been.
    async fn end(&mut self) {
        let left = self.probe.deadline.saturating_duration_since(Instant::now());
        let closing = async {
            self.send(Kind::Close, &wire::close(wire::NORMAL)).await?;
            loop {
                match self.event().await? {
                    Some(Event::Close(said)) => return Ok(said.map(|(code, _)| code)),
                    None => return Ok(None),
                    Some(Event::Text(_) | Event::Binary(_) | Event::Ping(_) | Event::Pong) => {}
                }
            }
        };
        let end = Instant::now() + CLOSING.min(left / 2);
        let closed: Result<Result<_, Failure>, _> = timeout_at(end.into(), closing).await;
        match closed {
            Ok(Ok(code)) => self.measured.close_code = code,
            Ok(Err(failure)) => self.probe.note(format_args!("closing: {failure}")),
            Err(_) => {
                self.probe.timeline.waited(end);
                self.probe.note(format_args!("the server did not close its side"));
            }
        }
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        tls::failure(self.probe, what, error, self.connection.certificate_asked())
    }
}
