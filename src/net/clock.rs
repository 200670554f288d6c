//! The kernel's stamps on the program's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::sys::Stamp;

/// The clock of the kernel's stamps, now.
#[must_use]
pub fn now() -> Stamp {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// When a stamp was taken, on the monotonic clock: now, less the stamp's age. The age is a difference of two readings of the
/// kernel's clock, so a clock that is set between two packets changes no duration.
#[must_use]
pub fn instant_of(stamp: Stamp) -> Instant {
    let age = now().saturating_sub(stamp);
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}
