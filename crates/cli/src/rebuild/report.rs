//! What was done, in words.

use std::fmt::Write;

use tidings_operate::rebuild::{Pruned, Rebuilt, RolledBack, Status};

pub(super) use super::print as show;

pub(super) fn rebuilt(done: &Rebuilt) -> String {
    let Rebuilt {
        view,
        generation,
        records,
        applied,
        seconds,
        check_seconds,
        checked,
        ..
    } = done;
    let rate = *applied as f64 / seconds.max(0.001);
    let mut text = format!(
        "Generation {generation} of the {view} view has {records} records; {applied} were applied \
         in {seconds:.1} s ({rate:.0} a second).\n"
    );
    if *checked && *check_seconds > 0.0 {
        let _written = writeln!(
            text,
            "It is what the log says: comparing took {check_seconds:.1} s."
        );
    }
    let _written = match done.before {
        Some(before) => write!(
            text,
            "It is read now. Generation {before} is kept: `tidings rollback {view}` goes back to \
             it, `tidings rebuild {view} --prune` deletes it."
        ),
        None => write!(
            text,
            "It is kept in step, and not read yet: `tidings rebuild {view}` switches to it."
        ),
    };
    text
}

pub(super) fn rolled_back(done: &RolledBack) -> String {
    let RolledBack { view, from, to, .. } = done;
    match done.switched {
        true => format!("Generation {to} of the {view} view is read now; {from} is kept."),
        false => format!("Would read generation {to} of the {view} view in the place of {from}."),
    }
}

pub(super) fn pruned(done: &Pruned) -> String {
    let Pruned { view, serving, .. } = done;
    let numbers: Vec<String> = done.deleted.iter().map(ToString::to_string).collect();
    let which = match &numbers[..] {
        [] => {
            return format!("Nothing to delete: the {view} view has generation {serving} alone.");
        }
        [one] => format!("generation {one}"),
        several => format!("generations {}", several.join(", ")),
    };
    match done.done {
        true => format!("Deleted {which} of the {view} view; {serving} is read."),
        false => format!("Would delete {which} of the {view} view; {serving} is read, and stays."),
    }
}

pub(super) fn status(status: &Status) -> String {
    let mut text = format!(
        "The {} view:\n{:>10}  {:<9} {:>12} {:>9}  since\n",
        status.view, "generation", "state", "records", "behind"
    );
    for one in &status.generations {
        let since = one.since.as_deref().unwrap_or("the beginning");
        let by = one.by.as_ref().map(|by| format!(", by {by}"));
        let _written = writeln!(
            text,
            "{:>10}  {:<9} {:>12} {:>9}  {since}{}",
            one.generation.to_string(),
            one.state,
            one.applied,
            one.behind,
            by.unwrap_or_default()
        );
    }
    let begun = status.generations.iter().find(|one| one.by.is_some());
    let _written = match begun {
        Some(one) if one.state == "built" => {
            write!(
                text,
                "A rebuild would switch to generation {}.",
                one.generation
            )
        }
        Some(one) => write!(
            text,
            "A rebuild would go on with generation {}, unless its process lives.",
            one.generation
        ),
        None => write!(text, "A rebuild would build another and switch to it."),
    };
    text
}
