//! What a world, or thousands of them, went through, counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

type Name = Cow<'static, str>;

/// Counts by group and name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, BTreeMap<Name, u64>>);

impl Tally {
    pub(super) fn count(&mut self, group: &'static str, name: impl Into<Name>) {
        *self.0.entry(group).or_default().entry(name.into()).or_default() += 1;
    }

    /// Takes another's counts in.
    pub fn add(&mut self, other: &Self) {
        for (group, counts) in &other.0 {
            let mine = self.0.entry(group).or_default();
            for (name, count) in counts {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// How often this was counted.
    #[must_use]
    pub fn of(&self, group: &str, name: &str) -> u64 {
        self.0.get(group).and_then(|counts| counts.get(name)).copied().unwrap_or(0)
    }

    /// All that was counted in a group together.
    #[must_use]
    pub fn in_all(&self, group: &str) -> u64 {
        self.0.get(group).into_iter().flat_map(|counts| counts.values()).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, counts) in &self.0 {
            writeln!(f, "{group}")?;
            let mut line = String::new();
            for (name, count) in counts {
                let item = format!("{name} {count}");
                if !line.is_empty() && line.len() + item.len() > 110 {
                    writeln!(f, "  {line}")?;
                    line.clear();
                }
                if !line.is_empty() {
                    line.push_str(" · ");
                }
                line.push_str(&item);
            }
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}
