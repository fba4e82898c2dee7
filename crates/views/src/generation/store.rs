use async_trait::async_trait;

use super::{Generation, Register};
use crate::{Position, StoreError};

/// A store that holds generations of a view.
#[async_trait]
pub trait Generations: Send + Sync {
    /// The store as it holds this generation. What it is a handle of does not
    /// change the rest of these operations.
    #[must_use]
    fn of(&self, generation: Generation) -> Self
    where
        Self: Sized;

    /// Where every partition stands in this handle's generation; one that is
    /// left out is at the beginning.
    async fn reached(&self) -> Result<Vec<Position>, StoreError>;

    /// What the store holds; where it says nothing of it, the first generation
    /// and no other.
    async fn register(&self) -> Result<Register, StoreError>;

    /// Writes a register in the place of the one whose revision is one lower.
    /// False where another one is there.
    async fn replace(&self, register: &Register) -> Result<bool, StoreError>;

    /// Is told when a generation is about to be filled by itself, as fast as the
    /// store takes it, and when it has been: a store may put off until then what
    /// makes it readable. One that was never told that it has been filled is
    /// filled by the next who tries, or deleted.
    async fn filling(&self, _generation: Generation, _is_begun: bool) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deletes all of a generation, as far as it is there: its positions first,
    /// so that whoever still keeps it finds it empty and not full of holes.
    async fn delete(&self, generation: Generation) -> Result<(), StoreError>;
}

/// Changes the register of a store, again where others change it meanwhile.
/// Returns what `change` did last, and the register as it is written.
///
/// # Errors
/// Those of the store, and those of `change`, which leave the register alone.
pub async fn change<T, E: From<StoreError>>(
    store: &dyn Generations,
    change: impl Fn(&mut Register) -> Result<T, E>,
) -> Result<(T, Register), E> {
    loop {
        let found = store.register().await?;
        let mut register = found.clone();
        let done = change(&mut register)?;
        if register == found {
            return Ok((done, found));
        }
        register.revision += 1;
        if store.replace(&register).await? {
            return Ok((done, register));
        }
    }
}

/// The generation of a store that is read.
///
/// # Errors
/// [`StoreError`].
pub async fn serving<S: Generations>(store: &S) -> Result<S, StoreError> {
    let register = store.register().await?;
    Ok(store.of(register.serving()))
}
