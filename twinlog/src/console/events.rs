//! Server-sent events: the hour first, then each snapshot and the points that are new.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;

/// Events under way to one page: a slow page gets fewer, and none late.
const AHEAD: usize = 2;

/// A page that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body, and what feeds it until the page is gone or the console ends. Cancelling the feed ends the body.
pub(super) fn open(
    hub: Arc<Hub>,
    end: CancellationToken,
) -> (Channel<Bytes, Infallible>, impl Future<Output = ()>) {
    let (sender, body) = Channel::new(AHEAD);
    (body, async move {
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            _ = feed(&hub, sender) => {}
        }
    })
}

async fn feed(hub: &Hub, mut to: Sender<Bytes, Infallible>) -> Option<()> {
    let mut state = hub.follow();
    let (all, mut next) = hub.points(0);
    send(&mut to, "history", all.as_deref().unwrap_or("[]").as_bytes()).await?;
    loop {
        let snapshot = state.borrow_and_update().clone();
        if !snapshot.is_empty() {
            send(&mut to, "state", &snapshot).await?;
        }
        let (new, after) = hub.points(next);
        next = after;
        if let Some(new) = new {
            send(&mut to, "points", new.as_bytes()).await?;
        }
        state.changed().await.ok()?;
    }
}

/// Sends one event; `None` when the page is gone. JSON has no line ends of its own.
async fn send(to: &mut Sender<Bytes, Infallible>, event: &str, data: &[u8]) -> Option<()> {
    let mut text = Vec::with_capacity(data.len() + 32);
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(event.as_bytes());
    text.extend_from_slice(b"\ndata: ");
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n\n");
    tokio::time::timeout(PATIENCE, to.send_data(text.into())).await.ok()?.ok()
}
