//! What is probed how and through whom: valid by construction.

mod ask;
mod asn;
mod byte_size;
mod decode;
mod dns;
mod duration;
mod egress;
mod errors;
mod failed_flow;
mod files;
mod grpc;
mod http;
mod http_client;
mod icmp;
mod isp;
mod module;
mod oauth2;
mod proxy;
mod resolvers;
mod show;
mod slow;
mod source;
mod store;
mod stun;
mod tcp;
mod tls;
mod traceroute;

mod unix;
mod web;
mod websocket;
mod yaml;

pub use ask::{Ask, Binding, Choice, DEFAULT_MODULE, Rejection, Through};
pub(crate) use ask::{PARAMETERS, UNKNOWN_MODULE};
pub use duration::parse_duration;
pub use errors::{Errors, Problem};
pub use store::Store;
pub use web::{RateLimit, Web, WebFile};

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::net::Source;
use crate::probe::identity::Registry;
use crate::probe::{Isp, Isps, Module};
use decode::{Problems, Value};
use files::{Files, Seen};

/// A configuration that loaded, and is therefore right.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `modules:` by name.
    pub modules: BTreeMap<String, Arc<Module>>,
    /// `isps:` by name.
    pub isps: Arc<Isps>,
    /// `asn:`
    registry: Option<Arc<Registry>>,
    /// What the modules are made of that name files: those are read again when they change, as blackbox_exporter does for every probe.
    made_of: BTreeMap<String, Arc<Made>>,
    /// The file's content without its secrets.
    shown: Option<Arc<yaml::Node>>,
}

/// What a module is made of.
#[derive(Debug)]
struct Made {
    /// The file that its entry stands in.
    file: String,
    /// Its entry, with its secrets.
    node: yaml::Node,
    /// The files that it names, as they were.
    files: Vec<Seen>,
}

impl Config {
    /// Whatever binds the sockets of probes: the ISPs, and modules that leave from an address of their own.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let of_isps = self.isps.values().map(|isp| &isp.source);
        of_isps.chain(self.modules.values().map(|module| &module.source))
    }

    /// The configuration as YAML, with `<secret>` in the place of secrets.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.shown.as_deref().map(show::print).unwrap_or_default()
    }

    /// Whether a file that a module names may have another content than the module was made of.
    fn is_stale(&self, module: &str) -> bool {
        self.made_of.get(module).is_some_and(|made| made.files.iter().any(Seen::is_touched))
    }

    /// The same with a module made anew of its entry and its files.
    fn renewed(&self, name: &str) -> Result<Self, Errors> {
        let (Some(made), Some(module)) = (self.made_of.get(name), self.modules.get(name)) else {
            return Ok(self.clone());
        };
        let files = Files::default();
        let problems = Problems::of(&made.file, &files);
        let isps: Vec<Arc<Isp>> = self.isps.values().cloned().collect();
        let value = Value::root(&made.node, &problems).owned_by(owner(name));
        let renewed = module::module(name, &value, &isps, self.registry.as_ref(), module.yaml.clone());
        let renewed = problems.or(renewed)?;
        let made = Made { file: made.file.clone(), node: made.node.clone(), files: files.since(0) };
        let mut config = self.clone();
        config.modules.extend(renewed.map(|module| (name.to_owned(), module)));
        config.made_of.insert(name.to_owned(), Arc::new(made));
        Ok(config)
    }
}

/// Loads a configuration, and every file that it names. One that comes by a pipe is waited for.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, Errors> {
    load_from(path, &Files::default(), None)
}

/// The same for probes by one module: the others are not looked at, so that their secrets need not be readable. Where there is no such module, all
/// are.
///
/// # Errors
/// Everything that is wrong with the rest.
pub fn load_for(path: &Path, module: &str) -> Result<Config, Errors> {
    let files = Files::default();
    decoded(&text(path, files.read_or_hear(path, None))?, &path.display().to_string(), &files, Some(module))
}

/// Loads a configuration, and takes down every file that it came from, also where something is wrong with it; one that comes by a pipe is
/// waited for as long as `patience` lasts.
fn load_from(path: &Path, files: &Files, patience: Option<Duration>) -> Result<Config, Errors> {
    decoded(&text(path, files.read_or_hear(path, patience))?, &path.display().to_string(), files, None)
}

/// The text of a configuration that was read.
fn text(path: &Path, read: io::Result<Vec<u8>>) -> Result<String, Errors> {
    let file = path.display().to_string();
    let whole = |message| Errors(vec![Problem { file, line: None, place: String::new(), message }]);
    match read {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| whole(format!("is not UTF-8: {}", error.utf8_error()))),
        Err(error) => Err(whole(format!("cannot be read: {error}"))),
    }
}

/// Loads a configuration from its text; `file` is its name in errors, and the files that it names are sought from there.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_str(text: &str, file: &str) -> Result<Config, Errors> {
    decoded(text, file, &Files::default(), None)
}

/// `only` is the module that is wanted, where that is one.
fn decoded(text: &str, file: &str, files: &Files, only: Option<&str>) -> Result<Config, Errors> {
    let problems = Problems::of(file, files);
    let root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            problems.add(None, String::new(), "is empty; it needs modules");
            return problems.or(Config::default());
        }
        Err(error) => {
            problems.add(Some(error.line), String::new(), format!("is not YAML: {}", error.message));
            return problems.or(Config::default());
        }
    };
    let shown = show::without_secrets(root.clone());
    let fields = Value::root(&root, &problems).fields();
    let site = fields.get("dc").and_then(|value| value.text()).unwrap_or_default();
    let registry = fields.get("asn").and_then(|value| asn::registry(&value));
    let isps = fields.get("isps").map(|value| value.entries()).unwrap_or_default();
    let isps: Vec<Arc<Isp>> =
        isps.into_iter().map(|(name, value)| isp::isp(name, &value.owned_by(format!("isp {name:?}")), site)).collect();
    let modules = fields.get("modules").map(|value| value.entries()).unwrap_or_default();
    let only = only.filter(|only| modules.iter().any(|(name, _)| name == only));
    let mut made_of = BTreeMap::new();
    let modules: Vec<Arc<Module>> = modules
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .filter_map(|(name, value)| {
            let yaml = show::print_module(&shown, name).unwrap_or_default();
            let read_before = files.count();
            let module = module::module(name, &value.clone().owned_by(owner(name)), &isps, registry.as_ref(), yaml);
            let files = files.since(read_before);
            if !files.is_empty() {
                let made = Made { file: file.to_owned(), node: value.node().clone(), files };
                made_of.insert(name.to_owned(), Arc::new(made));
            }
            module
        })
        .collect();
    fields.finish();
    let config = Config {
        modules: modules.into_iter().map(|module| (module.name.clone(), module)).collect(),
        isps: Arc::new(isps.into_iter().map(|isp| (isp.name.clone(), isp)).collect()),
        registry,
        made_of,
        shown: Some(Arc::new(shown)),
    };
    problems.or(config)
}

/// Whose fault it is that something is wrong with a module.
fn owner(module: &str) -> String {
    format!("module {module:?}")
}
