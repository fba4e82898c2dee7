//! Compiles `schemas/golden` in, file by file: what was once written is part
//! of what `tidings schemas check` checks.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let golden = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../schemas/golden");
    let golden = golden.canonicalize()?;
    println!("cargo::rerun-if-changed={}", golden.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&golden)? {
        let name = entry?.file_name();
        let name = name.to_str().ok_or("a golden file's name is not UTF-8")?;
        if let Some(name) = name.strip_suffix(".bin") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let mut code = String::from("&[\n");
    for name in names {
        let file = |extension: &str| golden.join(format!("{name}.{extension}"));
        let (bin, json) = (file("bin"), file("json"));
        writeln!(
            code,
            "({name:?}, include_bytes!({bin:?}), include_str!({json:?})),"
        )?;
    }
    code.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("golden.rs"), code)?;
    Ok(())
}
