//! From the source's definitions to the statements that make them in the target, in an order that works. Pure.

use wire::ServerVersion;

use super::Programs;
use super::read::{Definition, Kind, Session};
use crate::filter::Filter;
use crate::{Error, ddl, sql};

/// From here on `DISABLE ON REPLICA` is understood.
const SAYS_REPLICA: ServerVersion = ServerVersion::new(8, 2, 0);

/// What a plan is made for.
pub(super) struct Wanted<'a> {
    pub(super) filter: &'a Filter,
    pub(super) programs: Programs,
    /// The target's.
    pub(super) version: ServerVersion,
}

/// A statement that makes an object in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Making {
    pub(super) kind: Kind,
    /// Its database and name in the target; a database has one name.
    pub(super) database: String,
    pub(super) name: String,
    /// Its database and name in the source.
    pub(super) of: (String, String),
    /// Names that are not qualified are in this database of the target.
    pub(super) inside: Option<String>,
    pub(super) statement: Vec<u8>,
    pub(super) session: Session,
}

impl Making {
    /// For people.
    pub(super) fn object(&self) -> String {
        match self.kind {
            Kind::Database => format!("{} {}", self.kind, self.database),
            _ => format!("{} {}.{}", self.kind, self.database, self.name),
        }
    }
}

/// Databases, tables, routines, views behind what they read, triggers, events.
pub(super) fn plan(definitions: Vec<Definition>, wanted: &Wanted<'_>) -> Result<Vec<Making>, Error> {
    let mut plan = databases(&definitions, wanted);
    let (views, mut others): (Vec<_>, Vec<_>) = definitions.into_iter().partition(|d| d.kind == Kind::View);
    others.retain(|d| d.kind != Kind::Database);
    others.sort_by_key(|d| d.kind);
    let behind = others.iter().position(|d| d.kind > Kind::View).unwrap_or(others.len());
    others.splice(behind..behind, in_order(views));
    for definition in others {
        plan.push(making(definition, wanted)?);
    }
    Ok(plan)
}

/// Every database of the target that something is made in, with the character set of the one it comes from.
fn databases(definitions: &[Definition], wanted: &Wanted<'_>) -> Vec<Making> {
    let mut made: Vec<Making> = Vec::new();
    let charset_of = |database: &str| {
        let found = definitions.iter().find(|d| d.kind == Kind::Database && d.database == database);
        found.map(|d| d.text.clone()).unwrap_or_default()
    };
    let names = wanted.filter.names();
    for definition in definitions {
        let there = match definition.kind {
            Kind::Database if names.is_whole(&definition.database) => {
                Some(names.database_there(&definition.database).to_owned())
            }
            Kind::Database => None,
            Kind::Table | Kind::View => names.there(&definition.database, &definition.name).map(|(d, _)| d),
            _ => Some(names.database_there(&definition.database).to_owned()),
        };
        let Some(there) = there.filter(|there| !made.iter().any(|m| m.database == *there)) else { continue };
        let mut statement = format!("CREATE DATABASE {} ", sql::name(&there)).into_bytes();
        statement.extend(charset_of(&definition.database));
        made.push(Making {
            kind: Kind::Database,
            database: there.clone(),
            name: there,
            of: (definition.database.clone(), definition.database.clone()),
            inside: None,
            statement,
            session: Session::default(),
        });
    }
    made
}

/// Views behind those that they read. A view can't read itself, not even through others.
fn in_order(mut views: Vec<Definition>) -> Vec<Definition> {
    let mut ordered = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let waits = |view: &Definition| {
            view.reads.iter().any(|(d, t)| views.iter().any(|v| v.database == *d && v.name == *t))
        };
        let next = views.iter().position(|view| !waits(view)).unwrap_or(0);
        ordered.push(views.remove(next));
    }
    ordered
}

