//! The memory allocator of the operator's programs, and what it tells of itself. The system's own keeps the peak of a relist
//! for ever; jemalloc gives it back, if it is told to where it is compiled (`.cargo/config.toml`).

/// What a program makes its global allocator.
#[cfg(not(target_os = "linux"))]
pub use std::alloc::System as Allocator;

#[cfg(target_os = "linux")]
pub use tikv_jemallocator::Jemalloc as Allocator;

/// What the allocator has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What the program has asked for and not given back.
    pub allocated: u64,
    /// What is in memory for it: the same, gaps, what was given back and is still held, and the allocator's books.
    pub resident: u64,
}

/// What the allocator of this process has; none where it is not [`Allocator`], or does not tell.
#[must_use]
pub fn usage() -> Option<Usage> {
    jemalloc::usage()
}

/// The settings in force, whoever made them, in the allocator's own words; none where it is not [`Allocator`].
#[must_use]
pub fn settings() -> Option<String> {
    jemalloc::settings()
}

#[cfg(target_os = "linux")]
mod jemalloc {
    use tikv_jemalloc_ctl::{Access, AsName, epoch, opt, stats};

    use super::Usage;

    pub(super) fn usage() -> Option<Usage> {
        if !serves_this_process() {
            return None;
        }
        // The figures are those of the last time this was said.
        epoch::advance().ok()?;
        let bytes = |read: tikv_jemalloc_ctl::Result<usize>| u64::try_from(read.ok()?).ok();
        Some(Usage { allocated: bytes(stats::allocated::read())?, resident: bytes(stats::resident::read())? })
    }

    pub(super) fn settings() -> Option<String> {
        if !serves_this_process() {
            return None;
        }
        let milliseconds = |name: &[u8]| -> Option<isize> { name.name().read().ok() };
        let background = opt::background_thread::read().ok()?;
        let (dirty, muzzy) = (milliseconds(b"opt.dirty_decay_ms\0")?, milliseconds(b"opt.muzzy_decay_ms\0")?);
        let arenas = opt::narenas::read().ok()?;
        Some(format!("background_thread:{background},dirty_decay_ms:{dirty},muzzy_decay_ms:{muzzy},narenas:{arenas}"))
    }

    /// Whether what is allocated here is allocated by it: it is linked into whatever uses this crate.
    fn serves_this_process() -> bool {
        let allocated_here = || -> Option<u64> { b"thread.allocated\0".name().read().ok() };
        let before = allocated_here();
        drop(std::hint::black_box(Box::new(std::hint::black_box(0_u8))));
        allocated_here() != before
    }
}

#[cfg(not(target_os = "linux"))]
mod jemalloc {
    pub(super) fn usage() -> Option<super::Usage> {
        None
    }

    pub(super) fn settings() -> Option<String> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_tells_what_it_has() {
        let before = usage().unwrap();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = usage().unwrap();
        assert!(after.allocated >= before.allocated + (32 << 20), "{before:?} {after:?}");
        assert!(after.resident >= after.allocated && after.allocated >= held.len() as u64, "{after:?}");
    }
}
