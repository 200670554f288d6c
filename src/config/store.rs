//! The configuration that is in force, and its reload.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Config, Errors, load};

/// The configuration in force. A reload swaps it whole or keeps it; a probe that runs keeps the one it began with.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    current: ArcSwap<Config>,
    reloading: Mutex<()>,
}

impl Store {
    /// Loads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Errors> {
        let current = ArcSwap::from_pointee(load(path)?);
        Ok(Self { path: path.to_owned(), current, reloading: Mutex::new(()) })
    }

    /// The configuration in force.
    #[must_use]
    pub fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Loads the file again; of two at a time, the second waits.
    ///
    /// # Errors
    /// Everything that is wrong with it; the configuration in force stays.
    pub fn reload(&self) -> Result<(), Errors> {
        let _turn = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Arc::new(load(&self.path)?));
        Ok(())
    }
}
