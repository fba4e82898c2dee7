//! What tests need of Python and Java, installed once below the build folder by
//! the usual package clients.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;

/// A Python with these requirements.
pub(crate) fn python(name: &str, requirements: &Path) -> PathBuf {
    let installed = made_once(&format!("python-{name}"), requirements, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--requirement"])
            .arg(requirements));
    });
    installed.join("bin/python")
}

/// A folder below the build folder, made once for each content of `recipe`.
pub(crate) fn made_once(name: &str, recipe: &Path, make: impl FnOnce(&Path)) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).expect("the build folder");
    let recipe = fs::read(recipe).expect("what is to be installed");
    let version = Uuid::new_v5(&Uuid::NAMESPACE_OID, &recipe).simple();
    let folder = target.join("examples-of-docs").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    // Other test processes may be at it.
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let (folder, done) = (
        folder.join(version.to_string()),
        folder.join(format!("{version}.done")),
    );
    if !done.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what was not finished can be removed");
        }
        make(&folder);
        File::create(&done).expect("a mark");
    }
    folder
}

/// Runs a command that is to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
