//! Network namespaces, and the user namespace that lets an ordinary user make them.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Child, Command};
use std::sync::Arc;

use crate::net::sys;

/// A network namespace. It lives as long as a handle, or a socket, or a process in it.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: &'static str,
    handle: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes a namespace, and runs `configure` in it.
    ///
    /// # Errors
    /// As `unshare(2)`, why no thread could be started, and those of `configure`.
    pub fn create<T: Send>(
        name: &'static str,
        configure: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<(Self, T)> {
        on_new_thread(name, || {
            sys::unshare(sys::Namespace::Network).map_err(|error| {
                let what = "making a network namespace (root may, and everyone under `unshare --user --map-root-user`)";
                explain(what, &error)
            })?;
            let handle = fs::File::open("/proc/thread-self/ns/net")?;
            Ok((Self { name, handle: Arc::new(handle.into()) }, configure()?))
        })?
    }

    /// Where other programs find it for as long as this process has it, as `nsenter --net=` takes it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// Runs `work` on a thread in the namespace. All sockets that it makes, and all that is spawned from it, belong there.
    ///
    /// # Errors
    /// As `setns(2)`, or why no thread could be started.
    ///
    /// # Panics
    /// As `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_new_thread(self.name, || {
            sys::join_network(self.handle.as_fd()).map_err(|error| explain("joining a network namespace", &error))?;
            Ok(work())
        })?
    }

    /// Starts a program in the namespace.
    ///
    /// # Errors
    /// As [`Namespace::run`], and why the program could not be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())?
    }

    /// A runtime whose threads are all in the namespace. Only what is *spawned* runs on them: `block_on` polls its own future on the
    /// calling thread, which is in the namespace only inside [`Namespace::run`]. [`Namespace::block_on`] does both.
    ///
    /// # Errors
    /// As [`Namespace::run`], and why the runtime could not be built.
    pub fn runtime(&self) -> io::Result<tokio::runtime::Runtime> {
        self.run(|| ())?;
        let handle = Arc::clone(&self.handle);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(self.name)
            .enable_all()
            .on_thread_start(move || {
                let joined = sys::join_network(handle.as_fd());
                // Going on would send packets into the host's network.
                assert!(joined.is_ok(), "joining a network namespace that could be joined before: {joined:?}");
            })
            .build()
    }

    /// Runs a future to its end, on a runtime of its own, in the namespace.
    ///
    /// # Errors
    /// As [`Namespace::runtime`].
    ///
    /// # Panics
    /// As the future.
    pub fn block_on<F: Future + Send>(&self, future: F) -> io::Result<F::Output>
    where
        F::Output: Send,
    {
        let runtime = self.runtime()?;
        self.run(|| {
            let output = runtime.block_on(future);
            // What was spawned on blocking threads (a name look-up, say) need not hold up the end.
            runtime.shutdown_background();
            output
        })
    }
}

/// Makes the process root inside a user namespace of its own, where it is not privileged already; says whether it did. It must have one
/// thread only: call it first thing in `main`.
///
/// # Errors
/// What the system does not allow, and how to allow it.
pub fn enter_user_namespace() -> Result<bool, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    if has_capability(&status, CAP_SYS_ADMIN) && has_capability(&status, CAP_NET_ADMIN) {
        return Ok(false);
    }
    let (uid, gid) = effective_ids(&status).ok_or("/proc/self/status names no user and group")?;
    let advice = |what: &str, error: &io::Error| {
        format!(
            "{what}: {error}. Either run this as root, or allow user namespaces: sysctl -w user.max_user_namespaces=10000; on Debian \
             kernels also kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in a container \
             run it with --privileged"
        )
    };
    sys::unshare(sys::Namespace::User).map_err(|error| advice("making a user namespace", &error))?;
    // user_namespaces(7): a group may be mapped only after setgroups(2) was given up.
    for (file, content) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1")), ("gid_map", format!("0 {gid} 1"))]
    {
        fs::write(format!("/proc/self/{file}"), content)
            .map_err(|error| advice(&format!("writing /proc/self/{file}"), &error))?;
    }
    Ok(true)
}

/// The group that the process acts as.
pub(super) fn effective_group() -> io::Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ids = effective_ids(&status).ok_or_else(|| io::Error::other("/proc/self/status names no user and group"))?;
    Ok(ids.1)
}

/// Writes a setting of the calling thread's network namespace.
pub(super) fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).map_err(|error| explain(&format!("writing {value} to {path}"), &error))
}

/// Says what failed, before the system's words.
pub(super) fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Runs on a thread of its own, since a thread that has changed its namespace is good for nothing else.
fn on_new_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

// linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

fn has_capability(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    effective >> capability & 1 == 1
}

/// The effective user and group: the second of the four ids of each line.
fn effective_ids(status: &str) -> Option<(u32, u32)> {
    let id =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().nth(1)?.parse().ok();
    Some((id("Uid:")?, id("Gid:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1000\t1001\t1000\t1000\nGid:\t50\t51\t50\t50\nCapEff:\t0000000000201000\n";

    #[test]
    fn the_status_tells_ids_and_capabilities() {
        assert_eq!(effective_ids(STATUS), Some((1001, 51)));
        assert!(has_capability(STATUS, CAP_NET_ADMIN) && has_capability(STATUS, CAP_SYS_ADMIN));
        assert!(!has_capability(STATUS, 0) && !has_capability("", CAP_NET_ADMIN));
    }
}
