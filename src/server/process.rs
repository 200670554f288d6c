//! The process as Linux sees it: the metrics that Prometheus' client libraries have of it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks of a second in what `/proc` tells: a constant of Linux' interface to programs, whatever the kernel's own clock is.
const TICKS: f64 = 100.0;

/// Reads `/proc` when it is asked; what cannot be read is absent.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970. Reckoned once: the kernel's idea of when it was started moves with the wall clock.
    start_time: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        let started = Stat::read().and_then(|stat| Some(boot_time()? + stat.start_time));
        Self { start_time: started }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stat = Stat::read();
        if let Some(stat) = &stat {
            let counter = ConstCounter::new(stat.cpu_time);
            let help = "Total user and system CPU time spent in seconds";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?)?;
        }
        let octets = Octets::read();
        let octets = [
            (
                "process_network_receive_bytes",
                "Bytes of the IPv4 packets that came to the process's network namespace, for whichever of its processes",
                octets.as_ref().map(|octets| octets.received),
            ),
            (
                "process_network_transmit_bytes",
                "Bytes of the IPv4 packets that the process's network namespace sent, of whichever of its processes",
                octets.as_ref().map(|octets| octets.sent),
            ),
        ];
        for (name, help, value) in octets {
            let Some(value) = value else { continue };
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            ("process_open_fds", "Number of open file descriptors", open_descriptors()),
            ("process_max_fds", "Maximum number of open file descriptors", most_descriptors()),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes",
                stat.as_ref().map(|stat| stat.virtual_memory),
            ),
            (
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes",
                most_virtual_memory(),
            ),
            ("process_resident_memory_bytes", "Resident memory size in bytes", resident_memory()),
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds", self.start_time),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// What `/proc/self/stat` tells (proc(5)).
#[derive(Debug)]
struct Stat {
    /// Seconds in user and kernel mode.
    cpu_time: f64,
    /// Seconds from the system's start to the process's.
    start_time: f64,
    /// Bytes.
    virtual_memory: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name, which may have spaces and parentheses itself.
        let (_, behind) = text.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first of these is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_time: (field(14)? + field(15)?) / TICKS,
            start_time: field(22)? / TICKS,
            virtual_memory: field(23)?,
        })
    }
}

/// What `/proc/self/net/netstat` tells of IPv4 packets, headers included: the kernel counts no octets of a process.
#[derive(Debug)]
struct Octets {
    received: u64,
    sent: u64,
}

impl Octets {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/net/netstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // A line of names, and a line of their values.
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
        let (names, values) = (lines.next()?, lines.next()?);
        let value = |name: &str| {
            let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
            pairs.find_map(|(found, value)| (found == name).then_some(value))?.parse().ok()
        };
        Some(Self { received: value("InOctets")?, sent: value("OutOctets")? })
    }
}

/// When the system was started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    line_of("/proc/stat", "btime ")?.trim().parse().ok()
}

fn resident_memory() -> Option<f64> {
    let kibibytes: f64 = line_of("/proc/self/status", "VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_descriptors() -> Option<f64> {
    // One of them is that by which they are listed.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn most_descriptors() -> Option<f64> {
    line_of("/proc/self/limits", "Max open files")?.split_ascii_whitespace().next()?.parse().ok()
}

/// As Go's client says it, where there is no limit: the largest number that could be one.
fn most_virtual_memory() -> Option<f64> {
    match line_of("/proc/self/limits", "Max address space")?.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        bytes => bytes.parse().ok(),
    }
}

/// What follows a word that a line of a file begins with.
fn line_of(file: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_programs_name_is() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 3 0 12345 1198071808 3802 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_time, stat.start_time, stat.virtual_memory), (3.0, 123.45, 1_198_071_808.0));
        assert!(Stat::parse("42 (a) S 1").is_none() && Stat::parse("").is_none());
    }

    #[test]
    fn octets_are_found_by_their_names() {
        let text = "TcpExt: InOctets A\nTcpExt: 8 9\nIpExt: A InOctets OutOctets B\nIpExt: 1 18446744073709551615 3 4\nMPTcpExt: A\nMPTcpExt: 5\n";
        let octets = Octets::parse(text).unwrap();
        assert_eq!((octets.received, octets.sent), (u64::MAX, 3));
        for broken in
            ["", "IpExt: InOctets OutOctets\n", "IpExt: InOctets OutOctets\nIpExt: 1\n", "IpExt: A\nIpExt: 1\n"]
        {
            assert!(Octets::parse(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn the_process_is_as_the_system_says() {
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let open = open_descriptors().unwrap();
        drop(files);
        assert!(open >= 100.0 && most_descriptors().unwrap() >= open, "{open}");
        let stat = Stat::read().unwrap();
        let resident = resident_memory().unwrap();
        assert!(most_virtual_memory().unwrap() >= stat.virtual_memory);
        assert!(resident > 1e5 && stat.virtual_memory >= resident, "{resident} {stat:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - Process::new().start_time.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
