//! Waiting for a condition, with a deadline that says what was missing.

use std::time::{Duration, Instant};

/// Between two looks: short against what is waited for, long against the price of a query.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until the answer is `Ok`, and gives what it holds; panics with the last reason when `within`
/// is over.
pub async fn until<T, F>(what: &str, within: Duration, mut ask: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let deadline = Instant::now() + within;
    loop {
        let reason = match ask().await {
            Ok(found) => return found,
            Err(reason) => reason,
        };
        assert!(Instant::now() < deadline, "after {} s still waiting: {what}: {reason}", within.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}
