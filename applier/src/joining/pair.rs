//! A table that joins a pair whose links go both ways, and one of them copies its rows.
//!
//! Rows may stand in one region only: the link from there copies them, and what applications write in the other region
//! meanwhile is met by the rules of an initial copy (`copy/two_way.rs`). The way back must have the table in step before a
//! row or the table itself arrives, for it brings what is written there from then on. So the link that copies waits for
//! the other, and never the other way round: the one whose source has nothing has nothing to wait for.

use wire::Connection;

use super::noted;
use crate::config::{Config, WayBack};
use crate::copy::{self, LoadTable};
use crate::names::Name;
use crate::origin::LinkKey;
use crate::{Error, Existing, sql, target};

/// The other link of a pair, seen from one that copies.
pub(super) struct Pair<'a> {
    config: &'a Config,
    back: &'a WayBack,
    link: &'a LinkKey,
}

/// What is to become of tables that join.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The rows of these are copied.
    pub(super) copied: Vec<Name>,
    /// These do not join yet.
    pub(super) wait: Vec<Name>,
    /// What the first of them waits for.
    pub(super) why: Option<String>,
}

/// How a table stands in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Missing,
    Empty,
    Rows,
}

impl<'a> Pair<'a> {
    /// `None` where rows are not copied, or no way back looks for conflicts row by row.
    pub(super) fn of(config: &'a Config, link: &'a LinkKey) -> Option<Self> {
        copy::WayBack::of(config, &config.meta_schema, link).filter(|_| config.load.initial.has_data())?;
        Some(Self { config, back: config.way_back.as_ref()?, link })
    }

    /// Looks at tables that join. Those that were `made` for it, by a round that was interrupted, were looked at before:
    /// what stands in them the way back brings.
    pub(super) async fn look(
        &self,
        connection: &mut Connection,
        tables: &[Name],
        made: &[Name],
    ) -> Result<Verdict, Error> {
        let mut source = target::connect_source(&self.config.source_servers).await?;
        let (mut copied, mut wait) = (Vec::new(), Vec::new());
        for name in tables {
            let here = has_rows(&mut source, name, Error::source("looking into a table")).await?;
            let there = match self.there(connection, name).await? {
                There::Rows if made.contains(name) => There::Empty,
                there => there,
            };
            self.check(name, here == Some(true), there)?;
            if here == Some(true) {
                copied.push(name.clone());
            }
            if here == Some(true) || there == There::Missing {
                wait.push(name.clone());
            }
        }
        source.close().await;
        let (wait, why) = self.waits_for(connection, wait).await?;
        copied.retain(|name| !wait.contains(name));
        Ok(Verdict { copied, wait, why })
    }

    fn check(&self, name: &Name, has_rows: bool, there: There) -> Result<(), Error> {
        let Config { from, to, load, .. } = self.config;
        let refused = |what: String, remedy: String| {
            Err(Error::Copy { table: format!("{}.{}", name.0, name.1), what, remedy })
        };
        match (has_rows, there) {
            (_, There::Missing) if !load.initial.has_structure() => refused(
                format!("it joins, and {to} has no such table"),
                format!(
                    "create it in {to}, then twinlog link start; or leave it out of [sync] tables, then twinlog reload"
                ),
            ),
            (true, There::Rows) => refused(
                format!(
                    "it joins, and holds rows in {from} and in {to} already: which are to stay is not known"
                ),
                // While it is in step, what empties it would cross.
                format!(
                    "leave it out of [sync] tables, twinlog reload, empty it in {from} or in {to}, then add it again; or, \
                     should both be equal, let it join with initial = \"none\" on both links"
                ),
            ),
            (false, There::Rows) if !self.back.copies && load.existing == Existing::Error => refused(
                format!("it joins, and holds rows in {to} only, which no link copies; existing = \"error\""),
                "leave it out of [sync] tables, twinlog reload, empty it there, then add it again; or set existing = \"keep\", \
                 then twinlog reload"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// Which of these tables, which are to be copied or made, have to wait yet, and for what the first of them does.
    pub(super) async fn waits_for(
        &self,
        connection: &mut Connection,
        mut tables: Vec<Name>,
    ) -> Result<(Vec<Name>, Option<String>), Error> {
        let Some((database, table)) = tables.first() else { return Ok((tables, None)) };
        let (schema, LinkKey { from, to, .. }) = (&self.config.meta_schema, self.link);
        let joins = format!("{database}.{table} joins");
        if is_open(&LoadTable::new(schema, self.link), connection).await? {
            return Ok((tables, Some(format!("{joins} when the copy from {from} to {to} is complete"))));
        }
        let other = self.link.back();
        let mut session = target::connect(&self.back.servers).await?;
        let noted = noted::read(&mut session, schema, &other).await?;
        let takes = noted.map(|noted| noted.now()).transpose()?;
        let is_open = is_open(&LoadTable::new(schema, &other), &mut session).await?;
        session.close().await;
        let names = &self.config.objects.names;
        let has = |name: &Name| {
            let there = names.there(&name.0, &name.1)?;
            takes.as_ref()?.place_of(&there.0, &there.1).filter(|back| back == name)
        };
        if is_open {
            return Ok((tables, Some(format!("{joins} when the copy from {to} to {from} is complete"))));
        }
        tables.retain(|name| has(name).is_none());
        let why = tables.first().map(|(database, table)| {
            format!(
                "{database}.{table} joins when the link from {to} to {from} has it in step: twinlog reload"
            )
        });
        Ok((tables, why))
    }

    async fn there(&self, connection: &mut Connection, name: &Name) -> Result<There, Error> {
        let Some(there) = self.config.objects.names.there(&name.0, &name.1) else {
            return Ok(There::Missing);
        };
        Ok(match has_rows(connection, &there, Error::target("looking into a table")).await? {
            None => There::Missing,
            Some(false) => There::Empty,
            Some(true) => There::Rows,
        })
    }

    /// Has one of these tables rows at the source by now?
    pub(super) async fn first_with_rows<'n>(
        &self,
        mut tables: impl Iterator<Item = &'n Name>,
    ) -> Result<Option<&'n Name>, Error> {
        let mut source = target::connect_source(&self.config.source_servers).await?;
        let found = loop {
            let Some(name) = tables.next() else { break None };
            if has_rows(&mut source, name, Error::source("looking into a table")).await? == Some(true) {
                break Some(name);
            }
        };
        source.close().await;
        Ok(found)
    }
}

/// Does a link's copy go on?
async fn is_open(load: &LoadTable, connection: &mut Connection) -> Result<bool, Error> {
    Ok(load.state(connection).await?.is_some_and(|state| state != "done"))
}

/// Has a table rows? `None`: there is no such table.
async fn has_rows(
    connection: &mut Connection,
    (database, table): &Name,
    failed: impl Fn(wire::Error) -> Error,
) -> Result<Option<bool>, Error> {
    match connection.query_rows(format!("SELECT 1 FROM {} LIMIT 1", sql::table(database, table))).await {
        Ok(rows) => Ok(Some(!rows.rows.is_empty())),
        Err(error) if matches!(error.code(), Some(1146 | 1049)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
