//! The configuration that is in force, and its reload.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::files::Files;
use super::{Config, Errors, load_from};

/// The configuration in force. A reload swaps it whole or keeps it; a probe that runs keeps the one it began with.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    current: ArcSwap<Config>,
    /// What the last load read, also where it failed; held for as long as a load takes.
    read: Mutex<Files>,
}

impl Store {
    /// Loads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Errors> {
        let files = Files::default();
        let current = ArcSwap::from_pointee(load_from(path, &files)?);
        Ok(Self { path: path.to_owned(), current, read: Mutex::new(files) })
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Whether the file, or one that it names, has another content than when it was loaded last, in vain or not.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).changed()
    }

    /// Loads the file again; of two at a time, the second waits.
    ///
    /// # Errors
    /// Everything that is wrong with it; the configuration in force stays.
    pub fn reload(&self) -> Result<(), Errors> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Files::default();
        self.current.store(Arc::new(load_from(&self.path, &read)?));
        Ok(())
    }
}
