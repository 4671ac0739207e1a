//! The relay of a region: does it run, is it the right one, can it go on where it is, is there room for its log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use binlog::GtidSet;
use storage::{LogIdentity, LogView};
use twinlog::config::{File, Region, Relay};
use wire::{ConnectOptions, Connection};

use super::facts::Facts;
use super::report::{About, Finding};
use crate::command::bytes;
use crate::failure::Failure;

/// How long an answer of a relay may take.
const ANSWER: Duration = Duration::from_secs(10);
const ITEM: &str = "relay";

/// What is known of a relay, from itself or from its folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownRelay {
    pub(crate) server_uuid: Option<String>,
    /// What it has on disk, or had; with what it has purged.
    pub(crate) log: Option<Held>,
    /// It answers.
    pub(crate) runs: bool,
    /// Bytes its log takes in a folder on this host.
    pub(crate) bytes: Option<u64>,
    pub(crate) findings: Vec<Finding>,
}

/// GTIDs that a log holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) durable: GtidSet,
    pub(crate) purged: GtidSet,
}

/// Asks the relay, and looks into its folder where that is on this host.
pub(crate) async fn look(
    file: &File,
    region: &Region,
    relay: &Relay,
    options: &ConnectOptions,
) -> KnownRelay {
    let about = About::region(&region.name);
    let mut known = KnownRelay::default();
    let dir = relay.dir.clone();
    let folder = tokio::task::spawn_blocking(move || read_folder(&dir)).await;
    match folder.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
        Ok(Some((identity, view))) if identity.region == region.name && identity.sync == file.sync.name => {
            known.server_uuid = Some(identity.server_uuid);
            known.bytes = Some(view.segments().iter().map(|segment| segment.bytes).sum());
            known.log =
                Some(Held { durable: view.gtids_durable().clone(), purged: view.gtids_purged().clone() });
        }
        Ok(Some((identity, _))) => {
            let found = format!(
                "{} is the log of region {} of sync {}",
                relay.dir.display(),
                identity.region,
                identity.sync
            );
            let key = format!("[region.{}] relay.dir = another folder", region.name);
            known.findings.push(about.fail("relay_log", found).wanted("a folder of its own").setting(key));
        }
        Ok(None) => {}
        Err(error) => {
            let failure = Failure::from_diagnosis("the relay log cannot be read", &error);
            let command = format!("twinlog log check -c {} --region {}", file.path.display(), region.name);
            known.findings.push(about.fail("relay_log", failure.line()).command(command));
        }
    }
    let finding = match Connection::connect(options).await {
        Ok(connection) => ask(file, region, relay, connection, &mut known).await,
        Err(error @ (wire::Error::Connect { .. } | wire::Error::ConnectTimeout { .. })) => {
            let failure = Failure::from_error("it does not run", &error);
            let command = format!("twinlog relay -c {} --region {}", file.path.display(), region.name);
            about.warn(ITEM, failure.line()).wanted("running").command(command)
        }
        Err(error) => {
            let failure = Failure::from_diagnosis("nobody can attach to it", &error);
            let advice =
                failure.remedy().unwrap_or("correct relay.user, relay.password_file or relay.tls").to_owned();
            about.fail(ITEM, failure.reason()).wanted("a login").advice(advice)
        }
    };
    known.findings.insert(0, finding);
    known
}

fn read_folder(dir: &Path) -> Result<Option<(LogIdentity, LogView)>, storage::Error> {
    let Some(identity) = LogIdentity::read(dir)? else { return Ok(None) };
    Ok(Some((identity, LogView::new(dir)?)))
}

