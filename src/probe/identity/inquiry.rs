//! What a trace wants to know of those who answer it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::known::Told;
use super::question::{Asker, Key, Via};
use super::{Registry, Zones};
use crate::flight::Phase;
use crate::path::{AutonomousSystem, cymru, public};
use crate::probe::resolve::{Asked, Hosts};
use crate::probe::{Probe, packets};
use crate::wire::dns::{Data, DomainName, Wanted, reverse_name};

/// How long a trace waits for who its hops are, after its last packet.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How many questions a probe asks at a time: both of every hop of a long path.
const AT_A_TIME: usize = 64;

/// Of how many addresses it wants to know.
const MOST: usize = 512;

/// The questions of a probe about addresses: they are asked while it goes on, and end with it.
pub(in crate::probe) struct Inquiry<'p> {
    probe: &'p Probe<'p>,
    scope: Arc<Scope>,
    tell: UnboundedSender<News>,
    news: UnboundedReceiver<News>,
    about: HashSet<IpAddr>,
    tasks: JoinSet<()>,
}

/// What is wanted, and who knows it.
struct Scope {
    names: bool,
    registry: Option<Arc<Registry>>,
    via: Arc<Via>,
    /// The hosts file, where it counts.
    hosts: Option<Arc<Hosts>>,
    asker: Arc<Asker>,
}

/// Something that is known now.
#[derive(Debug)]
pub(in crate::probe) enum Fact {
    /// The name of an address.
    Name(IpAddr, String),
    /// The systems that announce an address; none where none does.
    Systems(IpAddr, Vec<AutonomousSystem>),
    /// What a system is called.
    System(u32, String),
}

/// What those who find out say.
#[derive(Debug)]
enum News {
    /// Something is known.
    Fact(Fact),
    /// An answer arrived, whatever it says.
    Arrived(Instant),
}

impl<'p> Inquiry<'p> {
    /// Nobody is asked yet. Nothing where nothing is wanted.
    pub(in crate::probe) fn new(probe: &'p Probe<'p>, names: bool, registry: Option<&Arc<Registry>>) -> Option<Self> {
        if !names && registry.is_none() {
            return None;
        }
        let Asked { source, servers, hosts } = Asked::of(probe);
        let scope = Scope {
            names,
            registry: registry.cloned(),
            via: Arc::new(Via { source: source.clone(), servers }),
            hosts,
            asker: Arc::new(Asker { request: probe.request.clone(), gate: Semaphore::new(AT_A_TIME) }),
        };
        let (tell, news) = unbounded_channel();
        let (about, tasks) = (HashSet::new(), JoinSet::new());
        Some(Self { probe, scope: Arc::new(scope), tell, news, about, tasks })
    }

    /// Begins to find out about an address, unless that was begun already.
    pub(in crate::probe) fn about(&mut self, address: IpAddr) {
        if self.about.len() < MOST && self.about.insert(address) {
            let (scope, tell) = (Arc::clone(&self.scope), self.tell.clone());
            self.tasks.spawn(async move {
                tokio::join!(scope.name(address, &tell), scope.systems(address, &tell));
            });
        }
    }

    /// Hands over what is known by now, without waiting.
    pub(in crate::probe) fn known(&mut self, mut take: impl FnMut(Fact)) {
        while let Ok(news) = self.news.try_recv() {
            if let News::Fact(fact) = news {
                self.probe.note(format_args!("{}", fact.told()));
                take(fact);
            }
        }
    }

    /// Waits for the answers, in [`Phase::Lookup`], for at most [`PATIENCE`] and until shortly before the probe's deadline, and hands over
    /// each thing that is known. Where nothing is wanted of anybody, there is no such phase.
    pub(in crate::probe) async fn finish(mut self, mut take: impl FnMut(Fact)) {
        if self.about.is_empty() {
            return;
        }
        let timeline = &self.probe.timeline;
        timeline.enter(Phase::Lookup);
        let begun = Instant::now();
        timeline.sent(begun);
        let until = (begun + PATIENCE).min(packets::end(self.probe)).max(begun);
        // The tasks' own are left.
        drop(self.tell);
        let mut last = begun;
        loop {
            let news = match self.news.try_recv() {
                Ok(news) => Some(news),
                Err(TryRecvError::Disconnected) => None,
                // A timer has its precision, and the deadline may be over.
                Err(TryRecvError::Empty) if Instant::now() >= until => break,
                Err(TryRecvError::Empty) => match timeout_at(until.into(), self.news.recv()).await {
                    Ok(news) => news,
                    Err(_) => break,
                },
            };
            match news {
                Some(News::Arrived(at)) => last = last.max(at),
                Some(News::Fact(fact)) => {
                    self.probe.note(format_args!("{}", fact.told()));
                    take(fact);
                }
                None => {
                    // No arrival: what is known of names, and when, decides nothing of the trace.
                    timeline.waited(last);
                    return;
                }
            }
        }
        timeline.waited(until);
        self.probe.note(format_args!("{} hops are not known in time", self.tasks.len()));
    }
}

