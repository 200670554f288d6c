//! Who may come in: what the web configuration says of every request.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Extension;
use axum::extract::{Request, State as Extract};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;
use tracing::{error, info};

use super::basic_auth::{Tries, Users};
use super::client::Client;
use super::own::Own;
use super::{State, reply};
use crate::config::{Errors, Problem, RateLimit, Web, WebFile};

/// How often somebody looks whether the file has changed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The web configuration in force. It is read again where it has changed when somebody comes; a new one that is wrong leaves the old
/// one in force.
#[derive(Debug)]
pub struct Guard {
    file: Option<Mutex<WebFile>>,
    looked: Mutex<Instant>,
    current: ArcSwap<Rules>,
    bucket: Bucket,
    /// Not so many at a time that probes have to wait for a processor.
    tries: Tries,
}

/// A web configuration, ready for use.
#[derive(Debug)]
pub(super) struct Rules {
    /// TLS; nothing where plain text is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Users,
    rate_limit: Option<RateLimit>,
}

impl Guard {
    /// Loads a web configuration; without one everybody may come in.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: Option<&Path>) -> Result<Self, Errors> {
        let (file, web) = match path {
            Some(path) => WebFile::open(path).map(|(file, web)| (Some(Mutex::new(file)), web))?,
            None => (None, Web::default()),
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let tries = Tries::new((processors / 2).max(1)).map_err(|_| {
            let message = "passwords cannot be checked: the system has no randomness".to_owned();
            Errors(vec![Problem { file: "basic_auth_users".to_owned(), line: None, place: String::new(), message }])
        })?;
        Ok(Self {
            file,
            looked: Mutex::new(Instant::now()),
            current: ArcSwap::from_pointee(web.into()),
            bucket: Bucket::default(),
            tries,
        })
    }

    /// What holds now.
    pub(super) async fn rules(self: &Arc<Self>, own: &Own) -> Arc<Rules> {
        if self.file.is_some() && self.is_time_to_look() {
            let guard = Arc::clone(self);
            match tokio::task::spawn_blocking(move || guard.look()).await {
                Ok(Some(success)) => own.web_config_loaded(success),
                Ok(None) => {}
                Err(broken) => error!("loading the web configuration broke: {broken}"),
            }
        }
        self.current.load_full()
    }

    /// Whether it is, of which whoever is told first takes care.
    fn is_time_to_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let time = now.duration_since(*looked) >= LOOK_EVERY;
        if time {
            *looked = now;
        }
        time
    }

    /// Loads the file where it has changed; says whether that was a success.
    fn look(&self) -> Option<bool> {
        // One who looks is enough: on a file system that hangs, others go on with what is in force.
        let mut file = self.file.as_ref()?.try_lock().ok()?;
        match file.load_changed()? {
            Ok(web) => {
                self.current.store(Arc::new(web.into()));
                info!("the web configuration was loaded again");
                Some(true)
            }
            Err(errors) => {
                for problem in &errors.0 {
                    error!("the web configuration in force stays: {problem}");
                }
                Some(false)
            }
        }
    }
}

impl From<Web> for Rules {
    fn from(Web { tls, headers, users, rate_limit }: Web) -> Self {
        Self { tls, headers, users: Users::new(users), rate_limit }
    }
}

/// Lets a request through to the pages, or not; the headers of the web configuration stand on every answer.
pub(super) async fn guard(
    Extract(state): Extract<Arc<State>>,
    client: Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let rules = state.guard.rules(&state.own).await;
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let mut response = match refusal(&state.guard, &rules, &client, authorization.as_ref()).await {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in &rules.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// Why a request gets no further.
async fn refusal(
    guard: &Guard,
    rules: &Rules,
    client: &Client,
    authorization: Option<&HeaderValue>,
) -> Option<Response> {
    if let Some(limit) = rules.rate_limit
        && !guard.bucket.take(limit, Instant::now())
    {
        let sentence = "too many requests: the rate_limit of the web configuration";
        return Some(reply::sentence(StatusCode::TOO_MANY_REQUESTS, sentence).into_response());
    }
    if rules.users.is_empty() {
        return None;
    }
    let admitted = tokio::select! {
        admitted = rules.users.admit(authorization, &guard.tries) => admitted,
        // Whoever has gone leaves the queue, too.
        () = client.gone() => false,
    };
    (!admitted).then(|| {
        let sentence = "this takes the name and the password of a user, by basic authentication";
        let challenge = [(WWW_AUTHENTICATE, "Basic")];
        (challenge, reply::sentence(StatusCode::UNAUTHORIZED, sentence)).into_response()
    })
}

/// A token bucket, told by the time at which it is full again; a full one at first.
#[derive(Debug, Default)]
struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Takes a token, where there is one.
    fn take(&self, RateLimit { interval, burst }: RateLimit, now: Instant) -> bool {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = full.filter(|full| *full > now).unwrap_or(now);
        let Some(then) = since.checked_add(interval) else { return false };
        let there = then - now <= interval.saturating_mul(burst);
        if there {
            *full = Some(then);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_token_an_interval() {
        let limit = RateLimit { interval: Duration::from_millis(100), burst: 3 };
        let (bucket, begin) = (Bucket::default(), Instant::now());
        let taken = |ms: u64| bucket.take(limit, begin + Duration::from_millis(ms));
        let at = [0, 0, 10, 20, 99, 100, 150, 200, 201, 1000, 1000, 1000, 1000];
        let expected = [true, true, true, false, false, true, false, true, false, true, true, true, false];
        assert_eq!(at.map(taken), expected);
    }

    #[test]
    fn a_bucket_follows_a_limit_that_changes() {
        let (bucket, now) = (Bucket::default(), Instant::now());
        let limit = |ms, burst| RateLimit { interval: Duration::from_millis(ms), burst };
        assert!(bucket.take(limit(60_000, 1), now));
        assert!(!bucket.take(limit(60_000, 1), now));
        assert!(bucket.take(limit(60_000, 2), now));
        let longest = Duration::from_secs(292 * 365 * 86_400);
        assert!(Bucket::default().take(RateLimit { interval: longest, burst: u32::MAX }, now));
    }
}
