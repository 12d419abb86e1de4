//! Seeded randomness: ids, latencies and faults with a probability repeat when the seed does.

/// The splitmix64 generator: small, fast, good enough for a fake.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low).saturating_add(1);
        low + self.next() % width.max(1)
    }

    /// True in about `per_mille` of a thousand calls.
    pub(super) fn hits(&mut self, per_mille: u32) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }

    /// An id as large as those that break JSON readers which keep numbers as doubles: around 8.5e18, above 2^53.
    pub(super) fn large_id(&mut self) -> i64 {
        const FLOOR: i64 = 8_000_000_000_000_000_000;
        let above = i64::try_from(self.next() % 1_000_000_000_000_000_000).unwrap_or(0);
        FLOOR + above
    }

    /// Thirty-two hexadecimal digits, for request ids and access tokens.
    pub(super) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_none_fits_a_double() {
        let (mut one, mut two) = (Random::seeded(7), Random::seeded(7));
        for _ in 0..1000 {
            let id = one.large_id();
            assert_eq!(id, two.large_id());
            assert!(id > 1 << 53);
        }
    }

    #[test]
    fn a_range_includes_both_ends_and_nothing_else() {
        let mut random = Random::seeded(1);
        let seen: std::collections::BTreeSet<_> = (0..200).map(|_| random.between(3, 5)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
