//! The thread that carries packets between the devices and the emulated internet, on time.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::internet::{Device, Internet, LARGEST};
use super::topology::Isp;
use crate::net::sys;

/// The running emulator; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Emulator {
    internet: Arc<Mutex<Internet>>,
    /// Closing it wakes the thread for the last time.
    alive: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The ends of the wires, as the emulator holds them.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) a: OwnedFd,
    pub(super) b: OwnedFd,
    pub(super) inet: OwnedFd,
}

impl Emulator {
    pub(super) fn start(internet: Internet, wires: Wires) -> io::Result<Self> {
        let (ended, alive) = sys::pipe()?;
        let internet = Arc::new(Mutex::new(internet));
        let shared = Arc::clone(&internet);
        let thread = std::thread::Builder::new().name("lab-internet".to_owned()).spawn(move || {
            if let Err(error) = carry(&shared, wires, &ended) {
                tracing::error!(%error, "the emulated internet has stopped");
            }
        })?;
        Ok(Self { internet, alive: Some(alive), thread: Some(thread) })
    }

    /// The internet, between two packets.
    pub(super) fn internet(&self) -> MutexGuard<'_, Internet> {
        lock(&self.internet)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn carry(internet: &Mutex<Internet>, wires: Wires, ended: &OwnedFd) -> io::Result<()> {
    sys::sleep_exactly()?;
    // A busy machine makes the internet late. Where this is not allowed, it is as late as the machine is busy.
    let _ = sys::take_precedence();
    let Wires { a, b, inet } = wires;
    let (a, b, inet) = (File::from(a), File::from(b), File::from(inet));
    let mut buffer = [0; LARGEST];
    let devices = [(Device::Uplink(Isp::A), &a), (Device::Uplink(Isp::B), &b), (Device::Inet, &inet)];
    loop {
        let next = lock(internet).next_due();
        let timeout = next.map(|due| due.saturating_duration_since(Instant::now()).saturating_sub(WAKING));
        let ready = match sys::wait_readable([a.as_fd(), b.as_fd(), inet.as_fd(), ended.as_fd()], timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ready => ready?,
        };
        if ready[3] {
            return Ok(());
        }
        let mut internet = lock(internet);
        for ((device, file), _) in devices.iter().zip(ready).filter(|(_, ready)| *ready) {
            read_all(&mut internet, *device, file, &mut buffer);
        }
        while let Some((device, packet)) = internet.deliver(Instant::now()) {
            let file = match device {
                Device::Uplink(Isp::A) => &a,
                Device::Uplink(Isp::B) => &b,
                Device::Inet => &inet,
            };
            // A device that is down, or full, loses the packet, as a line does.
            let _ = (&*file).write(&packet);
            internet.recycle(packet);
        }
    }
}

/// How long a sleeping thread takes to wake. It is woken so much earlier, and polls without sleeping until the packet is due.
const WAKING: Duration = Duration::from_micros(80);

fn read_all(internet: &mut Internet, device: Device, mut file: &File, buffer: &mut [u8]) {
    // Bounded, so that a flood on one device does not hold up what is due on another.
    for _ in 0..64 {
        // Nothing more, or the device is down.
        let Ok(length) = file.read(buffer) else { return };
        let packet = internet.packet(&buffer[..length]);
        internet.take(Instant::now(), device, packet);
    }
}

/// Locks; a panic elsewhere leaves the state usable, since every packet is handled whole.
fn lock(internet: &Mutex<Internet>) -> MutexGuard<'_, Internet> {
    internet.lock().unwrap_or_else(PoisonError::into_inner)
}
