use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;

use super::Generation;

/// Which generations of a view a store holds. Pure: what it becomes is written
/// by [`change`](super::change).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Grows by one with every change; 0: the store holds none yet.
    pub revision: u64,
    /// The number of the next generation.
    next: Generation,
    generations: BTreeMap<Generation, Standing>,
}

/// How it stands with a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its state.
    #[serde(flatten)]
    pub state: State,
    /// Since when, milliseconds since the Unix epoch.
    #[serde(with = "millis")]
    pub since: Timestamp,
}

/// What a generation is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// A rebuild fills it. Nobody else keeps it.
    Building(Build),
    /// It is complete and kept in step with the log, and was not read yet.
    Built(Build),
    /// It is read, and kept in step.
    Serving,
    /// It was read before another, and is kept in step to be read again.
    Kept,
    /// It is being deleted. Nobody keeps it.
    Dropping,
}

/// Who builds a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Who, for people: process and machine.
    pub by: String,
    /// Names the process that builds it now; another goes on with a new one.
    /// Empty: nobody's now.
    pub token: String,
    /// When it was begun, by whoever it was.
    #[serde(with = "millis")]
    pub begun: Timestamp,
    /// When its process last said that it lives.
    #[serde(with = "millis")]
    pub heartbeat: Timestamp,
}

/// Who wants to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// Who, for people.
    pub by: String,
    /// A fresh name of this process.
    pub token: String,
}

/// Another process builds a generation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("generation {generation} is being built by {}", .build.by)]
pub struct Held {
    /// Which.
    pub generation: Generation,
    /// By whom.
    pub build: Build,
}

/// A generation is not the builder's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("generation {0} is not this process's any more: another went on with it, or dropped it")]
pub struct Lost(pub Generation);

/// A generation cannot be switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSwitched {
    /// None is kept.
    #[error("no other generation is kept")]
    NoneKept,
    /// It is not there, or neither built nor kept.
    #[error("generation {0} is neither built nor kept")]
    NotThere(Generation),
}

impl Default for Register {
    fn default() -> Self {
        let standing = Standing {
            state: State::Serving,
            since: Timestamp(0),
        };
        Self {
            revision: 0,
            next: Generation(Generation::FIRST.0 + 1),
            generations: BTreeMap::from([(Generation::FIRST, standing)]),
        }
    }
}

impl Register {
    /// All there are, by number.
    pub fn generations(&self) -> impl Iterator<Item = (Generation, &Standing)> {
        self.generations
            .iter()
            .map(|(generation, standing)| (*generation, standing))
    }

    /// How it stands with one.
    #[must_use]
    pub fn standing(&self, generation: Generation) -> Option<&Standing> {
        self.generations.get(&generation)
    }

    /// The one that is read.
    #[must_use]
    pub fn serving(&self) -> Generation {
        let serving = |standing: &Standing| standing.state == State::Serving;
        let found = self.generations().find(|(_, it)| serving(it));
        // Every change leaves exactly one.
        found.map_or(Generation::FIRST, |(generation, _)| generation)
    }

    /// Those that the consumers keep in step with the log.
    #[must_use]
    pub fn followed(&self) -> Vec<Generation> {
        let is_followed = |standing: &Standing| match standing.state {
            State::Built(_) | State::Serving | State::Kept => true,
            State::Building(_) | State::Dropping => false,
        };
        let followed = self.generations().filter(|(_, it)| is_followed(it));
        followed.map(|(generation, _)| generation).collect()
    }

    /// The numbers that were used and are in no use any more.
    #[must_use]
    pub fn gone(&self) -> Vec<Generation> {
        let used = Generation::FIRST.0..self.next.0;
        used.map(Generation)
            .filter(|generation| !self.generations.contains_key(generation))
            .collect()
    }

    /// The generation that a rebuild has begun, and its build.
    #[must_use]
    pub fn build(&self) -> Option<(Generation, &Build)> {
        self.generations().find_map(|(generation, it)| {
            let (State::Building(build) | State::Built(build)) = &it.state else {
                return None;
            };
            Some((generation, build))
        })
    }

    /// Begins a generation, or goes on with one that was begun. `dead` is the
    /// token of a process that is known to build no more.
    ///
    /// # Errors
    /// [`Held`] where another process builds one.
    pub fn begin(
        &mut self,
        builder: &Builder,
        dead: Option<&str>,
        now: Timestamp,
    ) -> Result<Generation, Held> {
        if let Some((generation, build)) = self.build() {
            let is_free = build.token.is_empty()
                || build.token == builder.token
                || Some(build.token.as_str()) == dead;
            if !is_free {
                let build = build.clone();
                return Err(Held { generation, build });
            }
            if let Some(build) = self.build_mut(generation) {
                build.by.clone_from(&builder.by);
                build.token.clone_from(&builder.token);
                build.heartbeat = now;
            }
            return Ok(generation);
        }
        let generation = self.next;
        self.next = Generation(generation.0 + 1);
        let build = Build {
            by: builder.by.clone(),
            token: builder.token.clone(),
            begun: now,
            heartbeat: now,
        };
        self.set(generation, State::Building(build), now);
        Ok(generation)
    }

