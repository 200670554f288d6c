//! The lab: an emulated internet with two ISPs, for `demo`, `selftest` and the tests.
