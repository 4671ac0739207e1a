//! Running the steps, each once, under its own GTID.

use wire::Connection;

use super::Pause;
use super::steps::{self, Planned, State, Step};
use crate::origin::LinkKey;
use crate::{Error, sql, target};

/// Runs what has not run.
pub(super) async fn all(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    planned: &Planned,
    pause: Pause<'_>,
) -> Result<(), Error> {
    for step in planned.steps.iter().filter(|step| step.state == State::Planned) {
        pause.pass().await?;
        once(connection, schema, link, step).await?;
    }
    Ok(())
}

/// Runs a step, unless it has run, and notes that.
pub(super) async fn once(
    connection: &mut Connection,
    schema: &str,
    link: &LinkKey,
    step: &Step,
) -> Result<(), Error> {
    if !is_executed(connection, step).await? {
        let ran = run(connection, step).await?;
        back_to_normal(connection).await?;
        // A session that was cut off may have committed it meanwhile.
        if let Err(source) = ran
            && !is_executed(connection, step).await?
        {
            let statement = String::from_utf8_lossy(&step.statement).into_owned();
            return Err(Error::Structure { object: step.object.clone(), statement, source });
        }
    }
    steps::note_made(connection, schema, link, step).await?;
    tracing::info!(link = link.text(), object = step.object, gtid = %step.gtid, "made");
    Ok(())
}

/// A statement whose GTID is executed would be skipped without a word: so that is asked first.
async fn is_executed(connection: &mut Connection, step: &Step) -> Result<bool, Error> {
    let failed = Error::target("asking for an executed GTID");
    let query = format!("SELECT GTID_SUBSET('{}', @@GLOBAL.gtid_executed) AS executed", step.gtid);
    let rows = connection.query_rows(query).await.map_err(&failed)?;
    Ok(rows.single_text().map_err(failed)? == "1")
}

/// The inner error is the statement's own.
async fn run(connection: &mut Connection, step: &Step) -> Result<Result<(), wire::ServerError>, Error> {
    let session = &step.session;
    let mut statements = vec![
        format!(
            "SET SESSION sql_mode = {}, time_zone = {}, foreign_key_checks = 0",
            sql::text(&session.sql_mode),
            sql::text(&session.time_zone)
        )
        .into_bytes(),
    ];
    if let Some(inside) = &step.inside {
        statements.push(format!("USE {}", sql::name(inside)).into_bytes());
    }
    // Texts behind this are in the object's own character set.
    statements.push(
        format!(
            "SET SESSION character_set_client = {}, collation_connection = {}, gtid_next = '{}'",
            session.client, session.collation, step.gtid
        )
        .into_bytes(),
    );
    statements.push(step.statement.clone());
    for statement in statements {
        match connection.query(statement).await {
            Ok(_) => {}
            Err(wire::Error::Server(error)) => return Ok(Err(error)),
            Err(error) => return Err(Error::target("making what is missing")(error)),
        }
    }
    Ok(Ok(()))
}

/// Out of the GTID, back to the link's own settings.
async fn back_to_normal(connection: &mut Connection) -> Result<(), Error> {
    let failed = Error::target("going back to normal");
    connection.execute("SET SESSION character_set_client = utf8mb4").await.map_err(&failed)?;
    connection.execute("ROLLBACK").await.map_err(&failed)?;
    connection.execute("SET gtid_next = 'AUTOMATIC'").await.map_err(&failed)?;
    target::prepare(connection).await
}
