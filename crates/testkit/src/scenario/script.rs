use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Tokens;
use super::players::Players;
use crate::fresh_name;

/// The sockets: alice has one on each edge.
const ALICE: &str = "alice";
const ALICE_TOO: &str = "alice/2";
const BOB: &str = "bob";
const CAROL: &str = "carol";

/// Plays the script against two edges of one system, and gives the transcript.
///
/// # Errors
/// Where a frame does not come, one comes that should not, or the edges do not
/// come to agree.
pub async fn run(edges: [&str; 2], tokens: Tokens<'_>) -> Result<String> {
    let tenant = fresh_name();
    let mut players = Players::new(edges, tokens, &tenant);
    players.connect(ALICE, 0).await?;
    players.connect(ALICE_TOO, 1).await?;
    players.connect(BOB, 1).await?;
    players.connect(CAROL, 0).await?;

    let group = conversations(&mut players).await?;
    let messages = messages(&mut players, &group).await?;
    deletions(&mut players, &group, &messages).await?;
    forwards(&mut players, &group, &messages).await?;
    own_settings(&mut players, &group).await?;
    let answers = questions(&mut players, &group, &messages).await?;
    members(&mut players, &group).await?;
    return_by_sync(&mut players, &group, &answers).await?;
    Ok(players.transcript.text())
}

/// The ids of the conversations.
struct Conversations {
    group: Value,
    direct: Value,
    channel: Value,
}

/// The ids of the messages.
struct Messages {
    first: Value,
    reply: Value,
    deleted: Value,
    purged: Value,
}

/// Everybody who is in the group hears of it once, and its sender twice.
fn all(sender: &'static str) -> Vec<(&'static str, usize)> {
    let count = |name| (name, if name == sender { 2 } else { 1 });
    [ALICE, ALICE_TOO, BOB, CAROL].map(count).to_vec()
}

fn with(kind: &str, temp_id: &str, conversation: &Value, fields: Value) -> Value {
    let mut frame = json!({"type": kind, "temp_id": temp_id, "conversation_id": conversation});
    if let (Value::Object(frame), Value::Object(fields)) = (&mut frame, fields) {
        frame.extend(fields);
    }
    frame
}

fn send(temp_id: &str, conversation: &Value, text: &str) -> Value {
    with(
        "send",
        temp_id,
        conversation,
        json!({"content": {"text": text}}),
    )
}

fn update(temp_id: &str, conversation: &Value, op: &str, fields: Value) -> Value {
    let mut frame = with("update", temp_id, conversation, fields);
    frame["op"] = json!(op);
    frame
}

/// A field of the last frame, which must be there.
fn last(frames: &[Value], field: &str) -> Result<Value> {
    let frame = frames.last().context("there are frames")?;
    ensure!(frame[field].is_string(), "{frame} has no {field}");
    Ok(frame[field].clone())
}

async fn conversations(players: &mut Players<'_>) -> Result<Conversations> {
    let create = |temp_id: &str, kind: &str, title: Option<&str>, members: &[&str]| {
        json!({
            "type": "create", "temp_id": temp_id, "kind": kind, "title": title,
            "members": members,
        })
    };
    let of_two = [(ALICE, 2), (ALICE_TOO, 1), (BOB, 1)];
    let command = create("group", "group", Some("Ops"), &["bob"]);
    let made = players.step(ALICE, &command, &of_two).await?;
    let group = last(&made, "conversation_id")?;
    let command = create("direct", "direct", None, &["bob"]);
    let made = players.step(ALICE, &command, &of_two).await?;
    let direct = last(&made, "conversation_id")?;
    // The other end gets the same one, and nobody hears of it.
    let again = create("direct of bob", "direct", None, &["alice"]);
    players.step(BOB, &again, &[(BOB, 2)]).await?;
    let create = create("channel", "channel", Some("News"), &["carol"]);
    let of_two = [(ALICE, 2), (ALICE_TOO, 1), (CAROL, 1)];
    let made = players.step(ALICE, &create, &of_two).await?;
    let channel = last(&made, "conversation_id")?;
    let posted = send("no post", &channel, "may I?");
    players.step(CAROL, &posted, &[(CAROL, 2)]).await?;
    Ok(Conversations {
        group,
        direct,
        channel,
    })
}

