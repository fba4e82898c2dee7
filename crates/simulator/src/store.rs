use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tidings_domain::{
    ConversationId, ConversationRow, EditRow, EventRow, HiddenRow, MemberRow, MessageRow, Model,
    OutcomeRow, Rows, Wanted, Withheld,
};
use tidings_views::history::HistoryWriter;
use tidings_views::{Position, StoreError};
use tokio_util::sync::CancellationToken;

/// The store of the history view. Everybody shares it. It keeps what it is
/// promised to: inserts once, replaces only by what is newer.
#[derive(Clone, Default)]
pub(crate) struct SimulatedStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: Kept,
    /// As it was when it was saved.
    saved: Kept,
    questions_to_fail: usize,
    /// What those had sent who died, and has not arrived yet.
    late: Vec<Piece>,
}

/// What the store holds.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) model: Model,
    pub(crate) positions: BTreeMap<i32, Position>,
}

/// One row of a write. A store may be stopped between any two.
enum Piece {
    Event(EventRow),
    Outcome(OutcomeRow),
    Edit(EditRow),
    Hidden(HiddenRow),
    Member(MemberRow),
    Posted(MessageRow),
    Withheld(Withheld),
    Changed(MessageRow),
    Conversation(ConversationRow),
    Position(Position),
}

impl Kept {
    fn take(&mut self, piece: Piece) {
        let model = &mut self.model;
        match piece {
            Piece::Event(row) => {
                let key = (row.conversation_id, row.seq);
                model.events.entry(key).or_insert(row);
            }
            Piece::Outcome(row) => model.insert_outcome(row),
            Piece::Edit(row) => {
                let key = (row.message_id, row.seq);
                model.edits.entry(key).or_insert(row);
            }
            Piece::Hidden(row) => {
                let key = (row.tenant.clone(), row.user_id.clone(), row.message_id);
                model.hidden.entry(key).or_insert(row);
            }
            Piece::Member(row) => {
                let key = (row.conversation_id, row.user_id.clone());
                let known = model.members.entry(key).or_insert_with(|| row.clone());
                if row.rev > known.rev {
                    (known.role, known.rev) = (row.role, row.rev);
                }
                if row.settings_rev > known.settings_rev {
                    (known.archived, known.muted) = (row.archived, row.muted);
                    known.settings_rev = row.settings_rev;
                }
                known.read_no = known.read_no.max(row.read_no);
            }
            Piece::Posted(row) => {
                model.messages.entry(row.message_id).or_insert(row);
            }
            Piece::Withheld(withheld) => model.withhold(withheld),
            Piece::Changed(row) => {
                let known = model.messages.get(&row.message_id);
                if known.is_none_or(|known| known.rev < row.rev) {
                    model.messages.insert(row.message_id, row);
                }
            }
            Piece::Conversation(row) => {
                let known = model.conversations.get(&row.conversation_id);
                if known.is_none_or(|known| known.last_seq < row.last_seq) {
                    model.conversations.insert(row.conversation_id, row);
                }
            }
            Piece::Position(position) => {
                let known = self.positions.get(&position.partition);
                if known.is_none_or(|known| known.offset < position.offset) {
                    self.positions.insert(position.partition, position);
                }
            }
        }
    }
}

/// What a write consists of, in the order that is promised.
fn pieces(rows: &Rows, positions: &[Position]) -> Vec<Piece> {
    let messages = rows.messages.values().cloned();
    let (posted, changed): (Vec<_>, Vec<_>) = messages.partition(|row| row.rev == row.seq);
    let mut pieces = Vec::new();
    pieces.extend(rows.events.iter().cloned().map(Piece::Event));
    pieces.extend(posted.into_iter().map(Piece::Posted));
    pieces.extend(rows.edits.iter().cloned().map(Piece::Edit));
    pieces.extend(rows.outcomes.iter().cloned().map(Piece::Outcome));
    pieces.extend(rows.hidden.iter().cloned().map(Piece::Hidden));
    pieces.extend(rows.members.values().cloned().map(Piece::Member));
    pieces.extend(rows.withheld.iter().copied().map(Piece::Withheld));
    pieces.extend(changed.into_iter().map(Piece::Changed));
    let conversations = rows.conversations.values().cloned();
    pieces.extend(conversations.map(Piece::Conversation));
    pieces.extend(positions.iter().copied().map(Piece::Position));
    pieces
}

