//! Three users on two edges who touch every command.
//!
//! [`run`] plays the script against any two edges of one system and gives the
//! transcript: every frame that every socket got, step by step, and the answers
//! to questions, with ids and times replaced by names. It is the same for every
//! system that speaks the protocol: [`TRANSCRIPT`].

mod players;
mod script;
mod transcript;

use anyhow::Result;

pub use script::run;

/// What [`run`] gives, one line for each frame and answer. To be read and
/// compared, and written anew (by `TIDINGS_WRITE_TRANSCRIPT=1` and the test of
/// the edge) only where the protocol has changed.
pub const TRANSCRIPT: &str = include_str!("transcript.txt");

/// Issues tokens: of a user, in a tenant.
pub type Tokens<'a> = &'a (dyn Fn(&str, &str) -> String + Sync);

/// Compares a transcript with [`TRANSCRIPT`], and names the first line that
/// differs.
///
/// # Errors
/// Where one differs.
pub fn compare(transcript: &str) -> Result<()> {
    let (mut found, mut expected) = (transcript.lines(), TRANSCRIPT.lines());
    for number in 1.. {
        match (found.next(), expected.next()) {
            (None, None) => break,
            (found, expected) if found == expected => {}
            (found, expected) => anyhow::bail!(
                "line {number} of the transcript\n   is {}\nnot {}",
                found.unwrap_or("the end"),
                expected.unwrap_or("the end")
            ),
        }
    }
    Ok(())
}