async fn messages(players: &mut Players<'_>, in_: &Conversations) -> Result<Messages> {
    let id = &in_.group;
    let add = update("add", id, "add_members", json!({"members": ["carol"]}));
    players.step(BOB, &add, &all(BOB)).await?;
    let content = json!({
        "text": "the kernel panicked",
        "attachments": [{"id": "a1", "name": "trace.txt", "mime": "text/plain", "size": 7}],
        "meta": {"severity": 1},
    });
    let first = with("send", "m1", id, json!({"content": content}));
    let first = last(
        &players.step(ALICE_TOO, &first, &all(ALICE_TOO)).await?,
        "message_id",
    )?;
    let mut reply = send("m2", id, "which one?");
    reply["reply_to"] = first.clone();
    let reply = last(&players.step(BOB, &reply, &all(BOB)).await?, "message_id")?;
    let mut deeper = send("m3", id, "the one in the cellar");
    deeper["reply_to"] = reply.clone();
    let deleted = last(
        &players.step(CAROL, &deeper, &all(CAROL)).await?,
        "message_id",
    )?;
    let purged = send("m4", id, "my password is hunter2");
    let purged = last(&players.step(BOB, &purged, &all(BOB)).await?, "message_id")?;

    let edit = |temp_id: &str, text: &str| {
        let fields = json!({"message_id": reply, "content": {"text": text}});
        with("edit", temp_id, id, fields)
    };
    players
        .step(BOB, &edit("e1", "which machine?"), &all(BOB))
        .await?;
    players
        .step(BOB, &edit("e2", "which machine??"), &all(BOB))
        .await?;
    players
        .step(CAROL, &edit("not mine", "no"), &[(CAROL, 2)])
        .await?;

    let react = |temp_id: &str, emoji: &str, op: &str| {
        let fields = json!({"message_id": first, "emoji": emoji, "op": op});
        with("react", temp_id, id, fields)
    };
    players
        .step(BOB, &react("r1", "👍", "add"), &all(BOB))
        .await?;
    players
        .step(CAROL, &react("r2", "👍", "add"), &all(CAROL))
        .await?;
    players
        .step(CAROL, &react("r3", "🔥", "add"), &all(CAROL))
        .await?;
    players
        .step(CAROL, &react("r4", "🔥", "add"), &all(CAROL))
        .await?;
    players
        .step(BOB, &react("r5", "👍", "remove"), &all(BOB))
        .await?;
    players
        .step(BOB, &react("r6", "🎉", "remove"), &all(BOB))
        .await?;
    Ok(Messages {
        first,
        reply,
        deleted,
        purged,
    })
}

async fn deletions(
    players: &mut Players<'_>,
    in_: &Conversations,
    messages: &Messages,
) -> Result<()> {
    let id = &in_.group;
    let delete = |temp_id: &str, message: &Value, scope: &str| {
        let fields = json!({"message_id": message, "scope": scope});
        with("delete", temp_id, id, fields)
    };
    let refused = delete("not allowed", &messages.reply, "everyone");
    players.step(CAROL, &refused, &[(CAROL, 2)]).await?;
    // The owner may.
    let deleted = delete("d1", &messages.deleted, "everyone");
    players.step(ALICE, &deleted, &all(ALICE)).await?;
    let purged = delete("d2", &messages.purged, "purge");
    players.step(BOB, &purged, &all(BOB)).await?;
    let hidden = delete("d3", &messages.first, "me");
    players
        .step(ALICE, &hidden, &[(ALICE, 2), (ALICE_TOO, 1)])
        .await?;
    // What comes too late has its place, and changes nothing.
    let fields = json!({"message_id": messages.purged, "content": {"text": "never mind"}});
    players
        .step(BOB, &with("edit", "too late", id, fields), &all(BOB))
        .await?;
    let fields = json!({"message_id": messages.deleted, "emoji": "👍", "op": "add"});
    players
        .step(CAROL, &with("react", "late too", id, fields), &all(CAROL))
        .await?;
    let nothing = json!("00000000-0000-4000-8000-000000000000");
    let missing = delete("d4", &nothing, "everyone");
    players.step(ALICE, &missing, &[(ALICE, 1)]).await?;
    Ok(())
}