    /// The builder lives.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn beat(
        &mut self,
        generation: Generation,
        builder: &Builder,
        now: Timestamp,
    ) -> Result<(), Lost> {
        self.own(generation, builder)?.heartbeat = now;
        Ok(())
    }

    /// The builder ends here: whoever wants to may go on at once.
    pub fn release(&mut self, generation: Generation, builder: &Builder) {
        // One that is another's, or is read already, is left alone.
        if let Ok(build) = self.own(generation, builder) {
            build.token.clear();
        }
    }

    /// It is complete: the consumers are to keep it.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn built(
        &mut self,
        generation: Generation,
        builder: &Builder,
        now: Timestamp,
    ) -> Result<(), Lost> {
        let build = self.own(generation, builder)?;
        build.heartbeat = now;
        let build = build.clone();
        self.set(generation, State::Built(build), now);
        Ok(())
    }

    /// Reads another generation, one that is built or kept, and keeps the one
    /// that was read before.
    ///
    /// # Errors
    /// [`NotSwitched::NotThere`].
    pub fn switch(&mut self, generation: Generation, now: Timestamp) -> Result<(), NotSwitched> {
        match self.standing(generation).map(|standing| &standing.state) {
            Some(State::Serving) => return Ok(()),
            Some(State::Built(_) | State::Kept) => {}
            _ => return Err(NotSwitched::NotThere(generation)),
        }
        self.set(self.serving(), State::Kept, now);
        self.set(generation, State::Serving, now);
        Ok(())
    }

    /// The one that was read last before the one that is read now.
    ///
    /// # Errors
    /// [`NotSwitched::NoneKept`].
    pub fn previous(&self) -> Result<Generation, NotSwitched> {
        let kept = self.generations().filter(|(_, it)| it.state == State::Kept);
        kept.max_by_key(|(generation, it)| (it.since.0, *generation))
            .map(|(generation, _)| generation)
            .ok_or(NotSwitched::NoneKept)
    }

    /// Marks for deletion all that is kept, and what was begun by a process
    /// that is known to be `dead`. Returns what is to be deleted, also what was
    /// marked before.
    pub fn drop_unread(&mut self, dead: Option<&str>, now: Timestamp) -> Vec<Generation> {
        for standing in self.generations.values_mut() {
            let is_unread = match &standing.state {
                State::Kept => true,
                State::Building(build) | State::Built(build) => {
                    build.token.is_empty() || Some(build.token.as_str()) == dead
                }
                State::Serving | State::Dropping => false,
            };
            if is_unread {
                *standing = Standing {
                    state: State::Dropping,
                    since: now,
                };
            }
        }
        let dropping = self
            .generations()
            .filter(|(_, it)| it.state == State::Dropping);
        dropping.map(|(generation, _)| generation).collect()
    }

    /// It is deleted.
    pub fn forget(&mut self, generation: Generation) {
        let is_dropping = |standing: &Standing| matches!(standing.state, State::Dropping);
        if self.standing(generation).is_some_and(is_dropping) {
            self.generations.remove(&generation);
        }
    }

    fn set(&mut self, generation: Generation, state: State, since: Timestamp) {
        self.generations
            .insert(generation, Standing { state, since });
    }

    fn build_mut(&mut self, generation: Generation) -> Option<&mut Build> {
        match &mut self.generations.get_mut(&generation)?.state {
            State::Building(build) | State::Built(build) => Some(build),
            _ => None,
        }
    }

    fn own(&mut self, generation: Generation, builder: &Builder) -> Result<&mut Build, Lost> {
        self.build_mut(generation)
            .filter(|build| build.token == builder.token)
            .ok_or(Lost(generation))
    }
}

