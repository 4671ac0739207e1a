//! The listener: where downstreams attach, and how many may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wire::Peer;

use crate::session;
use crate::shared::Shared;

/// After a failed accept (no file descriptors left, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long sessions may take to end.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long one that is turned away may take to hear it,
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(2);
/// and how many are told at a time: those beyond are closed without a word.
const TURNED_AWAY: usize = 100;

/// Accepts until the relay ends, then waits for its sessions.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let (mut sessions, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let mut connection_id = 0;
    loop {
        while turned_away.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                note(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        if let Err(error) = wire::prepare_socket(&stream) {
            tracing::debug!(%address, %error, "client gone at once");
            continue;
        }
        let has_room = sessions.len() < shared.config.limits.connections;
        match shared.guard.enter(address.ip()).filter(|_| has_room) {
            Some((login, wait)) => {
                connection_id += 1;
                let peer = Peer { address, connection_id };
                sessions.spawn(session::run(shared.clone(), stream, peer, login, wait));
            }
            None if turned_away.len() < TURNED_AWAY => {
                turned_away.spawn(too_many(stream, address));
            }
            None => {}
        }
    }
    let ended = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
        tracing::warn!(sessions = sessions.len(), "sessions did not end in time");
        sessions.shutdown().await;
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session ended badly");
        if cfg!(test) {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

async fn too_many(stream: TcpStream, address: SocketAddr) {
    tracing::warn!(%address, "too many connections");
    wire::turn_away(stream, 1040, "Too many connections", TURN_AWAY_WITHIN).await;
}