async fn forwards(
    players: &mut Players<'_>,
    in_: &Conversations,
    messages: &Messages,
) -> Result<()> {
    let forward = |temp_id: &str, ids: &[&Value], to: &[&Value]| {
        let fields = json!({"message_ids": ids, "to": to});
        with("forward", temp_id, &in_.group, fields)
    };
    let both = [&messages.first, &messages.reply];
    let sent = forward("f1", &both, &[&in_.direct, &in_.channel]);
    // Carol is not in the one, and may not post in the other.
    players.step(CAROL, &sent, &[(CAROL, 8)]).await?;
    let sent = forward("f2", &[&messages.reply], &[&in_.direct, &in_.channel]);
    let counts = [(ALICE, 4), (ALICE_TOO, 2), (BOB, 1), (CAROL, 1)];
    players.step(ALICE, &sent, &counts).await?;
    // What alice has deleted for herself is not there for her.
    let hidden = forward("f3", &[&messages.first], &[&in_.direct]);
    players.step(ALICE, &hidden, &[(ALICE, 1)]).await?;
    let deleted = forward("f4", &[&messages.reply, &messages.deleted], &[&in_.direct]);
    players.step(BOB, &deleted, &[(BOB, 1)]).await?;
    let outside = with(
        "forward",
        "f5",
        &in_.direct,
        json!({"message_ids": [messages.reply], "to": [in_.group]}),
    );
    players.step(CAROL, &outside, &[(CAROL, 1)]).await?;
    let to_many = [&in_.direct; 6];
    let too_many = forward("f6", &[&messages.reply], &to_many);
    players.step(BOB, &too_many, &[(BOB, 1)]).await?;
    Ok(())
}

async fn own_settings(players: &mut Players<'_>, in_: &Conversations) -> Result<()> {
    let id = &in_.group;
    let others = [(BOB, 2), (ALICE, 1), (ALICE_TOO, 1), (CAROL, 1)];
    players
        .step(BOB, &with("read", "k1", id, json!({"up_to": 2})), &others)
        .await?;
    let own = [(ALICE_TOO, 2), (ALICE, 1), (BOB, 1), (CAROL, 1)];
    let beyond = with("read", "k2", id, json!({"up_to": 4_000}));
    players.step(ALICE_TOO, &beyond, &own).await?;
    let own = [(ALICE, 2), (ALICE_TOO, 1)];
    let later = json!({"until": "2100-01-01T00:00:00Z"});
    players
        .step(ALICE, &update("u1", id, "mute", later), &own)
        .await?;
    players
        .step(ALICE, &update("u2", id, "archive", json!({})), &own)
        .await?;
    players
        .step(ALICE, &update("u3", &in_.direct, "mute", json!({})), &own)
        .await?;
    players
        .step(ALICE, &update("u4", &in_.direct, "unmute", json!({})), &own)
        .await?;
    players
        .step(
            ALICE,
            &update("u5", &in_.channel, "archive", json!({})),
            &own,
        )
        .await?;
    players
        .step(
            ALICE,
            &update("u6", &in_.channel, "unarchive", json!({})),
            &own,
        )
        .await?;
    Ok(())
}

async fn questions(
    players: &mut Players<'_>,
    in_: &Conversations,
    messages: &Messages,
) -> Result<Value> {
    let id = &in_.group;
    for user in [ALICE, BOB, CAROL] {
        let archived = user == ALICE;
        let list = json!({"type": "list", "id": "q"});
        let is_it = |answer: &Value| {
            let listed = answer["conversations"].as_array();
            let group = listed.and_then(|all| all.iter().find(|it| it["conversation_id"] == *id));
            group.is_some_and(|group| group["archived"] == archived)
        };
        players.ask(user, &list, is_it).await?;
    }
    let history = |fields: Value| {
        let mut question = json!({"type": "history", "id": "q", "conversation_id": id});
        if let (Value::Object(question), Value::Object(fields)) = (&mut question, fields) {
            question.extend(fields);
        }
        question
    };
    let any = |_: &Value| true;
    players.ask(BOB, &history(json!({})), any).await?;
    players
        .ask(ALICE, &history(json!({"limit": 2})), any)
        .await?;
    players
        .ask(BOB, &history(json!({"limit": 2, "before": 3})), any)
        .await?;
    players
        .ask(BOB, &history(json!({"thread": messages.first})), any)
        .await?;
    let members = json!({"type": "members", "id": "q", "conversation_id": id, "limit": 2});
    players.ask(CAROL, &members, any).await?;
    let rest = json!({"type": "members", "id": "q", "conversation_id": id, "cursor": "bob"});
    players.ask(CAROL, &rest, any).await?;
    let outcome = |asked: &[(&Value, &str)]| {
        let asked: Vec<_> = asked
            .iter()
            .map(|(id, temp_id)| json!({"conversation_id": id, "temp_id": temp_id}))
            .collect();
        json!({"type": "outcome", "id": "q", "temp_ids": asked})
    };
    let of_bob = [
        (id, "m2"),
        (id, "e1"),
        (id, "r1"),
        (id, "k1"),
        (id, "d2"),
        (id, "no such"),
    ];
    players.ask(BOB, &outcome(&of_bob), any).await?;
    let of_alice = [
        (id, "d3"),
        (id, "u1"),
        (&in_.direct, "f2/1"),
        (&in_.channel, "f2/2"),
        (&in_.direct, "f3/1"),
    ];
    players.ask(ALICE, &outcome(&of_alice), any).await?;
    let of_carol = [
        (&in_.direct, "f1/1"),
        (&in_.channel, "f1/4"),
        (id, "not mine"),
    ];
    players.ask(CAROL, &outcome(&of_carol), any).await?;
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": 0});
    players.ask(ALICE, &sync, any).await
}

