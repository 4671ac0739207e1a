//! What relays and appliers say, put together per link.

use std::collections::BTreeMap;

use applier::{LoadStatus, StatusError};
use binlog::GtidSet;
use serde::Serialize;
use twinlog::config::{File, Link};

use crate::admin::{Kind, ProcessStatus, Unreachable};
use crate::command::verify::{LastVerified, last_verified};

/// A process that does not answer is in this state.
pub(super) const UNREACHABLE: &str = "unreachable";

/// The whole sync at one moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SyncReport {
    /// Its name.
    pub(crate) sync: String,
    /// Every link, by name.
    pub(crate) links: Vec<LinkReport>,
    /// Every relay, by region.
    pub(crate) relays: Vec<relay::Status>,
    /// The last comparison of the regions on this host.
    pub(crate) verified: Option<LastVerified>,
}

/// One link. What nobody could tell is `null`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LinkReport {
    /// Its name.
    pub(crate) link: String,
    /// The region it reads.
    pub(crate) from: String,
    /// The region it writes into.
    pub(crate) to: String,
    /// The applier's state: one of `applier::State`'s words, or `unreachable`.
    pub(crate) state: String,
    /// Since when, Unix time in seconds.
    pub(crate) since: Option<f64>,
    /// Why it is in this state, or what it waits for.
    pub(crate) reason: Option<String>,
    /// The relay's state; `null` where the link reads a server directly.
    pub(crate) relay_state: Option<String>,
    /// What the applier attached to.
    pub(crate) source: Option<String>,
    /// What it writes into.
    pub(crate) target: Option<String>,
    /// Source GTIDs the relay has received.
    pub(crate) gtid_received: Option<String>,
    /// Source GTIDs the relay has on disk, or had and purged.
    pub(crate) gtid_durable: Option<String>,
    /// Source GTIDs applied or passed over.
    pub(crate) gtid_applied: Option<String>,
    /// The last source GTID the applier received.
    pub(crate) last_gtid: Option<String>,
    /// Durable and not applied.
    pub(crate) lag_transactions: Option<u64>,
    /// Seconds behind the source.
    pub(crate) lag_seconds: Option<f64>,
    /// Source transactions applied since start.
    pub(crate) transactions_applied: Option<u64>,
    /// Row changes applied since start.
    pub(crate) rows_applied: Option<u64>,
    /// Target transactions committed since start.
    pub(crate) groups_committed: Option<u64>,
    /// DDL statements applied since start.
    pub(crate) ddl_applied: Option<u64>,
    /// Conflicts decided since start.
    pub(crate) conflicts: Option<u64>,
    /// Transactions dropped because they began in the target.
    pub(crate) echo_dropped: Option<u64>,
    /// Transactions in which nothing is in step.
    pub(crate) filtered: Option<u64>,
    /// The comparisons of its regions, where it has `verify`.
    pub(crate) verify: Option<applier::verify::VerifyStatus>,
    /// The applier's last error, or why it can't be reached.
    pub(crate) last_error: Option<String>,
    /// The applier's last error in its parts: does it pass by itself, since when, when is the next try.
    pub(crate) error: Option<StatusError>,
    /// How far the initial copy is, while there is one.
    pub(crate) load: Option<LoadStatus>,
}

/// What was answered, by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    relays: BTreeMap<String, Result<relay::Status, Unreachable>>,
    appliers: BTreeMap<String, Result<applier::Status, Unreachable>>,
}

impl Answers {
    /// What the applier of this link says of itself, if it answers.
    pub(crate) fn applier(&self, link: &str) -> Option<&applier::Status> {
        self.appliers.get(link)?.as_ref().ok()
    }

    /// What the relay of this region says of itself, if it answers.
    pub(crate) fn relay(&self, region: &str) -> Option<&relay::Status> {
        self.relays.get(region)?.as_ref().ok()
    }

