//! What statements do to tables, over MySQL's grammar of `ALTER TABLE` and its kin (manual, 15.1).

use super::alter::Clause::{
    self, ChangesRows, Columns, DropsColumn, Harmless, Partitions, RenamesColumn, Unknown,
};
use super::change::{Change, changes};
use super::classify::{ObjectName, Statement, classify};

fn name(text: &str) -> ObjectName {
    let (database, name) = text.split_once('.').expect("database.name");
    ObjectName { database: database.into(), name: name.into() }
}

/// The clauses of one `ALTER TABLE t …`.
fn clauses(rest: &str) -> Vec<Clause> {
    let all = changes(&format!("ALTER TABLE t {rest}"), "db", false);
    match all.into_iter().next() {
        Some(Change::Alters(_, clauses)) => clauses,
        other => panic!("{rest}: {other:?}"),
    }
}

fn drops(column: &str) -> Clause {
    DropsColumn(column.into())
}

fn renames(old: &str, new: &str) -> Clause {
    RenamesColumn(old.into(), new.into())
}

#[test]
fn clauses_that_leave_rows_as_they_are() {
    for rest in [
        "ADD INDEX i (a, b DESC) USING BTREE COMMENT 'x, DROP COLUMN a'",
        "ADD KEY (a)",
        "ADD FULLTEXT INDEX (a) WITH PARSER ngram",
        "ADD SPATIAL KEY s (g)",
        "ADD UNIQUE (a)",
        "ADD UNIQUE INDEX u ((LOWER(a)))",
        "ADD CONSTRAINT c CHECK (a > 0 AND b IN (1, 2)) NOT ENFORCED",
        "ADD CHECK (a > 0)",
        "ADD CONSTRAINT FOREIGN KEY (a) REFERENCES o (b) ON DELETE SET NULL",
        "ADD FOREIGN KEY f (a) REFERENCES o (b)",
        "DROP INDEX i",
        "DROP KEY k",
        "DROP PRIMARY KEY",
        "DROP FOREIGN KEY f",
        "DROP CHECK c",
        "DROP CONSTRAINT c",
        "RENAME INDEX a TO b",
        "RENAME KEY a TO b",
        "ALTER INDEX i INVISIBLE",
        "ALTER CHECK c NOT ENFORCED",
        "ALTER CONSTRAINT c ENFORCED",
        "ALTER COLUMN a SET DEFAULT (1 + 2)",
        "ALTER a DROP DEFAULT",
        "ALTER a SET INVISIBLE",
        "DISABLE KEYS",
        "ENABLE KEYS",
        "FORCE",
        "ORDER BY a, b, c",
        "ALGORITHM = INPLACE",
        "LOCK NONE",
        "WITH VALIDATION",
        "ENGINE = InnoDB COMMENT = 'RENAME TO x'",
        "AUTO_INCREMENT 100",
        "DEFAULT CHARACTER SET latin1 COLLATE latin1_bin",
        "CHARSET utf8mb4",
        "COLLATE = utf8mb4_bin",
        "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
        "STATS_PERSISTENT 1, STATS_AUTO_RECALC = DEFAULT, STATS_SAMPLE_PAGES 3",
        "ENCRYPTION 'Y'",
        "MAX_ROWS 1, MIN_ROWS 1, AVG_ROW_LENGTH 3, PACK_KEYS 0, CHECKSUM 1, DELAY_KEY_WRITE 1",
        "ANALYZE PARTITION p0, p1",
        "OPTIMIZE PARTITION ALL",
        "CHECK PARTITION p0",
        "REBUILD PARTITION p0, p1",
        "REPAIR PARTITION p0",
        "COALESCE PARTITION 2",
        "UPGRADE PARTITIONING",
        "TABLESPACE = innodb_system",
        "ENGINE_ATTRIBUTE '{}', SECONDARY_ENGINE_ATTRIBUTE = '{}'",
        "/* c */ ADD /*!80000 INDEX */ i (a)",
    ] {
        assert!(clauses(rest).iter().all(|c| *c == Harmless), "{rest}: {:?}", clauses(rest));
        assert!(!clauses(rest).is_empty(), "{rest}");
    }
}

#[test]
fn clauses_that_define_columns_anew() {
    for rest in [
        "ADD a INT",
        "ADD COLUMN a DECIMAL(10,2) DEFAULT (1) AFTER b",
        "ADD COLUMN (a INT, b ENUM('x','y'))",
        "ADD `key` INT",
        "ADD PRIMARY KEY (a, b)",
        "MODIFY a BIGINT FIRST",
        "MODIFY COLUMN e ENUM('b','a')",
        "CHANGE a A VARCHAR(3)",
        "CONVERT TO CHARACTER SET utf8mb4",
    ] {
        assert_eq!(clauses(rest), [Columns], "{rest}");
    }
    assert_eq!(clauses("DROP a"), [drops("a")]);
    assert_eq!(clauses("DROP COLUMN `Key`"), [drops("key")]);
    assert_eq!(clauses("DROP COLUMN a, DROP b, DROP KEY k"), [drops("a"), drops("b"), Harmless]);
    assert_eq!(clauses("RENAME COLUMN a TO b, RENAME COLUMN b TO a"), [renames("a", "b"), renames("b", "a")]);
    assert_eq!(clauses("CHANGE COLUMN a b INT NOT NULL"), [renames("a", "b")]);
    assert_eq!(
        clauses("ADD x INT, DROP y, ADD KEY (x, y), COMMENT 'a,b'"),
        [Columns, drops("y"), Harmless, Harmless]
    );
}

