//! What is heard and said after a connection is there: `query_response`.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::{Connection, Plain};
use super::drive::hung_up;
use super::{Probe, tls};
use crate::flight::Phase;
use crate::net::share;
use crate::net::tls::{Tls, TlsFacts};
use crate::re2::Regex;
use crate::verdict::{Failure, Reason};

/// One entry of `query_response`: what is heard, then what is said.
#[derive(Debug, Default)]
pub struct Step {
    /// A line must match.
    pub expect: Option<Regex>,
    /// These bytes must come.
    pub expect_bytes: Option<Bytes>,
    /// Labels of `probe_expect_info`, with `${1}` from `expect`.
    pub labels: Vec<(String, String)>,
    /// What is sent, with `${1}` from `expect`, and a newline.
    pub send: Option<String>,
    /// What is sent as it is (`send: !!binary`), without a newline.
    pub send_bytes: Option<Bytes>,
    /// Whether TLS begins here.
    pub starttls: bool,
}

/// What came of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether an `expect` failed; nothing before the conversation.
    pub failed_due_to_regex: Option<bool>,
    /// Whether an `expect_bytes` failed; nothing before the conversation.
    pub failed_due_to_bytes: Option<bool>,
    /// Labels of `probe_expect_info`, expanded.
    pub expect_info: Vec<(String, String)>,
}

/// How a connection is put under TLS.
pub(super) struct Secure<'a> {
    /// The settings.
    pub(super) tls: &'a Tls,
    /// The server's name where they have none.
    pub(super) host: &'a str,
}

impl Secure<'_> {
    /// The name to ask for and to check.
    pub(super) fn name(&self) -> &str {
        self.tls.server_name.as_deref().unwrap_or(self.host)
    }
}

/// The longest line that is read, in bytes: that of Go's `bufio.Scanner`, which modules were written for.
const LONGEST_LINE: usize = 64 * 1024;

/// What a socket takes at once of what it is given, whoever is there, in bytes (`net.ipv4.tcp_wmem`).
const TAKEN_AT_ONCE: usize = 16 * 1024;

/// Goes through the steps, in [`Phase::Query`]; within a step: `expect`, `labels`, `expect_bytes`, `send`, `starttls`.
///
/// # Errors
/// The first step that did not hold.
pub(super) async fn hold(
    probe: &Probe<'_>,
    steps: &[Step],
    connection: Connection,
    secure: &Secure<'_>,
    outcome: &mut Heard,
    facts: &mut Option<TlsFacts>,
) -> Result<(), Failure> {
    (outcome.failed_due_to_regex, outcome.failed_due_to_bytes) = (Some(false), Some(false));
    if steps.is_empty() {
        return Ok(());
    }
    probe.timeline.enter(Phase::Query);
    let mut peer = Peer::new(probe, connection);
    for (step, at) in steps.iter().zip(1..) {
        peer.go_through(step, outcome).await?;
        if step.starttls {
            peer = peer.start_tls(secure, &steps[..at], facts).await?;
        }
    }
    peer.untaken.take().map_or(Ok(()), |error| Err(peer.failure("sending", &error)))
}

/// Goes through the steps in clear once more, on another connection, up to where TLS begins; what comes of it is no part of the probe.
///
/// # Errors
/// The first step that did not hold.
pub(super) async fn repeat(probe: &Probe<'_>, steps: &[Step], connection: Plain) -> Result<Connection, Failure> {
    let mut peer = Peer::new(probe, connection.into());
    for step in steps {
        peer.go_through(step, &mut Heard::default()).await?;
    }
    Ok(peer.connection)
}

/// The other side. Lines and bytes are taken from one buffer, so neither loses what came with the other.
struct Peer<'a> {
    probe: &'a Probe<'a>,
    connection: Connection,
    /// What came, and was not asked for yet.
    heard: BytesMut,
    /// Whether we have said anything.
    said: bool,
    /// Whether anything was ever heard.
    greeted: bool,
    /// Whether anything was there to hear since we last said something.
    answered: bool,
    /// Why something large was not taken by a peer that has gone: what it said before is still heard, and may be what was expected.
    untaken: Option<io::Error>,
}

impl<'a> Peer<'a> {
    fn new(probe: &'a Probe<'a>, connection: Connection) -> Self {
        Self { probe, connection, heard: BytesMut::new(), said: false, greeted: false, answered: false, untaken: None }
    }

    /// A step, without the TLS that may begin behind it.
    async fn go_through(&mut self, step: &Step, outcome: &mut Heard) -> Result<(), Failure> {
        let send = step.send.as_deref().unwrap_or_default();
        let mut line = send.as_bytes().to_vec();
        if let Some(expect) = &step.expect {
            let heard = self.expect(expect, outcome).await?;
            if let Some(captures) = expect.captures(&heard) {
                line = captures.expand(send);
                for (name, value) in &step.labels {
                    let value = String::from_utf8_lossy(&captures.expand(value)).into_owned();
                    // A later step may say the same label anew.
                    outcome.expect_info.retain(|(known, _)| known != name);
                    outcome.expect_info.push((name.clone(), value));
                }
            }
        }
        if let Some(expected) = &step.expect_bytes {
            self.expect_bytes(expected, outcome).await?;
        }
        if !line.is_empty() {
            line.push(b'\n');
            self.say(&line).await?;
        }
        if let Some(bytes) = &step.send_bytes {
            self.say(bytes).await?;
        }
        Ok(())
    }

