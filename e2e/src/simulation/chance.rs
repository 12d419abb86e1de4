//! Chance, from a seed: the same seed is the same world for ever, so the generator is written out here (`SplitMix64`) and
//! does not change with any library.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A source of decisions.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        let mut chance = Self(seed ^ 0x5EED_0F0F_D5D5_1D1D);
        chance.next();
        Self(chance.next() ^ seed.rotate_left(32))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// An index into something of this length, which must not be empty.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Whether something of this likelihood, in ten-thousandths, happens.
    pub(super) fn odds(&mut self, per_ten_thousand: u32) -> bool {
        per_ten_thousand > 0 && self.below(10_000) < u64::from(per_ten_thousand)
    }

    pub(super) fn half(&mut self) -> bool {
        self.next() & 1 == 0
    }

    pub(super) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        let (first, last) = range.into_inner();
        Duration::from_millis(first + self.below(last.saturating_sub(first) + 1))
    }

    pub(super) fn seconds(&mut self, range: RangeInclusive<u64>) -> Duration {
        let (first, last) = range.into_inner();
        self.millis(first * 1000..=last * 1000)
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// One of these, each as likely as its weight says; the last one if all weights are 0.
    pub(super) fn weighted<T: Copy>(&mut self, from: &[(u32, T)]) -> T {
        let total: u64 = from.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut left = self.below(total);
        for (weight, value) in from {
            let weight = u64::from(*weight);
            if left < weight {
                return *value;
            }
            left -= weight;
        }
        from[from.len() - 1].1
    }
}
