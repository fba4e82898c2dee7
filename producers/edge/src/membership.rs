//! Who came into and went out of conversations, as the log tells it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_domain::{Change, ConversationId, Decision, Event, Outcome, Tenant, UserId};

/// Who an event brings in and puts out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MembershipChange {
    pub(crate) added: Vec<UserId>,
    pub(crate) removed: Vec<UserId>,
}

impl MembershipChange {
    /// What a decision changes; none if it leaves the members as they are.
    pub(crate) fn of(decision: &Decision) -> Option<Self> {
        let Outcome::Accepted {
            event: Event::ConversationUpdated(change),
            ..
        } = &decision.outcome
        else {
            return None;
        };
        match change {
            Change::Create { members, .. } => {
                let added = members
                    .iter()
                    .map(|member| member.user_id.clone())
                    .collect();
                Some(Self {
                    added,
                    ..Self::default()
                })
            }
            Change::AddMembers(users) => Some(Self {
                added: users.clone(),
                ..Self::default()
            }),
            Change::RemoveMembers(users) => Some(Self {
                removed: users.clone(),
                ..Self::default()
            }),
            Change::Leave => Some(Self {
                removed: vec![decision.sender.clone()],
                ..Self::default()
            }),
            Change::SetRole { .. } | Change::Rename(_) | Change::Close | Change::Reopen => None,
        }
    }

    /// Whether the user is in afterwards; none: it is not about this user.
    pub(crate) fn concerns(&self, user: &UserId) -> Option<bool> {
        if self.added.contains(user) {
            return Some(true);
        }
        self.removed.contains(user).then_some(false)
    }
}

/// A membership change where it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedChange {
    pub(crate) offset: i64,
    pub(crate) tenant: Tenant,
    pub(crate) conversation_id: ConversationId,
    pub(crate) change: Arc<MembershipChange>,
}

/// The last membership changes of each partition, to be laid over what a view
/// that lags behind knows. Bounded; the oldest of the longest partition is
/// forgotten first.
pub(crate) struct Ring {
    partitions: Mutex<Vec<Part>>,
    capacity: usize,
}

#[derive(Default)]
struct Part {
    /// Every change from this offset on is here.
    floor: i64,
    changes: VecDeque<LoggedChange>,
}

/// Changes that the ring does not hold: of `partition`, from `from` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) partition: i32,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Ring {
    /// A ring of changes from these offsets on, one for each partition.
    pub(crate) fn new(partitions: usize, capacity: usize) -> Self {
        let partitions = (0..partitions).map(|_| Part::default()).collect();
        Self {
            partitions: Mutex::new(partitions),
            capacity,
        }
    }

    /// A partition is read from `offset` on.
    pub(crate) fn start(&self, partition: i32, offset: i64) {
        let mut partitions = self.partitions.lock();
        if let Some(part) = partitions.get_mut(partition as usize) {
            *part = Part {
                floor: offset,
                changes: VecDeque::new(),
            };
        }
    }

    /// Adds a change that was just read.
    pub(crate) fn push(&self, partition: i32, change: LoggedChange) {
        let mut partitions = self.partitions.lock();
        let Some(part) = partitions.get_mut(partition as usize) else {
            return;
        };
        part.changes.push_back(change);
        let total: usize = partitions.iter().map(|part| part.changes.len()).sum();
        if total > self.capacity
            && let Some(longest) = partitions.iter_mut().max_by_key(|part| part.changes.len())
            && let Some(oldest) = longest.changes.pop_front()
        {
            longest.floor = oldest.offset + 1;
        }
    }

    /// Puts older changes, read from the log, before those that are there.
    pub(crate) fn extend_back(&self, gap: Gap, older: Vec<LoggedChange>) {
        let mut partitions = self.partitions.lock();
        let Some(part) = partitions.get_mut(gap.partition as usize) else {
            return;
        };
        if part.floor == gap.to {
            part.floor = gap.from;
            for change in older.into_iter().rev() {
                part.changes.push_front(change);
            }
        }
    }

    /// What is missing to know every change from these offsets on.
    pub(crate) fn gaps(&self, from: &[i64]) -> Vec<Gap> {
        let partitions = self.partitions.lock();
        let gap = |(partition, (part, from)): (usize, (&Part, &i64))| {
            (*from < part.floor).then_some(Gap {
                partition: partition as i32,
                from: *from,
                to: part.floor,
            })
        };
        partitions
            .iter()
            .zip(from)
            .enumerate()
            .filter_map(gap)
            .collect()
    }

    /// A user's changes from these offsets on: conversation, offset, and
    /// whether they are in afterwards. In order within a conversation.
    pub(crate) fn changes_of(
        &self,
        tenant: &Tenant,
        user: &UserId,
        from: &[i64],
    ) -> Vec<(ConversationId, i64, bool)> {
        let partitions = self.partitions.lock();
        partitions
            .iter()
            .zip(from)
            .flat_map(|(part, from)| {
                let first = part.changes.partition_point(|change| change.offset < *from);
                part.changes.range(first..)
            })
            .filter(|change| change.tenant == *tenant)
            .filter_map(|logged| {
                let is_member = logged.change.concerns(user)?;
                Some((logged.conversation_id, logged.offset, is_member))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn change(offset: i64, added: &str) -> LoggedChange {
        LoggedChange {
            offset,
            tenant: Tenant::parse("t").unwrap(),
            conversation_id: ConversationId(Uuid::nil()),
            change: Arc::new(MembershipChange {
                added: vec![UserId::parse(added).unwrap()],
                removed: Vec::new(),
            }),
        }
    }

    fn offsets(ring: &Ring, user: &str, from: &[i64]) -> Vec<i64> {
        let (tenant, user) = (Tenant::parse("t").unwrap(), UserId::parse(user).unwrap());
        let changes = ring.changes_of(&tenant, &user, from);
        changes.into_iter().map(|(_, offset, _)| offset).collect()
    }

    #[test]
    fn tells_a_users_changes_and_what_it_does_not_know() {
        let ring = Ring::new(2, 3);
        ring.start(0, 10);
        ring.start(1, 0);
        for offset in [10, 12, 14] {
            ring.push(0, change(offset, "u"));
        }
        assert!(ring.gaps(&[10, 0]).is_empty());
        assert_eq!(offsets(&ring, "u", &[12, 0]), [12, 14]);
        assert!(offsets(&ring, "v", &[0, 0]).is_empty());

        ring.push(1, change(3, "u"));
        let gap = Gap {
            partition: 0,
            from: 4,
            to: 11,
        };
        assert_eq!(ring.gaps(&[4, 0]), [gap]);
        ring.extend_back(gap, vec![change(5, "u"), change(10, "u")]);
        assert!(ring.gaps(&[4, 0]).is_empty());
        assert_eq!(offsets(&ring, "u", &[0, 0]), [5, 10, 12, 14, 3]);
    }

    #[test]
    fn another_tenants_user_of_the_same_name_is_another_user() {
        let ring = Ring::new(1, 3);
        ring.push(
            0,
            LoggedChange {
                tenant: Tenant::parse("x").unwrap(),
                ..change(0, "u")
            },
        );
        assert!(offsets(&ring, "u", &[0]).is_empty());
    }
}
