//! A report for people: by region, pair and file, lined up, coloured on a terminal.

use std::fmt::Write;

use super::report::{About, Counts, Finding, Fix, FixKind, Outcome, Report, Scope};

/// Wide enough for most names, so that values of all groups stand below each other.
const WIDEST_NAME: usize = 44;

/// The whole report; `colour` where a terminal takes it.
pub(crate) fn render(report: &Report, colour: bool) -> String {
    let names = report.items.iter().map(|f| name(f).chars().count()).filter(|w| *w <= WIDEST_NAME);
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    let mut group = None;
    for finding in &report.items {
        let heading = heading(&finding.about);
        if group.as_ref() != Some(&heading) {
            if group.is_some() {
                text.push('\n');
            }
            text += &format!("{heading}\n");
            group = Some(heading);
        }
        line(&mut text, finding, width, colour);
    }
    text.push('\n');
    text += &last_line(&report.counts, colour);
    text
}

fn heading(about: &About) -> String {
    let region = about.region.as_deref().unwrap_or_default();
    match (about.scope, &about.server, &about.other_region) {
        (Scope::Server, Some(server), _) => format!("region {region}, server {server}"),
        (Scope::Pair, _, Some(other)) => format!("between {region} and {other}"),
        (Scope::File, ..) => "file".into(),
        _ => format!("region {region}"),
    }
}

fn name(finding: &Finding) -> String {
    match &finding.subject {
        Some(subject) => format!("{} {}", finding.item, printable(subject)),
        None => finding.item.into(),
    }
}

fn line(text: &mut String, finding: &Finding, width: usize, colour: bool) {
    let name = name(finding);
    let mark = mark(finding.status, colour);
    let found = printable(&finding.found);
    // Writing to a string does not fail.
    let _ = write!(text, "  {mark}  {name:<width$}  {found}");
    if let Some(wanted) = finding.wanted.as_ref().filter(|_| finding.status != Outcome::Pass) {
        let _ = write!(text, "  (wanted: {})", printable(wanted));
    }
    text.push('\n');
    if finding.status == Outcome::Pass {
        return;
    }
    if let Some(why) = &finding.why {
        let _ = writeln!(text, "        why: {}", printable(why));
    }
    for fix in &finding.fix {
        let _ = writeln!(text, "        fix: {}", fix_line(fix));
    }
}

fn fix_line(fix: &Fix) -> String {
    let at = fix.region.as_ref().map(|region| format!(" [{region}]")).unwrap_or_default();
    // A statement may have lines of its own; it stays one that can be copied.
    let text = fix.text.replace('\n', " ");
    let text = printable(&text);
    match fix.kind {
        FixKind::Sql => format!("{};{at}", text.trim_end_matches(';')),
        FixKind::Option => format!("under [mysqld], then a restart: {text}{at}"),
        FixKind::Setting => format!("in the configuration: {text}"),
        FixKind::Command => format!("run: {text}"),
        FixKind::Advice => text,
    }
}

fn mark(outcome: Outcome, colour: bool) -> String {
    let (word, code) = match outcome {
        Outcome::Pass => ("pass", "32"),
        Outcome::Warn => ("WARN", "33"),
        Outcome::Fail => ("FAIL", "31"),
        Outcome::Skipped => ("skip", "36"),
    };
    paint(word, code, colour)
}

fn paint(word: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.into() }
}

fn last_line(counts: &Counts, colour: bool) -> String {
    let Counts { pass, warn, fail, skipped } = counts;
    let verdict = match (fail, warn) {
        (0, 0) => paint("ok", "32", colour),
        (0, _) => paint("ok, with warnings", "33", colour),
        _ => paint("not ok", "31", colour),
    };
    format!("{verdict}: {pass} passed, {warn} warnings, {fail} failed, {skipped} skipped\n")
}

/// Nothing that a terminal would obey: names and values are other people's.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::check::report::{About, Report};

    fn report() -> Report {
        let eu = About::server("eu", "h:1");
        Report::new(
            "shop",
            vec![
                eu.pass("gtid_mode", "ON").wanted("ON").why("unseen"),
                eu.fail("binlog_format", "MIXED")
                    .wanted("ROW")
                    .why("no rows")
                    .sql("SET PERSIST binlog_format = ROW"),
                About::pair("eu", "us").warn("time_zone", "UTC in eu,\x1b[2J in us"),
            ],
        )
    }

    #[test]
    fn values_stand_below_each_other_and_failures_carry_their_fix() {
        let text = render(&report(), false);
        let wanted = "\
region eu, server h:1
  pass  gtid_mode      ON
  FAIL  binlog_format  MIXED  (wanted: ROW)
        why: no rows
        fix: SET PERSIST binlog_format = ROW; [eu]

between eu and us
  WARN  time_zone      UTC in eu,\\u{1b}[2J in us

not ok: 1 passed, 1 warnings, 1 failed, 0 skipped
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn colour_is_there_only_when_asked_for() {
        assert!(!render(&report(), false).contains('\x1b'));
        assert!(render(&report(), true).contains("\x1b[31mFAIL\x1b[0m"));
    }
}
