use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tidings_domain::Timestamp;

use crate::StoreError;
use crate::generation::{Builder, Generation, Generations, NotSwitched, Register, change};

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotSwitched(#[from] NotSwitched),
}

/// A store keeps a register of generations, and of two who change it at once
/// neither overwrites what the other wrote. The store has had no register.
pub async fn keeps_a_register<S: Generations + Clone + 'static>(store: &S) {
    assert_eq!(store.register().await, Ok(Register::default()));
    let stale = {
        let mut register = Register::default();
        register.revision = 1;
        register
    };
    let builder = Builder {
        by: "a test".to_owned(),
        token: "a".to_owned(),
    };
    let (second, written) = change(store, |register| {
        let begun = register.begin(&builder, None, Timestamp(1));
        Ok::<_, StoreError>(begun.expect("nobody else builds"))
    })
    .await
    .expect("begins");
    assert_eq!(written.revision, 1);
    assert_eq!(store.register().await, Ok(written.clone()));
    assert_eq!(store.of(second).register().await, Ok(written.clone()));
    assert_eq!(store.replace(&stale).await, Ok(false), "it is taken");
    let mut ahead = written.clone();
    ahead.revision = 2;
    assert_eq!(store.replace(&ahead).await, Ok(true));
    assert_eq!(store.replace(&ahead).await, Ok(false));

    // A change that is refused leaves all as it is.
    let refused = change(store, |register| {
        register.switch(second, Timestamp(2)).map_err(Failed::from)
    });
    let refused = refused.await.expect_err("it is not complete");
    assert!(
        matches!(refused, Failed::NotSwitched(NotSwitched::NotThere(_))),
        "{refused}"
    );
    assert_eq!(store.register().await, Ok(ahead));

    // Many at once: each change is made once.
    let begun = Arc::new(AtomicU32::new(0));
    let tasks = (0..8).map(|n| {
        let (store, begun) = (store.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            let builder = Builder {
                by: format!("builder {n}"),
                token: format!("b{n}"),
            };
            let dead = Some("a");
            let (begun_by, _) = change(&store, |register| {
                Ok::<_, StoreError>(register.begin(&builder, dead, Timestamp(3)).is_ok())
            })
            .await
            .expect("asks");
            begun.fetch_add(begun_by.into(), Ordering::Relaxed);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("does not panic");
    }
    assert_eq!(begun.load(Ordering::Relaxed), 1, "one takes it over");
    let register = store.register().await.expect("reads");
    assert_eq!(register.revision, 3);
    assert_eq!(register.serving(), Generation::FIRST);
}
