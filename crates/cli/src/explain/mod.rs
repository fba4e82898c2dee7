//! `tidings outcome` and `tidings explain`.

mod print;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_domain::{ConversationId, MessageId, TempId, Tenant, Timestamp, UserId};
use tidings_log::LogReader;
use tidings_log::embedded::EmbeddedLog;
use tidings_operate::explain::{ExplainOptions, State, Story, Subject, explain};
use tidings_operate::verify::AuditedView;
use tidings_sqlite::Database;
use tidings_wire::{Codec, parse_time};
use uuid::Uuid;

use crate::output;
use crate::place::{Place, PlaceArgs};
use crate::stores::{StoreArgs, sqlite_history, sqlite_search};
use crate::verify::{parse_conversation, parse_tenant};

/// Show what became of a command, by the client's id of it or by its message's
///
/// Told are the command's record and every decision of it, with topic,
/// partition, offset, time, trace id, epoch and owner, and whether the decision
/// counts by the reader's rule; what came later about the same message; what of
/// it is among the dead letters; and what each view has of it whose address is
/// given: what one needs to know when a user says "my message is gone".
///
/// All partitions are searched unless --conversation says which. Commands are
/// in the log for 7 days, decisions for ever. Texts are shown only with
/// --show-texts, else their lengths and hashes.
///
/// Works on the data folder of a `tidings dev` that is running, too. Exit
/// status: 0 found, 1 not found or failed, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings outcome m1 --conversation 0b0c5d8e-… --sender alice
  tidings outcome 5f2d6c1a-… --since 2h
  tidings outcome m1 --tenant acme --brokers 127.0.0.1:9092 --json")]
pub(crate) struct OutcomeArgs {
    /// The client's id of the command (temp_id), or the message's id
    #[arg(value_name = "TEMP_ID|MESSAGE_ID")]
    id: String,
    /// Only in this conversation: then one partition is read
    #[arg(long, value_name = "ID", value_parser = parse_conversation)]
    conversation: Option<ConversationId>,
    /// Only what this user sent
    #[arg(long, value_name = "USER", value_parser = parse_user)]
    sender: Option<UserId>,
    /// Only this tenant's
    #[arg(long, value_name = "TENANT", value_parser = parse_tenant)]
    tenant: Option<Tenant>,
    #[command(flatten)]
    with: WithArgs,
}

/// Tell the whole story of a message or event: what was asked, decided, and
/// what each view has of it
///
/// By its place in a conversation, or by the message's id alone. Told is what
/// `tidings outcome` tells, and everything else about the same message: edits,
/// deletions, reactions.
///
/// Works on the data folder of a `tidings dev` that is running, too. Exit
/// status: 0 found, 1 not found or failed, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings explain 0b0c5d8e-… 12
  tidings explain 5f2d6c1a-…                  by the message's id
  tidings explain 0b0c5d8e-… 12 --show-texts --data ./tidings-data")]
pub(crate) struct ExplainArgs {
    /// The conversation; or, without SEQ, the message
    #[arg(value_name = "CONVERSATION|MESSAGE_ID", value_parser = parse_id)]
    id: Uuid,
    /// The event's place in the conversation
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    seq: Option<u64>,
    #[command(flatten)]
    with: WithArgs,
}

/// What both have in common.
#[derive(Debug, clap::Args)]
struct WithArgs {
    /// Nothing older: such as 90m, 2h, 3d, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Show texts
    #[arg(long)]
    show_texts: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

fn parse_id(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| "expected a UUID".to_owned())
}

fn parse_user(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

/// A time, or how long ago it was.
fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Some(at) = parse_time(text) {
        return Ok(at);
    }
    let expected = || "expected such as 90m, 2h or 3d, or 2026-01-31T12:00:00.000Z".to_owned();
    let split = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let (count, unit) = text.split_at(split);
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let count: i64 = count.parse().map_err(|_| expected())?;
    let ago = count
        .checked_mul(seconds)
        .and_then(|it| it.checked_mul(1_000));
    let ago = ago.filter(|ago| *ago >= 0).ok_or_else(expected)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    Ok(Timestamp(now.saturating_sub(ago)))
}

