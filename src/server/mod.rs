//! The HTTP surface: `/probe`, the exporter's own metrics, pages, reload.

mod admission;
mod basic_auth;
mod client;
mod connection;
mod guard;
mod history;
mod listen;
mod logs;
mod own;
mod pages;
mod place;
mod probe;
mod process;
mod query;
mod reply;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

use crate::config::{Errors, Problem, Store};
use crate::net::Network;
use crate::probe::Module;
use crate::probe::identity::Identities;
use admission::Admission;
use history::History;
use listen::Stream;
use own::Own;
pub use place::Place;

pub use guard::Guard;
pub use listen::{LISTEN_FLAG, Listener, handed_over, listen};
pub use probe::{WANTED_LOG, hostname, log};

/// The pause after a failed `accept()`: without descriptors the next one would fail at once, and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the log's lines about single probes have for their target, in tracing's sense.
pub const PROBES: &str = "probes";

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    store: Store,
    network: Arc<Network>,
    identities: Arc<Identities>,
    options: Options,
    history: History,
    admission: Admission,
    guard: Arc<Guard>,
    own: Own,
}

/// What the command line says about the HTTP surface.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a probe leaves of the scrape's time for the way back.
    pub timeout_offset: Duration,
    /// How many of the latest probes are kept, and how many of the failed ones before them.
    pub history_limit: usize,
    /// Where the pages are.
    pub place: Place,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout_offset: Duration::from_millis(500), history_limit: 100, place: Place::default() }
    }
}

impl State {
    /// The state of a server.
    #[must_use]
    pub fn new(store: Store, guard: Guard, network: Arc<Network>, options: Options) -> Arc<Self> {
        let history = History::new(options.history_limit);
        Arc::new(Self {
            store,
            network,
            identities: Arc::default(),
            options,
            history,
            admission: Admission::default(),
            guard: Arc::new(guard),
            own: Own::default(),
        })
    }

    /// Whether a file of the configuration has another content than when it was loaded last, in vain or not.
    pub async fn changed(self: &Arc<Self>) -> bool {
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || state.store.changed()).await.unwrap_or(false)
    }

    /// A module as the files are now that it names.
    ///
    /// # Errors
    /// What is wrong with them.
    async fn fresh(self: &Arc<Self>, module: &Arc<Module>) -> Result<Arc<Module>, Errors> {
        if !self.store.is_stale(module) {
            return Ok(Arc::clone(module));
        }
        let (state, stale) = (Arc::clone(self), Arc::clone(module));
        tokio::task::spawn_blocking(move || state.store.fresh(&stale)).await.unwrap_or_else(|panic| Err(broken(&panic)))
    }

    /// Loads the configuration again.
    ///
    /// # Errors
    /// Everything that is wrong with it; the configuration in force stays.
    pub async fn reload(self: &Arc<Self>) -> Result<(), Errors> {
        let state = Arc::clone(self);
        let result = tokio::task::spawn_blocking(move || state.store.reload()).await;
        let result = result.unwrap_or_else(|panic| Err(broken(&panic)));
        if result.is_ok() {
            self.network.keep(self.store.current().sources());
        }
        self.own.reloaded(result.is_ok());
        result
    }
}

/// A load that did not come to its end.
fn broken(panic: &JoinError) -> Errors {
    let message = format!("loading broke: {panic}");
    Errors(vec![Problem { file: "configuration".to_owned(), line: None, place: String::new(), message }])
}

/// Serves until `shutdown`; then takes no more connections and lets the running requests end, for at most `grace`.
pub async fn run(listeners: Vec<Listener>, state: Arc<State>, shutdown: impl Future<Output = ()>, grace: Duration) {
    let service = TowerToHyperService::new(router(Arc::clone(&state)));
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listeners) => accepted,
        };
        match accepted {
            Ok(stream) => {
                connections.spawn(connection::serve(stream, service.clone(), Arc::clone(&state), ending.clone()));
            }
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listeners);
    end.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        warn!("{} requests did not end within {grace:?} and are cut", connections.len());
    }
}

/// The next connection of any listener.
async fn accept(listeners: &[Listener]) -> io::Result<Stream> {
    poll_fn(|context| {
        let mut ready = listeners.iter().map(|listener| listener.poll_accept(context)).filter(Poll::is_ready);
        ready.next().unwrap_or(Poll::Pending)
    })
    .await
}

fn router(state: Arc<State>) -> Router {
    let place = &state.options.place;
    let nothing = format!("there is nothing here; {} lists what there is", place.at("/"));
    // A prefix may have segments that began a placeholder once, and mean themselves.
    let mut router = Router::new()
        .without_v07_checks()
        .route(&place.at("/"), get(pages::landing))
        .route(&place.at("/config"), get(pages::config))
        .route(&place.at("/logs"), get(logs::logs))
        .route(&place.at("/metrics"), get(own::metrics))
        .route(&place.at("/probe"), get(probe::probe).post(probe::probe))
        .route(&place.at("/-/healthy"), get(async || reply::sentence(StatusCode::OK, "Healthy")))
        .route(&place.at("/-/ready"), get(async || reply::sentence(StatusCode::OK, "Ready")))
        .route(&place.at("/-/reload"), post(reload).put(reload))
        .fallback(async || reply::sentence(StatusCode::NOT_FOUND, nothing))
        .method_not_allowed_fallback(async || {
            reply::sentence(
                StatusCode::METHOD_NOT_ALLOWED,
                "this page takes another method, which the Allow header names",
            )
        });
    for (path, status, location) in place.redirects() {
        router = router.route(&path, get(async move || (status, [(LOCATION, location)])));
    }
    router.layer(middleware::from_fn_with_state(Arc::clone(&state), guard::guard)).with_state(state)
}

async fn reload(Extract(state): Extract<Arc<State>>) -> Response {
    match state.reload().await {
        Ok(()) => reply::sentence(StatusCode::OK, "the configuration was loaded again").into_response(),
        Err(errors) => reply::sentence(StatusCode::INTERNAL_SERVER_ERROR, Kept(&errors)).into_response(),
    }
}

/// What a failed reload says.
struct Kept<'a>(&'a Errors);

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration in force stays, the new one is wrong:\n{}", self.0)
    }
}
