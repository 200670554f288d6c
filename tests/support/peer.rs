//! The blackbox_exporter that this program is compared with.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Running, program, until};

/// Names the program of another blackbox_exporter than Debian's.
pub(crate) const BLACKBOX_EXPORTER: &str = "BLACKBOX_EXPORTER";

/// A version of blackbox_exporter, by its first two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl Version {
    /// Reads `0.28` and `0.28.0`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A blackbox_exporter that is installed here.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
}

impl Peer {
    /// The one that [`BLACKBOX_EXPORTER`] names, or else Debian's; `None`, and a word why, where that is not installed.
    pub(crate) fn find() -> Option<Self> {
        let program = match std::env::var_os(BLACKBOX_EXPORTER) {
            Some(path) => std::path::absolute(path).unwrap(),
            None => program("prometheus-blackbox-exporter")?,
        };
        let output = Command::new(&program).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        // Older ones tell it on standard error.
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let version = told.strip_prefix("blackbox_exporter, version ").and_then(|rest| rest.split(' ').next());
        let version = version.and_then(Version::parse).unwrap_or_else(|| {
            panic!(
                "{} tells no version; build it with -ldflags '-X github.com/prometheus/common/version.Version=0.28.0': {told}",
                program.display()
            )
        });
        Some(Self { program, version })
    }

    /// Starts it on an address, with a configuration; what it tells of a probe has all that it did.
    pub(crate) fn start(&self, file: &Path, address: SocketAddr) -> Running {
        let running = Running::start(&mut self.command(file, address));
        until("blackbox_exporter serves", || TcpStream::connect(address).is_ok());
        running
    }

    /// The same, before it starts.
    pub(crate) fn command(&self, file: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={address}"));
        // Those before 0.28 tell all of it always.
        if self.version >= Version(0, 28) {
            command.arg("--log.prober=debug");
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The status with which `--config.check` of a file ends.
    pub(crate) fn check(&self, file: &Path) -> Option<i32> {
        let mut command = Command::new(&self.program);
        command.arg("--config.check").arg(format!("--config.file={}", file.display()));
        command.current_dir(file.parent().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().code()
    }
}
