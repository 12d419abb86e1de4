//! What the system tells of this process, under the names that Prometheus' own clients give it.

use std::fs;

/// A second of a processor's time, in the unit of `/proc`: the same on every architecture (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What the system tells of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// Seconds of processor time, the program's own and the system's for it.
    pub(super) cpu_seconds: f64,
    /// Bytes in memory.
    pub(super) resident: u64,
    /// Open files, sockets among them.
    pub(super) open_files: u64,
}

/// What the system tells now; none where it has no `/proc`.
pub(super) fn process() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Process {
        cpu_seconds: cpu_seconds(&stat)?,
        resident: resident(&status)?,
        // The one with which they were counted is not meant.
        open_files: u64::try_from(open_files).ok()?.saturating_sub(1),
    })
}

/// Fields 14 and 15 of `stat`. The second field is the program's name, in which anything may stand.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_system_writes_them() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 250 75 0 0 20 0 4 0 5000 900000 2000 184467";
        assert_eq!(cpu_seconds(stat), Some(3.25));
        assert_eq!(resident("VmPeak:\t   99 kB\nVmRSS:\t   12 kB\nThreads:\t4\n"), Some(12 * 1024));
    }

    #[test]
    fn what_is_written_otherwise_is_not_told() {
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        assert_eq!(resident("VmRSS:\t 12 pages\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_of_this_test_has_memory_and_open_files() {
        let process = process().unwrap();
        assert!(process.resident > 1 << 20 && process.open_files >= 3, "{process:?}");
    }
}
