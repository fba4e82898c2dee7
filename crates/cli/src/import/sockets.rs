use std::collections::HashMap;

use anyhow::Result;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tidings_domain::UserId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Answer, Bye, Dialer, Socket, parse_answer};

/// The sockets of one conversation's users: opened when a user first speaks,
/// closed when too many are open and the user has been silent the longest.
///
/// Every open socket gets every event of the conversation, so few sockets
/// also mean less work for the server.
pub(super) struct Sockets {
    dialer: Dialer,
    capacity: usize,
    open: HashMap<UserId, Open>,
    opened: u64,
    heard: mpsc::UnboundedSender<Heard>,
    readers: JoinSet<()>,
}

struct Open {
    /// Tells this socket from an earlier one of the same user.
    number: u64,
    last_used: u64,
    sink: SplitSink<Socket, Message>,
}

/// What came over a user's socket.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) user: UserId,
    pub(super) socket: u64,
    pub(super) what: What,
}

/// An answer, or the end.
#[derive(Debug)]
pub(super) enum What {
    Answer(Answer),
    Closed,
}

impl Sockets {
    /// At most `capacity` sockets at once. What is heard comes out of the
    /// receiver; its length is bounded by what is sent and not yet answered.
    pub(super) fn new(dialer: Dialer, capacity: usize) -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (heard, receiver) = mpsc::unbounded_channel();
        let (open, readers) = (HashMap::new(), JoinSet::new());
        (
            Self {
                dialer,
                capacity,
                open,
                opened: 0,
                heard,
                readers,
            },
            receiver,
        )
    }

    /// Sends frames over the user's socket, opening it first where there is
    /// none. `busy` users keep theirs.
    pub(super) async fn send(
        &mut self,
        user: &UserId,
        frames: &[String],
        busy: impl Fn(&UserId) -> bool,
    ) -> Result<()> {
        if !self.open.contains_key(user) {
            self.make_room(busy).await;
            let socket = self.dialer.open(user).await?;
            self.keep(user, socket);
        }
        let Some(open) = self.open.get_mut(user) else {
            return Ok(());
        };
        self.opened += 1;
        open.last_used = self.opened;
        for frame in frames {
            open.sink.feed(Message::text(frame.as_str())).await?;
        }
        Ok(open.sink.flush().await?)
    }

    /// Forgets a socket that has ended; whether it was the user's current one.
    pub(super) fn forget(&mut self, user: &UserId, number: u64) -> bool {
        let current = self
            .open
            .get(user)
            .is_some_and(|open| open.number == number);
        if current {
            self.open.remove(user);
        }
        current
    }

    /// Forgets the user's socket, whichever it is.
    pub(super) fn drop_socket(&mut self, user: &UserId) {
        self.open.remove(user);
    }

    /// Closes them all in good order.
    pub(super) async fn close(mut self) {
        for open in self.open.values_mut() {
            // It may be closed already: either way it is not needed.
            open.sink.close().await.ok();
        }
        self.readers.shutdown().await;
    }

    fn keep(&mut self, user: &UserId, socket: Socket) {
        let (sink, stream) = socket.split();
        self.opened += 1;
        let number = self.opened;
        self.readers
            .spawn(read(stream, user.clone(), number, self.heard.clone()));
        self.open.insert(
            user.clone(),
            Open {
                number,
                last_used: number,
                sink,
            },
        );
    }

    async fn make_room(&mut self, busy: impl Fn(&UserId) -> bool) {
        // Readers of sockets that ended are done with.
        while self.readers.try_join_next().is_some() {}
        while self.open.len() >= self.capacity {
            let idle = self.open.iter().filter(|(user, _)| !busy(user));
            let longest = idle.min_by_key(|(_, open)| open.last_used);
            let Some(user) = longest.map(|(user, _)| user.clone()) else {
                return;
            };
            if let Some(mut open) = self.open.remove(&user) {
                open.sink.close().await.ok();
            }
        }
    }
}

async fn read(
    mut stream: SplitStream<Socket>,
    user: UserId,
    socket: u64,
    heard: mpsc::UnboundedSender<Heard>,
) {
    let tell = |what| {
        heard.send(Heard {
            user: user.clone(),
            socket,
            what,
        })
    };
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message
            && let Some(answer) = parse_answer(text.as_str())
        {
            let ends = matches!(answer, Answer::Bye(_));
            if tell(What::Answer(answer)).is_err() || ends {
                break;
            }
        }
    }
    // Nobody listens any more: then nobody needs to know.
    tell(What::Closed).ok();
}

impl Heard {
    /// Why it is no use to come back, if it is none.
    pub(super) fn final_bye(&self) -> Option<&Bye> {
        match &self.what {
            What::Answer(Answer::Bye(bye)) if bye.is_final() => Some(bye),
            _ => None,
        }
    }
}
