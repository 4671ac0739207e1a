//! Where a transaction was first committed.
//!
//! In this order: the region that owns the GTID's uuid, if it is another than the one whose stream this is;
//! a stamp of this sync; the stream's own region. **Promise 4** (no echo) rests here: what comes from the
//! region that is written into is left out, whatever brought it.

use std::collections::{BTreeMap, HashMap};

use binlog::stamp::{Change, Stamp};
use uuid::Uuid;

/// What the key of a repair's row ends in, behind that of its link.
const REPAIR: &str = "repair";
/// What the key of the rows that stamp an initial copy ends in.
const COPY: &str = "copy";

/// What names a link's rows in the checkpoint table, for all time: not its name in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LinkKey {
    pub(crate) sync: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl LinkKey {
    /// As the checkpoint table has it.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}/{}", self.sync, self.from, self.to)
    }

    /// The other link of a pair.
    pub(crate) fn back(&self) -> Self {
        Self { sync: self.sync.clone(), from: self.to.clone(), to: self.from.clone() }
    }

    /// As the checkpoint table has it in the one row that stamps repairs: rows of `from` written into `to` beside
    /// the link. A row of its own, so that epoch and count of the link's applier stay what it expects.
    pub(crate) fn repair_text(&self) -> String {
        format!("{}/{REPAIR}", self.text())
    }

    /// As the checkpoint table has it in the rows that stamp what an initial copy writes.
    pub(crate) fn copy_text(&self) -> String {
        format!("{}/{COPY}", self.text())
    }

    /// The link of a checkpoint row, be it the applier's, that of repairs, or one of its copy.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let key = Self { sync: parts.next()?, from: parts.next()?, to: parts.next()? };
        parts
            .next()
            .is_none_or(|part| part == REPAIR || part == COPY)
            .then_some(key)
            .filter(|_| parts.next().is_none())
    }
}

/// Which region owns which GTID uuids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners(BTreeMap<Uuid, String>);

impl Owners {
    pub(crate) fn add(&mut self, region: &str, uuid: Uuid) {
        self.0.insert(uuid, region.into());
    }

    pub(crate) fn of(&self, uuid: Uuid) -> Option<&str> {
        self.0.get(&uuid).map(String::as_str)
    }
}

/// Follows a region's stream and tells each transaction's origin.
#[derive(Debug)]
pub(crate) struct Origins {
    sync: String,
    /// The region whose stream this is.
    from: String,
    regions: Vec<String>,
    /// The last (epoch, seq) seen of each checkpoint row.
    rows: HashMap<(String, String, u8), (Option<u64>, u64)>,
}

/// Why the origin can't be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OriginError {
    /// Nobody owns the GTID's uuid.
    Unowned,
    /// The stamp does not fit.
    Stamp(String),
}

impl Origins {
    pub(crate) fn new(sync: &str, from: &str, regions: impl Iterator<Item = String>) -> Self {
        Self { sync: sync.into(), from: from.into(), regions: regions.collect(), rows: HashMap::new() }
    }

    /// The origin of a transaction, from its GTID's uuid and the checkpoint rows it begins with (none for
    /// most local ones).
    pub(crate) fn tell(
        &mut self,
        owners: &Owners,
        uuid: Uuid,
        stamps: &[Stamp],
    ) -> Result<String, OriginError> {
        let stamped = self.follow(stamps).map_err(OriginError::Stamp)?;
        let owner = owners.of(uuid).ok_or(OriginError::Unowned)?;
        if owner != self.from {
            return Ok(owner.into());
        }
        Ok(stamped.unwrap_or_else(|| self.from.clone()))
    }

    /// Those of this sync.
    pub(crate) fn ours(&self, stamps: Vec<Stamp>) -> Vec<Stamp> {
        stamps.into_iter().filter(|s| LinkKey::parse(&s.link).is_some_and(|k| k.sync == self.sync)).collect()
    }

