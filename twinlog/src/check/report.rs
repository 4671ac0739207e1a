//! What a check found: a list of findings, each with what is there, what is wanted, and what mends it.
//!
//! The serialized form is what `--json` prints, described in `docs/check.md`: fields may be added, none is renamed
//! or taken away while [`Report::version`] stays the same.

use serde::Serialize;

/// How a finding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// As it should be.
    Pass,
    /// Works, and may not be meant, or costs something.
    Warn,
    /// Does not work, or loses or damages something.
    Fail,
    /// Could not be found out.
    Skipped,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// One server of a region.
    Server,
    /// A region as a whole: its tables, its relay.
    Region,
    /// Two regions that are linked.
    Pair,
    /// The configuration file.
    File,
}

/// Whom a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct About {
    pub(crate) scope: Scope,
    pub(crate) region: Option<String>,
    /// The server's address.
    pub(crate) server: Option<String>,
    /// The second region of a pair.
    pub(crate) other_region: Option<String>,
}

impl About {
    /// One server of a region.
    pub(crate) fn server(region: &str, address: &str) -> Self {
        Self { server: Some(address.into()), ..Self::of(Scope::Server, Some(region)) }
    }

    /// A region.
    pub(crate) fn region(region: &str) -> Self {
        Self::of(Scope::Region, Some(region))
    }

    /// Two regions.
    pub(crate) fn pair(region: &str, other: &str) -> Self {
        Self { other_region: Some(other.into()), ..Self::of(Scope::Pair, Some(region)) }
    }

    /// The file.
    pub(crate) fn file() -> Self {
        Self::of(Scope::File, None)
    }

    fn of(scope: Scope, region: Option<&str>) -> Self {
        Self { scope, region: region.map(Into::into), server: None, other_region: None }
    }

    /// A finding about it.
    pub(crate) fn found(&self, item: &'static str, outcome: Outcome, found: impl Into<String>) -> Finding {
        Finding {
            item,
            about: self.clone(),
            subject: None,
            status: outcome,
            found: found.into(),
            wanted: None,
            why: None,
            fix: Vec::new(),
        }
    }

    /// It is as it should be.
    pub(crate) fn pass(&self, item: &'static str, found: impl Into<String>) -> Finding {
        self.found(item, Outcome::Pass, found)
    }

    /// It works, and may not be meant.
    pub(crate) fn warn(&self, item: &'static str, found: impl Into<String>) -> Finding {
        self.found(item, Outcome::Warn, found)
    }

    /// It does not work.
    pub(crate) fn fail(&self, item: &'static str, found: impl Into<String>) -> Finding {
        self.found(item, Outcome::Fail, found)
    }

    /// It could not be found out, for this reason.
    pub(crate) fn skipped(&self, item: &'static str, reason: impl std::fmt::Display) -> Finding {
        self.found(item, Outcome::Skipped, format!("skipped: {reason}"))
    }
}

/// What mends a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    pub(crate) kind: FixKind,
    /// The region at whose server it is done; `null` where that does not matter.
    pub(crate) region: Option<String>,
    pub(crate) text: String,
}

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FixKind {
    /// One statement, to be run as it stands.
    Sql,
    /// A line under `[mysqld]` in the server's option file, or a provider's parameter; then a restart.
    Option,
    /// A line of Twinlog's configuration file.
    Setting,
    /// A command to run.
    Command,
    /// What people do.
    Advice,
}

/// One item that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) item: &'static str,
    #[serde(flatten)]
    pub(crate) about: About,
    /// Which of several: a table, an account, a key of the file.
    pub(crate) subject: Option<String>,
    pub(crate) status: Outcome,
    pub(crate) found: String,
    pub(crate) wanted: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) fix: Vec<Fix>,
}

