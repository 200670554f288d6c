//! CPU time of a hundred traces at once, beside as many of mtr's on the same paths: `cargo bench --bench traces`, as root, with Debian's `mtr-tiny`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on ends")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Exporter, value};
use uplink_exporter::lab::{Isp, Lab, Path, TARGETS, Topology, target};
use uplink_exporter::net::Family;

/// How many traces run at a time.
const TRACES: u8 = 100;

/// How often they do; the first time is not counted.
const TIMES: u32 = 10;

/// Packets of each: 20 hops in 3 rounds, as mtr sends them with `-c 3`.
const PACKETS: f64 = 60.0;

const CONFIGURATION: &str = "isps:
  a: {source_ip: 10.1.0.2}
modules:
  icmp: {prober: traceroute, traceroute: {protocol: icmp, names: false}}
  udp: {prober: traceroute, traceroute: {protocol: udp, names: false}}
  tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80, names: false}}
";

fn main() {
    let path = |isp| Path::straight(isp, &[1_000; 19], 1_000);
    let topology = Topology { seed: 7, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let lab = Lab::start(topology).expect("the lab starts");
    let exporter =
        Exporter::start_by(CONFIGURATION, |command| lab.prober().spawn(command.arg("--log.level=error")).unwrap());
    lab.prober().run(|| exporter.wait()).unwrap();
    println!("{TRACES} traces at once, of 20 hops, 3 rounds, a path of 40 ms, {TIMES} times:\n");
    println!("| traces | took, s | CPU, ms | of a core while they ran | CPU per packet and answer, µs |");
    println!("|---|--:|--:|--:|--:|");
    for module in ["icmp", "udp", "tcp"] {
        let ask = |number| {
            let answer = exporter.get(&format!("/probe?module={module}&isp=a&target={}", destination(number)));
            assert_eq!(value(&answer, "probe_traceroute_total_hops"), Some(20.0), "{answer}");
        };
        let run = || {
            thread::scope(|scope| {
                for number in 0..TRACES {
                    let (lab, ask) = (&lab, &ask);
                    scope.spawn(move || lab.prober().run(|| ask(number)).unwrap());
                }
            });
        };
        run();
        let (before, begun) = (cpu_time(&exporter.process.0), Instant::now());
        (0..TIMES).for_each(|_| run());
        row(module, begun.elapsed(), cpu_time(&exporter.process.0) - before);
    }
    let begun = Instant::now();
    let before = children();
    let peers = (0..TRACES).map(|number| {
        let mut command = Command::new("mtr");
        command.args(["-n", "-r", "-c", "3", "-i", "0.1", "-G", "0.8", &destination(number)]);
        lab.prober().spawn(command.stdout(Stdio::null())).unwrap()
    });
    peers.collect::<Vec<Child>>().iter_mut().for_each(|peer| assert!(peer.wait().unwrap().success()));
    row("mtr, once", begun.elapsed() * TIMES, (children() - before) * TIMES);
}

/// Where a trace goes: several go to each of the lab's targets.
fn destination(number: u8) -> String {
    target(Family::V4, *TARGETS.start() + number % TARGETS.len() as u8).to_string()
}

fn row(name: &str, took: Duration, cpu: Duration) {
    let (took, cpu) = (took.as_secs_f64() / f64::from(TIMES), cpu.as_secs_f64() / f64::from(TIMES));
    let packets = f64::from(TRACES) * PACKETS;
    println!("| {name} | {took:.2} | {:.0} | {:.1} % | {:.1} |", cpu * 1e3, cpu / took * 100.0, cpu / packets * 1e6);
}

/// The time that all threads of a process have run, by the scheduler's own nanoseconds.
fn cpu_time(process: &Child) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let nanoseconds = |text: String| text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
    let ran = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).map_or(0, nanoseconds));
    Duration::from_nanos(ran.sum())
}

/// The time that our children have run which have ended, and theirs, in hundredths of a second (`proc_pid_stat(5)`).
fn children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // From `state` on, which is the third field: cutime and cstime are the sixteenth and seventeenth.
    let ticks = fields.split(' ').skip(13).take(2).map(|field| field.parse::<u32>().unwrap());
    Duration::from_millis(10) * ticks.sum()
}
