//! Holding a transaction that the source sends again against the one in the log.
//!
//! A source that lost its last transactions in a crash gives their GTIDs to others; sets of GTIDs can't show
//! that, bytes can. So after a reconnect the relay has the source begin one transaction early, with its last
//! one, and [`crate::OnKnown::Compare`] tells whether it is still the same.

use std::collections::VecDeque;
use std::sync::Arc;

use binlog::{Event, Gtid, GtidSet};

use crate::error::{Error, SeekError};
use crate::head::SegmentHead;
use crate::log::RelayLog;
use crate::position::{LogPosition, SourcePosition};
use crate::reader::{Item, LogEvent, LogReader};
use crate::scan::CHUNK;

/// The comparison of one transaction.
#[derive(Debug)]
pub(crate) struct Compare {
    gtid: Gtid,
    reader: LogReader,
    /// The segment that the next event is in.
    head: Option<Arc<SegmentHead>>,
    ahead: VecDeque<LogEvent>,
    at: LogPosition,
}

impl Compare {
    /// Begins with the GTID event. `None` when there is nothing to compare with: the transaction was purged,
    /// or came from another server, where its bytes rightly differ. One server has a transaction in one file: a
    /// source that crashes goes on in a new one, so that is where GTIDs are found that were used a second time.
    pub(crate) fn begin(
        log: &RelayLog,
        gtid: &Gtid,
        source: &SourcePosition,
        event: &Event,
    ) -> Result<Option<Self>, Error> {
        let all_but_it = log.gtids_durable().minus(&GtidSet::from_iter([gtid.clone()]));
        let reader = match log.reader(&all_but_it) {
            Ok(reader) => reader,
            Err(SeekError::Log(e)) => return Err(e),
            Err(_) => return Ok(None),
        };
        let (ahead, at) = (VecDeque::new(), LogPosition::default());
        let mut compare = Self { gtid: gtid.clone(), reader, head: None, ahead, at };
        compare.refill()?;
        let head = compare.head.take();
        if head.is_none_or(|head| head.server_uuid != source.server_uuid) {
            return Ok(None);
        }
        compare.next(event)?;
        Ok(Some(compare))
    }

    /// Compares the next event.
    pub(crate) fn next(&mut self, event: &Event) -> Result<(), Error> {
        if self.ahead.is_empty() {
            self.refill()?;
        }
        let stored = self.ahead.pop_front();
        if let Some(stored) = &stored {
            self.at = stored.at;
        }
        if stored.is_some_and(|stored| stored.event == *event) {
            return Ok(());
        }
        Err(Error::Diverged { gtid: self.gtid.clone(), at: self.at })
    }

    fn refill(&mut self) -> Result<(), Error> {
        loop {
            let batch = self.reader.next_batch(CHUNK)?;
            let is_end = batch.is_end();
            for item in batch.items {
                match item {
                    Item::Event(event) => self.ahead.push_back(event),
                    // The reader may have gone on to segments behind the transaction.
                    Item::Begins(begin) if self.ahead.is_empty() => self.head = Some(begin.head),
                    Item::Begins(_) => {}
                }
            }
            if is_end || !self.ahead.is_empty() {
                return Ok(());
            }
        }
    }
}
