use parking_lot::Mutex;
use tokio::sync::Notify;

/// A value that many wait to change. Whoever waits is woken in the order in
/// which they came, which a `watch` of tokio's does not promise.
pub(crate) struct Bulletin<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Bulletin<T> {
    pub(crate) fn new(value: T) -> Self {
        let (value, changed) = (Mutex::new(value), Notify::new());
        Self { value, changed }
    }

    /// Looks at what it says now.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value.lock())
    }

    /// Changes what it says.
    pub(crate) fn post(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock());
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds in it what it looks for.
    pub(crate) async fn wait_for<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            // First: what changes from here on wakes it.
            let changed = self.changed.notified();
            if let Some(found) = look(&self.value.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn who_waits_is_woken_by_what_they_wait_for_in_the_order_they_came() {
        let (bulletin, woken) = (Arc::new(Bulletin::new(0)), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let (bulletin, woken) = (Arc::clone(&bulletin), Arc::clone(&woken));
                tokio::spawn(async move {
                    let found = bulletin.wait_for(|value| (*value > 1).then_some(*value));
                    let found = found.await;
                    woken.lock().push((number, found));
                })
            })
            .collect();
        tokio::task::yield_now().await;
        bulletin.post(|value| *value = 1);
        tokio::task::yield_now().await;
        assert!(woken.lock().is_empty());
        bulletin.post(|value| *value = 2);
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert_eq!(*woken.lock(), [(0, 2), (1, 2), (2, 2), (3, 2)]);
        assert_eq!(bulletin.look(|value| *value), 2);
    }
}
