use std::sync::Arc;

use tidings_views::history::HistoryReader;
use tidings_views::search::SearchReader;

/// The views that an edge answers questions from.
#[derive(Clone)]
pub struct Views {
    pub(crate) history: Arc<dyn HistoryReader>,
    pub(crate) search: Option<Arc<dyn SearchReader>>,
}

impl Views {
    /// The history view alone: searches are answered by `unavailable`.
    #[must_use]
    pub fn new(history: Arc<dyn HistoryReader>) -> Self {
        Self {
            history,
            search: None,
        }
    }

    /// With a search view.
    #[must_use]
    pub fn search(mut self, search: Arc<dyn SearchReader>) -> Self {
        self.search = Some(search);
        self
    }
}

impl<T: HistoryReader + 'static> From<Arc<T>> for Views {
    fn from(history: Arc<T>) -> Self {
        Self::new(history)
    }
}

impl From<Arc<dyn HistoryReader>> for Views {
    fn from(history: Arc<dyn HistoryReader>) -> Self {
        Self::new(history)
    }
}
