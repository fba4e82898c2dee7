//! The planted faults of `faults.toml` fit the code, and `docs/reliability.md`
//! tells of each. What plants them and runs their tests is `scripts/faults`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

struct Fault(Value);

impl Fault {
    fn text(&self, field: &str) -> &str {
        let found = self.0[field].as_str();
        found.unwrap_or_else(|| panic!("{field} is missing: {}", self.0))
    }

    fn name(&self) -> &str {
        self.text("fault")
    }

    fn caught_by(&self) -> Vec<&str> {
        let tests = self.0["tests"].as_array().expect("a list");
        tests
            .iter()
            .map(|test| test.as_str().expect("a text"))
            .collect()
    }
}

/// The list, as the script reads it: it refuses one whose texts are not each
/// once in their files.
fn faults() -> Vec<Fault> {
    let script = Path::new(ROOT).join("scripts/faults");
    let listed = Command::new(script).args(["--list", "--json"]).output();
    let listed = listed.expect("the script runs, with Python 3.11 or later");
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success(), "{said}");
    let lines = String::from_utf8(listed.stdout).expect("UTF-8");
    lines
        .lines()
        .map(|line| Fault(serde_json::from_str(line).expect("an object a line")))
        .collect()
}

#[test]
fn each_can_be_planted() {
    let faults = faults();
    assert!(faults.len() >= 30, "{} are left", faults.len());
}

/// The files in which a test of this path may stand.
fn files_of(metadata: &Metadata, package: &str, target: &str, modules: &[&str]) -> Vec<PathBuf> {
    let of_package = metadata
        .packages
        .iter()
        .find(|it| it.name.as_str() == package);
    let of_package = of_package.unwrap_or_else(|| panic!("there is no package {package}"));
    let root = of_package
        .targets
        .iter()
        .find(|it| match target {
            "lib" => it.is_lib(),
            target => it.is_test() && it.name == target,
        })
        .map(|it| it.src_path.clone().into_std_path_buf())
        .unwrap_or_else(|| panic!("{package} has no test target {target}"));
    let folder = root.parent().expect("a folder").to_owned();
    let file_or_folder = |modules: &[&str]| {
        let path: PathBuf = modules
            .iter()
            .fold(folder.clone(), |path, it| path.join(it));
        [path.with_extension("rs"), path.join("mod.rs")]
    };
    let mut files = match modules {
        [] => vec![root.clone()],
        modules => file_or_folder(modules).to_vec(),
    };
    match modules {
        ["tests"] => files.push(root),
        [above @ .., "tests"] => files.extend(file_or_folder(above)),
        _ => {}
    }
    files
}

#[test]
fn the_tests_that_catch_them_are_there() {
    let metadata = MetadataCommand::new().no_deps().exec();
    let metadata = metadata.expect("cargo metadata");
    for fault in &faults() {
        for test in fault.caught_by() {
            let [package, target, path] = test.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{}: not PACKAGE TARGET TEST: {test}", fault.name());
            };
            let mut modules: Vec<&str> = path.split("::").collect();
            let name = modules.pop().expect("a name");
            let is_there = files_of(&metadata, package, target, &modules)
                .iter()
                .filter_map(|file| fs::read_to_string(file).ok())
                .any(|text| text.contains(&format!("fn {name}(")));
            assert!(is_there, "{}: there is no test {test}", fault.name());
        }
    }
}

#[test]
fn the_page_tells_of_each() {
    const HOW: &str = "run `scripts/faults --table`";
    let page = fs::read_to_string(Path::new(ROOT).join("docs/reliability.md")).expect("the page");
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("<!-- faults: made by"))
        .take_while(|line| *line != "<!-- faults: end -->")
        .filter(|line| line.starts_with("| `"))
        .collect();
    let faults = faults();
    assert_eq!(rows.len(), faults.len(), "{HOW}");
    for (row, fault) in rows.iter().zip(&faults) {
        assert!(
            row.starts_with(&format!("| `{}` |", fault.name())),
            "{HOW}: {row}"
        );
        for field in ["part", "what", "breaks"] {
            let cell = format!(" {} |", fault.text(field));
            assert!(row.contains(&cell), "{HOW}: {row}");
        }
        for test in fault.caught_by() {
            assert!(row.contains(&format!("`{test}`")), "{HOW}: {row}");
        }
    }
}