    pub(super) fn add(&mut self, kind: Kind, name: String, answer: Result<ProcessStatus, Unreachable>) {
        match (kind, answer) {
            (_, Ok(ProcessStatus::Relay(status))) => drop(self.relays.insert(name, Ok(status))),
            (_, Ok(ProcessStatus::Applier(status))) => drop(self.appliers.insert(name, Ok(status))),
            (Kind::Relay, Err(error)) => drop(self.relays.insert(name, Err(error))),
            (Kind::Applier | Kind::Up, Err(error)) => drop(self.appliers.insert(name, Err(error))),
        }
    }
}

impl SyncReport {
    /// Everybody answers and nobody has failed.
    pub(crate) fn is_well(&self) -> bool {
        let bad = |state: &str| state == UNREACHABLE || state == "failed";
        !self.links.iter().any(|l| bad(&l.state)) && !self.relays.iter().any(|r| bad(&r.state))
    }
}

/// Puts the answers together.
pub(crate) fn merge(file: &File, answers: &Answers) -> SyncReport {
    let relays =
        file.regions.values().filter(|r| r.relay.is_some()).map(|r| relay_of(&r.name, answers)).collect();
    let links = file.links.values().map(|link| link_of(link, file, answers)).collect();
    let verified = last_verified(&file.sync.state_dir);
    SyncReport { sync: file.sync.name.clone(), links, relays, verified }
}

/// A relay's own words, or that it does not answer and why.
pub(crate) fn relay_of(region: &str, answers: &Answers) -> relay::Status {
    match answers.relays.get(region) {
        Some(Ok(status)) => status.clone(),
        other => relay::Status {
            region: region.to_owned(),
            state: UNREACHABLE.into(),
            last_error: Some(reason(other.and_then(|r| r.as_ref().err()))),
            ..relay::Status::default()
        },
    }
}

fn link_of(link: &Link, file: &File, answers: &Answers) -> LinkReport {
    let relay = answers.relays.get(&link.from);
    let mut report = LinkReport {
        link: link.name.clone(),
        from: link.from.clone(),
        to: link.to.clone(),
        relay_state: file.regions.get(&link.from).filter(|r| r.relay.is_some()).map(|_| match relay {
            Some(Ok(status)) => status.state.clone(),
            _ => UNREACHABLE.into(),
        }),
        ..LinkReport::default()
    };
    if let Some(Ok(relay)) = relay {
        report.gtid_received = Some(relay.gtid_received.clone());
        report.gtid_durable = Some(relay.gtid_durable.clone());
    }
    match answers.appliers.get(&link.name) {
        Some(Ok(applier)) => report.fill(applier),
        other => {
            report.state = UNREACHABLE.into();
            report.last_error = Some(reason(other.and_then(|r| r.as_ref().err())));
        }
    }
    report
}

impl LinkReport {
    fn fill(&mut self, applier: &applier::Status) {
        self.state = applier.state.to_string();
        self.since = Some(applier.since);
        self.reason.clone_from(&applier.reason);
        self.source = Some(applier.source.clone());
        self.target = Some(applier.target.clone());
        self.gtid_applied = Some(applier.gtid_applied.clone());
        self.last_gtid = Some(applier.last_gtid.clone());
        let durable = self.gtid_durable.as_deref().and_then(|d| behind(d, &applier.gtid_applied));
        // What the relay has not received yet counts too, where the applier knows of it.
        self.lag_transactions = durable.max(applier.lag_transactions);
        self.lag_seconds = Some(applier.lag_seconds);
        self.transactions_applied = Some(applier.transactions_applied);
        self.rows_applied = Some(applier.rows_applied);
        self.groups_committed = Some(applier.groups_committed);
        self.ddl_applied = Some(applier.ddl_applied);
        self.conflicts = Some(applier.conflicts);
        self.echo_dropped = Some(applier.echo_dropped);
        self.filtered = Some(applier.filtered);
        self.last_error.clone_from(&applier.last_error);
        self.verify.clone_from(&applier.verify);
        self.error.clone_from(&applier.error);
        self.load.clone_from(&applier.load);
    }
}