pub(crate) async fn outcome(args: OutcomeArgs) -> Result<ExitCode> {
    let message_id = Uuid::try_parse(&args.id).ok().map(MessageId);
    let temp_id = TempId::parse(&args.id).ok();
    if message_id.is_none() && temp_id.is_none() {
        bail!("{:?} is neither a temp_id nor a message's id", args.id);
    }
    let subject = Subject::Command {
        temp_id,
        message_id,
        conversation_id: args.conversation,
        sender: args.sender,
        tenant: args.tenant,
    };
    tell(&subject, &args.with).await
}

pub(crate) async fn run(args: ExplainArgs) -> Result<ExitCode> {
    let subject = match args.seq {
        Some(seq) => Subject::Event {
            conversation_id: ConversationId(args.id),
            seq,
        },
        None => Subject::Command {
            temp_id: None,
            message_id: Some(MessageId(args.id)),
            conversation_id: None,
            sender: None,
            tenant: None,
        },
    };
    tell(&subject, &args.with).await
}

async fn tell(subject: &Subject, with: &WithArgs) -> Result<ExitCode> {
    let (log, codec, views) = open(with).await?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "reading records {wide_bar} {human_pos}/{human_len} {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let shown = bar.clone();
    let options = ExplainOptions {
        since: with.since,
        show_texts: with.show_texts,
        progress: Some(Arc::new(move |done, total| {
            shown.set_length(total);
            shown.set_position(done);
        })),
    };
    let story = explain(log, codec, subject, &views, &options).await;
    bar.finish_and_clear();
    let story: Story = story?;
    if with.json {
        output::json(&story)?;
    } else {
        print::story(&story)?;
    }
    Ok(ExitCode::from(u8::from(story.state == State::Unknown)))
}

/// Opens the log, and those views whose addresses are known.
async fn open(with: &WithArgs) -> Result<(Arc<dyn LogReader>, Codec, Vec<AuditedView>)> {
    if let Place::Folder(data) = with.place.place() {
        if !data.join("tidings.sqlite").exists() {
            bail!(
                "no log in {}: give --data the folder of `tidings dev`, or --brokers",
                data.display()
            );
        }
        let database = Database::open_read_only(&data)?;
        let log = EmbeddedLog::open_read_only(database.clone())?;
        let views = vec![
            AuditedView::History(Arc::new(sqlite_history(&database).await?)),
            AuditedView::Search(Arc::new(sqlite_search(&database).await?)),
        ];
        return Ok((Arc::new(log), Codec::locked(), views));
    }
    let (stores, prefix) = (&with.stores, &with.place.registry.topic_prefix);
    let mut views = Vec::new();
    if let Some(store) = stores.mongodb().await? {
        views.push(AuditedView::History(Arc::new(store)));
    }
    if let Some(store) = stores.opensearch(prefix).await? {
        views.push(AuditedView::Search(Arc::new(store)));
    }
    if let Some(store) = stores.redis(prefix).await? {
        views.push(AuditedView::Cache(Arc::new(store)));
    }
    let (log, codec) = with.place.open().await?;
    Ok((log, codec, views))
}

#[cfg(test)]
mod tests {
    use super::parse_since;

    #[test]
    fn times_are_read() {
        let ago = |text: &str| parse_since(text).map(|at| at.0);
        let (one, other) = (ago("90m").unwrap(), ago("5400s").unwrap());
        assert!((one - other).abs() < 1_000);
        assert!(ago("2h").unwrap() < one);
        assert_eq!(ago("1970-01-01T00:00:01.000Z"), Ok(1_000));
        for bad in ["", "h", "2", "2w", "-2h", "99999999999999999d", "2\u{e9}"] {
            assert!(ago(bad).is_err(), "{bad}");
        }
    }
}
