//! What downstreams have acknowledged, and which of them hold the log.
//!
//! Purging frees whole segments, so what counts of an acknowledgement is the first segment that its sender may
//! still need. It is kept in memory and written to the index when that number moves; an index that is
//! behind, or lost, only holds more of the log than it must: a registered downstream of which nothing is known
//! holds all of it.

use std::collections::BTreeMap;

use binlog::GtidSet;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::codec::AcknowledgedRecord;
use crate::position::SourcePosition;

/// What a downstream says it no longer needs: all transactions that its checkpoint covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// These transactions.
    Gtids(GtidSet),
    /// All that lies before this place, in the order of the log (a semi-sync reply).
    Source(SourcePosition),
}

/// A downstream as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamInfo {
    /// Its name.
    pub name: String,
    /// Does it hold the log?
    pub registered: bool,
    /// The oldest segment it may still need; `None` when it has not acknowledged anything, nor attached, since
    /// the index was made: it needs them all.
    pub needs: Option<u64>,
    /// The place it acknowledged last, when it told a place.
    pub acknowledged: Option<SourcePosition>,
}

#[derive(Clone, Debug, Default)]
struct Downstream {
    registered: bool,
    told: Option<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    needs: u64,
    place: Option<SourcePosition>,
}

/// All downstreams.
#[derive(Debug, Default)]
pub(crate) struct Downstreams(BTreeMap<String, Downstream>);

impl Downstreams {
    /// What the index remembers. Nobody is registered yet. A segment that is not there (any more) will be made
    /// with other contents: nobody has acknowledged those.
    pub(crate) fn remembered(records: Vec<(String, AcknowledgedRecord)>, newest: u64) -> Self {
        let entry = |(name, record): (String, AcknowledgedRecord)| {
            let place = (!record.file.is_empty()).then(|| SourcePosition {
                server_uuid: Uuid::from_bytes(record.server_uuid),
                file: record.file.into(),
                position: record.position,
            });
            (
                name,
                Downstream { registered: false, told: Some(Told { needs: record.needs.min(newest), place }) },
            )
        };
        Self(records.into_iter().map(entry).collect())
    }

    /// From now on this one holds the log.
    pub(crate) fn register(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default().registered = true;
    }

    /// Forgets one.
    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// It has attached with this set: from here on is what it needs, also when that is less than it once
    /// acknowledged (its target was set back).
    pub(crate) fn attached(&mut self, name: &str, has: &GtidSet, catalogue: &Catalogue) -> bool {
        let needs = catalogue.first_needed(has).map_or(0, |segment| segment.head.segment);
        let told = &mut self.0.entry(name.to_owned()).or_default().told;
        let moved = told.as_ref().is_none_or(|told| told.needs != needs);
        *told = Some(Told { needs, place: None });
        moved
    }

    /// It acknowledges. What it acknowledged stays so. Says whether the segment it needs has moved.
    pub(crate) fn acknowledge(&mut self, name: &str, what: &Acknowledged, catalogue: &Catalogue) -> bool {
        let told = &mut self.0.entry(name.to_owned()).or_default().told;
        let before = told.as_ref().map_or(0, |told| told.needs);
        let (needs, place) = match what {
            Acknowledged::Gtids(set) => {
                (catalogue.first_needed(set).map(|segment| segment.head.segment), None)
            }
            Acknowledged::Source(place) => (needed_after(place, before, catalogue), Some(place)),
        };
        let Some(needs) = needs.filter(|needs| *needs >= before) else { return false };
        let moved = told.as_ref().is_none_or(|told| told.needs != needs);
        match (told, place) {
            (Some(told), None) => told.needs = needs,
            (told, place) => *told = Some(Told { needs, place: place.cloned() }),
        }
        moved
    }

    /// The records of all that have told something.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, AcknowledgedRecord)> {
        self.0.iter().filter_map(|(name, downstream)| {
            let told = downstream.told.as_ref()?;
            let place = told.place.as_ref();
            let record = AcknowledgedRecord {
                needs: told.needs,
                server_uuid: place.map_or([0; 16], |place| *place.server_uuid.as_bytes()),
                file: place.map(|place| place.file.to_string()).unwrap_or_default(),
                position: place.map_or(0, |place| place.position),
            };
            Some((name.as_str(), record))
        })
    }

    /// The oldest segment that must stay; `None` when nobody holds any.
    pub(crate) fn oldest_needed(&self) -> Option<u64> {
        let registered = self.0.values().filter(|downstream| downstream.registered);
        registered.map(|downstream| downstream.told.as_ref().map_or(0, |told| told.needs)).min()
    }

    /// For people.
    pub(crate) fn info(&self) -> Vec<DownstreamInfo> {
        let info = |(name, downstream): (&String, &Downstream)| DownstreamInfo {
            name: name.clone(),
            registered: downstream.registered,
            needs: downstream.told.as_ref().map(|told| told.needs),
            acknowledged: downstream.told.as_ref().and_then(|told| told.place.clone()),
        };
        self.0.iter().map(info).collect()
    }
}

/// The first segment needed by one that has all before `place`. Names and positions can occur again (a
/// chained relay whose source moved to another server): the oldest segment that fits is the one that
/// frees least. `None` when the log does not have the place (any more).
fn needed_after(place: &SourcePosition, from: u64, catalogue: &Catalogue) -> Option<u64> {
    let holds = catalogue.from(from).find(|segment| {
        let head = &segment.head;
        head.server_uuid == place.server_uuid
            && head.file == place.file
            && (head.position..=segment.extent.source_end).contains(&place.position)
    })?;
    let number = holds.head.segment;
    let done = place.position >= holds.extent.source_end && catalogue.get(number + 1).is_some();
    Some(if done { number + 1 } else { number })
}
