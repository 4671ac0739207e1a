//! What downstreams acknowledge, by semi-sync replies.
//!
//! A stock replica's reply says that it has written an event, a link's that its checkpoint covers it: only a link's
//! moves what may be purged (**promise 6**).

use storage::{Acknowledged, RelayLog, SourcePosition};
use wire::AckReceiver;

use crate::serve::Ended;
use crate::status::Progress;

/// Source files whose server is remembered for acknowledgements that still come.
const FILES: usize = 64;

/// Takes acknowledgements as they come. Its end is the downstream's leaving.
pub(crate) async fn run(
    log: RelayLog,
    progress: Progress,
    link: Option<String>,
    id: u64,
    mut acks: AckReceiver,
) -> Ended {
    let mut files: Vec<SourcePosition> = Vec::new();
    loop {
        let ack = match acks.next().await {
            Ok(Some(ack)) => ack,
            Ok(None) => return Ended::Complete,
            Err(error) => return error.into(),
        };
        let Ok(file) = std::str::from_utf8(&ack.file) else { continue };
        progress.acknowledged(id, format!("{file}:{}", ack.position));
        let Some(link) = link.clone() else { continue };
        if !files.iter().any(|known| *known.file == *file) {
            // The newest server's file of that name: names mean something within one server only.
            let found = log.segments().into_iter().rev().find(|s| *s.file == *file);
            let Some(found) = found else { continue };
            files.truncate(FILES - 1);
            files.insert(0, SourcePosition { server_uuid: found.server_uuid, file: found.file, position: 0 });
        }
        let Some(known) = files.iter().find(|known| *known.file == *file) else { continue };
        let place = SourcePosition { position: ack.position, ..known.clone() };
        let log = log.clone();
        crate::blocking(move || log.acknowledge(&link, &Acknowledged::Source(place))).await;
    }
}
