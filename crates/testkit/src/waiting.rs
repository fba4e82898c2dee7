use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks again and again until `condition` holds, blocking the thread.
///
/// # Panics
/// Where it does not hold within `deadline`.
#[track_caller]
pub fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < deadline, "not so within {deadline:?}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// As [`eventually`], for a condition that must be awaited.
///
/// # Panics
/// Where it does not hold within `deadline`.
pub async fn eventually_async(deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < deadline, "not so within {deadline:?}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_looking_once_it_holds() {
        let mut looks = 0;
        eventually(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "not so within")]
    fn gives_up_at_the_deadline() {
        eventually(Duration::from_millis(1), || false);
    }
}