/// Times as milliseconds since the Unix epoch.
mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use tidings_domain::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Generation, NotSwitched, Register, State};
    use tidings_domain::Timestamp;

    fn builder(token: &str) -> Builder {
        Builder {
            by: format!("process {token}"),
            token: token.to_owned(),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// With a second generation that is read.
    fn switched() -> Register {
        let mut register = Register::default();
        let generation = register.begin(&builder("a"), None, at(1)).expect("begins");
        register
            .built(generation, &builder("a"), at(2))
            .expect("is built");
        register.switch(generation, at(3)).expect("switches");
        register
    }

    #[test]
    fn without_a_change_the_first_serves() {
        let register = Register::default();
        assert_eq!(register.serving(), Generation::FIRST);
        assert_eq!(register.followed(), [Generation::FIRST]);
        assert_eq!(register.previous(), Err(NotSwitched::NoneKept));
    }

    #[test]
    fn one_builds_at_a_time_and_another_goes_on_when_it_is_dead() {
        let mut register = Register::default();
        assert_eq!(
            register.begin(&builder("a"), None, at(1)),
            Ok(Generation(2))
        );
        let held = register
            .begin(&builder("b"), None, at(2))
            .expect_err("is held");
        assert_eq!(held.build.token, "a");
        assert!(
            register.begin(&builder("b"), Some("c"), at(2)).is_err(),
            "not the one that is dead"
        );
        assert_eq!(
            register.begin(&builder("b"), Some("a"), at(3)),
            Ok(Generation(2)),
            "goes on with it"
        );
        assert!(register.beat(Generation(2), &builder("a"), at(4)).is_err());
        assert!(register.built(Generation(2), &builder("a"), at(4)).is_err());
        register
            .beat(Generation(2), &builder("b"), at(4))
            .expect("is its own");
        let (_, build) = register.build().expect("a build");
        assert_eq!((build.begun, build.heartbeat), (at(1), at(4)));
        assert_eq!(
            register.followed(),
            [Generation::FIRST],
            "what is being built is nobody else's"
        );
    }

    #[test]
    fn one_that_is_released_is_anybodys() {
        let mut register = Register::default();
        let generation = register.begin(&builder("a"), None, at(1)).expect("begins");
        register.release(generation, &builder("b"));
        assert!(register.begin(&builder("b"), None, at(2)).is_err());
        register.release(generation, &builder("a"));
        assert!(register.beat(generation, &builder("a"), at(3)).is_err());
        assert_eq!(register.begin(&builder("b"), None, at(3)), Ok(generation));
        register.release(generation, &builder("b"));
        assert_eq!(register.drop_unread(None, at(4)), [generation]);
    }

    #[test]
    fn one_serves_whatever_is_switched() {
        let mut register = switched();
        assert_eq!(register.serving(), Generation(2));
        assert_eq!(register.previous(), Ok(Generation::FIRST));
        register.switch(Generation::FIRST, at(4)).expect("back");
        assert_eq!(register.serving(), Generation::FIRST);
        assert_eq!(register.previous(), Ok(Generation(2)));
        assert_eq!(register.followed(), [Generation(1), Generation(2)]);
        assert_eq!(
            register.switch(Generation(7), at(5)),
            Err(NotSwitched::NotThere(Generation(7)))
        );
        let third = register.begin(&builder("b"), None, at(6)).expect("begins");
        assert_eq!(third, Generation(3));
        assert_eq!(
            register.switch(third, at(7)),
            Err(NotSwitched::NotThere(third)),
            "it is not complete"
        );
    }

    #[test]
    fn what_serves_or_is_being_built_is_never_dropped() {
        let mut register = switched();
        register.begin(&builder("b"), None, at(4)).expect("begins");
        assert_eq!(register.drop_unread(None, at(5)), [Generation::FIRST]);
        assert_eq!(register.followed(), [Generation(2)]);
        register.forget(Generation(2));
        register.forget(Generation(3));
        register.forget(Generation::FIRST);
        let left: Vec<_> = register.generations().map(|(it, _)| it).collect();
        assert_eq!(left, [Generation(2), Generation(3)]);
        assert_eq!(register.gone(), [Generation::FIRST]);
        assert_eq!(
            register.drop_unread(Some("b"), at(6)),
            [Generation(3)],
            "but that of a dead process is"
        );
        register.forget(Generation(3));
        assert_eq!(
            register.begin(&builder("c"), None, at(7)),
            Ok(Generation(4)),
            "a number is used once"
        );
    }

    #[test]
    fn what_is_being_dropped_is_never_switched_to() {
        let mut register = switched();
        assert_eq!(register.drop_unread(None, at(4)), [Generation::FIRST]);
        let gone = Err(NotSwitched::NotThere(Generation::FIRST));
        assert_eq!(register.switch(Generation::FIRST, at(5)), gone);
        assert_eq!(register.previous(), Err(NotSwitched::NoneKept));
        register.forget(Generation::FIRST);
        assert_eq!(register.switch(Generation::FIRST, at(6)), gone);
        assert_eq!(register.serving(), Generation(2));
    }

    #[test]
    fn is_read_back() {
        let mut register = switched();
        register.begin(&builder("b"), None, at(4)).expect("begins");
        let text = serde_json::to_string(&register).expect("encodes");
        assert!(text.contains("\"state\":\"building\""), "{text}");
        let read: Register = serde_json::from_str(&text).expect("decodes");
        assert_eq!(read, register);
        assert!(matches!(
            read.standing(Generation(1)).map(|it| &it.state),
            Some(State::Kept)
        ));
    }
}