impl Fact {
    /// For a person.
    fn told(&self) -> String {
        match self {
            Self::Name(address, name) => format!("{address} is {name}"),
            Self::Systems(address, systems) if systems.is_empty() => format!("{address} is announced by nobody"),
            Self::Systems(address, systems) => {
                let numbers: Vec<_> = systems.iter().map(|system| format!("AS{}", system.number)).collect();
                format!("{address} is announced by {}", numbers.join(" and "))
            }
            Self::System(number, name) => format!("AS{number} is {name}"),
        }
    }
}

impl Scope {
    /// Finds the name of an address. Only addresses of the Internet are asked about.
    async fn name(&self, address: IpAddr, tell: &UnboundedSender<News>) {
        let named = |name: String| drop(tell.send(News::Fact(Fact::Name(address, name))));
        if !self.names {
            return;
        }
        if let Some(name) = self.hosts.as_ref().and_then(|hosts| hosts.name(address)) {
            return named(name.to_owned());
        }
        if public(address).is_none() {
            return;
        }
        let told = self.ask(reverse_name(address.to_canonical()), Wanted::Pointer, tell).await;
        let names = told.data.iter().filter_map(|data| match data {
            Data::Name(name) => Some(text(name)),
            Data::Address(_) | Data::Text(_) => None,
        });
        // Of several always the same: servers change their order.
        if let Some(name) = names.filter(|name| !name.is_empty()).min() {
            named(name);
        }
    }

    /// Finds the systems that announce an address, and what they are called.
    async fn systems(&self, address: IpAddr, tell: &UnboundedSender<News>) {
        let announced = |systems: Vec<AutonomousSystem>| drop(tell.send(News::Fact(Fact::Systems(address, systems))));
        let zones = match self.registry.as_deref() {
            Some(Registry::Zones(zones)) => zones,
            Some(registry) => return announced(registry.local(address).unwrap_or_default()),
            None => return,
        };
        let Some(stands_for) = public(address) else { return announced(Vec::new()) };
        let told = self.ask(zones.of_address(stands_for), Wanted::Text, tell).await;
        if !told.said {
            return;
        }
        let numbers = cymru::origins(&texts(&told), stands_for);
        announced(numbers.iter().map(|number| AutonomousSystem { number: *number, name: None }).collect());
        // One after the other: few addresses have more than one.
        for number in numbers {
            self.system(zones, number, tell).await;
        }
    }

    async fn system(&self, zones: &Zones, number: u32, tell: &UnboundedSender<News>) {
        let told = self.ask(zones.of_system(number), Wanted::Text, tell).await;
        if let Some(name) = texts(&told).iter().find_map(|text| cymru::system_name(text)) {
            drop(tell.send(News::Fact(Fact::System(number, name))));
        }
    }

    async fn ask(&self, name: String, wanted: Wanted, tell: &UnboundedSender<News>) -> Told {
        let key = Key { via: Arc::clone(&self.via), name, wanted };
        let told = self.asker.request.identities.ask(key, &self.asker).await;
        if let Some(at) = told.at {
            drop(tell.send(News::Arrived(at)));
        }
        told
    }
}

fn texts(told: &Told) -> Vec<Vec<u8>> {
    let texts = told.data.iter().filter_map(|data| match data {
        Data::Text(text) => Some(text.clone()),
        Data::Address(_) | Data::Name(_) => None,
    });
    texts.collect()
}

/// A name without the dot at its end; empty for the root, which names nobody.
fn text(name: &DomainName) -> String {
    let text = name.to_string();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}
