//! A generation that is not what the log says is not read.

use std::sync::Arc;

use tidings_operate::rebuild::{RebuildError, RebuildOptions, View, rebuild};
use tidings_operate::verify::AuditedView;
use tidings_views::generation::{Generation, Generations};
use tidings_views::history::SqliteHistory;
use tokio_util::sync::CancellationToken;

use crate::world::{World, assert_clean};

const SECOND: Generation = Generation(2);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_wrong_is_not_switched_to() {
    let world = World::new(71, 200).await;
    let store = SqliteHistory::new(world.database.clone());
    let view = || View::history(store.clone(), world.log(), world.codec.clone()).alone();
    let (stop, options) = (CancellationToken::new(), RebuildOptions::default());
    let serving = async || store.register().await.expect("is asked").serving();

    let wrong = view().checked(Box::new(|generation| {
        Box::pin(async move {
            assert_eq!(generation, SECOND);
            Ok(Some("two messages are missing".to_owned()))
        })
    }));
    // It is looked at again, and not taken for checked.
    for _ in 0..2 {
        let refused = rebuild(&wrong, &options, &stop, &|_| {}).await;
        assert!(
            matches!(&refused, Err(RebuildError::Wrong { generation: SECOND, what })
                if what == "two messages are missing"),
            "{refused:?}"
        );
        assert_eq!(serving().await, Generation::FIRST);
    }
    let broken = view().checked(Box::new(|_| {
        Box::pin(async { Err(anyhow::anyhow!("the store does not answer")) })
    }));
    let refused = rebuild(&broken, &options, &stop, &|_| {}).await;
    assert!(
        matches!(refused, Err(RebuildError::Check(_))),
        "{refused:?}"
    );
    assert_eq!(serving().await, Generation::FIRST);

    let right = view().checked(Box::new(|_| Box::pin(async { Ok(None) })));
    let rebuilt = rebuild(&right, &options, &stop, &|_| {}).await;
    let rebuilt = rebuilt.expect("is rebuilt");
    assert_eq!(
        (rebuilt.generation, rebuilt.before, rebuilt.checked),
        (SECOND, Some(Generation::FIRST), true)
    );
    assert_eq!(serving().await, SECOND);
    let second = AuditedView::History(Arc::new(store.of(SECOND)));
    assert_clean(&world.verify(&second).await);
}
