//! The arrows between our crates are those ARCHITECTURE.md lists, and no other.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which of our crates each of our crates may depend on, tests apart.
const ARROWS: [(&str, &[&str]); 22] = [
    ("tidings-domain", &[]),
    ("tidings-irc", &["tidings-domain"]),
    ("tidings-query", &[]),
    ("tidings-wire", &["tidings-domain"]),
    ("tidings-sqlite", &[]),
    (
        "tidings-log",
        &["tidings-domain", "tidings-wire", "tidings-sqlite"],
    ),
    (
        "tidings-views",
        &[
            "tidings-domain",
            "tidings-query",
            "tidings-wire",
            "tidings-sqlite",
        ],
    ),
    ("tidings-service", &["tidings-domain"]),
    ("tidings-signals", &["tidings-domain", "tidings-service"]),
    (
        "tidings-edge",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-views",
            "tidings-service",
            "tidings-signals",
        ],
    ),
    (
        "tidings-api",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-views",
            "tidings-service",
            "tidings-edge",
        ],
    ),
    (
        "tidings-sequencer",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-service",
        ],
    ),
    (
        "tidings-projection",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-views",
            "tidings-service",
        ],
    ),
    (
        "tidings-history",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-views",
            "tidings-projection",
            "tidings-service",
        ],
    ),
    (
        "tidings-search",
        &[
            "tidings-wire",
            "tidings-log",
            "tidings-views",
            "tidings-projection",
            "tidings-service",
        ],
    ),
    (
        "tidings-cache",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-views",
            "tidings-projection",
            "tidings-service",
        ],
    ),
    (
        "tidings-operate",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-sqlite",
            "tidings-log",
            "tidings-views",
            "tidings-service",
            "tidings-projection",
            "tidings-history",
            "tidings-search",
            "tidings-cache",
        ],
    ),
    (
        "tidings-cli",
        &[
            "tidings-domain",
            "tidings-irc",
            "tidings-wire",
            "tidings-sqlite",
            "tidings-log",
            "tidings-views",
            "tidings-service",
            "tidings-signals",
            "tidings-edge",
            "tidings-api",
            "tidings-sequencer",
            "tidings-projection",
            "tidings-history",
            "tidings-search",
            "tidings-cache",
            "tidings-operate",
        ],
    ),
    (
        "tidings-checks",
        &[
            "tidings-domain",
            "tidings-irc",
            "tidings-query",
            "tidings-wire",
            "tidings-log",
            "tidings-service",
        ],
    ),
    ("tidings-testkit", &[]),
    (
        "tidings-simulator",
        &[
            "tidings-domain",
            "tidings-wire",
            "tidings-log",
            "tidings-service",
            "tidings-views",
            "tidings-projection",
            "tidings-sequencer",
            "tidings-history",
            "tidings-edge",
        ],
    ),
    ("tidings-tests", &["tidings-testkit"]),
];

/// What the pure core may be built from: no I/O, no clock, no wire format.
const DOMAIN_MAY_USE: [&str; 3] = ["thiserror", "uuid", "xxhash-rust"];

#[test]
fn every_dependency_arrow_is_listed() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(from, to)| (*from, to.iter().copied().collect()))
        .collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let from = package.name.as_str();
        let Some(allowed) = allowed.get(from) else {
            faults.push(format!("{from} is not in the list of crates"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let counts = dependency.kind != DependencyKind::Development;
            if counts && to.starts_with("tidings-") && !allowed.contains(to) {
                faults.push(format!("{from} -> {to} is not in the list of arrows"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "see \"Code map\" in ARCHITECTURE.md:\n{}",
        faults.join("\n")
    );
}

#[test]
fn the_domain_is_pure() {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let domain = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "tidings-domain")
        .expect("the domain crate");
    let used: Vec<&str> = domain
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !DOMAIN_MAY_USE.contains(name))
        .collect();
    assert!(
        used.is_empty(),
        "the domain crate must stay pure, but uses {used:?}"
    );
}
