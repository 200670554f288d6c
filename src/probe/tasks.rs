//! What a library wants to spawn, run beside the future that needs it: what is dropped leaves no task behind.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::task::coop;

use super::lock;

/// A task.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that run while somebody waits for what they do.
#[derive(Default)]
pub(super) struct Tasks {
    spawner: Spawner,
    running: Vec<Task>,
}

/// Takes tasks.
#[derive(Clone, Default)]
pub(super) struct Spawner(Arc<Mutex<Vec<Task>>>);

impl Tasks {
    /// Whom to give tasks to.
    pub(super) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Waits for `work`, and runs the tasks meanwhile; `idle` is called when nothing is left to do but to wait.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T>, idle: impl Fn()) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.advance(cx);
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                // What the work has asked of the tasks is to leave now.
                self.advance(cx);
                // Without a share of this turn they do not know what there is.
                if coop::has_budget_remaining() {
                    idle();
                }
            }
            done
        })
        .await
    }

    /// Runs all of them as far as they go.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            self.running.retain_mut(|task| task.as_mut().poll(cx) == Poll::Pending);
            let mut spawned = lock(&self.spawner.0);
            if spawned.is_empty() {
                break;
            }
            self.running.append(&mut spawned);
        }
    }
}

impl Spawner {
    /// Takes a task.
    pub(super) fn take(&self, task: Task) {
        lock(&self.0).push(task);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.take(Box::pin(task));
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}