fn making(definition: Definition, wanted: &Wanted<'_>) -> Result<Making, Error> {
    let names = wanted.filter.names();
    let object = format!("{} {}.{}", definition.kind, definition.database, definition.name);
    let refused = |why: String| Error::CannotMake { object: object.clone(), why };
    let (kind, of) = (definition.kind, (definition.database.clone(), definition.name.clone()));
    // What is to be changed in a text must be read first; in UTF-8 everything can be.
    let mut text = Err(definition.text);
    if definition.session.client.starts_with("utf8") {
        text = text.or_else(|bytes| String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes));
    }
    let needs_change = !names.is_empty() || kind == Kind::Event || wanted.programs.definer_is_writer;
    let text = match text {
        Err(bytes) if needs_change && kind != Kind::Table => {
            return match String::from_utf8(bytes) {
                Ok(text) if text.is_ascii() => {
                    changed(definition_with(kind, of, definition.table, definition.session, text), wanted)
                        .map_err(refused)
                }
                _ => Err(refused(format!(
                    "its text is in character set {}, in which names can't be replaced",
                    definition.session.client
                ))),
            };
        }
        Err(bytes) => {
            let inside = Some(names.database_there(&of.0).to_owned());
            let (database, name) = (of.0.clone(), of.1.clone());
            return Ok(Making {
                kind,
                database,
                name,
                of,
                inside,
                statement: bytes,
                session: definition.session,
            });
        }
        Ok(text) => text,
    };
    changed(definition_with(kind, of, definition.table, definition.session, text), wanted).map_err(refused)
}

/// A definition whose text can be read.
struct Readable {
    kind: Kind,
    of: (String, String),
    table: Option<String>,
    session: Session,
    text: String,
}

fn definition_with(
    kind: Kind,
    of: (String, String),
    table: Option<String>,
    session: Session,
    text: String,
) -> Readable {
    Readable { kind, of, table, session, text }
}

fn changed(definition: Readable, wanted: &Wanted<'_>) -> Result<Making, String> {
    let Readable { kind, of, table, session, mut text } = definition;
    let names = wanted.filter.names();
    if wanted.programs.definer_is_writer && kind != Kind::Table {
        text = ddl::without_definer(&text);
    }
    let there = |table: &str| {
        let there = names.there(&of.0, table);
        there.ok_or_else(|| format!("in the target {}.{table} is another table", of.0))
    };
    let (mut database, mut name) = (names.database_there(&of.0).to_owned(), of.1.clone());
    let mut inside = Some(database.clone());
    match kind {
        Kind::Table | Kind::View => {
            (database, name) = there(&of.1)?;
            text = ddl::qualified(&text, &of.0, names)?;
            inside = None;
        }
        Kind::Trigger => {
            let (its_database, its_name) = there(table.as_deref().unwrap_or_default())?;
            database.clone_from(&its_database);
            inside = Some(its_database);
            if Some(&its_name) != table.as_ref() {
                text =
                    ddl::trigger_on(&text, &its_name).ok_or("its table is not named where it is expected")?;
            }
        }
        Kind::Event => {
            let word = if wanted.version >= SAYS_REPLICA { "REPLICA" } else { "SLAVE" };
            text = ddl::disabled_event(&text, word);
        }
        Kind::Database | Kind::Function | Kind::Procedure | Kind::Indexes => {}
    }
    if kind > Kind::Table
        && kind != Kind::View
        && let Some(name) = ddl::mentions(&text, names)
    {
        return Err(format!(
            "it names {name}, which is called otherwise in the target; what it does is not rewritten"
        ));
    }
    Ok(Making { kind, database, name, of, inside, statement: text.into_bytes(), session })
}

#[cfg(test)]
mod tests {
    use super::{Making, Wanted, plan};
    use crate::filter::Filter;
    use crate::structure::Programs;
    use crate::structure::read::{Definition, Kind, Session};
    use crate::{Names, Objects, TablePatterns};

    fn definition(kind: Kind, name: &str, text: &str) -> Definition {
        Definition {
            kind,
            database: "shop".into(),
            name: name.into(),
            table: (kind == Kind::Trigger).then(|| "a".into()),
            text: text.into(),
            session: Session::default(),
            reads: Vec::new(),
        }
    }

