use std::fmt::Write as _;

use anyhow::Result;
use tidings_operate::explain::{CommandRecord, DecisionRecord, State, StateOfView, Story};

use crate::output;

/// Prints a story for a person.
pub(super) fn story(story: &Story) -> Result<()> {
    let mut text = String::new();
    let mut head = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            writeln!(text, "{name:<14}{value}").ok();
        }
    };
    head("state", &Some(story.state.as_str().to_owned()));
    head("conversation", &story.conversation_id);
    head("tenant", &story.tenant);
    head("message", &story.message_id);
    head("partition", &story.partition.map(|it| it.to_string()));
    for command in &story.commands {
        self::command(&mut text, command);
    }
    for decision in &story.decisions {
        self::decision(&mut text, decision);
    }
    for letter in &story.dead_letters {
        writeln!(
            text,
            "\ndead letter   {}[{}]@{}  {}\n  of          {}\n  cause       {}",
            letter.topic, letter.partition, letter.offset, letter.time, letter.of, letter.cause
        )
        .ok();
    }
    for state in &story.views {
        view(&mut text, state);
    }
    writeln!(text, "\n{}", conclusion(story)).ok();
    output::line(text.trim_end())
}

fn command(text: &mut String, it: &CommandRecord) {
    writeln!(
        text,
        "\ncommand       {}[{}]@{}  {}",
        it.topic, it.partition, it.offset, it.time
    )
    .ok();
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            writeln!(text, "  {name:<12}{value}").ok();
        }
    };
    row("asks", Some(&it.kind));
    row("sender", it.sender.as_deref());
    row("temp_id", it.temp_id.as_deref());
    row("message", it.message_id.as_deref());
    row("text", it.text.as_deref());
    row("trace", it.trace_id.as_deref());
    row("error", it.error.as_deref());
}

fn decision(text: &mut String, it: &DecisionRecord) {
    let verdict = if it.valid {
        "valid"
    } else {
        "void: its writer was not the owner any more; nobody applies it"
    };
    writeln!(
        text,
        "\ndecision      message.delivered[{}]@{}  {}",
        it.partition, it.offset, it.time
    )
    .ok();
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            writeln!(text, "  {name:<12}{value}").ok();
        }
    };
    row("counts", Some(verdict));
    row("outcome", Some(it.outcome));
    row("code", it.code.as_deref());
    row("event", it.kind.as_deref());
    row("seq", it.seq.map(|it| it.to_string()).as_deref());
    row("no", it.no.map(|it| it.to_string()).as_deref());
    row("sender", it.sender.as_deref());
    row("temp_id", it.temp_id.as_deref());
    row("of command", Some(&it.input));
    row(
        "written by",
        Some(&format!("owner {} of epoch {}", it.owner, it.epoch)),
    );
    row("text", it.text.as_deref());
    row("trace", it.trace_id.as_deref());
    row("error", it.error.as_deref());
}

fn view(text: &mut String, it: &StateOfView) {
    let at = match (it.position, it.is_past) {
        (Some(at), Some(true)) => format!("at offset {at}, past all of it"),
        (Some(at), Some(false)) => format!("at offset {at}, not there yet"),
        (Some(at), None) => format!("at offset {at}"),
        (None, _) => "without a position in this partition".to_owned(),
    };
    writeln!(text, "\nview          {}: {at}", it.view).ok();
    if let Some(error) = &it.error {
        writeln!(text, "  error       {error}").ok();
    }
    for document in &it.documents {
        writeln!(text, "  {} {}", document.kind, document.key).ok();
        for (name, value) in &document.fields {
            writeln!(text, "    {name:<24}{value}").ok();
        }
    }
    if it.documents.is_empty() && it.error.is_none() {
        writeln!(text, "  has nothing of it").ok();
    }
}

/// What to make of it, in a sentence.
fn conclusion(story: &Story) -> String {
    let behind = story.views.iter().find(|it| it.is_past == Some(false));
    match story.state {
        State::Unknown => format!(
            "Nothing of it is in the log ({} records were read): it never became durable here, or \
             it is older than what was read. It is safe to send it again.",
            story.records_read
        ),
        State::Pending => "It is durable and not decided yet: look at the sequencer with \
                           `tidings lag`."
            .to_owned(),
        State::Dead => "The sequencer could not read it and put it among the dead letters: see \
                        `tidings dead show`."
            .to_owned(),
        State::Rejected => {
            let code = story.decisions.iter().find(|it| it.valid);
            let code = code.and_then(|it| it.code.as_deref()).unwrap_or("no code");
            format!("It was refused: {code}.")
        }
        State::Delivered => match behind {
            Some(view) => format!(
                "It was accepted; the {} view is behind and does not show it yet: look at it with \
                 `tidings lag`.",
                view.view
            ),
            None if story.views.is_empty() => "It was accepted.".to_owned(),
            None => "It was accepted, and the views asked have come past it. Where one has not \
                     what is said above, `tidings verify` tells and mends it."
                .to_owned(),
        },
    }
}
