//! What a relay or an applier looks at when it starts: the items that concern it, and refuses what would lose or
//! damage rows without a word.
//!
//! What stops a link by itself, with its remedy, is only warned of here: an administrator may mend it meanwhile.
//! A server that does not answer is no obstacle either: the process waits for it anyway.

use std::time::Duration;

use twinlog::config::File;
use wire::Connection;

use super::report::{About, Finding, Outcome};
use super::server::{self, Place};
use super::{gather, schema_read, settings, tables};
use crate::failure::Failure;

/// A start is not held up for longer.
const WITHIN: Duration = Duration::from_secs(5);

/// Items that refuse a start: nobody would notice otherwise.
const REFUSED: [&str; 6] =
    ["version", "log_bin", "binlog_format", "binlog_row_image", "binlog_filters", "engine"];

/// Looks at the servers that a region's relay reads.
pub(crate) async fn relay(file: &File, region: &str) -> Result<(), Failure> {
    let places = gather::places(file, region)?;
    let places = places.into_iter().map(|place| Place { writer: None, ..place });
    vet(file, places.collect()).await
}

/// Looks at the servers that a link's applier writes into.
pub(crate) async fn applier(file: &File, link: &str) -> Result<(), Failure> {
    let Some(link) = file.links.get(link) else { return Ok(()) };
    let places = gather::places(file, &link.to)?;
    let places = places.into_iter().map(|place| Place { reader: None, ..place });
    vet(file, places.collect()).await
}

async fn vet(file: &File, places: Vec<Place>) -> Result<(), Failure> {
    for place in places {
        let address = place.address().to_owned();
        match tokio::time::timeout(WITHIN, Box::pin(findings(file, &place))).await {
            Ok(Ok(findings)) => judge(&findings)?,
            Ok(Err(error)) => {
                let failure = Failure::from_error("no answer", &error);
                tracing::warn!(server = address, error = failure.line(), "not checked at the start");
            }
            Err(_) => tracing::warn!(server = address, "not checked at the start: no answer in time"),
        }
    }
    Ok(())
}

async fn findings(file: &File, place: &Place) -> Result<Vec<Finding>, wire::Error> {
    let Some(options) = place.reader.as_ref().or(place.writer.as_ref()) else { return Ok(Vec::new()) };
    let mut connection = Connection::connect(options).await?;
    if server::is_relay(&connection) {
        connection.close().await;
        return Ok(Vec::new());
    }
    let facts = server::facts_at_start(&mut connection).await?;
    let about = About::server(&place.region, place.address());
    let retain = file.regions.get(&place.region).and_then(|r| r.relay.as_ref()).map(|relay| relay.retain);
    let mut findings = settings::judge(&about, place, &facts, retain);
    if place.is_target() {
        let schema = schema_read::engines(&mut connection, file, &place.region).await?;
        findings.extend(tables::engines(&about, &schema));
    }
    connection.close().await;
    Ok(findings)
}

/// Logs what is not right, and refuses what must not be.
fn judge(findings: &[Finding]) -> Result<(), Failure> {
    let wrong = findings.iter().filter(|f| matches!(f.status, Outcome::Warn | Outcome::Fail));
    let (refused, warned): (Vec<_>, Vec<_>) =
        wrong.partition(|f| f.status == Outcome::Fail && REFUSED.contains(&f.item));
    for finding in warned {
        let (found, wanted) = (&finding.found, finding.wanted.as_deref().unwrap_or_default());
        let server = finding.about.server.as_deref().unwrap_or_default();
        tracing::warn!(server, item = finding.item, found, wanted, fix = remedy(finding), "check");
    }
    let Some(finding) = refused.first() else { return Ok(()) };
    let server = finding.about.server.as_deref().unwrap_or_default();
    let subject = finding.subject.as_deref().map(|s| format!(" of {s}")).unwrap_or_default();
    let wanted = finding.wanted.as_deref().unwrap_or_default();
    let error = format!(
        "check failed: {}{subject} at {server} is {}, and must be {wanted}",
        finding.item, finding.found
    );
    let why = finding.why.clone().unwrap_or_default();
    Err(Failure::failed(error).because(why).with_remedy(remedy(finding)))
}

fn remedy(finding: &Finding) -> String {
    finding.fix.iter().map(|fix| fix.text.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::check::report::About;

    #[test]
    fn only_what_would_lose_rows_without_a_word_refuses_a_start() {
        let eu = About::server("eu", "h:1");
        let told = eu.fail("binlog_row_metadata", "MINIMAL").wanted("FULL").sql("SET x");
        assert!(judge(&[told, eu.warn("sync_binlog", "0"), eu.pass("log_bin", "ON")]).is_ok());
        let silent =
            eu.fail("binlog_filters", "binlog_do_db = a").wanted("none").why("lost").option("no such line");
        let text = judge(&[silent]).unwrap_err().text();
        assert_eq!(
            text,
            "error: check failed: binlog_filters at h:1 is binlog_do_db = a, and must be none\n\
             cause: lost\nremedy: no such line\n"
        );
    }
}
