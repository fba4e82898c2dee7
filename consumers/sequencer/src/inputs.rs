use tidings_wire::{Input, Topic};

/// The next offset of each command topic, in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NextInputs(Vec<(Topic, i64)>);

impl NextInputs {
    /// The next offset of a topic, if any of it was decided.
    pub(crate) fn get(&self, topic: Topic) -> Option<i64> {
        self.0
            .iter()
            .find(|(known, _)| *known == topic)
            .map(|(_, next)| *next)
    }

    /// A command was decided: those up to it are done.
    pub(crate) fn advance(&mut self, input: Input) {
        let next = input.offset + 1;
        match self.0.iter_mut().find(|(known, _)| *known == input.topic) {
            Some((_, known)) => *known = (*known).max(next),
            None => self.0.push((input.topic, next)),
        }
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> &[(Topic, i64)] {
        &self.0
    }
}

impl From<Vec<(Topic, i64)>> for NextInputs {
    fn from(pairs: Vec<(Topic, i64)>) -> Self {
        Self(pairs)
    }
}
