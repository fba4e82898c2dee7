use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The lines of real chats, and fifty words of them: frequent and rare ones.
///
/// # Panics
/// Where the samples are not there.
#[must_use]
pub fn irc() -> (Vec<String>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/irc");
    let mut lines = Vec::new();
    for name in [
        "2004-11-15_03.sample.raw.txt",
        "2009-10-01_17.sample.raw.txt",
    ] {
        let bytes = fs::read(folder.join(name)).expect("a sample");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // What was said: `[16:51] <nick> text`.
        let said = text.lines().filter_map(|line| line.split_once("> "));
        let said = said.map(|(_, text)| text.trim().to_owned());
        lines.extend(said.filter(|text| !text.is_empty()));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines {
        for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if !word.is_empty() && word.is_ascii() {
                *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
            }
        }
    }
    let mut words: Vec<(usize, String)> = counts
        .into_iter()
        .map(|(word, count)| (count, word))
        .collect();
    words.sort();
    words.reverse();
    let frequent = words.iter().take(25);
    let rare = words.iter().skip(25).step_by((words.len() - 25) / 25);
    let chosen = frequent.chain(rare.take(25)).map(|(_, word)| word.clone());
    (lines, chosen.collect())
}