    /// The first line that matches; others are passed over.
    async fn expect(&mut self, expect: &Regex, outcome: &mut Heard) -> Result<BytesMut, Failure> {
        while let Some(line) = self.line().await? {
            let matches = expect.is_match(&line);
            self.probe.note(format_args!("heard {:?}, matches: {matches}", String::from_utf8_lossy(&line)));
            if matches {
                self.untaken = None;
                return Ok(line);
            }
            share::worked(line.len()).await;
        }
        outcome.failed_due_to_regex = Some(true);
        Err(self.unexpected("the peer ended the connection, and no line matched"))
    }

    /// These bytes, however many segments they come in; other bytes are a failure as soon as they are there.
    async fn expect_bytes(&mut self, expected: &[u8], outcome: &mut Heard) -> Result<(), Failure> {
        loop {
            let common = expected.len().min(self.heard.len());
            let matches = expected[..common] == self.heard[..common];
            if matches && common == expected.len() {
                self.heard.advance(common);
                self.untaken = None;
                return Ok(());
            }
            if !matches {
                outcome.failed_due_to_bytes = Some(true);
                return Err(self.unexpected("other bytes came than the expected ones"));
            }
            // As in blackbox_exporter, bytes that are missing are no wrong ones.
            if !self.hear().await? {
                return Err(self.unexpected("the peer ended the connection before all expected bytes had come"));
            }
        }
    }

    /// A line without its end; nothing once the peer has ended the connection and all is told.
    async fn line(&mut self) -> Result<Option<BytesMut>, Failure> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.heard[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.heard.split_to(searched + end + 1);
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                return Ok(Some(line));
            }
            searched = self.heard.len();
            if searched > LONGEST_LINE {
                let detail = format!("a line of more than {LONGEST_LINE} bytes came");
                return Err(self.probe.failure(Reason::AssertionFailedBody, detail));
            }
            if !self.hear().await? {
                let rest = self.heard.split();
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    /// Reads on; false at the end of the connection.
    async fn hear(&mut self) -> Result<bool, Failure> {
        self.heard.reserve(4096);
        let count = match self.connection.read_buf(&mut self.heard).await {
            Ok(count) => count,
            Err(error) if self.ends_by(&error) => 0,
            Err(error) => return Err(self.failure("reading", &error)),
        };
        self.answered |= count > 0;
        self.greeted |= count > 0;
        Ok(count > 0)
    }

    /// Sends. What a peer that has gone said before may still be what is expected. Whether it has gone just before a short line leaves, or
    /// behind that, is chance, and so no failure of that line.
    async fn say(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.said = true;
        // What came together with an earlier answer, and what comes from now on, are heard alike.
        self.answered = !self.heard.is_empty();
        let written = match self.connection.write_all(bytes).await {
            Ok(()) => self.connection.flush().await,
            error => error,
        };
        match written {
            Err(error) if hung_up(&error) && bytes.len() <= TAKEN_AT_ONCE => {
                self.probe.note(format_args!("sending: {error}"))
            }
            Err(error) if hung_up(&error) => self.untaken = Some(error),
            written => written.map_err(|error| self.failure("sending", &error))?,
        }
        Ok(())
    }

    /// Whether an error is the end of a connection. Whether a peer's end is a reset is chance where it leaves unread what we have said.
    fn ends_by(&self, error: &io::Error) -> bool {
        self.said && hung_up(error)
    }

    /// Goes on under TLS, after `steps` in clear. What came in clear is no part of what is heard under TLS.
    async fn start_tls(
        self,
        secure: &Secure<'_>,
        steps: &[Step],
        facts: &mut Option<TlsFacts>,
    ) -> Result<Self, Failure> {
        let Connection::Plain(plain) = self.connection else {
            let detail = "starttls, and the connection is under TLS already";
            return Err(self.probe.failure(Reason::ProberConfigError, detail));
        };
        let connection = tls::handshake_after(steps, self.probe, secure.tls, secure.name(), plain, facts).await?;
        self.probe.timeline.enter(Phase::Query);
        Ok(Self { connection, heard: BytesMut::new(), answered: false, ..self })
    }

    /// An answer that is not the expected one, or none at all.
    fn unexpected(&self, what: &str) -> Failure {
        match self.answered {
            true => self.probe.failure(Reason::AssertionFailedBody, what),
            false => {
                let detail = "the peer ended the connection without an answer";
                self.probe.failure(Reason::ConnectionTerminated, detail)
            }
        }
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        let failure = tls::failure(self.probe, what, error, self.connection.certificate_asked());
        match failure.reason {
            Reason::ConnectionTerminated if !self.said && !self.greeted => {
                Failure { reason: Reason::ConnectionResetHandshake, ..failure }
            }
            _ => failure,
        }
    }
}
