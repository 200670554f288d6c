//! One question about an address, to whoever knows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::net::Source;
use crate::net::stream::Observer;
use crate::probe::resolve::exchange;
use crate::probe::{Request, lock};
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
    pub(super) via: Arc<Via>,
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
    /// Whether somebody said so.
    pub(super) said: bool,
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
        Self { data: Vec::new(), said: false, keep: SILENCE, at: Instant::now() }
    }
}

/// On whose behalf questions are asked, and how many of them at a time.
#[derive(Debug)]
pub(super) struct Asker {
    /// The request, whose ISP they leave through.
    pub(super) request: Request,
    /// Lets as many through.
    pub(super) gate: Semaphore,
}

/// Asks one server after the other, each a while after the one before or as soon as that cannot say it, and takes the first answer that
/// comes within [`LIMIT`].
pub(super) async fn ask(asker: &Arc<Asker>, key: &Key) -> Outcome {
    let count = key.via.servers.len().max(TRIES);
    let mut servers = key.via.servers.iter().cycle().take(count).copied().peekable();
    let mut useless = Vec::new();
    let mut tries = JoinSet::new();
    let (begun, mut next) = (Instant::now(), Instant::now());
    loop {
        while servers.next_if(|server| useless.contains(server)).is_some() {}
        if servers.peek().is_none() && tries.is_empty() {
            return Outcome::silence();
        }
        tokio::select! {
            biased;
            Some(tried) = tries.join_next() => match tried {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(server)) => {
                    useless.push(server);
                    next = Instant::now();
                }
                // It broke, and its server is not known.
                Err(_) => {}
            },
            () = sleep_until((begun + LIMIT).into()) => return Outcome::silence(),
            () = sleep_until(next.into()), if servers.peek().is_some() => {
                if let Some(server) = servers.next() {
                    tries.spawn(ask_one(Arc::clone(asker), Arc::clone(&key.via), server, key.name.clone(), key.wanted));
                }
                next += LIMIT / count as u32;
            }
        }
    }
}

/// Asks one server, for as long as it is let.
///
/// # Errors
/// The server, where it cannot say it.
async fn ask_one(
    asker: Arc<Asker>,
    via: Arc<Via>,
    server: SocketAddr,
    name: String,
    wanted: Wanted,
) -> Result<Outcome, SocketAddr> {
    let mut id = [0; 2];
    // An id that cannot be guessed, beside the port, which the kernel chooses at random (RFC 5452).
    aws_lc_rs::rand::fill(&mut id).map_err(|_| server)?;
    let question = Question::new(&name, wanted, u16::from_be_bytes(id)).map_err(|_| server)?;
    let arrival = Arrival(Arc::new(Mutex::new(Instant::now())));
    let answer = exchange::ask(&asker.request, &via.source, server, &question, &arrival).await.map_err(|_| server)?;
    let at = *lock(&arrival.0);
    let (data, ttl) = match answer {
        Answer::Known(data, ttl) => (data, ttl),
        Answer::NoName(ttl) => (Vec::new(), ttl),
        Answer::Truncated | Answer::Failed(_) => return Err(server),
    };
    let longest = if data.is_empty() { LONGEST_NOTHING } else { LONGEST };
    Ok(Outcome { data, said: true, keep: keep(ttl, longest), at })
}

fn keep(ttl: Option<u32>, longest: Duration) -> Duration {
    ttl.map_or(UNSAID, |ttl| Duration::from_secs(ttl.into()).min(longest))
}

/// When something arrived last; nobody else's time is measured here.
#[derive(Clone)]
struct Arrival(Arc<Mutex<Instant>>);

impl Observer for Arrival {
    fn sent(&self, _at: Instant, _bytes: usize) {}
    fn received(&self, at: Instant, _bytes: usize) {
        *lock(&self.0) = at;
    }
    fn waiting(&self, _now: Instant) {}
}
