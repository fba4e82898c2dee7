use crate::view::Unavailable;

/// Where calls that block are made: the log's, which say how far it goes and
/// read a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blocking {
    /// On threads that the runtime has for it.
    Aside,
    /// Right here: nothing else is to go on meanwhile.
    InPlace,
}

impl Blocking {
    /// Makes a call.
    ///
    /// # Errors
    /// Where it panicked, or the runtime is ending.
    pub(crate) async fn call<T: Send + 'static>(
        self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        match self {
            Self::Aside => tokio::task::spawn_blocking(call)
                .await
                .map_err(|_| Unavailable),
            Self::InPlace => Ok(call()),
        }
    }
}
