//! Basic authentication (RFC 7617) of users whose passwords are hashed by bcrypt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{error::Unspecified, hmac};
use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::{HashParts, Version};
use tokio::sync::Semaphore;

/// The users. bcrypt is slow by design, so what was right once is known again by a keyed hash, one for each user.
#[derive(Debug)]
pub(super) struct Users {
    users: BTreeMap<String, User>,
    /// The hash that is tried for names that nobody has, so that they take as long as others: as dear as the dearest.
    stand_in: String,
}

/// What trying passwords takes.
#[derive(Debug)]
pub(super) struct Tries {
    /// Of this process only: what it signs says nothing to anybody else.
    key: hmac::Key,
    /// For each that is tried at a time.
    turns: Arc<Semaphore>,
}

impl Tries {
    /// So many at a time.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new(at_a_time: usize) -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, turns: Arc::new(Semaphore::new(at_a_time)) })
    }
}

#[derive(Debug)]
struct User {
    hash: String,
    known: Mutex<Option<hmac::Tag>>,
}

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Credentials {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl Users {
    /// Those of a web configuration.
    pub(super) fn new(hashes: BTreeMap<String, HashParts>) -> Self {
        let cost = hashes.values().map(HashParts::get_cost).max().unwrap_or_default();
        let stand_in = format!("$2b${cost:02}${}", ".".repeat(53));
        let users = hashes.into_iter().map(|(name, hash)| {
            let hash = hash.format_for_version(Version::TwoB);
            (name, User { hash, known: Mutex::default() })
        });
        Self { users: users.collect(), stand_in }
    }

    /// Whether everybody may come in.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether an `Authorization` header has the name and the password of a user.
    pub(super) async fn admit(&self, authorization: Option<&HeaderValue>, Tries { key, turns }: &Tries) -> bool {
        let Some(Credentials { name, password }) = authorization.and_then(credentials) else { return false };
        let user = std::str::from_utf8(&name).ok().and_then(|name| self.users.get(name));
        let known = || user.is_some_and(|user| user.knows(key, &password));
        if known() {
            return true;
        }
        // Nobody closes it.
        let Ok(turn) = Arc::clone(turns).acquire_owned().await else { return false };
        // Several requests of one client come at once, and the first has done the work.
        if known() {
            return true;
        }
        let hash = user.map_or(&self.stand_in, |user| &user.hash).clone();
        let tag = hmac::sign(key, &password);
        // The turn is over with the work, and not with the request, which may be gone before.
        let tried = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(&password, &hash).unwrap_or(false)
        });
        let right = tried.await.unwrap_or(false);
        match user {
            Some(user) if right => {
                *user.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag);
                true
            }
            _ => false,
        }
    }
}

impl User {
    fn knows(&self, key: &hmac::Key, password: &[u8]) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|tag| hmac::verify(key, password, tag.as_ref()).is_ok())
    }
}

/// The name and the password of an `Authorization` header.
fn credentials(header: &HeaderValue) -> Option<Credentials> {
    let (scheme, packed) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = STANDARD.decode(packed).ok()?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some(Credentials { name: both[..colon].to_vec(), password: both[colon + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(both: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(both))).unwrap()
    }

    fn users(list: &[(&str, &str)]) -> Users {
        let hashes = list.iter().map(|(name, password)| {
            let hash = bcrypt::hash_with_result(password, 4).unwrap();
            ((*name).to_owned(), hash)
        });
        Users::new(hashes.collect())
    }

    #[test]
    fn a_header_is_a_scheme_and_a_name_and_a_password() {
        let read = |text: &str| {
            credentials(&HeaderValue::try_from(text).unwrap()).map(|Credentials { name, password }| (name, password))
        };
        let some = |name: &[u8], password: &[u8]| Some((name.to_vec(), password.to_vec()));
        assert_eq!(read("Basic YTpi"), some(b"a", b"b"));
        assert_eq!(read("bAsIc YTpi"), some(b"a", b"b"));
        assert_eq!(read("Basic YTpiOmM="), some(b"a", b"b:c"));
        assert_eq!(read("Basic Og=="), some(b"", b""));
        for wrong in ["Basic", "Basic YQ==", "Basic YTpi=", "Bearer YTpi", "Basic  YTpi", "YTpi", "Basic YTpiOmM"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_has_a_name_and_its_password_comes_in() {
        let users = users(&[("ann", "a:1"), ("bob", ""), ("", "x")]);
        let tries = Tries::new(1).unwrap();
        // Twice: tried, and then known.
        for _ in 0..2 {
            for (both, admitted) in [
                ("ann:a:1", true),
                ("ann:a:2", false),
                ("ann:", false),
                ("bob:", true),
                (":x", true),
                (":", false),
                ("eve:a:1", false),
            ] {
                assert_eq!(users.admit(Some(&header(both)), &tries).await, admitted, "{both}");
            }
        }
        assert!(!users.admit(None, &tries).await);
        assert_eq!(tries.turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn only_what_was_never_right_takes_a_turn() {
        let users = users(&[("ann", "right")]);
        let tries = Tries::new(1).unwrap();
        assert!(users.admit(Some(&header("ann:right")), &tries).await);
        let _taken = Arc::clone(&tries.turns).acquire_owned().await.unwrap();
        assert!(users.admit(Some(&header("ann:right")), &tries).await);
        for other in ["ann:wrong", "eve:right"] {
            let header = header(other);
            let tried = users.admit(Some(&header), &tries);
            assert!(tokio::time::timeout(std::time::Duration::from_millis(50), tried).await.is_err(), "{other}");
        }
    }

    #[test]
    fn the_stand_in_is_as_dear_as_the_dearest_user() {
        let hash = |cost| bcrypt::hash_with_result("x", cost).unwrap();
        let users = Users::new([("a".to_owned(), hash(4)), ("b".to_owned(), hash(5))].into());
        let parts: HashParts = users.stand_in.parse().unwrap();
        assert_eq!(parts.get_cost(), 5);
        assert!(!bcrypt::verify("", &users.stand_in).unwrap());
    }
}
