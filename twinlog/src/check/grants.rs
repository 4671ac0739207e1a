//! Which privileges are missing, from what was tried, and the GRANT that gives them.

use super::privileges::Probed;
use super::report::{About, Finding};

/// The findings of one server: one for each item that is whole, one for each place where privileges are missing.
pub(crate) fn judge(about: &About, probed: &[Probed]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut items: Vec<&'static str> = probed.iter().map(|p| p.item).collect();
    items.dedup();
    for item in items {
        let own: Vec<_> = probed.iter().filter(|p| p.item == item).collect();
        let missing: Vec<_> = own.iter().filter(|p| p.refused.is_some()).collect();
        if missing.is_empty() {
            let mut names: Vec<&str> = own.iter().map(|p| p.privilege).collect();
            names.sort_unstable();
            names.dedup();
            findings.push(about.pass(item, names.join(", ")));
        }
        let mut places: Vec<(&str, bool)> = missing.iter().map(|p| (p.on.as_str(), p.needed)).collect();
        places.dedup();
        for (on, needed) in places {
            let lacked: Vec<_> = missing.iter().filter(|p| p.on == on && p.needed == needed).collect();
            let names = lacked.iter().map(|p| p.privilege).collect::<Vec<_>>().join(", ");
            let Some(first) = lacked.first() else { continue };
            let found = format!("lacks {names} on {on}");
            let finding = if needed { about.fail(item, found) } else { about.warn(item, found) };
            let finding = finding.on(&first.account).wanted(&names).why(why(item, first));
            findings.push(finding.sql(format!("GRANT {names} ON {on} TO {}", first.account)));
        }
    }
    findings
}

fn why(item: &str, probe: &Probed) -> String {
    let said = probe.refused.as_deref().unwrap_or_default();
    let what = match item {
        "reader_dump" => "the relay can't read this server's binary log",
        "reader_privileges" => "the relay can't ask where this server's binary log is",
        "reader_select" => "an initial copy and a comparison of the regions read the tables with it",
        "writer_ddl" if !probe.needed => "views that the source makes can't be made here, and stop the link",
        "writer_ddl" => "the link carries DDL, and stops at the first statement of this kind",
        "writer_meta" => "checkpoints are kept there",
        _ => "the applier can't write here",
    };
    format!("{what}; the server says: {said}")
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::check::privileges::Probed;
    use crate::check::report::{About, Outcome};

    fn probed(item: &'static str, privilege: &'static str, needed: bool, refused: Option<&str>) -> Probed {
        Probed {
            item,
            privilege,
            on: "`shop`.*".into(),
            account: "'w'@'%'".into(),
            needed,
            refused: refused.map(Into::into),
        }
    }

    #[test]
    fn a_whole_item_is_one_line_and_what_is_missing_in_one_place_is_one_grant() {
        let about = About::server("eu", "h:1");
        let all = [
            probed("writer_rows", "SELECT", true, None),
            probed("writer_rows", "INSERT", true, None),
            probed("writer_ddl", "CREATE", true, Some("denied")),
            probed("writer_ddl", "ALTER", true, Some("denied")),
            probed("writer_ddl", "DROP", true, None),
            probed("writer_ddl", "CREATE VIEW", false, Some("denied")),
        ];
        let findings = judge(&about, &all);
        let short: Vec<_> = findings.iter().map(|f| (f.item, f.status)).collect();
        assert_eq!(
            short,
            [("writer_rows", Outcome::Pass), ("writer_ddl", Outcome::Fail), ("writer_ddl", Outcome::Warn)]
        );
        assert_eq!(findings[0].found, "INSERT, SELECT");
        assert_eq!(findings[1].fix[0].text, "GRANT CREATE, ALTER ON `shop`.* TO 'w'@'%'");
    }
}
