use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::{Parts, Sequencer, SequencerError};

/// A sequencer at work on its own thread.
#[derive(Debug)]
pub struct SequencerHandle {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<Result<(), SequencerError>>,
}

impl Sequencer {
    /// Starts one on a thread of its own. It works until its stop token is
    /// cancelled and everything is handed over, or it cannot go on.
    ///
    /// # Errors
    /// [`SequencerError::Thread`].
    pub fn spawn(parts: Parts) -> Result<SequencerHandle, SequencerError> {
        let (ending, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || {
                let result = Self::new(parts).run();
                // Where nobody waits any more, the log line is all that is left.
                if let Err(Err(error)) = ending.send(result) {
                    tracing::error!(%error, "the sequencer ended");
                }
            })
            .map_err(SequencerError::Thread)?;
        Ok(SequencerHandle { thread, ended })
    }
}

impl SequencerHandle {
    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`SequencerError`]: why it could not go on.
    pub async fn wait(self) -> Result<(), SequencerError> {
        let result = self.ended.await.unwrap_or(Err(SequencerError::Panicked));
        // It has sent its result, or panicked: either way it ends now.
        self.thread.join().map_err(|_| SequencerError::Panicked)?;
        result
    }
}
