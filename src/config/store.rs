//! The configuration that is in force, and its reload.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::files::Files;
use super::{Config, Errors, load_from};
use crate::probe::Module;

/// How long a reload waits for a configuration that comes by a pipe.
const PATIENCE: Duration = Duration::from_secs(5);

/// The configuration in force. A reload swaps it whole or keeps it; a probe that runs keeps the one it began with.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    current: ArcSwap<Config>,
    /// What the last load read, also where it failed; held for as long as a load takes.
    read: Mutex<Files>,
}

impl Store {
    /// Loads a file. One that comes by a pipe is waited for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Errors> {
        let files = Files::default();
        let current = ArcSwap::from_pointee(load_from(path, &files, None)?);
        Ok(Self { path: path.to_owned(), current, read: Mutex::new(files) })
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Whether a file that a module names may have another content than the module was made of.
    #[must_use]
    pub fn is_stale(&self, module: &Module) -> bool {
        self.current.load().is_stale(&module.name)
    }

    /// A module as the files are now that it names: certificates and tokens are renewed by whoever keeps them. The configuration itself is
    /// read by a reload only.
    ///
    /// # Errors
    /// What is wrong with the files; the module in force stays.
    pub fn fresh(&self, module: &Arc<Module>) -> Result<Arc<Module>, Errors> {
        // Of many probes at a time one reads, and the others find what it read.
        let _one = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = self.current();
        if config.is_stale(&module.name) {
            config = Arc::new(config.renewed(&module.name)?);
            self.current.store(Arc::clone(&config));
        }
        Ok(Arc::clone(config.modules.get(&module.name).unwrap_or(module)))
    }

    /// Whether the file, or one that it names, has another content than when it was loaded last, in vain or not.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).changed()
    }

    /// Loads the file again, by a pipe within `PATIENCE`; of two at a time, the second waits.
    ///
    /// # Errors
    /// Everything that is wrong with it; the configuration in force stays.
    pub fn reload(&self) -> Result<(), Errors> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Files::default();
        self.current.store(Arc::new(load_from(&self.path, &read, Some(PATIENCE))?));
        Ok(())
    }
}