async fn ask(
    file: &File,
    region: &Region,
    relay: &Relay,
    mut connection: Connection,
    known: &mut KnownRelay,
) -> Finding {
    let about = About::region(&region.name);
    connection.set_answer_timeout(Some(ANSWER));
    let correct = format!("[region.{}] relay.address = where that region's relay listens", region.name);
    let said = match said(&mut connection).await {
        Ok(said) => said,
        Err(error) => {
            let failure = Failure::from_error("what answers there is no relay", &error);
            return about.fail(ITEM, failure.line()).wanted("a relay").setting(correct);
        }
    };
    let [sync, its_region, uuid, durable, purged] = said;
    if sync != file.sync.name || its_region != region.name {
        let found = format!("{} is the relay of region {its_region} of sync {sync}", connection.address());
        return about.fail(ITEM, found).wanted(format!("that of {}", region.name)).setting(correct);
    }
    known.runs = true;
    known.server_uuid = Some(uuid);
    if let (Ok(durable), Ok(purged)) = (durable.parse(), purged.parse()) {
        known.log = Some(Held { durable, purged });
    }
    let under = if connection.is_encrypted() { "under TLS" } else { "in plain TCP" };
    let found = format!("running at {}, {under}", connection.address());
    if connection.is_encrypted() || is_loopback(&relay.address) {
        return about.pass(ITEM, found);
    }
    about
        .warn(ITEM, found)
        .wanted("TLS beyond this host")
        .why("every row crosses in plain text")
        .setting(format!("[region.{}] relay.tls_cert, relay.tls_key, relay.tls_ca", region.name))
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn said(connection: &mut Connection) -> Result<[String; 5], wire::Error> {
    let query = "SELECT @@twinlog_sync, @@twinlog_region, @@global.server_uuid, @@global.gtid_executed, @@global.gtid_purged";
    let rows = connection.query_rows(query).await?;
    let row = rows.first().ok_or(wire::Error::Protocol { what: "no row where one belongs".into() })?;
    Ok([row.text_at(0)?, row.text_at(1)?, row.text_at(2)?, row.text_at(3)?, row.text_at(4)?])
}

/// Can the relay go on where it is? `lacks`: what it has and the source lacks, asked after it.
pub(crate) fn position(
    region: &Region,
    relay: &Relay,
    known: &KnownRelay,
    source: &Facts,
    lacks: &GtidSet,
) -> Finding {
    const ITEM: &str = "relay_position";
    let about = About::region(&region.name);
    let anew =
        format!("remove {} and copy the tables anew into the regions that read it", relay.dir.display());
    let Some(held) = &known.log else { return beginning(&about, region, relay, source) };
    let missing = source.purged.minus(&held.durable);
    if !missing.is_empty() {
        return about
            .fail(ITEM, format!("the source has purged what the relay log lacks: {missing}"))
            .wanted("nothing lost")
            .why("the relay was away for longer than the source keeps its logs; it will not jump over a gap")
            .advice(format!("add an address to mysql.address that still has them; or {anew}"));
    }
    if !lacks.is_empty() {
        return about
            .fail(ITEM, format!("the source lacks what the relay log has: {lacks}"))
            .wanted("one history")
            .why("it was restored, or lost transactions in a crash; other regions may have them")
            .advice(format!("add an address to mysql.address that has them; or {anew}"));
    }
    about.pass(ITEM, "the source still has all that comes behind the relay log")
}

/// An empty log.
fn beginning(about: &About, region: &Region, relay: &Relay, source: &Facts) -> Finding {
    const ITEM: &str = "relay_position";
    match &relay.start {
        relay::Start::Asked => {
            about.pass(ITEM, "no log yet: it begins where the links ask, or at the source's present")
        }
        relay::Start::Now => about.pass(ITEM, "no log yet: it begins at the source's present"),
        relay::Start::Oldest => about.pass(ITEM, "no log yet: it begins at the oldest the source has"),
        relay::Start::After(set) => {
            let missing = source.purged.minus(set);
            if missing.is_empty() {
                return about.pass(ITEM, "no log yet: the source has all that comes behind relay.start");
            }
            about
                .fail(ITEM, format!("the source has purged what comes behind relay.start: {missing}"))
                .wanted("a set that holds all the source has purged")
                .setting(format!("[region.{}] relay.start = \"oldest\"", region.name))
        }
    }
}

/// Is there room for what the log may grow to?
pub(crate) fn room(region: &Region, relay: &Relay, known: &KnownRelay) -> Finding {
    const ITEM: &str = "relay_disk";
    let about = About::region(&region.name);
    // A folder that is not there yet will be made here, if the relay is to run on this host.
    let here = known.bytes.is_some() || is_loopback(&relay.listen);
    let Some(existing) = nearest(&relay.dir).filter(|_| here) else {
        return about.skipped(ITEM, format!("{} is not on this host", relay.dir.display()));
    };
    let free = match rustix::fs::statvfs(&existing) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return about.skipped(ITEM, format!("{}: {error}", existing.display())),
    };
    let room = free.saturating_add(known.bytes.unwrap_or(0));
    let found = format!("{} for {}", bytes(room), relay.dir.display());
    let wanted = format!("relay.max_size = {}", bytes(relay.max_size));
    if room >= relay.max_size {
        return about.pass(ITEM, found).wanted(wanted);
    }
    about
        .warn(ITEM, found)
        .wanted(wanted)
        .why("the disk is full before the relay is at its limit and says so")
        .setting(format!("[region.{}] relay.max_size = \"{}MiB\"", region.name, (room / 10 * 9) >> 20))
        .advice("or give the folder a larger disk")
}

