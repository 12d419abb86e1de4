use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{TARGETS, Target};

/// What a corpus has at least.
const LEAST: usize = 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// What is in a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The committed inputs of a target that break it.
fn breaking((name, run): Target) -> Vec<PathBuf> {
    let mut inputs = files(&fuzz().join("corpus").join(name));
    assert!(inputs.len() >= LEAST, "{name} has {} inputs", inputs.len());
    inputs.retain(|input| {
        let bytes = std::fs::read(input).unwrap();
        std::panic::catch_unwind(|| run(&bytes)).is_err()
    });
    inputs
}

#[test]
fn nothing_in_the_corpora_of_fuzzing_breaks_a_promise() {
    let broken = std::thread::scope(|scope| {
        let targets = TARGETS.map(|target| scope.spawn(move || breaking(target)));
        targets.map(|target| target.join().unwrap()).concat()
    });
    assert!(broken.is_empty(), "said above, oldest first: {broken:#?}");
}

#[test]
fn every_target_of_fuzzing_has_a_program_and_a_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let name = |file: PathBuf| file.file_stem().unwrap().to_string_lossy().into_owned();
        files(&fuzz().join(folder)).into_iter().map(name).collect()
    };
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}