impl Finding {
    /// Which of several.
    #[must_use]
    pub(crate) fn on(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// What it should be.
    #[must_use]
    pub(crate) fn wanted(mut self, wanted: impl Into<String>) -> Self {
        self.wanted = Some(wanted.into());
        self
    }

    /// What happens as it is.
    #[must_use]
    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// A statement that mends it, at the region it is about.
    #[must_use]
    pub(crate) fn sql(self, text: impl Into<String>) -> Self {
        let region = self.about.region.clone();
        self.fix(FixKind::Sql, region, text)
    }

    /// A statement that mends it, at this region.
    #[must_use]
    pub(crate) fn sql_at(self, region: &str, text: impl Into<String>) -> Self {
        self.fix(FixKind::Sql, Some(region.into()), text)
    }

    /// A server option that mends it, at the region it is about.
    #[must_use]
    pub(crate) fn option(self, text: impl Into<String>) -> Self {
        let region = self.about.region.clone();
        self.fix(FixKind::Option, region, text)
    }

    /// A line of the configuration that mends it.
    #[must_use]
    pub(crate) fn setting(self, text: impl Into<String>) -> Self {
        self.fix(FixKind::Setting, None, text)
    }

    /// A command that mends it.
    #[must_use]
    pub(crate) fn command(self, text: impl Into<String>) -> Self {
        self.fix(FixKind::Command, None, text)
    }

    /// What people do about it.
    #[must_use]
    pub(crate) fn advice(self, text: impl Into<String>) -> Self {
        self.fix(FixKind::Advice, None, text)
    }

    fn fix(mut self, kind: FixKind, region: Option<String>, text: impl Into<String>) -> Self {
        self.fix.push(Fix { kind, region, text: text.into() });
        self
    }
}

/// How many findings ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) pass: usize,
    pub(crate) warn: usize,
    pub(crate) fail: usize,
    pub(crate) skipped: usize,
}

/// A whole check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Of this form.
    pub(crate) version: u32,
    /// The sync's name.
    pub(crate) sync: String,
    /// Nothing fails.
    pub(crate) ok: bool,
    pub(crate) counts: Counts,
    /// By region, then by pair, then of the file.
    pub(crate) items: Vec<Finding>,
}

impl Report {
    /// Puts findings in order: regions by name, each with its servers first; then pairs; then the file.
    pub(crate) fn new(sync: &str, mut items: Vec<Finding>) -> Self {
        // Servers stay in the order of the file, and all that was found of one together.
        let servers: Vec<String> = items.iter().filter_map(|f| f.about.server.clone()).collect();
        let place = |f: &Finding| match &f.about.server {
            Some(server) => servers.iter().position(|s| s == server),
            None => Some(usize::MAX),
        };
        items.sort_by_cached_key(|f| {
            (class(&f.about), f.about.region.clone(), f.about.other_region.clone(), place(f))
        });
        let of = |outcome| items.iter().filter(|f| f.status == outcome).count();
        let counts = Counts {
            pass: of(Outcome::Pass),
            warn: of(Outcome::Warn),
            fail: of(Outcome::Fail),
            skipped: of(Outcome::Skipped),
        };
        Self { version: 1, sync: sync.into(), ok: counts.fail == 0, counts, items }
    }
}

fn class(about: &About) -> u8 {
    match about.scope {
        Scope::Server | Scope::Region => 0,
        Scope::Pair => 1,
        Scope::File => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Outcome, Report};

    #[test]
    fn regions_come_first_then_pairs_then_the_file() {
        let items = vec![
            About::file().warn("f", ""),
            About::pair("eu", "us").pass("p", ""),
            About::region("us").pass("b", ""),
            About::region("eu").pass("t", ""),
            About::server("eu", "h:2").pass("a", ""),
            About::server("eu", "h:1").pass("c", ""),
            About::server("eu", "h:2").pass("d", ""),
        ];
        let report = Report::new("shop", items);
        let order: Vec<_> = report.items.iter().map(|f| f.item).collect();
        assert_eq!(order, ["a", "d", "c", "t", "b", "p", "f"]);
        assert!(report.ok);
        assert_eq!((report.counts.pass, report.counts.warn), (6, 1));
    }

    #[test]
    fn one_failure_fails_the_report_and_skips_do_not() {
        let of = |outcome| Report::new("shop", vec![About::file().found("x", outcome, "")]).ok;
        assert!(!of(Outcome::Fail));
        assert!(of(Outcome::Skipped) && of(Outcome::Warn) && of(Outcome::Pass));
    }

    #[test]
    fn the_form_for_programs_has_every_field_of_the_manual() {
        let finding =
            About::server("eu", "h:1").fail("binlog_format", "MIXED").wanted("ROW").why("w").sql("SET x");
        let json = serde_json::to_value(Report::new("shop", vec![finding])).unwrap();
        let wanted = serde_json::json!({
            "version": 1, "sync": "shop", "ok": false,
            "counts": {"pass": 0, "warn": 0, "fail": 1, "skipped": 0},
            "items": [{
                "item": "binlog_format", "scope": "server", "region": "eu", "server": "h:1",
                "other_region": null, "subject": null, "status": "fail", "found": "MIXED", "wanted": "ROW",
                "why": "w", "fix": [{"kind": "sql", "region": "eu", "text": "SET x"}]
            }]
        });
        assert_eq!(json, wanted);
    }
}