    fn planned(
        definitions: Vec<Definition>,
        rename: &[(&str, &str)],
        programs: Programs,
    ) -> Result<Vec<String>, String> {
        let names = Names::new(&rename.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect());
        let tables = TablePatterns::parse(&["*.*"]).unwrap();
        let filter = Filter::new(Objects { tables, names, ..Objects::default() }, "twinlog");
        let wanted = Wanted { filter: &filter, programs, version: wire::ServerVersion::new(9, 7, 0) };
        let shown = |m: Making| {
            format!("{}: {}", m.inside.unwrap_or_default(), String::from_utf8(m.statement).unwrap())
        };
        plan(definitions, &wanted)
            .map(|plan| plan.into_iter().map(shown).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn views_come_behind_what_they_read_and_programs_where_they_work() {
        let mut first =
            definition(Kind::View, "a_reads_z", "CREATE VIEW `shop`.`a_reads_z` AS select 1 from `shop`.`z`");
        first.reads = vec![("shop".into(), "z".into())];
        let made = planned(
            vec![
                definition(Kind::Database, "shop", "DEFAULT CHARACTER SET latin1"),
                first,
                definition(Kind::View, "z", "CREATE DEFINER=`d`@`%` VIEW `shop`.`z` AS select 2"),
                definition(
                    Kind::Trigger,
                    "tr",
                    "CREATE TRIGGER `tr` BEFORE INSERT ON `a` FOR EACH ROW set @x = 1",
                ),
                definition(Kind::Function, "f", "CREATE FUNCTION `f`() RETURNS int return 1"),
                definition(
                    Kind::Table,
                    "a",
                    "CREATE TABLE `a` (\n  `b` int,\n  FOREIGN KEY (`b`) REFERENCES `c` (`b`)\n)",
                ),
            ],
            &[],
            Programs { definer_is_writer: true, ..Programs::default() },
        );
        let wanted = [
            ": CREATE DATABASE `shop` DEFAULT CHARACTER SET latin1",
            ": CREATE TABLE `shop`.`a` (\n  `b` int,\n  FOREIGN KEY (`b`) REFERENCES `shop`.`c` (`b`)\n)",
            "shop: CREATE FUNCTION `f`() RETURNS int return 1",
            ": CREATE VIEW `shop`.`z` AS select 2",
            ": CREATE VIEW `shop`.`a_reads_z` AS select 1 from `shop`.`z`",
            "shop: CREATE TRIGGER `tr` BEFORE INSERT ON `a` FOR EACH ROW set @x = 1",
        ];
        assert_eq!(made.unwrap(), wanted);
    }

    #[test]
    fn everything_goes_where_it_is_called_otherwise_or_is_refused_by_name() {
        let rename = [("shop", "store"), ("shop.a", "crm.b")];
        let made = planned(
            vec![
                definition(Kind::Database, "shop", "DEFAULT CHARACTER SET latin1"),
                definition(Kind::Table, "a", "CREATE TABLE `a` (`b` int)"),
                definition(
                    Kind::Table,
                    "c",
                    "CREATE TABLE `c` (`b` int, FOREIGN KEY (`b`) REFERENCES `a` (`b`))",
                ),
                definition(
                    Kind::Trigger,
                    "tr",
                    "CREATE TRIGGER `tr` BEFORE INSERT ON `a` FOR EACH ROW set @x = 1",
                ),
                definition(Kind::Event, "e", "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ENABLE DO set @x = 1"),
            ],
            &rename,
            Programs::default(),
        );
        let wanted = [
            ": CREATE DATABASE `crm` DEFAULT CHARACTER SET latin1",
            ": CREATE DATABASE `store` DEFAULT CHARACTER SET latin1",
            ": CREATE TABLE `crm`.`b` (`b` int)",
            ": CREATE TABLE `store`.`c` (`b` int, FOREIGN KEY (`b`) REFERENCES `crm`.`b` (`b`))",
            "crm: CREATE TRIGGER `tr` BEFORE INSERT ON `b` FOR EACH ROW set @x = 1",
            "store: CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY DISABLE ON REPLICA DO set @x = 1",
        ];
        assert_eq!(made.unwrap(), wanted);
        let refused = planned(
            vec![definition(Kind::Procedure, "p", "CREATE PROCEDURE `p`() DELETE FROM shop.a")],
            &rename,
            Programs::default(),
        );
        assert!(refused.unwrap_err().contains("names shop"));
    }
}
