//! Running a statement once, under its original GTID.
//!
//! DDL commits by itself, so the checkpoint can't be in its transaction: the GTID is what makes it run once.
//! But a statement run under a GTID that is executed already is skipped without a word, so that is asked first;
//! and that the executed one was this statement is known from an intent written before it: `<meta>.ddl`.
//!
//! ```text
//! executed?  covered by the checkpoint?   then
//! no         no                           intent, run, checkpoint
//! yes        no, and the intent is ours   checkpoint
//! yes        no, and it is not            stop: diverged
//! ```

use binlog::Event;
use binlog::event::{OPTION_NO_FOREIGN_KEY_CHECKS, Query, StatusVars};
use uuid::Uuid;
use wire::ServerError;

use crate::apply::Applier;
use crate::group::binlog_statements;
use crate::plan::DdlWork;
use crate::{Error, sql, target};

/// Header flag: the statement does not depend on a default database.
const SUPPRESS_USE: u16 = 0x8;

impl Applier {
    /// Runs a statement, if it has not run, and commits the checkpoint that covers it.
    pub(crate) async fn run_ddl(&mut self, ddl: &DdlWork) -> Result<(), Error> {
        let malformed = |source| Error::Event { gtid: ddl.gtid.to_string(), source };
        let query = Query::parse(&ddl.event).map_err(malformed)?;
        let text = String::from_utf8_lossy(query.sql).into_owned();
        let hash =
            Uuid::new_v5(&Uuid::NAMESPACE_OID, &[query.database, b"\0", query.sql].concat()).to_string();
        if self.is_executed(ddl).await? {
            if self.intent(ddl).await?.as_deref() != Some(&hash) {
                return Err(Error::Diverged { gtid: ddl.gtid.clone(), statement: text });
            }
            tracing::info!(gtid = %ddl.gtid, "DDL had run before the restart");
        } else {
            self.write_intent(ddl, &hash, query.sql).await?;
            let ran = self.run_as_original(ddl, &query).await?;
            // Reset only where it was set: who may not set it may not reset it either.
            let explicit = query.settings().explicit_defaults_for_timestamp == Some(false) && ran.is_ok();
            self.back_to_normal(explicit).await?;
            // `CREATE TABLE … SELECT` is not skipped when a session that was cut off commits it just before: its
            // rows are refused then (1837), and yet all is done.
            if let Err(source) = ran
                && !self.is_executed(ddl).await?
            {
                return Err(Error::Ddl { gtid: ddl.gtid.clone(), statement: text, source });
            }
            tracing::info!(gtid = %ddl.gtid, "DDL applied");
        }
        let fence = self.fence(&ddl.covers, &ddl.mark);
        let forget = format!("DELETE FROM {} WHERE {}", self.ddl_table(), self.ddl_row(ddl));
        let mut statements = vec![fence.as_str(), forget.as_str()];
        statements.extend(ddl.notes.iter().map(String::as_str));
        self.commit_small(&statements).await.map(drop)
    }

    fn ddl_table(&self) -> String {
        sql::table(&self.schema, "ddl")
    }

    fn ddl_row(&self, ddl: &DdlWork) -> String {
        format!("link = {} AND gtid = '{}'", sql::text(&self.link.text()), ddl.gtid)
    }

    async fn is_executed(&mut self, ddl: &DdlWork) -> Result<bool, Error> {
        let failed = Error::target("asking for an executed GTID");
        let query = format!("SELECT GTID_SUBSET('{}', @@GLOBAL.gtid_executed) AS executed", ddl.gtid);
        let rows = self.connection.query_rows(query).await.map_err(&failed)?;
        Ok(rows.single_text().map_err(failed)? == "1")
    }

    async fn intent(&mut self, ddl: &DdlWork) -> Result<Option<String>, Error> {
        let failed = Error::target("reading the DDL that was to run");
        let query = format!("SELECT hash FROM {} WHERE {}", self.ddl_table(), self.ddl_row(ddl));
        let rows = self.connection.query_rows(query).await.map_err(&failed)?;
        rows.first().map(|row| row.text("hash").map_err(failed)).transpose()
    }

    /// Fenced like a group: a stale applier gets no further than this.
    async fn write_intent(&mut self, ddl: &DdlWork, hash: &str, statement: &[u8]) -> Result<(), Error> {
        // What was passed over before it is done; the statement itself is not.
        let mut covers = ddl.covers.clone();
        covers.subtract(&std::iter::once(ddl.gtid.clone()).collect());
        let at = self.checkpoint.mark().clone();
        let fence = self.fence(&covers, &at);
        let hex: String = statement.iter().map(|b| format!("{b:02x}")).collect();
        let note = format!(
            "REPLACE INTO {} VALUES ({}, '{}', '{hash}', X'{hex}', NOW(6))",
            self.ddl_table(),
            sql::text(&self.link.text()),
            ddl.gtid
        );
        self.commit_small(&[&fence, &note]).await?;
        self.persisted(&covers, &at)
    }

