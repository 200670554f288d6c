//! One question about an address, to whoever knows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::net::Source;
use crate::net::stream::Observer;
use crate::probe::resolve::exchange;
use crate::wire::dns::{Answer, Data, Question, Wanted};

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Via {
    /// What the sockets are made from.
    pub(super) source: Source,
    /// Name servers, one after the other.
    pub(super) servers: Vec<SocketAddr>,
}

/// What was asked for, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whom.
    pub(super) via: std::sync::Arc<Via>,
    /// The name.
    pub(super) name: String,
    /// Its records.
    pub(super) wanted: Wanted,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What is known; empty where nothing is, for whatever reason.
    pub(super) data: Vec<Data>,
    /// How long that may be kept.
    pub(super) keep: Duration,
    /// When the answer arrived, or was not waited for any more.
    pub(super) at: Instant,
}

/// How long an answer is waited for, all tries together. A resolver that takes longer goes on by itself, and knows it the next time.
pub(super) const LIMIT: Duration = Duration::from_millis(800);

/// How often a question is asked at least, where nobody answers it.
const TRIES: usize = 2;

/// The longest that what is known is kept, and that nothing is (RFC 2308, section 5).
const LONGEST: Duration = Duration::from_secs(86_400);
const LONGEST_NOTHING: Duration = Duration::from_secs(3 * 3_600);

/// How long that nothing is known is kept where no zone says it.
const UNSAID: Duration = Duration::from_secs(60);

/// How long nobody is asked again what nobody answered, or could not (RFC 2308, section 7, allows five minutes).
pub(super) const SILENCE: Duration = Duration::from_secs(20);

impl Outcome {
    /// Nobody said anything.
    pub(super) fn silence() -> Self {
        Self { data: Vec::new(), keep: SILENCE, at: Instant::now() }
    }
}

/// Asks, and waits for at most [`LIMIT`].
pub(super) async fn ask(Key { via, name, wanted }: &Key) -> Outcome {
    let tries = via.servers.len().max(TRIES);
    let mut useless = Vec::new();
    for server in via.servers.iter().cycle().take(tries) {
        // One that cannot say it now cannot say it at once.
        if useless.contains(server) {
            continue;
        }
        let mut id = [0; 2];
        if aws_lc_rs::rand::fill(&mut id).is_err() {
            break;
        }
        let Ok(question) = Question::new(name, *wanted, u16::from_be_bytes(id)) else { break };
        let asked = timeout(LIMIT / tries as u32, exchange::ask(&via.source, *server, &question, &Unobserved)).await;
        match asked {
            Ok(Ok((Answer::Known(data, ttl), at))) => {
                let longest = if data.is_empty() { LONGEST_NOTHING } else { LONGEST };
                return Outcome { data, keep: keep(ttl, longest), at };
            }
            Ok(Ok((Answer::NoName(ttl), at))) => {
                return Outcome { data: Vec::new(), keep: keep(ttl, LONGEST_NOTHING), at };
            }
            Ok(Ok((Answer::Truncated | Answer::Failed(_), _)) | Err(_)) => useless.push(*server),
            Err(_) => {}
        }
    }
    Outcome::silence()
}

fn keep(ttl: Option<u32>, longest: Duration) -> Duration {
    ttl.map_or(UNSAID, |ttl| Duration::from_secs(ttl.into()).min(longest))
}

/// Nobody's time is measured here.
#[derive(Clone)]
struct Unobserved;

impl Observer for Unobserved {
    fn sent(&self, _at: Instant, _bytes: usize) {}
    fn received(&self, _at: Instant, _bytes: usize) {}
    fn waiting(&self, _now: Instant) {}
}
