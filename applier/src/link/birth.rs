//! The first place of a link in its source's log: where its definitions were read, or its tables listed, or just now.

use binlog::GtidSet;
use tokio_util::sync::CancellationToken;
use wire::Connection;

use super::Link;
use crate::checkpoint::Checkpoint;
use crate::conflict::seen::Seen;
use crate::executed::executed_in_target;
use crate::filter::Filter;
use crate::life::Life;
use crate::meta::Meta;
use crate::names::Name;
use crate::origin::LinkKey;
use crate::source::Source;
use crate::status::State;
use crate::{Error, copy, joining, structure};

impl Link {
    /// The link's checkpoint, taken over; or its first, when it was never born. A link that has run and has no
    /// checkpoint stops (**promise 5**): beginning at "now" would skip what lies between.
    pub(super) async fn checkpoint(
        &self,
        connection: &mut Connection,
        meta: &Meta,
        source: &mut Source,
        life: &Life,
        stop: &CancellationToken,
    ) -> Result<Checkpoint, Error> {
        if let Some(checkpoint) = Checkpoint::take_over(connection, &meta.schema, &self.key).await? {
            return Ok(checkpoint);
        }
        let lost =
            |evidence| Error::CheckpointLost { link: self.key.text(), schema: meta.schema.clone(), evidence };
        if meta.is_born(connection, &self.key).await? {
            return Err(lost("its birth record is there"));
        }
        if source.remembers_link && !life.anew {
            return Err(lost("the relay remembers its acknowledgements"));
        }
        let (start, tables) = self.first_place(connection, meta, source, stop).await?;
        tracing::info!(link = self.key.text(), after = %start, "link begins");
        let seen = self.seen_at_birth(connection, &meta.schema).await?;
        let mut notes = vec![joining::first(&meta.schema, &self.key, &self.config.objects)];
        if self.config.load.initial.has_data() {
            notes.extend(copy::LoadTable::new(&meta.schema, &self.key).open(&tables, None));
        }
        meta.give_birth(connection, &self.key, &start, &seen, notes).await?;
        let born = Checkpoint::take_over(connection, &meta.schema, &self.key).await?;
        born.ok_or_else(|| lost("it was just begun"))
    }

    /// Behind what of the source's log the link begins, and what tables are there; what is missing of them in the target is
    /// made, if that is wanted.
    async fn first_place(
        &self,
        connection: &mut Connection,
        meta: &Meta,
        source: &mut Source,
        stop: &CancellationToken,
    ) -> Result<(GtidSet, Vec<Name>), Error> {
        let (config, initial) = (&self.config, self.config.load.initial);
        let filter = Filter::new(config.objects.clone(), &config.meta_schema);
        if initial.has_structure() {
            self.wait_for_way_back(&meta.schema).await?;
            self.progress.state(State::Structure);
            let pause = structure::Pause { gate: &self.gate, stop };
            let (of, behind) = (joining::first_plan(&config.objects), &GtidSet::new());
            let task = structure::Task { filter: &filter, of, behind, stay: &[] };
            let made = structure::make(config, &self.key, connection, meta, source, &task, pause).await?;
            return Ok((made.begin, made.tables));
        }
        if initial.has_data() {
            let (tables, executed) = copy::names_now(config, &filter, source).await?;
            return Ok((executed, tables));
        }
        Ok((source.executed().await?, Vec::new()))
    }

    /// Whoever finds new tables in the target writes them: the way back must be there before they are.
    async fn wait_for_way_back(&self, schema: &str) -> Result<(), Error> {
        let makes_tables = self.config.way_back.as_ref().is_some_and(|back| back.makes_tables);
        let copies = self.config.load.initial.has_data() && !makes_tables;
        if let Some(back) = copy::WayBack::of(&self.config, schema, &self.key).filter(|_| copies) {
            back.begin(&self.progress).await?;
        }
        Ok(())
    }

    /// What the source's region is taken to have seen when a link begins between regions that are equal: all that the
    /// target has, of its own and of others. Where rows are copied, what the way back is still to bring it has not.
    async fn seen_at_birth(&self, connection: &mut Connection, schema: &str) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let mut of_target = executed_in_target(connection).await?;
        if let Some(back) =
            copy::WayBack::of(&self.config, schema, &self.key).filter(|_| self.config.load.initial.has_data())
            && let Some(begun) = back.begun().await?
        {
            of_target = of_target.intersection(&begun);
        }
        seen.add(&self.config.to, &of_target, 0);
        for (link, applied) in Checkpoint::applied_by_link(connection, schema).await? {
            if let Some(key) =
                LinkKey::parse(&link).filter(|k| k.sync == self.key.sync && k.to == self.key.to)
            {
                seen.add(&key.from, &applied, 0);
            }
        }
        Ok(seen)
    }
}
