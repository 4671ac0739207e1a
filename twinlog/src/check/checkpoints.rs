//! What Twinlog's own schema in a target says: whose it is, and whether each link can go on.

use std::collections::{BTreeMap, BTreeSet};

use binlog::GtidSet;
use twinlog::config::{File, Link};
use wire::Connection;

use super::facts::Facts;
use super::relay::KnownRelay;
use super::report::{About, Finding};
use super::sql;

/// The meta schema of a target, as far as it is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    /// Sync and the region that the server was when it was last written into.
    home: Vec<(String, String)>,
    /// Links that have a birth record.
    born: BTreeSet<String>,
    /// What each link has applied.
    applied: BTreeMap<String, GtidSet>,
}

/// Reads it. What is not there is empty; so is what the account may not see, which is another item's to say.
pub(crate) async fn read(connection: &mut Connection, schema: &str) -> Result<Meta, wire::Error> {
    let mut meta = Meta::default();
    let query = |columns: &str, table: &str| format!("SELECT {columns} FROM {}", sql::table(schema, table));
    if let Some(rows) = there(connection, &query("sync, region", "home")).await? {
        for row in rows.iter() {
            meta.home.push((row.text("sync")?, row.text("region")?));
        }
    }
    if let Some(rows) = there(connection, &query("link", "link")).await? {
        for row in rows.iter() {
            meta.born.insert(row.text("link")?);
        }
    }
    if let Some(rows) = there(connection, &query("link, gtid_set", "checkpoint")).await? {
        for row in rows.iter() {
            let text = row.text("gtid_set")?;
            let set: GtidSet = text.parse().map_err(|_| malformed(&text))?;
            meta.applied.entry(row.text("link")?).or_default().union_with(&set);
        }
    }
    Ok(meta)
}

fn malformed(text: &str) -> wire::Error {
    wire::Error::Protocol { what: format!("no GTID set in a checkpoint: {text}") }
}