#[test]
fn clauses_that_change_rows_or_which_are_taken() {
    for rest in [
        "TRUNCATE PARTITION p0, p1",
        "TRUNCATE PARTITION ALL",
        "DROP PARTITION p0, p1",
        "DISCARD TABLESPACE",
        "IMPORT TABLESPACE",
        "DISCARD PARTITION p0 TABLESPACE",
        "EXCHANGE PARTITION p WITH TABLE o WITHOUT VALIDATION",
    ] {
        assert_eq!(clauses(rest), [ChangesRows], "{rest}");
    }
    for rest in [
        "ADD PARTITION (PARTITION p3 VALUES LESS THAN (2000), PARTITION p4 VALUES LESS THAN MAXVALUE)",
        "ADD PARTITION PARTITIONS 4",
        "REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN (3))",
        "PARTITION BY RANGE COLUMNS (a, b) (PARTITION p VALUES LESS THAN (1, 2))",
        "REMOVE PARTITIONING",
    ] {
        assert_eq!(clauses(rest), [Partitions], "{rest}");
    }
    for rest in
        ["FROBNICATE", "DROP", "CHANGE a", "RENAME COLUMN", "SECONDARY_LOAD", "ADD INDEX (a), GIZMO 3"]
    {
        assert!(clauses(rest).contains(&Unknown), "{rest}: {:?}", clauses(rest));
    }
}

#[test]
fn statements_do_their_steps_in_order() {
    let all = |sql: &str| changes(sql, "db", false);
    assert_eq!(all("TRUNCATE t"), [Change::Empties(name("db.t"))]);
    assert_eq!(
        all("DROP TABLE IF EXISTS a, x.b RESTRICT"),
        [Change::Drops(name("db.a")), Change::Drops(name("x.b"))]
    );
    assert_eq!(all("DROP SCHEMA IF EXISTS `x`"), [Change::DropsDatabase("x".into())]);
    assert_eq!(all("CREATE TABLE IF NOT EXISTS t LIKE u"), [Change::Creates(name("db.t"))]);
    assert_eq!(all("CREATE UNIQUE INDEX i ON x.t (a)"), [Change::Alters(name("x.t"), vec![Harmless])]);
    assert_eq!(all("DROP INDEX `ON` ON t LOCK = NONE"), [Change::Alters(name("db.t"), vec![Harmless])]);
    assert_eq!(
        all("RENAME TABLES a TO b, x.c TO a"),
        [Change::Renames(name("db.a"), name("db.b")), Change::Renames(name("x.c"), name("db.a"))]
    );
    assert_eq!(
        all("ALTER TABLE a DROP x, RENAME AS y.b"),
        [Change::Alters(name("db.a"), vec![drops("x")]), Change::Renames(name("db.a"), name("y.b"))]
    );
    assert_eq!(
        all("ALTER TABLE a EXCHANGE PARTITION p WITH TABLE y.b"),
        [Change::Alters(name("db.a"), vec![ChangesRows]), Change::Alters(name("y.b"), vec![ChangesRows])]
    );
    for sql in
        ["CREATE VIEW v AS SELECT 1", "CREATE DATABASE d", "DROP VIEW v", "INSERT INTO t VALUES (1)", ""]
    {
        assert_eq!(all(sql), [], "{sql}");
    }
}

/// Spelled in every way that MySQL allows, a statement is the same.
#[test]
fn spelling_does_not_matter() {
    let plain = "ALTER TABLE db.t DROP COLUMN a, ADD KEY k (b)";
    let same = [
        "alter table `db`.`t` drop column `a`, add key `k` (`b`)",
        "ALTER\n\tTABLE t DROP a,ADD KEY k(b)",
        "/* x */ALTER/**/TABLE/*!*/ db . t -- comment\nDROP COLUMN a, # more\nADD KEY k (b)",
        "ALTER TABLE /*!50000 `db`.`t` */ DROP COLUMN a , ADD KEY k (b)",
        "ALTER TABLE .t DROP COLUMN a, ADD KEY k (b)",
    ];
    for sql in same {
        assert_eq!(changes(sql, "db", false), changes(plain, "db", false), "{sql}");
        assert_eq!(classify(sql, "db", false), classify(plain, "db", false), "{sql}");
    }
    let ansi = r#"ALTER TABLE "db"."t" DROP COLUMN "a", ADD KEY "k" ("b")"#;
    assert_eq!(changes(ansi, "", true), changes(plain, "", true));
}

proptest::proptest! {
    /// Whatever is on a table by the one is on no other table by the other.
    #[test]
    fn the_steps_name_no_table_that_the_statement_is_not_on(
        rest in "(DROP|ADD|RENAME|CHANGE|EXCHANGE|TRUNCATE|,|COLUMN|PARTITION|WITH|TABLE|TO|AS|[a-c]|`x`|\\(|\\)| )*",
        head in "(ALTER TABLE a|RENAME TABLE a|DROP TABLE a|TRUNCATE a|CREATE TABLE a|CREATE INDEX i ON)"
    ) {
        let sql = format!("{head} {rest}");
        let Statement::Tables(tables) = classify(&sql, "db", false) else { return Ok(()) };
        for change in changes(&sql, "db", false) {
            let named = match change {
                Change::Creates(n) | Change::Empties(n) | Change::Drops(n) | Change::Alters(n, _) => vec![n],
                Change::Renames(a, b) => vec![a, b],
                Change::DropsDatabase(_) => Vec::new(),
            };
            for name in named {
                proptest::prop_assert!(tables.contains(&name), "{sql}: {name:?} is not in {tables:?}");
            }
        }
    }
}
