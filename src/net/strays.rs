//! What the kernel sends for a socket that is gone, by its addresses alone: whether it leaves another way than the socket's own packets did.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::netlink::Netlink;
use super::{Heading, Source};

/// How long an answer of the kernel's is believed. To ask costs as much as a third of a tcp probe.
const BELIEVED: Duration = Duration::from_secs(1);

/// The most answers that are kept.
const MOST: usize = 1024;

thread_local! {
    /// Of the kernel, of the thread's own network namespace, which it never leaves.
    static ANSWERS: RefCell<Answers> = RefCell::default();
}

/// Whether it does, for a socket of a source between two addresses; also where that cannot be told.
pub(super) fn leave_another_way(source: &Source, local: IpAddr, remote: IpAddr) -> bool {
    // Where only an address decides, the kernel has it, too.
    if !source.is_steered() {
        return false;
    }
    let key = (source.clone().with_address(local), remote);
    let differ = |(source, remote): &Key| !has_one_way(source, local, *remote).unwrap_or(false);
    ANSWERS.try_with(|answers| answers.borrow_mut().get(key, Instant::now(), differ)).unwrap_or(true)
}

/// Whether both ways are the same.
fn has_one_way(source: &Source, local: IpAddr, remote: IpAddr) -> io::Result<bool> {
    let mut netlink = Netlink::open()?;
    let mut way = |source: &Source| netlink.route(source, &Heading::to(remote)).map(|hop| (hop.device, hop.gateway));
    Ok(way(source)? == way(&Source::default().with_address(local))?)
}

/// A source with the address that its packets have, and where they go.
type Key = (Source, IpAddr);

/// Answers, each for as long as it is believed.
#[derive(Debug, Default)]
struct Answers {
    known: HashMap<Key, (bool, Instant)>,
}

impl Answers {
    fn get(&mut self, key: Key, now: Instant, ask: impl FnOnce(&Key) -> bool) -> bool {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < BELIEVED;
        if let Some((answer, _)) = self.known.get(&key).filter(|(_, since)| fresh(since)) {
            return *answer;
        }
        if self.known.len() >= MOST {
            self.known.retain(|_, (_, since)| fresh(since));
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let answer = ask(&key);
        self.known.insert(key, (answer, now));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_answer_is_believed_for_a_second_and_a_thousand_are_kept() {
        let start = Instant::now();
        let key = |number: u32| (Source { mark: Some(1), ..Source::default() }, Ipv4Addr::from(number).into());
        let mut answers = Answers::default();
        let mut asked = 0;
        let mut get = |number, milliseconds, answer| {
            answers.get(key(number), start + Duration::from_millis(milliseconds), |_| {
                asked += 1;
                answer
            });
            (answers.get(key(number), start + Duration::from_millis(milliseconds), |_| !answer), asked)
        };
        assert_eq!(get(1, 0, true), (true, 1));
        assert_eq!(get(2, 0, false), (false, 2));
        assert_eq!(get(1, 999, false), (true, 2));
        assert_eq!(get(1, 1_000, false), (false, 3));
        for number in 3..5_000 {
            get(number, 1_500, true);
        }
        assert!(answers.known.len() <= MOST, "{}", answers.known.len());
    }

    #[test]
    fn by_loopback_both_ways_are_the_same_and_by_nothing_they_are_not() {
        let lo = |interface: &str| Source { interface: Some(interface.to_owned()), ..Source::default() };
        for address in ["127.0.0.1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            for _ in 0..2 {
                assert!(!leave_another_way(&lo("lo"), address, address));
                assert!(leave_another_way(&lo("none0"), address, address), "it cannot be told");
                assert!(!leave_another_way(&Source::default(), address, address));
            }
        }
    }
}
