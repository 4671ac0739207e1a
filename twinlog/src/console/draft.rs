//! A new link's configuration: the text to save, and what the file's own reader says of it.
//!
//! The reader sees the file with the draft in it, so a contradiction between old and new is told like one within the
//! draft. Nothing is written.

use std::path::Path;

use serde_json::{Value, json};
use toml::{Table, Value as Toml};
use twinlog::config::{self, Fault, File};

use super::actions::Refusal;

/// `[sync] tables` as the file has them.
pub(super) fn patterns(file: &File) -> Vec<String> {
    let root: Table = file.text.expose().parse().unwrap_or_default();
    match root.get("sync").and_then(|sync| sync.get("tables")) {
        Some(Toml::Array(all)) => all.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect(),
        Some(Toml::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Drafts what the form says: `{toml, replaces, faults, warnings}`.
pub(super) fn check(file: &File, form: &Value) -> Result<Value, Refusal> {
    let text = std::fs::read_to_string(&file.path)
        .map_err(|e| Refusal::bad(format!("{} can't be read: {e}", file.path.display())))?;
    let draft = Draft::of(form, &patterns(file));
    let root: Table = text.parse().map_err(|e| Refusal::bad(format!("{}: {e}", file.path.display())))?;
    let (faults, warnings) = draft.read(root, &file.path);
    Ok(json!({
        "toml": draft.text(),
        "replaces": draft.tables.is_some(),
        "faults": faults.iter().map(shown).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(shown).collect::<Vec<_>>(),
    }))
}

fn shown(fault: &Fault) -> Value {
    json!({ "key": fault.key, "message": fault.message })
}

/// What is to be added to the file.
struct Draft {
    /// `[sync] tables`, when it changes.
    tables: Option<Vec<String>>,
    /// `[link.NAME]`, its lines in the order people write them.
    links: Vec<(String, Vec<(&'static str, Toml)>)>,
}

impl Draft {
    fn of(form: &Value, before: &[String]) -> Self {
        let text = |key: &str| form[key].as_str().unwrap_or_default().trim().to_owned();
        let (from, to) = (text("from"), text("to"));
        let name = Some(text("name")).filter(|n| !n.is_empty()).unwrap_or_else(|| format!("{from}-{to}"));
        let way = |from: &str, to: &str, policy: &str, is_back: bool| {
            let mut link = Vec::new();
            let mut set = |key: &'static str, value: Toml| link.push((key, value));
            set("from", from.into());
            set("to", to.into());
            let initial = if is_back { "none".into() } else { text("initial") };
            let copies = initial != "none";
            set("initial", initial.into());
            if copies {
                set("existing", text("existing").into());
            }
            set("on_conflict", policy.into());
            if !text("detect").is_empty() {
                set("detect", text("detect").into());
            }
            let operations: Vec<&str> =
                form["operations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if operations.len() < 3 {
                set("operations", operations.into());
            }
            if form["ddl"] == true && !is_back {
                set("ddl", true.into());
            }
            if let Ok(workers) = text("workers").parse::<i64>() {
                set("workers", workers.into());
            }
            if !text("start_at").is_empty() {
                set("start_at", text("start_at").into());
            }
            link
        };
        let mut links = vec![(name, way(&from, &to, &text("on_conflict"), false))];
        if form["both"] == true {
            links.push((format!("{to}-{from}"), way(&to, &from, &text("back_conflict"), true)));
        }
        let added: Vec<String> = form["tables"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut tables = before.to_vec();
        tables.extend(added.iter().filter(|t| !before.contains(t)).cloned());
        Self { tables: (tables.len() > before.len()).then_some(tables), links }
    }

    /// The text to save.
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(tables) = &self.tables {
            let list: Vec<String> = tables.iter().map(|t| Toml::from(t.as_str()).to_string()).collect();
            parts.push(format!("[sync]\ntables = [{}]\n", list.join(", ")));
        }
        for (name, link) in &self.links {
            let lines: String = link.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            parts.push(format!("[link.{}]\n{lines}", key(name)));
        }
        parts.join("\n")
    }

    /// What the file's reader says of the file with this in it: faults, and warnings.
    fn read(&self, mut root: Table, path: &Path) -> (Vec<Fault>, Vec<Fault>) {
        let mut faults = Vec::new();
        if let Some((tables, Some(Toml::Table(sync)))) =
            self.tables.as_ref().map(|t| (t, root.get_mut("sync")))
        {
            sync.insert("tables".into(), tables.clone().into());
        }
        let links = root.entry("link").or_insert_with(|| Toml::Table(Table::new()));
        let Toml::Table(links) = links else { return (faults, Vec::new()) };
        for (name, link) in &self.links {
            let table: Table = link.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            if links.insert(name.clone(), Toml::Table(table)).is_some() {
                let message = "the file has a link of this name already; give this one another, or change that one by hand";
                faults.push(Fault { line: 0, key: format!("link.{name}"), message: message.into() });
            }
        }
        match config::parse(&root.to_string(), path) {
            Ok(file) => (faults, file.warnings),
            Err(found) => {
                faults.extend(found.list);
                (faults, Vec::new())
            }
        }
    }
}

/// A key, quoted where it must be.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { Toml::from(name).to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use toml::Table;
    use twinlog::config;

    use super::Draft;

    const FILE: &str = "[sync]\nname = \"shop\"\ntables = \"shop.*\"\nstate_dir = \"s\"\nallow_inline_secrets = true\n\
        [region.eu]\nmysql.address = \"a\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:1\"\nrelay.password = \"p\"\n\
        [region.us]\nmysql.address = \"b\"\nmysql.user = \"u\"\nrelay.listen = \"127.0.0.1:2\"\nrelay.password = \"p\"\n";

    fn form() -> serde_json::Value {
        json!({ "from": "eu", "to": "us", "name": "", "both": true, "initial": "none", "existing": "error",
            "on_conflict": "overwrite", "back_conflict": "ignore", "detect": "", "ddl": true,
            "operations": ["insert", "update", "delete"], "tables": [], "workers": "", "start_at": "" })
    }

    #[test]
    fn what_the_form_shows_is_a_file_that_reads_well_once_it_is_saved() {
        let draft = Draft::of(&form(), &["shop.*".into()]);
        let text = draft.text();
        assert!(text.contains("[link.eu-us]\n") && text.contains("ddl = true"), "{text}");
        let saved = config::parse(&format!("{FILE}{text}"), Path::new("shop.toml")).unwrap();
        assert_eq!(saved.links.keys().collect::<Vec<_>>(), ["eu-us", "us-eu"]);
        let (faults, _) = draft.read(FILE.parse::<Table>().unwrap(), Path::new("shop.toml"));
        assert_eq!(faults, []);
    }

    #[test]
    fn what_contradicts_the_file_is_told_by_key() {
        let mut form = form();
        form["on_conflict"] = "newest".into();
        let draft = Draft::of(&form, &["shop.*".into()]);
        let (faults, _) = draft.read(FILE.parse::<Table>().unwrap(), Path::new("shop.toml"));
        assert!(faults.iter().any(|f| f.message.contains("newest")), "{faults:?}");
        let there: Table = format!("{FILE}[link.eu-us]\nfrom = \"eu\"\nto = \"us\"\n").parse().unwrap();
        let (faults, _) = draft.read(there, Path::new("shop.toml"));
        assert!(faults.iter().any(|f| f.key == "link.eu-us"), "{faults:?}");
    }

    #[test]
    fn further_tables_are_added_to_those_in_step() {
        let mut form = form();
        form["tables"] = json!(["shop.a", "other.b"]);
        let draft = Draft::of(&form, &["shop.a".into()]);
        assert!(draft.text().starts_with("[sync]\ntables = [\"shop.a\", \"other.b\"]\n"), "{}", draft.text());
    }
}
