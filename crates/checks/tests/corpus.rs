//! The inputs that fuzzing has kept, each given to its check again. What once
//! was a crash is among them.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use tidings_checks::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz")
        .join(name)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("names are UTF-8"))
        .collect()
}

#[test]
fn every_input_that_is_kept_holds() {
    let mut failed = Vec::new();
    for (target, check) in TARGETS {
        let corpus = folder("corpus").join(target);
        let names = names_in(&corpus);
        assert!(!names.is_empty(), "{target} has no corpus");
        for name in names {
            let input = fs::read(corpus.join(&name)).expect("an input");
            if catch_unwind(|| check(&input)).is_err() {
                failed.push(format!("{target}/{name}"));
            }
        }
    }
    assert!(failed.is_empty(), "fuzz/corpus: {failed:#?}");
}

/// What an input is cut from, and a byte more: cheap neighbours of what is
/// kept, for which no fuzzer is needed.
#[test]
fn the_beginnings_of_every_input_hold() {
    /// Of longer inputs only so many beginnings are tried.
    const BEGINNINGS: usize = 64;

    for (target, check) in TARGETS {
        let corpus = folder("corpus").join(target);
        for name in names_in(&corpus) {
            let input = fs::read(corpus.join(&name)).expect("an input");
            let step = input.len() / BEGINNINGS + 1;
            for end in (0..input.len()).step_by(step) {
                check(&input[..end]);
            }
            check(&[&input[..], &[0]].concat());
        }
    }
}

#[test]
fn every_check_is_a_fuzz_target_with_a_corpus() {
    let checks: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names_in(&folder("corpus")), checks);
    let with_ending = checks.iter().map(|name| format!("{name}.rs"));
    assert_eq!(names_in(&folder("fuzz_targets")), with_ending.collect());
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let bins = manifest["bin"].as_array().expect("a list");
    let bins = bins.iter().filter_map(|bin| bin["name"].as_str());
    assert_eq!(bins.map(str::to_owned).collect::<BTreeSet<_>>(), checks);
}

/// What is fuzzed is what is shipped.
#[test]
fn the_lock_of_the_targets_is_that_of_the_workspace() {
    let packages = |path: PathBuf| -> BTreeSet<(String, String)> {
        let lock = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let lock: toml::Table = lock.parse().expect("TOML");
        let packages = lock["package"].as_array().expect("a list");
        let field = |package: &toml::Value, name: &str| {
            let text = package[name].as_str().expect("a text");
            text.to_owned()
        };
        packages
            .iter()
            .map(|package| (field(package, "name"), field(package, "version")))
            .collect()
    };
    let workspace = packages(folder("../Cargo.lock"));
    let known: BTreeSet<&str> = workspace.iter().map(|(name, _)| name.as_str()).collect();
    let others: Vec<_> = packages(folder("Cargo.lock"))
        .into_iter()
        .filter(|package| known.contains(package.0.as_str()) && !workspace.contains(package))
        .collect();
    assert!(
        others.is_empty(),
        "fuzz/Cargo.lock has other versions: copy Cargo.lock there and run scripts/fuzz: {others:?}"
    );
}
