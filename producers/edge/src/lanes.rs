use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{Command, CommandKey, ConversationId};
use tidings_wire::Topic;

use crate::forward::Copied;
use crate::peer::Reply;

/// The commands of one peer that wait or are undecided, in one lane for each
/// conversation.
///
/// In a lane commands go to the log in the order they came. One for another
/// topic than the undecided ones waits until those are decided, because order
/// across topics is only what the sequencer makes of it; and all wait behind
/// one that is being looked up.
#[derive(Default)]
pub(crate) struct Lanes {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lanes: HashMap<ConversationId, Lane>,
    waiting: usize,
    undecided: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// In the order they went to the log.
    undecided: VecDeque<CommandKey>,
    /// Where the undecided ones went.
    topic: Option<Topic>,
    /// Somebody is taking commands out right now.
    advancing: bool,
    /// The last command taken out is being looked up.
    looking_up: bool,
}

/// A command on its way to the log.
pub(crate) struct Waiting {
    pub(crate) command: Command,
    pub(crate) key: CommandKey,
    /// Whether the client says that it sent it before.
    pub(crate) retry: bool,
    /// When its frame came.
    pub(crate) taken: Instant,
    /// Where its answers go.
    pub(crate) reply: Reply,
    /// The message that it copies, if a forward made it.
    pub(crate) copied: Option<Box<Copied>>,
}

/// How many commands a peer may have under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) waiting: usize,
    pub(crate) undecided: usize,
}

/// There are too many commands under way already.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl Lanes {
    /// Puts a command at the end of its lane.
    ///
    /// # Errors
    /// The command, where there is no room for it.
    pub(crate) fn push(&self, waiting: Waiting, room: Room) -> Result<(), Box<Waiting>> {
        let mut inner = self.inner.lock();
        if inner.closed || inner.waiting >= room.waiting || inner.undecided >= room.undecided {
            return Err(Box::new(waiting));
        }
        inner.push(waiting);
        Ok(())
    }

    /// Puts commands at the ends of their lanes, all or none.
    ///
    /// # Errors
    /// Where there is no room for all.
    pub(crate) fn push_all(&self, waiting: Vec<Waiting>, room: Room) -> Result<(), NoRoom> {
        let mut inner = self.inner.lock();
        let is_full = inner.waiting + waiting.len() > room.waiting
            || inner.undecided + waiting.len() > room.undecided;
        if inner.closed || is_full {
            return Err(NoRoom);
        }
        waiting.into_iter().for_each(|waiting| inner.push(waiting));
        Ok(())
    }

    /// Begins to take commands out of a lane; whoever gets `true` must call
    /// [`next`](Self::next) until it gives none.
    pub(crate) fn start(&self, id: ConversationId) -> bool {
        let mut inner = self.inner.lock();
        match inner.lanes.get_mut(&id) {
            Some(lane) if !lane.advancing && !lane.looking_up => {
                lane.advancing = true;
                true
            }
            _ => false,
        }
    }

    /// Takes out the next command that may go; it counts as undecided from
    /// then on.
    pub(crate) fn next(&self, id: ConversationId) -> Option<Waiting> {
        let mut inner = self.inner.lock();
        let lane = inner.lanes.get_mut(&id)?;
        if let Some(waiting) = lane.take() {
            inner.waiting -= 1;
            inner.undecided += 1;
            return Some(waiting);
        }
        lane.advancing = false;
        inner.remove_idle(id);
        None
    }

    /// Nothing more goes until [`looked_up`](Self::looked_up).
    pub(crate) fn look_up(&self, id: ConversationId) {
        if let Some(lane) = self.inner.lock().lanes.get_mut(&id) {
            lane.looking_up = true;
        }
    }

    pub(crate) fn looked_up(&self, id: ConversationId) {
        if let Some(lane) = self.inner.lock().lanes.get_mut(&id) {
            lane.looking_up = false;
        }
    }

    /// A command is decided, or will never be.
    pub(crate) fn release(&self, id: ConversationId, key: CommandKey) {
        let mut inner = self.inner.lock();
        let Some(lane) = inner.lanes.get_mut(&id) else {
            return;
        };
        // They are decided in order, so it is nearly always the first.
        let Some(at) = lane
            .undecided
            .iter()
            .position(|undecided| *undecided == key)
        else {
            return;
        };
        lane.undecided.remove(at);
        inner.undecided -= 1;
        inner.remove_idle(id);
    }

    /// Whether nothing waits or is undecided.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.waiting == 0 && inner.undecided == 0
    }

    /// Forgets everything, takes nothing any more, and tells what is undecided.
    pub(crate) fn close(&self) -> Vec<CommandKey> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.waiting = 0;
        inner.undecided = 0;
        std::mem::take(&mut inner.lanes)
            .into_values()
            .flat_map(|lane| lane.undecided)
            .collect()
    }
}

impl Inner {
    fn push(&mut self, waiting: Waiting) {
        self.waiting += 1;
        let lane = self
            .lanes
            .entry(waiting.command.conversation_id)
            .or_default();
        lane.waiting.push_back(waiting);
    }

    fn remove_idle(&mut self, id: ConversationId) {
        if self.lanes.get(&id).is_some_and(Lane::is_idle) {
            self.lanes.remove(&id);
            if self.lanes.is_empty() {
                self.lanes = HashMap::new();
            }
        }
    }
}