    /// Runs it as its session did. The inner error is the statement's own.
    async fn run_as_original(
        &mut self,
        ddl: &DdlWork,
        query: &Query<'_>,
    ) -> Result<Result<(), ServerError>, Error> {
        let mut no_database = None;
        if !query.database.is_empty() && ddl.event.flags() & SUPPRESS_USE == 0 {
            no_database = self.use_database(&String::from_utf8_lossy(query.database)).await?;
        }
        let as_original = [
            settings(&ddl.event, &query.settings()).into_bytes(),
            format!("SET gtid_next = '{}'", ddl.gtid).into_bytes(),
            query.sql.to_vec(),
        ];
        let max = self.max_event_bytes;
        let malformed = |source| Error::Event { gtid: ddl.gtid.to_string(), source };
        let rows = ddl.rows.batches().flat_map(|batch| match batch {
            Ok(batch) => {
                binlog_statements(batch.iter(), |_| false, max).map(|s| s.map_err(malformed)).collect()
            }
            Err(error) => vec![Err(error)],
        });
        let commit = super::opens_transaction(query).then(|| b"COMMIT".to_vec());
        for step in as_original.into_iter().map(Ok).chain(rows).chain(commit.map(Ok)) {
            match self.connection.query(step?).await {
                Ok(_) => {}
                Err(wire::Error::Server(error)) if error.is_transient() => return Ok(Err(error)),
                Err(wire::Error::Server(error)) => return Ok(Err(no_database.unwrap_or(error))),
                Err(error) => return Err(Error::target("running DDL")(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Enters the database that the statement's session was in. When it can't be entered, all is well as long
    /// as the statement names the database of each table; but the session would stay in that of an earlier
    /// statement, where a bare name may be another table. So it goes where nothing can be changed, and the
    /// reason is kept for the case that the statement fails there.
    async fn use_database(&mut self, name: &str) -> Result<Option<ServerError>, Error> {
        let failed = Error::target("entering a database");
        match self.connection.query(format!("USE {}", sql::name(name))).await {
            Ok(_) => Ok(None),
            // Access denied, which hides whether there is one; unknown database.
            Err(wire::Error::Server(error)) if matches!(error.code, 1044 | 1049) => {
                self.connection.query("USE information_schema").await.map_err(failed)?;
                Ok(Some(error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// After a DDL, good or bad: out of any transaction, out of its GTID, back to the applier's own settings.
    async fn back_to_normal(&mut self, explicit_defaults: bool) -> Result<(), Error> {
        let failed = Error::target("going back to normal after DDL");
        self.connection.execute("ROLLBACK").await.map_err(&failed)?;
        let back = "SET gtid_next = 'AUTOMATIC', timestamp = DEFAULT, auto_increment_increment = DEFAULT, \
                    auto_increment_offset = DEFAULT";
        self.connection.execute(back).await.map_err(&failed)?;
        if explicit_defaults {
            let back = "SET explicit_defaults_for_timestamp = DEFAULT";
            self.connection.execute(back).await.map_err(&failed)?;
        }
        target::prepare(&mut self.connection).await
    }
}

/// The session's settings as one statement: what the event tells, nothing else.
fn settings(event: &Event, vars: &StatusVars) -> String {
    let micros = vars.microseconds.unwrap_or(0);
    let mut set = vec![format!("timestamp = {}.{micros:06}", event.timestamp())];
    // A column that counts is filled by them; the event is silent about 1.
    let (increment, offset) = vars.auto_increment.unwrap_or((1, 1));
    set.push(format!("auto_increment_increment = {increment}, auto_increment_offset = {offset}"));
    if vars.explicit_defaults_for_timestamp == Some(false) {
        // Not everybody may set it, and without it a TIMESTAMP column would be another.
        set.push("explicit_defaults_for_timestamp = OFF".into());
    }
    if let Some(mode) = vars.sql_mode {
        set.push(format!("sql_mode = {mode}"));
    }
    if let Some((client, connection, server)) = vars.charsets {
        set.push(format!("character_set_client = {client}"));
        set.push(format!("collation_connection = {connection}"));
        set.push(format!("collation_server = {server}"));
    }
    if let Some(collation) = vars.default_collation_for_utf8mb4 {
        set.push(format!("default_collation_for_utf8mb4 = {collation}"));
    }
    if let Some(bits) = vars.option_bits {
        set.push(format!("foreign_key_checks = {}", u8::from(bits & OPTION_NO_FOREIGN_KEY_CHECKS == 0)));
    }
    if let Some(zone) = &vars.time_zone {
        set.push(format!("time_zone = {}", sql::text(zone)));
    }
    if let Some(locale) = vars.lc_time_names {
        set.push(format!("lc_time_names = {locale}"));
    }
    if let Some(encryption) = vars.default_table_encryption {
        set.push(format!("default_table_encryption = {}", u8::from(encryption)));
    }
    format!("SET SESSION {}", set.join(", "))
}

#[cfg(test)]
mod tests {
    use binlog::event::{Header, StatusVars};
    use binlog::{Event, EventKind};

    #[test]
    fn a_statement_runs_under_its_sessions_settings() {
        let header = Header { timestamp: 7, kind: EventKind::Query, server_id: 1, log_pos: 0, flags: 0 };
        let vars = StatusVars {
            sql_mode: Some(4),
            charsets: Some((33, 45, 255)),
            option_bits: Some(1 << 26),
            microseconds: Some(5),
            ..StatusVars::default()
        };
        let set = super::settings(&Event::build(&header, b""), &vars);
        assert_eq!(
            set,
            "SET SESSION timestamp = 7.000005, auto_increment_increment = 1, auto_increment_offset = 1, sql_mode = 4, character_set_client = 33, \
             collation_connection = 45, collation_server = 255, foreign_key_checks = 0"
        );
    }
}