/// How many transactions of `durable` are not in `applied`; `None` when one of them is no GTID set.
fn behind(durable: &str, applied: &str) -> Option<u64> {
    let (durable, applied): (GtidSet, GtidSet) = (durable.parse().ok()?, applied.parse().ok()?);
    Some(durable.minus(&applied).count())
}

fn reason(error: Option<&Unreachable>) -> String {
    error.map_or_else(|| "was not asked".into(), |e| e.0.clone())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use applier::State;
    use twinlog::config::{self, File};

    use super::{Answers, UNREACHABLE, behind, merge};
    use crate::admin::{Kind, ProcessStatus, Unreachable};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn file() -> File {
        let text = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"s\"\nallow_inline_secrets = true\n\
            [region.eu]\nmysql.address = \"a\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:1\"\nrelay.password = \"p\"\n\
            [region.us]\nmysql.address = \"b\"\nmysql.user = \"u\"\n\
            [link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n[link.us-eu]\nfrom = \"us\"\nto = \"eu\"\n";
        config::parse(text, Path::new("shop.toml")).unwrap()
    }

    fn answers() -> Answers {
        let mut answers = Answers::default();
        let relay = relay::Status {
            region: "eu".into(),
            state: "running".into(),
            gtid_durable: format!("{UUID}:1-10"),
            ..Default::default()
        };
        let applier = applier::Status {
            state: State::Running,
            gtid_applied: format!("{UUID}:1-3:5"),
            echo_dropped: 4,
            ..Default::default()
        };
        answers.add(Kind::Relay, "eu".into(), Ok(ProcessStatus::Relay(relay)));
        answers.add(Kind::Applier, "eu-us".into(), Ok(ProcessStatus::Applier(applier.clone())));
        answers.add(Kind::Applier, "us-eu".into(), Ok(ProcessStatus::Applier(applier)));
        answers
    }

    #[test]
    fn a_link_shows_what_its_relay_and_its_applier_know() {
        let report = merge(&file(), &answers());
        assert!(report.is_well());
        let link = &report.links[0];
        assert_eq!((link.link.as_str(), link.state.as_str()), ("eu-us", "running"));
        assert_eq!((link.lag_transactions, link.echo_dropped), (Some(6), Some(4)));
        // Read from a server directly: nobody knows what is durable there.
        let direct = &report.links[1];
        assert_eq!((direct.relay_state.as_deref(), direct.lag_transactions), (None, None));
        assert_eq!(report.relays.len(), 1);
    }

    #[test]
    fn who_does_not_answer_is_unreachable_with_the_reason() {
        let mut answers = answers();
        answers.add(Kind::Applier, "eu-us".into(), Err(Unreachable("connection refused".into())));
        let report = merge(&file(), &answers);
        assert!(!report.is_well());
        assert_eq!(report.links[0].state, UNREACHABLE);
        assert_eq!(report.links[0].last_error.as_deref(), Some("connection refused"));
        assert_eq!(report.links[0].rows_applied, None);
        assert!(report.links[0].gtid_durable.is_some());

        answers.add(Kind::Relay, "eu".into(), Err(Unreachable("gone".into())));
        let report = merge(&file(), &answers);
        assert_eq!(
            (report.relays[0].state.as_str(), report.relays[0].last_error.as_deref()),
            (UNREACHABLE, Some("gone"))
        );
        assert_eq!(report.links[0].relay_state.as_deref(), Some(UNREACHABLE));
    }

    #[test]
    fn what_is_durable_and_not_applied_is_behind() {
        assert_eq!(behind(&format!("{UUID}:1-10"), ""), Some(10));
        assert_eq!(behind("", &format!("{UUID}:1-10")), Some(0));
        assert_eq!(behind("?", ""), None);
    }
}