    /// Checks the stamps against those before them.
    fn follow(&mut self, stamps: &[Stamp]) -> Result<Option<String>, String> {
        let mut origin = None;
        for stamp in stamps {
            // Rows of another sync are another's affair: to this one its transactions are local.
            if stamp.link.split('/').next() != Some(&self.sync) {
                continue;
            }
            let Some(key) = LinkKey::parse(&stamp.link) else {
                return Err(format!("{} is no link's key", stamp.link));
            };
            if key.to != self.from {
                return Err(format!("link {} does not write into {}", stamp.link, self.from));
            }
            if !self.regions.contains(&stamp.origin) {
                return Err(format!("there is no region {}", stamp.origin));
            }
            self.follow_row(stamp)?;
            origin = Some(stamp.origin.clone());
        }
        Ok(origin)
    }

    fn follow_row(&mut self, stamp: &Stamp) -> Result<(), String> {
        let key = (stamp.origin.clone(), stamp.link.clone(), stamp.slot);
        let before = self.rows.get(&key).copied();
        match &stamp.change {
            Change::Insert { epoch, seq, .. } => _ = self.rows.insert(key, (Some(*epoch), *seq)),
            Change::Delete => _ = self.rows.remove(&key),
            Change::Update { epoch, seq, seq_before, .. } => {
                // The first one that is seen of a row is held against its own image before.
                let own = || Some((None, (*seq_before)?));
                let Some((old_epoch, old_seq)) = before.or_else(own) else {
                    if let Some(seq) = seq {
                        self.rows.insert(key, (*epoch, *seq));
                    }
                    return Ok(());
                };
                if old_epoch.zip(*epoch).is_some_and(|(old, new)| new < old) {
                    return Err(format!(
                        "epoch of {} slot {} goes back to {epoch:?}",
                        stamp.link, stamp.slot
                    ));
                }
                let seq = seq.unwrap_or(old_seq);
                if seq != old_seq && Some(seq) != old_seq.checked_add(1) {
                    return Err(format!(
                        "count of {} slot {} goes from {old_seq} to {seq}",
                        stamp.link, stamp.slot
                    ));
                }
                self.rows.insert(key, (epoch.or(old_epoch), seq));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use binlog::stamp::{Change, Stamp};
    use uuid::Uuid;

    use super::{LinkKey, OriginError, Origins, Owners};

    const EU: Uuid = Uuid::from_u128(1);
    const US: Uuid = Uuid::from_u128(2);

    fn owners() -> Owners {
        let mut owners = Owners::default();
        owners.add("eu", EU);
        owners.add("us", US);
        owners
    }

    /// The stream of region us, into which link eu-us writes.
    fn origins() -> Origins {
        Origins::new("shop", "us", ["eu", "us"].map(String::from).into_iter())
    }

    fn update(link: &str, slot: u8, epoch: u64, seq: u64) -> Stamp {
        let change = Change::Update {
            epoch: Some(epoch),
            seq: Some(seq),
            seq_before: None,
            gtid_set: None,
            clock: None,
        };
        Stamp { origin: "eu".into(), link: link.into(), slot, change }
    }

    #[test]
    fn anothers_uuid_comes_first_then_a_stamp_then_the_streams_own_region() {
        let mut origins = origins();
        let stamp = [update("shop/eu/us", 3, 1, 10)];
        assert_eq!(origins.tell(&owners(), EU, &[]).unwrap(), "eu");
        assert_eq!(origins.tell(&owners(), US, &stamp).unwrap(), "eu");
        assert_eq!(origins.tell(&owners(), US, &[]).unwrap(), "us");
        assert_eq!(origins.tell(&owners(), Uuid::from_u128(9), &[]), Err(OriginError::Unowned));
    }

    #[test]
    fn stamps_of_another_sync_do_not_count() {
        assert_eq!(origins().tell(&owners(), US, &[update("blog/eu/us", 0, 1, 1)]).unwrap(), "us");
    }

    #[test]
    fn a_stamp_out_of_turn_is_refused() {
        let mut origins = origins();
        let mut tell = |stamp| origins.tell(&owners(), US, &[stamp]);
        assert!(tell(update("shop/eu/us", 3, 5, 10)).is_ok());
        assert!(tell(update("shop/eu/us", 4, 5, 90)).is_ok(), "each slot counts for itself");
        assert!(tell(update("shop/eu/us", 3, 5, 11)).is_ok());
        assert!(tell(update("shop/eu/us", 3, 6, 12)).is_ok(), "a new holder");
        assert!(matches!(tell(update("shop/eu/us", 3, 6, 14)), Err(OriginError::Stamp(_))));
        assert!(matches!(tell(update("shop/eu/us", 3, 5, 13)), Err(OriginError::Stamp(_))));
        assert!(matches!(tell(update("shop/us/eu", 3, 5, 13)), Err(OriginError::Stamp(_))), "not into us");
    }

    #[test]
    fn the_first_stamp_seen_of_a_row_is_held_against_its_own_image_before() {
        let first = |seq_before, seq| {
            let change = Change::Update {
                epoch: Some(5),
                seq: Some(seq),
                seq_before: Some(seq_before),
                gtid_set: None,
                clock: None,
            };
            let stamp = Stamp { origin: "eu".into(), link: "shop/eu/us".into(), slot: 3, change };
            origins().tell(&owners(), US, &[stamp])
        };
        assert!(first(9, 10).is_ok());
        assert!(matches!(first(9, 16), Err(OriginError::Stamp(_))));
        assert!(matches!(first(9, 8), Err(OriginError::Stamp(_))));
    }

    #[test]
    fn a_raised_epoch_alone_and_rows_made_anew_are_followed() {
        let mut origins = origins();
        let stamp = |change| Stamp { origin: "eu".into(), link: "shop/eu/us".into(), slot: 0, change };
        let raised =
            Change::Update { epoch: Some(2), seq: None, seq_before: None, gtid_set: None, clock: None };
        let list = [
            stamp(Change::Insert { epoch: 1, seq: 0, gtid_set: None, clock: None }),
            stamp(raised),
            update("shop/eu/us", 0, 2, 1),
            stamp(Change::Delete),
            stamp(Change::Insert { epoch: 1, seq: 0, gtid_set: None, clock: None }),
            update("shop/eu/us", 0, 1, 1),
        ];
        for one in list {
            assert_eq!(origins.tell(&owners(), US, &[one]).unwrap(), "eu");
        }
    }

    #[test]
    fn repairs_have_a_row_of_their_own_and_the_origin_of_their_link() {
        let mut origins = origins();
        let mut tell = |link, epoch, seq| origins.tell(&owners(), US, &[update(link, 0, epoch, seq)]);
        assert_eq!(tell("shop/eu/us", 7, 40).unwrap(), "eu");
        assert_eq!(tell("shop/eu/us/repair", 1, 3).unwrap(), "eu");
        assert_eq!(tell("shop/eu/us", 7, 41).unwrap(), "eu", "the applier counts on as if nothing was");
        assert_eq!(tell("shop/eu/us/repair", 1, 4).unwrap(), "eu");
        assert!(matches!(tell("shop/eu/us/repair", 1, 6), Err(OriginError::Stamp(_))), "out of turn");
        assert!(matches!(tell("shop/us/eu/repair", 1, 5), Err(OriginError::Stamp(_))), "not into us");
        assert!(matches!(tell("shop/eu/us/other", 1, 5), Err(OriginError::Stamp(_))), "no such kind of row");
        assert_eq!(tell("blog/eu/us/repair", 1, 5).unwrap(), "us", "another sync's is another's affair");
    }

    #[test]
    fn a_links_key_is_read_back_from_its_text() {
        let key = LinkKey { sync: "shop".into(), from: "eu".into(), to: "us".into() };
        assert_eq!(LinkKey::parse(&key.repair_text()), Some(key.clone()));
        assert_eq!(LinkKey::parse(&format!("{}/more", key.repair_text())), None);
        assert_eq!(LinkKey::parse(&key.copy_text()), Some(key.clone()));
        assert_eq!(LinkKey::parse(&key.text()), Some(key));
        assert_eq!(LinkKey::parse("a/b"), None);
        assert_eq!(LinkKey::parse("a/b/c/d"), None);
    }
}
