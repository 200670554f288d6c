//! Questions to a name server on loopback, and what is remembered of them.

#![expect(clippy::disallowed_methods, reason = "the name server of the tests")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::question::{Asker, Key, SILENCE, Via};
use super::*;
use crate::net::Source;
use crate::probe::{Probe, testing};
use crate::wire::dns::{Data, Wanted};

const MS: Duration = Duration::from_millis(1);

/// A name server that answers every question after a while with the name `a.example`; a silent one never does. It counts the questions.
struct Server {
    via: Arc<Via>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(answers_after: Option<Duration>) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let via = Arc::new(Via { source: Source::default(), servers: vec![socket.local_addr().unwrap()] });
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                let Some(after) = answers_after else { continue };
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                let name = message.queries[0].name.clone();
                let data = RData::PTR(PTR(Name::from_ascii("a.example.").unwrap()));
                message.add_answer(Record::from_rdata(name, 60, data));
                let socket = socket.try_clone().unwrap();
                thread::spawn(move || {
                    thread::sleep(after);
                    // Who asked may have gone.
                    let _ = socket.send_to(&message.to_vec().unwrap(), peer);
                });
            }
        });
        Self { via, asked }
    }

    fn key(&self) -> Key {
        Key { via: Arc::clone(&self.via), name: "1.2.0.192.in-addr.arpa".to_owned(), wanted: Wanted::Pointer }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits for that many questions in all.
    async fn was_asked(&self, times: usize) {
        while self.asked() < times {
            sleep(MS).await;
        }
    }
}

/// Somebody who asks so many questions at a time.
fn asker(at_a_time: usize) -> Arc<Asker> {
    let request = testing::configured("{prober: traceroute}", "192.0.2.1", Duration::from_secs(1));
    Arc::new(Asker { request, gate: Semaphore::new(at_a_time) })
}

fn name() -> Vec<Data> {
    vec![Data::Name("a.example".parse().unwrap())]
}

#[tokio::test]
async fn a_question_goes_on_for_as_long_as_somebody_waits() {
    let server = Server::start(Some(100 * MS));
    let identities = Arc::new(Identities::default());
    let ask = || {
        let (identities, key) = (Arc::clone(&identities), server.key());
        tokio::spawn(async move { identities.ask(key, &asker(1)).await })
    };
    let (first, second) = (ask(), ask());
    server.was_asked(1).await;
    first.abort();
    let told = second.await.unwrap();
    assert_eq!((told.data.to_vec(), told.at.is_some(), server.asked()), (name(), true, 1));
    // Now it is known.
    let told = ask().await.unwrap();
    assert_eq!((told.data.to_vec(), told.at.is_none(), server.asked()), (name(), true, 1));
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_ends_and_is_asked_again() {
    let server = Server::start(Some(100 * MS));
    let identities = Arc::new(Identities::default());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, asker) = (tasks(), asker(1));
    tokio::select! {
        told = identities.ask(server.key(), &asker) => panic!("{told:?}"),
        () = server.was_asked(1) => {}
    }
    while tasks() > before {
        sleep(MS).await;
    }
    assert_eq!((server.asked(), asker.gate.available_permits()), (1, 1), "nothing of it is left");
    let told = identities.ask(server.key(), &asker).await;
    assert_eq!((told.data.to_vec(), server.asked()), (name(), 2));
}

#[tokio::test]
async fn silence_is_remembered_of_a_question_that_had_its_chance() {
    let server = Server::start(None);
    let identities = Arc::new(Identities::default());
    let begun = Instant::now();
    let told = identities.ask(server.key(), &asker(1)).await;
    let took = begun.elapsed();
    assert!(told.data.is_empty() && took >= question::LIMIT && took < question::LIMIT + 300 * MS, "{took:?}");
    assert_eq!(server.asked(), 2, "asked twice");
    let begun = Instant::now();
    assert!(identities.ask(server.key(), &asker(1)).await.data.is_empty());
    assert!(begun.elapsed() < 100 * MS && server.asked() == 2, "nobody is asked again so soon");
    // The same where whoever asked had less patience.
    let other = Key { name: "2.2.0.192.in-addr.arpa".to_owned(), ..server.key() };
    assert!(timeout(450 * MS, identities.ask(other.clone(), &asker(1))).await.is_err());
    sleep(10 * MS).await;
    let asked = server.asked();
    assert!(identities.ask(other, &asker(1)).await.data.is_empty());
    assert_eq!(server.asked(), asked);
    assert!(SILENCE < Duration::from_secs(30), "a probe every half a minute asks each time");
}

#[tokio::test]
async fn no_more_questions_are_asked_at_a_time_than_the_gate_lets_through() {
    let server = Server::start(None);
    let identities = Arc::new(Identities::default());
    let asker = asker(3);
    let questions: Vec<_> = (0..20)
        .map(|number| {
            let (identities, asker) = (Arc::clone(&identities), Arc::clone(&asker));
            let key = Key { name: format!("{number}.2.0.192.in-addr.arpa"), ..server.key() };
            tokio::spawn(async move { identities.ask(key, &asker).await })
        })
        .collect();
    server.was_asked(3).await;
    sleep(50 * MS).await;
    assert_eq!(server.asked(), 3);
    questions.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn an_address_that_nat64_made_is_announced_where_its_own_is() {
    let table = Origins::parse("8.8.8.0/24 15169 GOOGLE\n10.0.0.0/8 64512\n64:ff9b:1::/48 64513\n").unwrap();
    let registry = Registry::Table(table);
    let numbers = |address: &str| -> Vec<u32> {
        let systems = registry.local(address.parse().unwrap()).unwrap();
        systems.into_iter().map(|system| system.number).collect()
    };
    let cases: [(&str, &[u32]); 6] = [
        ("8.8.8.8", &[15_169]),
        ("64:ff9b::8.8.8.8", &[15_169]),
        ("::ffff:8.8.8.8", &[15_169]),
        ("10.1.2.3", &[64_512]),
        ("64:ff9b:1::1", &[64_513]),
        ("9.9.9.9", &[]),
    ];
    for (address, expected) in cases {
        assert_eq!(numbers(address), expected, "{address}");
    }
}

#[tokio::test]
async fn names_that_are_known_late_are_no_late_answer_of_the_destination() {
    let request = testing::configured("{prober: traceroute}", "127.0.0.1", 20 * MS);
    let probe = Probe::start(&request);
    let mut inquiry = Inquiry::new(&probe, true, None).unwrap();
    // Nobody is asked about it.
    inquiry.about(Ipv4Addr::new(100, 64, 0, 1).into());
    sleep(40 * MS).await;
    assert!(Instant::now() > probe.deadline);
    inquiry.finish(|_| {}).await;
    assert_eq!(probe.timeline.last_arrival(), None);
}