impl Lane {
    fn take(&mut self) -> Option<Waiting> {
        let topic = Topic::of_command(&self.waiting.front()?.command);
        let in_order = self.undecided.is_empty() || self.topic == Some(topic);
        if self.looking_up || !in_order {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.topic = Some(topic);
        self.undecided.push_back(waiting.key);
        Some(waiting)
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.undecided.is_empty() && !self.advancing && !self.looking_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::peer::{Call, Peer};
    use std::sync::Arc;
    use tidings_domain::{CommandBody, Content, TempId, Tenant, Timestamp, Update, UserId};

    const ROOM: Room = Room {
        waiting: 3,
        undecided: 3,
    };

    fn waiting(temp_id: &str, body: CommandBody) -> Waiting {
        let command = Command {
            tenant: Tenant::parse("t").unwrap(),
            conversation_id: ConversationId(uuid::Uuid::nil()),
            sender: UserId::parse("u").unwrap(),
            temp_id: TempId::parse(temp_id).unwrap(),
            at: Timestamp(0),
            body,
        };
        Waiting {
            key: command.key(),
            command,
            retry: false,
            taken: Instant::now(),
            reply: nobody(),
            copied: None,
        }
    }

    fn nobody() -> Reply {
        let who = (Tenant::parse("t").unwrap(), UserId::parse("u").unwrap());
        let peer = Peer::new(uuid::Uuid::nil(), who, Arc::new(Metrics::new()));
        let (pending, _) = tokio::sync::oneshot::channel();
        let (answer, _) = tokio::sync::oneshot::channel();
        Reply::Call(Box::new(Call::new(Arc::new(peer), pending, answer)))
    }

    fn send(temp_id: &str) -> Waiting {
        let content = Content::text("x");
        let body = CommandBody::Send {
            content,
            reply_to: None,
            thread: None,
            forwarded_from: None,
        };
        waiting(temp_id, body)
    }

    fn close(temp_id: &str) -> Waiting {
        waiting(temp_id, CommandBody::Update(Update::Close))
    }

    /// Takes out all that may go now.
    fn go(lanes: &Lanes) -> Vec<(String, CommandKey)> {
        let id = ConversationId(uuid::Uuid::nil());
        let mut gone = Vec::new();
        if lanes.start(id) {
            while let Some(waiting) = lanes.next(id) {
                gone.push((waiting.command.temp_id.to_string(), waiting.key));
            }
        }
        gone
    }

    fn names(gone: &[(String, CommandKey)]) -> Vec<&str> {
        gone.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn another_topic_waits_until_all_before_it_are_decided() {
        let lanes = Lanes::default();
        for waiting in [send("1"), send("2"), close("3")] {
            assert!(lanes.push(waiting, ROOM).is_ok());
        }
        let first = go(&lanes);
        assert_eq!(names(&first), ["1", "2"]);
        assert!(lanes.push(send("4"), ROOM).is_ok());
        let id = ConversationId(uuid::Uuid::nil());
        lanes.release(id, first[0].1);
        assert!(go(&lanes).is_empty());
        lanes.release(id, first[1].1);
        let second = go(&lanes);
        assert_eq!(names(&second), ["3"]);
        lanes.release(id, second[0].1);
        let third = go(&lanes);
        assert_eq!(names(&third), ["4"]);
        assert!(!lanes.is_idle());
        lanes.release(id, third[0].1);
        assert!(lanes.is_idle());
        assert!(lanes.inner.lock().lanes.is_empty());
    }

    #[test]
    fn all_wait_behind_a_lookup() {
        let (lanes, id) = (Lanes::default(), ConversationId(uuid::Uuid::nil()));
        for name in ["1", "2"] {
            assert!(lanes.push(send(name), ROOM).is_ok());
        }
        assert!(lanes.start(id));
        assert!(lanes.next(id).is_some());
        lanes.look_up(id);
        assert!(lanes.next(id).is_none());
        assert!(!lanes.start(id));
        lanes.looked_up(id);
        assert_eq!(names(&go(&lanes)), ["2"]);
    }

    #[test]
    fn some_that_belong_together_go_in_all_or_none() {
        let lanes = Lanes::default();
        assert!(lanes.push(send("1"), ROOM).is_ok());
        let three = ["2", "3", "4"].map(send);
        assert!(lanes.push_all(three.into(), ROOM).is_err());
        let two = ["2", "3"].map(send);
        assert!(lanes.push_all(two.into(), ROOM).is_ok());
        assert_eq!(names(&go(&lanes)), ["1", "2", "3"]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let lanes = Lanes::default();
        for name in ["1", "2", "3"] {
            assert!(lanes.push(send(name), ROOM).is_ok());
        }
        assert!(lanes.push(send("4"), ROOM).is_err(), "too many wait");
        assert_eq!(go(&lanes).len(), 3);
        assert!(
            lanes.push(send("4"), ROOM).is_err(),
            "too many are undecided"
        );
        assert!(lanes.push_all(vec![send("4")], ROOM).is_err());
        assert_eq!(lanes.close().len(), 3);
        assert!(lanes.push(send("5"), ROOM).is_err(), "closed");
    }
}