/// Roles, titles and who belongs there.
async fn members(players: &mut Players<'_>, in_: &Conversations) -> Result<()> {
    let id = &in_.group;
    let rename = update("t1", id, "rename", json!({"title": "Operations"}));
    players.step(BOB, &rename, &[(BOB, 2)]).await?;
    let role = update(
        "t2",
        id,
        "set_role",
        json!({"user_id": "bob", "role": "admin"}),
    );
    players.step(ALICE, &role, &all(ALICE)).await?;
    let rename = update("t3", id, "rename", json!({"title": "Operations"}));
    players.step(BOB, &rename, &all(BOB)).await?;
    players
        .step(ALICE, &update("t4", id, "close", json!({})), &all(ALICE))
        .await?;
    players
        .step(CAROL, &send("closed", id, "hello?"), &[(CAROL, 2)])
        .await?;
    players
        .step(ALICE, &update("t5", id, "reopen", json!({})), &all(ALICE))
        .await?;
    let mut again = send("m2", id, "which one?");
    again["retry"] = json!(true);
    players.step(BOB, &again, &[(BOB, 1)]).await?;
    let remove = update("t6", id, "remove_members", json!({"members": ["carol"]}));
    players.step(BOB, &remove, &all(BOB)).await?;
    players
        .step(CAROL, &send("out", id, "hello?"), &[(CAROL, 2)])
        .await?;
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": 0});
    let is_out = |answer: &Value| answer["code"] == "not_a_member";
    players.ask(CAROL, &sync, is_out).await?;
    Ok(())
}

/// Bob goes, misses some, comes back to the other edge and asks for it.
async fn return_by_sync(
    players: &mut Players<'_>,
    in_: &Conversations,
    before: &Value,
) -> Result<()> {
    let id = &in_.group;
    players.leave(BOB).await?;
    let without_bob = [(ALICE, 2), (ALICE_TOO, 1)];
    let sent = players
        .step(ALICE, &send("m5", id, "bob?"), &without_bob)
        .await?;
    let message = last(&sent, "message_id")?;
    let fields = json!({"message_id": message, "content": {"text": "bob!"}});
    players
        .step(ALICE, &with("edit", "e3", id, fields), &without_bob)
        .await?;
    players.connect(BOB, 0).await?;
    let after = before["last_seq"].clone();
    let sync = json!({"type": "sync", "id": "q", "conversation_id": id, "after": after});
    let answer = players
        .ask(BOB, &sync, |answer| answer["more"] == false)
        .await?;
    let missed = answer["events"].as_array().map_or(0, Vec::len) as u64;
    let last_seq = answer["last_seq"].as_u64().context("a head")?;
    ensure!(
        Some(last_seq - missed) == after.as_u64(),
        "a gap in {answer}"
    );
    players.knows(BOB, id, last_seq);
    let leave = update("t7", id, "leave", json!({}));
    let counts = [(BOB, 2), (ALICE, 1), (ALICE_TOO, 1)];
    players.step(BOB, &leave, &counts).await?;
    Ok(())
}
