//! How much a task may do before the others, timers and sockets have their turn.
//!
//! tokio gives every turn of a task 128 units; what is asked of a socket or a channel takes one, and once there are none left, whatever the
//! task asks for waits until the others have run and the kernel was asked for news ([`tokio::task::coop`]). That bounds how often a task
//! reads and not how much, nor what it does with what it has read already. So bytes take units as well, and so does work without a wait in
//! it. A peer that never stops sending then takes no more than its share.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::{coop, yield_now};

/// The most that is read, or worked on, at once, in bytes: about what a turn has units for.
pub const PIECE: usize = 128 * UNIT;

/// What a unit is good for, in bytes: reading, decrypting and parsing 64 KiB takes below a millisecond.
const UNIT: usize = 512;

/// Takes the units for so many bytes, as far as there are any.
pub fn take(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..bytes.div_ceil(UNIT) {
        if !coop::has_budget_remaining() {
            break;
        }
        if let Poll::Ready(unit) = coop::poll_proceed(cx) {
            unit.made_progress();
        }
    }
}

/// Counts a piece of work on so many bytes, and waits for the next turn where this one has had its share. Whoever does one such piece after
/// the other, with nothing to wait for, does this between them.
pub async fn worked(bytes: usize) {
    poll_fn(|cx| {
        take(cx, bytes);
        Poll::Ready(())
    })
    .await;
    coop::consume_budget().await;
}

/// The turns of a future that, once it has had its share of one, has the next behind all others. Left to itself, what wakes itself in its
/// turn, as some libraries do whenever they find something, has the next one before anybody asks the kernel for news.
#[derive(Debug, Default)]
pub struct Turns(Option<Arc<Turn>>);

/// What the future is woken by.
#[derive(Debug)]
struct Turn {
    state: AtomicU8,
    task: Waker,
}

/// Nobody works.
const OVER: u8 = 0;
/// It is its turn.
const RUNNING: u8 = 1;
/// It was woken in its turn.
const WOKEN: u8 = 2;

impl Turns {
    /// Gives the future a turn.
    pub fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let task = cx.waker();
        self.0.take_if(|turn| !turn.task.will_wake(task));
        let turn = self.0.get_or_insert_with(|| Arc::new(Turn { state: AtomicU8::new(OVER), task: task.clone() }));
        turn.state.store(RUNNING, Ordering::Release);
        let outcome = future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(turn))));
        if turn.state.swap(OVER, Ordering::AcqRel) == WOKEN {
            match coop::has_budget_remaining() {
                true => task.wake_by_ref(),
                // Polled once, it has the task woken when there is nothing else to do, and the kernel was asked.
                false => drop(pin!(yield_now()).poll(cx)),
            }
        }
        outcome
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(RUNNING, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(OVER) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How many pieces of work are done in one turn.
    async fn in_one_turn(bytes: usize) -> usize {
        let mut done = 0;
        poll_fn(|_| {
            let mut cx = Context::from_waker(Waker::noop());
            while done < 1_000_000 && pin!(worked(bytes)).poll(&mut cx).is_ready() {
                done += 1;
            }
            Poll::Ready(())
        })
        .await;
        done
    }

    #[tokio::test]
    async fn a_turn_is_worth_so_many_bytes_or_so_many_pieces() {
        for (bytes, pieces) in [(0, 128), (1, 64), (512, 64), (PIECE / 4, 3), (PIECE, 0), (usize::MAX / 2, 0)] {
            assert_eq!(tokio::spawn(in_one_turn(bytes)).await.unwrap(), pieces, "{bytes} bytes each");
        }
    }

    #[tokio::test]
    async fn what_wakes_itself_is_behind_the_others_once_it_has_had_its_share() {
        let (mut turns, mut turn) = (0, Turns::default());
        let (mut asked, mut answers) = tokio::net::UnixStream::pair().unwrap();
        let news = tokio::spawn(async move {
            let mut news = [0; 1];
            answers.read_exact(&mut news).await.unwrap();
            answers.write_all(&news).await.unwrap();
        });
        asked.write_all(&[1]).await.unwrap();
        let mut busy = pin!(poll_fn(|cx| {
            turns += 1;
            take(cx, PIECE);
            cx.waker().wake_by_ref();
            if news.is_finished() { Poll::Ready(()) } else { Poll::Pending }
        }));
        poll_fn(|cx| turn.poll(busy.as_mut(), cx)).await;
        assert!(turns < 10, "{turns} turns until the others had theirs");
    }

    #[tokio::test]
    async fn whoever_is_woken_in_his_turn_has_another_one() {
        let (mut turns, mut turn) = (0, Turns::default());
        let mut thrice = pin!(poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        poll_fn(|cx| turn.poll(thrice.as_mut(), cx)).await;
        let mut by_another = pin!(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || tell.send(1).unwrap());
            told.await.unwrap()
        });
        assert_eq!(poll_fn(|cx| turn.poll(by_another.as_mut(), cx)).await, 1);
    }

    #[tokio::test]
    async fn who_has_had_his_share_goes_on_in_his_next_turn() {
        let others = tokio::spawn(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..1000 {
            if others.is_finished() {
                return;
            }
            worked(PIECE).await;
        }
        panic!("the others had no turn");
    }
}
