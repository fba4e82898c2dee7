use std::sync::Arc;

use tidings_domain::Tenant;

/// What keys and channels are called. A tenant stands in braces, which no
/// tenant holds: so names cannot be mistaken for each other, and all keys of a
/// tenant are in one slot of a Redis cluster.
#[derive(Clone)]
pub(super) struct Names {
    start: Arc<str>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let start = format!("tidings:{prefix}signals:").into();
        Self { start }
    }

    /// A hash: of each user, the edges they are on.
    pub(super) fn users(&self, tenant: &Tenant) -> String {
        format!("{}{{{tenant}}}:users", self.start)
    }

    /// A sorted set: of each edge, when it last gave a sign of life.
    pub(super) fn edges(&self, tenant: &Tenant) -> String {
        format!("{}{{{tenant}}}:edges", self.start)
    }

    /// Held by whoever clears up after a dead edge.
    pub(super) fn sweep(&self, tenant: &Tenant, edge: &str) -> String {
        format!("{}{{{tenant}}}:sweep:{edge}", self.start)
    }

    pub(super) fn channel(&self, tenant: &Tenant) -> String {
        format!("{}{{{tenant}}}", self.start)
    }

    pub(super) fn tenant_of(&self, channel: &str) -> Option<Tenant> {
        let braced = channel.strip_prefix(&*self.start)?;
        let tenant = braced.strip_prefix('{')?.strip_suffix('}')?;
        Tenant::parse(tenant).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_its_tenant() {
        let (names, tenant) = (Names::new("t."), Tenant::parse("a:b").unwrap());
        assert_eq!(names.channel(&tenant), "tidings:t.signals:{a:b}");
        assert_eq!(
            names.tenant_of(&names.channel(&tenant)),
            Some(tenant.clone())
        );
        assert_eq!(names.tenant_of(&names.users(&tenant)), None);
        assert_eq!(Names::new("").tenant_of("tidings:t.signals:{a}"), None);
    }
}
