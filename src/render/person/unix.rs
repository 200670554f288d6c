//! `unix`: what was said on the connection.

use super::{Page, carried, heard, tls, waterfall};
use crate::probe::{Report, unix};

pub(super) fn write(page: &mut Page, report: &Report, measured: &unix::Measurement) {
    waterfall::write(page, report);
    let unix::Measurement { traffic, heard: told, tls: facts } = measured;
    page.blank();
    carried(page, *traffic);
    heard(page, told);
    if let Some(facts) = facts {
        tls::write(page, report, facts);
    }
}
