//! The `unix:` section.

use std::sync::Arc;

use super::decode::Fields;
use super::{tcp, tls};
use crate::probe::unix::Settings;

/// The settings; nothing where something is wrong with them.
pub(super) fn settings(fields: Fields<'_>) -> Option<Settings> {
    let tls = fields.boolean("tls", false);
    let tls_config = tls::tls(&fields, Vec::new());
    let query_response = fields.get("query_response").map(|value| tcp::conversation(&value, tls)).unwrap_or_default();
    let secured = tls || query_response.iter().any(|step| step.starttls);
    let nameless = tls_config.as_ref().is_some_and(|tls| tls.server_name.is_none() && !tls.insecure_skip_verify);
    if secured && nameless {
        let problem = "a path is no name for a certificate: set tls_config.server_name, or insecure_skip_verify: true";
        fields.problem(problem);
    }
    fields.finish();
    Some(Settings { tls, tls_config: Arc::new(tls_config?), query_response })
}
