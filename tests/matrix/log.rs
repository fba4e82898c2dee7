use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::crowd::Verdict;
use crate::fault::blocking;
use crate::history::History;
use crate::system::{System, wait_until};

/// How long the projections may take to have all of the log.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(150);

/// Compares the log and the views with what the clients know. What must not be.
pub(crate) async fn check(system: &Arc<dyn System>, verdict: &Verdict) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let caught_up = blocking(system, |system| {
        let mut last = String::new();
        let lag = ["lag", "--max-records", "0"];
        let caught_up = wait_until(CAUGHT_UP_WITHIN, "every lag is 0", || {
            match system.tidings_there(&lag) {
                Ok(printed) => {
                    last = printed.complaint();
                    printed.success
                }
                Err(error) => {
                    last = format!("{error:#}");
                    false
                }
            }
        });
        Ok(caught_up.err().map(|error| format!("{error:#}\n{last}")))
    });
    found.extend(caught_up.await?);
    let records = blocking(system, |system| system.delivered()).await?;
    // It panics where the log breaks a promise.
    match spawn_blocking(move || History::read(&records)).await {
        Ok(history) => found.extend(compare(&history, verdict)),
        Err(error) => {
            let text = match error.try_into_panic() {
                Ok(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            found.push(format!("the log: {text}"));
        }
    }
    for command in system.views().iter().map(|view| ["verify", view]) {
        let verified = blocking(system, move |system| system.tidings_there(&command)).await?;
        if !verified.success {
            found.push(verified.complaint());
        }
    }
    let dead = blocking(system, |system| {
        system.tidings_there(&["dead", "ls", "--fail"])
    });
    let dead = dead.await?;
    if !dead.success {
        found.push(dead.complaint());
    }
    Ok(found)
}

/// Every acknowledged message stands where its sender was told, and nothing
/// else was said in the cell's conversations.
fn compare(history: &History, verdict: &Verdict) -> Vec<String> {
    let mut found = Vec::new();
    for delivery in &verdict.delivered {
        let events = history.conversations.get(&delivery.conversation);
        let place = usize::try_from(delivery.seq).unwrap_or(0).wrapping_sub(1);
        let event = events.and_then(|events| events.get(place));
        let right = event.is_some_and(|event| {
            event["sender"] == delivery.sender.as_str()
                && event["temp_id"] == delivery.temp_id.as_str()
                && event["event"]["content"]["text"] == delivery.text.as_str()
        });
        if !right {
            let there = event.map_or("nothing".to_owned(), ToString::to_string);
            found.push(format!("the log: {delivery:?} is not there, but {there}"));
        }
    }
    let said = verdict.conversations.iter().map(|conversation| {
        let events = history.conversations.get(conversation);
        let events = events.map_or(&[][..], Vec::as_slice);
        let messages = events
            .iter()
            .filter(|one| one["event"]["kind"] == "message.sent");
        messages.count()
    });
    let (said, delivered) = (said.sum::<usize>(), verdict.delivered.len());
    if said != delivered {
        found.push(format!(
            "the log: {said} messages, of which {delivered} were acknowledged"
        ));
    }
    found
}
