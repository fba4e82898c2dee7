use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::Shared;

/// A socket's place among those that this edge takes. Only who has shown a
/// token gets one: connections that say nothing cannot fill an edge.
pub(crate) struct Place(Arc<Shared>);

impl Place {
    /// Whether there is one left.
    pub(crate) fn is_there(shared: &Shared) -> bool {
        let most = shared.config.limits.max_connections;
        most == 0 || shared.connections.load(Ordering::Acquire) < most
    }

    /// Takes one, if there is one left.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.config.limits.max_connections;
        let before = shared.connections.fetch_add(1, Ordering::AcqRel);
        let place = Self(Arc::clone(shared));
        (most == 0 || before < most).then_some(place)
    }

    /// What the edge shares.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
