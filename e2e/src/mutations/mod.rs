//! Proof that the simulation sees: each rule that a promise rests on is broken in a copy of the source, one at a time, and
//! the simulation has to find out. A mutation is a table row of exact source text; a test says when the source has moved
//! away from it. Nothing of this is in the operator: it is compiled anew for each mutation.

mod copy;
mod run;
mod table;

pub use run::{Caught, Error, Trial, Workshop};
pub use table::{MUTATIONS, Mutation, Replacement};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_mutation_finds_its_place_in_the_source_exactly_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for mutation in MUTATIONS {
            for Replacement { file, from, to } in mutation.replacements {
                let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
                assert_eq!(
                    source.matches(from).count(),
                    1,
                    "{}: this text must stand in {file} once:\n{from}",
                    mutation.name
                );
                assert_ne!(from, to, "{}", mutation.name);
            }
        }
    }

    #[test]
    fn every_mutation_has_a_name_of_its_own() {
        let names: BTreeSet<_> = MUTATIONS.iter().map(|mutation| mutation.name).collect();
        assert_eq!(names.len(), MUTATIONS.len());
    }
}