async fn there(connection: &mut Connection, query: &str) -> Result<Option<wire::ResultSet>, wire::Error> {
    match connection.query_rows(query).await {
        Ok(rows) => Ok(Some(rows)),
        Err(wire::Error::Server(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Meta {
    /// Whose schema it is, and who else lives there.
    pub(crate) fn judge(&self, file: &File, region: &str) -> Vec<Finding> {
        let (about, schema) = (About::region(region), &file.sync.meta_schema);
        let own = self.home.iter().find(|(sync, _)| *sync == file.sync.name);
        let mut findings = vec![match own {
            None => about.pass("meta_schema", format!("{schema}: nothing of this sync yet")),
            Some((_, home)) if home == region => about.pass("meta_schema", format!("{schema} is of {region}")),
            Some((_, home)) => about
                .fail("meta_schema", format!("{schema} is of region {home}"))
                .wanted(format!("of {region}"))
                .why("this server was copied from the other region: its checkpoints are those of the links into that one")
                .sql(format!("DROP DATABASE {}", sql::name(schema)))
                .advice("before that: see that mysql.address of the regions is not mixed up"),
        }];
        let others: Vec<&str> =
            self.home.iter().map(|(sync, _)| sync.as_str()).filter(|sync| *sync != file.sync.name).collect();
        if !others.is_empty() {
            findings.push(
                about
                    .warn("other_syncs", others.join(", "))
                    .wanted("tables that no two syncs have in common")
                    .why("a table in two syncs is written by both, and each takes the other's changes for local ones")
                    .advice("compare [sync] tables of their files with this one"),
            );
        }
        findings
    }

    /// Can this link go on?
    pub(crate) fn link(
        &self,
        file: &File,
        link: &Link,
        relay: Option<&KnownRelay>,
        source: Option<&Facts>,
    ) -> Finding {
        const ITEM: &str = "checkpoint";
        let (about, key) = (About::region(&link.to), key(file, link));
        let finding = match self.applied.get(&key) {
            None if self.born.contains(&key) => about
                .fail(ITEM, "lost: the link has run, and its checkpoint is gone")
                .wanted("a checkpoint")
                .why("beginning at the present would leave out what lies between")
                .advice(format!(
                    "restore {}.checkpoint, or begin anew with twinlog link reset",
                    file.sync.meta_schema
                )),
            None => about.pass(ITEM, "none yet: the link begins at the source's present"),
            Some(applied) => {
                let held = relay.and_then(|relay| relay.log.as_ref());
                let (who, purged) = match (held, source) {
                    (Some(held), _) => ("the relay", &held.purged),
                    (None, Some(source)) => ("the source", &source.purged),
                    (None, None) => {
                        return about
                            .skipped(ITEM, format!("needs the relay or the source of {}", link.from))
                            .on(&link.name);
                    }
                };
                let missing = purged.minus(applied);
                if missing.is_empty() {
                    about.pass(ITEM, format!("{who} still has all that comes behind it"))
                } else {
                    about
                        .fail(ITEM, format!("{who} has purged what the link lacks: {missing}"))
                        .wanted("nothing lost")
                        .why(
                            "the link was stopped for longer than logs are kept; it will not jump over a gap",
                        )
                        .advice("copy the tables anew, then begin anew with twinlog link reset")
                }
            }
        };
        finding.on(&link.name)
    }
}

fn key(file: &File, link: &Link) -> String {
    format!("{}/{}/{}", file.sync.name, link.from, link.to)
}

#[cfg(test)]
mod tests {
    use super::Meta;
    use crate::check::facts::Facts;
    use crate::check::fixtures::file;
    use crate::check::relay::{Held, KnownRelay};
    use crate::check::report::Outcome;

    fn set(text: &str) -> binlog::GtidSet {
        text.replace('a', "00000000-0000-0000-0000-00000000000a").parse().unwrap()
    }

    #[test]
    fn a_schema_of_another_region_fails_and_another_syncs_is_named() {
        let file = file();
        let of = |home: &[(&str, &str)]| {
            let home = home.iter().map(|(s, r)| ((*s).to_owned(), (*r).to_owned())).collect();
            let findings = Meta { home, ..Meta::default() }.judge(&file, "us");
            findings.into_iter().map(|f| (f.item, f.status)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [("meta_schema", Outcome::Pass)]);
        assert_eq!(of(&[("shop", "eu")]), [("meta_schema", Outcome::Fail)]);
        assert_eq!(
            of(&[("shop", "us"), ("blog", "eu")]),
            [("meta_schema", Outcome::Pass), ("other_syncs", Outcome::Warn)]
        );
    }

    #[test]
    fn a_link_goes_on_only_when_nothing_behind_its_checkpoint_is_gone() {
        let file = file();
        let link = &file.links["eu-us"];
        let status = |applied: Option<&str>, born: bool, purged: &str| {
            let key = "shop/eu/us".to_owned();
            let meta = Meta {
                born: born.then(|| key.clone()).into_iter().collect(),
                applied: applied.map(|text| (key, set(text))).into_iter().collect(),
                ..Meta::default()
            };
            let log = Some(Held { durable: set("a:1-9"), purged: set(purged) });
            let relay = KnownRelay { log, ..KnownRelay::default() };
            let by_relay = meta.link(&file, link, Some(&relay), None).status;
            let source = Facts { purged: set(purged), ..Facts::default() };
            assert_eq!(meta.link(&file, link, None, Some(&source)).status, by_relay);
            by_relay
        };
        assert_eq!(status(None, false, "a:1-3"), Outcome::Pass);
        assert_eq!(status(None, true, ""), Outcome::Fail);
        assert_eq!(status(Some("a:1-5"), true, "a:1-5"), Outcome::Pass);
        assert_eq!(status(Some("a:1-5"), true, "a:1-6"), Outcome::Fail);
    }

    #[test]
    fn a_checkpoint_that_nobody_can_be_asked_about_is_skipped() {
        let file = file();
        let applied = [("shop/eu/us".to_owned(), set("a:1-5"))].into_iter().collect();
        let meta = Meta { applied, ..Meta::default() };
        assert_eq!(meta.link(&file, &file.links["eu-us"], None, None).status, Outcome::Skipped);
    }
}