/// The folder, or the nearest above it that there is.
fn nearest(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|dir| dir.is_dir()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use binlog::GtidSet;

    use super::{Held, KnownRelay, is_loopback, position, room};
    use crate::check::facts::Facts;
    use crate::check::fixtures::file;
    use crate::check::report::Outcome;

    fn set(text: &str) -> GtidSet {
        text.replace('a', "00000000-0000-0000-0000-00000000000a").parse().unwrap()
    }

    fn status(durable: Option<&str>, purged: &str, lacks: &str, start: relay::Start) -> Outcome {
        let mut file = file();
        let region = file.regions.get_mut("eu").unwrap();
        let mut relay = region.relay.clone().unwrap();
        relay.start = start;
        let log = durable.map(|durable| Held { durable: set(durable), purged: GtidSet::new() });
        let known = KnownRelay { log, ..KnownRelay::default() };
        let source = Facts { purged: set(purged), ..Facts::default() };
        position(region, &relay, &known, &source, &set(lacks)).status
    }

    #[test]
    fn a_relay_goes_on_only_where_nothing_is_lost_on_either_side() {
        let now = || relay::Start::Now;
        assert_eq!(status(Some("a:1-50"), "a:1-50", "", now()), Outcome::Pass);
        assert_eq!(status(Some("a:1-50"), "a:1-51", "", now()), Outcome::Fail);
        assert_eq!(status(Some("a:1-50"), "a:1-20", "a:50", now()), Outcome::Fail);
    }

    #[test]
    fn an_empty_log_begins_where_the_source_still_has_everything() {
        assert_eq!(status(None, "a:1-50", "", relay::Start::Now), Outcome::Pass);
        assert_eq!(status(None, "a:1-50", "", relay::Start::After(set("a:1-60"))), Outcome::Pass);
        assert_eq!(status(None, "a:1-50", "", relay::Start::After(set("a:1-40"))), Outcome::Fail);
    }

    #[test]
    fn a_limit_beyond_the_disk_is_worth_a_word() {
        let file = file();
        let region = &file.regions["eu"];
        let mut relay = region.relay.clone().unwrap();
        relay.dir = std::env::temp_dir().join("no").join("such");
        let with = |max_size| {
            let relay = twinlog::config::Relay { max_size, ..relay.clone() };
            room(region, &relay, &KnownRelay::default()).status
        };
        assert_eq!(with(1), Outcome::Pass);
        assert_eq!(with(u64::MAX), Outcome::Warn);
    }

    #[test]
    fn loopback_has_several_names() {
        assert!(is_loopback("127.0.0.1:1") && is_loopback("[::1]:1") && is_loopback("localhost:1"));
        assert!(!is_loopback("10.0.0.1:1"));
    }
}
