use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::ProjectionError;

/// Why the projection's thread leaves what it does.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It was told to.
    Stopped,
    /// It cannot go on.
    Failed(ProjectionError),
}

impl<E: Into<ProjectionError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Waits, on the projection's thread, that end when it is to stop.
#[derive(Clone)]
pub(crate) struct Pause {
    runtime: Handle,
    stop: CancellationToken,
}

impl Pause {
    pub(crate) fn new(runtime: Handle, stop: CancellationToken) -> Self {
        Self { runtime, stop }
    }

    /// Whether the projection is to stop.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits so long, or halts at once when told to stop.
    pub(crate) fn wait(&self, wait: Duration) -> Result<(), Halt> {
        let stopped = self.stop.cancelled();
        let stopped = self
            .runtime
            .block_on(async { tokio::time::timeout(wait, stopped).await.is_ok() });
        if stopped { Err(Halt::Stopped) } else { Ok(()) }
    }

    /// Runs a store's operation to its end.
    pub(crate) fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        self.runtime.block_on(operation)
    }
}
