//! A probe that is asked for by names: what they mean in a configuration.

use std::sync::Arc;

use super::Config;
use crate::net::Source;
use crate::probe::{Isp, Isps, Module, Prober};

/// The module of those who name none, as in blackbox_exporter.
pub const DEFAULT_MODULE: &str = "http_2xx";

/// What stands for all ISPs; none has this name.
pub(super) const ALL: &str = "all";

/// The parameters of `/probe`.
pub(crate) const PARAMETERS: [&str; 6] = ["target", "module", "isp", "hostname", "debug", "format"];

/// The cause of a rejection that is counted by blackbox_exporter's name, too.
pub(crate) const UNKNOWN_MODULE: &str = "unknown_module";

/// A probe that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What to probe.
    pub target: &'a str,
    /// How: the name of a module; nothing, or an empty one, is [`DEFAULT_MODULE`].
    pub module: Option<&'a str>,
    /// Through whom: the name of an ISP, several with commas between them, or `all`; nothing is the module's.
    pub isp: Option<&'a str>,
    /// The name by which the server is to be asked; nothing, or an empty one, is the target's.
    pub hostname: Option<&'a str>,
}

/// What is asked for.
#[derive(Debug)]
pub struct Choice {
    /// How to probe.
    pub module: Arc<Module>,
    /// Through whom.
    pub through: Through,
    /// All ISPs that there are.
    pub isps: Arc<Isps>,
    /// The name by which the server is asked, as it is to be said; nothing where the prober has no use for one.
    pub hostname: Option<String>,
}

/// Through whom something is probed.
#[derive(Debug)]
pub enum Through {
    /// One ISP, or none.
    One(Binding),
    /// Several, which are compared, though it be only one of them.
    Compared(Vec<Binding>),
}

/// What a probe leaves by.
#[derive(Debug)]
pub struct Binding {
    /// The ISP; nothing leaves it to the kernel's routes.
    pub isp: Option<Arc<Isp>>,
    /// What binds sockets where the target's address has a zone.
    pub zoned: Option<Source>,
}

/// Why something is not done that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// For a metric: one of few.
    pub cause: &'static str,
    /// For whoever asked.
    pub sentence: String,
}

impl Rejection {
    pub(crate) fn because<T>(cause: &'static str, sentence: impl Into<String>) -> Result<T, Self> {
        Err(Self { cause, sentence: sentence.into() })
    }
}

impl Config {
    /// What is asked for, where it is known and can be done.
    ///
    /// # Errors
    /// What is not known, with what is; why the prober cannot take the target, or the name.
    pub fn choose(&self, ask: &Ask<'_>) -> Result<Choice, Rejection> {
        let module = ask.module.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_MODULE);
        let Some(module) = self.modules.get(module) else {
            let known = listed(self.modules.keys());
            return Rejection::because(UNKNOWN_MODULE, format!("unknown module {module:?}; known modules: {known}"));
        };
        let isps = match ask.isp.or(module.isp.as_deref()) {
            None => None,
            Some(names) => Some(self.named(names)?),
        };
        if isps.is_some() && matches!(module.prober, Prober::Egress(_)) {
            let why = "finds out which ISPs are taken, and is bound to none; leave isp out";
            return Rejection::because("isp_of_egress", format!("module {:?} {why}", module.name));
        }
        if matches!(isps, Some(Named::Several(_))) && !module.prober.leaves_this_host() {
            let sentence =
                format!("module {:?} probes this host, which no ISP has a part in; leave isp out", module.name);
            return Rejection::because("isp_of_host", sentence);
        }
        if ask.target.is_empty() {
            let (name, example) = (&module.name, module.prober.example());
            let known = PARAMETERS.join(", ");
            let sentence = format!(
                "the target parameter is missing; of module {name:?} it looks like {example}; known parameters: {known}"
            );
            return Rejection::because("missing_target", sentence);
        }
        if let Err(sentence) = module.prober.check_target(ask.target) {
            return Rejection::because("bad_target", sentence);
        }
        let binding = |isp: Option<Arc<Isp>>| {
            let source = isp.as_ref().map_or(&module.source, |isp| &isp.source);
            let zoned = match module.prober.zone(ask.target).map(|zone| (source.in_zone(&zone), zone)) {
                None => None,
                Some((Ok(zoned), _)) => Some(zoned),
                Some((Err(own), zone)) => {
                    let sentence = format!("the target's zone is {zone:?}, and the ISP's interface is {own:?}");
                    return Rejection::because("bad_target", sentence);
                }
            };
            Ok(Binding { isp, zoned })
        };
        let through = match isps {
            None => Through::One(binding(None)?),
            Some(Named::One(isp)) => Through::One(binding(Some(isp))?),
            Some(Named::Several(isps)) => {
                Through::Compared(isps.into_iter().map(|isp| binding(Some(isp))).collect::<Result<_, _>>()?)
            }
        };
        // What other probers have no use for is not refused: scrape jobs give it to every module.
        let hostname = match ask.hostname.filter(|hostname| !hostname.is_empty()) {
            None => None,
            Some(hostname) => match module.prober.hostname(hostname) {
                Ok(hostname) => hostname,
                Err(sentence) => return Rejection::because("bad_hostname", sentence),
            },
        };
        Ok(Choice { module: Arc::clone(module), through, isps: Arc::clone(&self.isps), hostname })
    }

    /// The ISPs that a parameter names.
    fn named(&self, names: &str) -> Result<Named, Rejection> {
        let find = |name: &str| match self.isps.get(name) {
            Some(isp) => Ok(Arc::clone(isp)),
            None => {
                let known = listed(self.isps.keys());
                let several =
                    if self.isps.is_empty() { "" } else { "; several have commas between them, or are \"all\"" };
                let sentence = format!("unknown ISP {name:?}; known ISPs: {known}{several}");
                Rejection::because("unknown_isp", sentence)
            }
        };
        if names == ALL && !self.isps.is_empty() {
            return Ok(Named::Several(self.isps.values().map(Arc::clone).collect()));
        }
        if !names.contains(',') {
            return find(names).map(Named::One);
        }
        let mut isps: Vec<Arc<Isp>> = Vec::new();
        for name in names.split(',') {
            let isp = find(name)?;
            if isps.iter().any(|known| Arc::ptr_eq(known, &isp)) {
                return Rejection::because("repeated_isp", format!("the ISP {name:?} is there twice in {names:?}"));
            }
            isps.push(isp);
        }
        Ok(Named::Several(isps))
    }
}

/// The ISPs of a parameter.
enum Named {
    One(Arc<Isp>),
    Several(Vec<Arc<Isp>>),
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
