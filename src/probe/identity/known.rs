//! What the process knows from the answers to its questions, and which of them are being asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::question::{self, Asker, Key, Outcome};
use crate::wire::dns::Data;

/// Names and autonomous systems of addresses, as far as probes have asked for them: kept as long as their zones allow, also where there
/// was nothing. Who asks what another is asking waits for the same answer.
#[derive(Debug, Default)]
pub struct Identities(Mutex<HashMap<Key, Slot>>);

#[derive(Debug)]
enum Slot {
    Known {
        data: Arc<[Data]>,
        said: bool,
        until: Instant,
    },
    /// Nothing where all have gone who waited for it.
    Asked(Weak<Asking>),
}

/// A question that is being asked, for as long as somebody waits for its answer.
#[derive(Debug)]
struct Asking {
    told: watch::Receiver<Option<Told>>,
    task: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// What is known; empty where nothing is.
    pub(super) data: Arc<[Data]>,
    /// Whether somebody said so.
    pub(super) said: bool,
    /// When it arrived; nothing where it was known already.
    pub(super) at: Option<Instant>,
}

/// How many answers are kept at most.
const MOST: usize = 16_384;

/// A question that was given up after so long had its chance: it counts as one that nobody answered.
const CHANCE: Duration = Duration::from_millis(400);

impl Identities {
    /// What is known, or is told when it is asked. Questions of a probe go through its gate, so that they are not too many at a time. Dropping
    /// this ends the question, unless somebody else waits for it.
    pub(super) async fn ask(self: &Arc<Self>, key: Key, asker: &Arc<Asker>) -> Told {
        let asking = match self.known_or_asked(&key) {
            Ok(told) => return told,
            Err(Some(asking)) => asking,
            Err(None) => self.begin(key, asker),
        };
        let mut told = asking.told.clone();
        match told.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(told)) => told.clone(),
            _ => Told { data: Arc::default(), said: false, at: None },
        }
    }

    fn known_or_asked(&self, key: &Key) -> Result<Told, Option<Arc<Asking>>> {
        match self.lock().get(key) {
            Some(Slot::Known { data, said, until }) if Instant::now() < *until => {
                Ok(Told { data: Arc::clone(data), said: *said, at: None })
            }
            Some(Slot::Asked(asking)) => Err(asking.upgrade()),
            Some(Slot::Known { .. }) | None => Err(None),
        }
    }

    /// Begins to ask; where somebody was faster, that counts.
    fn begin(self: &Arc<Self>, key: Key, asker: &Arc<Asker>) -> Arc<Asking> {
        let mut slots = self.lock();
        make_room(&mut slots, Instant::now());
        if let Some(Slot::Asked(asking)) = slots.get(&key)
            && let Some(asking) = asking.upgrade()
        {
            return asking;
        }
        let (tell, told) = watch::channel(None);
        let open = Open { identities: Arc::clone(self), key: key.clone(), begun: None };
        let task = tokio::spawn(put(open, Arc::clone(asker), tell)).abort_handle();
        let asking = Arc::new(Asking { told, task });
        slots.insert(key, Slot::Asked(Arc::downgrade(&asking)));
        asking
    }

    fn keep(&self, key: &Key, data: Arc<[Data]>, said: bool, keep: Duration) {
        let mut slots = self.lock();
        if let Entry::Occupied(mut slot) = slots.entry(key.clone()) {
            slot.insert(Slot::Known { data, said, until: Instant::now() + keep });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a question, keeps the answer and tells it.
async fn put(mut open: Open, asker: Arc<Asker>, tell: watch::Sender<Option<Told>>) {
    let Ok(_permit) = asker.gate.acquire().await else { return };
    open.begun = Some(Instant::now());
    let Outcome { data, said, keep, at } = question::ask(&asker, &open.key).await;
    open.begun = None;
    let data: Arc<[Data]> = data.into();
    open.identities.keep(&open.key, Arc::clone(&data), said, keep);
    // Nobody may be there any more.
    let _ = tell.send(Some(Told { data, said, at: Some(at) }));
}

/// A question that has no answer yet. Dropped after a while, it is one that nobody answers: the next probe need not wait for that again.
struct Open {
    identities: Arc<Identities>,
    key: Key,
    begun: Option<Instant>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.begun.is_some_and(|begun| begun.elapsed() >= CHANCE) {
            let Outcome { data, said, keep, .. } = Outcome::silence();
            self.identities.keep(&self.key, data.into(), said, keep);
        }
    }
}

/// Makes room for one more: what is over goes first, then what is over soonest.
fn make_room(slots: &mut HashMap<Key, Slot>, now: Instant) {
    if slots.len() < MOST {
        return;
    }
    slots.retain(|_, slot| match slot {
        Slot::Known { until, .. } => now < *until,
        Slot::Asked(asking) => asking.strong_count() > 0,
    });
    let mut ends: Vec<_> = slots.values().filter_map(Slot::until).collect();
    if let Some(excess) = slots.len().checked_sub(MOST / 8 * 7) {
        ends.sort_unstable();
        if let Some(last) = excess.checked_sub(1).and_then(|at| ends.get(at.min(ends.len().saturating_sub(1)))).copied()
        {
            slots.retain(|_, slot| slot.until().is_none_or(|until| until > last));
        }
    }
}

impl Slot {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Known { until, .. } => Some(*until),
            Self::Asked(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Via;
    use super::*;
    use crate::net::Source;
    use crate::wire::dns::Wanted;

    #[test]
    fn what_is_over_soonest_makes_room() {
        let via = Arc::new(Via { source: Source::default(), servers: Vec::new() });
        let key = |number: usize| Key { via: Arc::clone(&via), name: number.to_string(), wanted: Wanted::Text };
        let now = Instant::now();
        let known =
            |seconds| Slot::Known { data: Arc::default(), said: true, until: now + Duration::from_secs(seconds) };
        let mut slots: HashMap<_, _> = (0..MOST).map(|number| (key(number), known(number as u64))).collect();
        make_room(&mut slots, now);
        assert_eq!(slots.len(), MOST / 8 * 7);
        let excess = MOST - MOST / 8 * 7;
        assert!(!slots.contains_key(&key(excess - 1)) && slots.contains_key(&key(excess)));
        // As long as there is room, all stays, also what is over.
        let later = now + Duration::from_secs(MOST as u64 / 2);
        make_room(&mut slots, later);
        assert_eq!(slots.len(), MOST / 8 * 7);
        // What is over goes first, and with it what nobody waits for.
        slots.extend((MOST..MOST * 2 - slots.len()).map(|number| (key(number), Slot::Asked(Weak::new()))));
        assert_eq!(slots.len(), MOST);
        make_room(&mut slots, later);
        assert_eq!(slots.len(), MOST / 2 - 1);
        assert!(slots.values().all(|slot| matches!(slot, Slot::Known { until, .. } if *until > later)));
    }
}