impl SimulatedStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// All rows.
    pub(crate) fn model(&self) -> Model {
        self.state().kept.model.clone()
    }

    /// Looks at what it holds.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.state().kept)
    }

    /// The messages of a conversation.
    pub(crate) fn messages(&self, id: ConversationId) -> Vec<MessageRow> {
        let state = self.state();
        let messages = state.kept.model.messages.values();
        let of_it = messages.filter(|row| row.conversation_id == id);
        of_it.cloned().collect()
    }

    /// Where a partition stands.
    pub(crate) fn offset(&self, partition: i32) -> i64 {
        let state = self.state();
        let position = state.kept.positions.get(&partition);
        position.map_or(0, |position| position.offset)
    }

    /// The next questions fail; 0: none does.
    pub(crate) fn fail(&self, count: usize) {
        self.state().questions_to_fail = count;
    }

    /// Keeps a copy of all of it.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        state.saved = state.kept.clone();
    }

    /// Puts it back to the copy, the beginning if there is none.
    pub(crate) fn restore(&self) {
        let mut state = self.state();
        state.kept = state.saved.clone();
        state.late.clear();
    }

    /// What was sent by those who died arrives.
    pub(crate) fn land(&self) -> usize {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        let count = late.len();
        late.into_iter().for_each(|piece| state.kept.take(piece));
        count
    }
}

/// How a projection is to die.
#[derive(Clone, Copy)]
pub(crate) struct Death {
    /// So many rows of its next write arrive.
    pub(crate) after: usize,
    /// The others arrive when it is dead.
    pub(crate) lands: bool,
}

/// A projection's way to the store. The simulator holds a second handle to it.
#[derive(Clone)]
pub(crate) struct Connection {
    store: SimulatedStore,
    death: Arc<Mutex<Option<Death>>>,
    stop: CancellationToken,
}

impl Connection {
    pub(crate) fn new(store: &SimulatedStore, stop: CancellationToken) -> Self {
        Self {
            store: store.clone(),
            death: Arc::default(),
            stop,
        }
    }

    pub(crate) fn die(&self, death: Death) {
        *self.death.lock() = Some(death);
    }

    fn ask(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.store.state();
        if state.questions_to_fail == 0 {
            return Ok(state);
        }
        state.questions_to_fail -= 1;
        Err(StoreError::Transient("as the plan says".to_owned()))
    }
}

#[async_trait]
impl HistoryWriter for Connection {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.ask().map(drop)
    }

    async fn positions(&self) -> Result<Vec<Position>, StoreError> {
        Ok(self.ask()?.kept.positions.values().copied().collect())
    }

    async fn load(&self, wanted: &Wanted) -> Result<Rows, StoreError> {
        let state = self.ask()?;
        let model = &state.kept.model;
        let conversations = wanted.conversations.iter();
        let members = wanted.members.iter();
        let messages = wanted.messages.iter();
        Ok(Rows {
            conversations: conversations
                .filter_map(|id| Some((*id, model.conversations.get(id)?.clone())))
                .collect(),
            members: members
                .filter_map(|key| Some((key.clone(), model.members.get(key)?.clone())))
                .collect(),
            messages: messages
                .filter_map(|id| Some((*id, model.messages.get(id)?.clone())))
                .collect(),
            ..Rows::default()
        })
    }

    async fn write(&self, rows: &Rows, positions: &[Position]) -> Result<(), StoreError> {
        let mut state = self.ask()?;
        let mut pieces = pieces(rows, positions).into_iter();
        let Some(Death { after, lands }) = self.death.lock().take() else {
            pieces.for_each(|piece| state.kept.take(piece));
            return Ok(());
        };
        pieces
            .by_ref()
            .take(after)
            .for_each(|piece| state.kept.take(piece));
        if lands {
            state.late.extend(pieces);
        }
        self.stop.cancel();
        Err(StoreError::Transient("it died".to_owned()))
    }
}
