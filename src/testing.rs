//! What the tests beside the code share.

use std::io::Write as _;

/// Says why a test does not run here, past libtest, which keeps to itself what a passing test prints; where no test may be skipped
/// (`UPLINK_REQUIRE_LAB=1`), fails.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("UPLINK_REQUIRE_LAB").is_none_or(|value| value != "1"), "may not be skipped: {why}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    writeln!(std::io::stderr(), "skipped {test}: {why}").ok();
}
