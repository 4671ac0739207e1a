//! Every kind of statement that defines something, carried under its session's own settings: definitions and rows are
//! the same afterwards.

use std::time::Duration;

use harness::{Pair, PairOptions, Process, defined_alike};

const SOON: Duration = Duration::from_secs(60);

/// Run in one session, in this order.
const STATEMENTS: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
    "USE shop",
    "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, n INT, t VARCHAR(50), d DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6))",
    "INSERT INTO a (n, t) VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "CREATE TABLE like_a LIKE a",
    "CREATE TABLE IF NOT EXISTS a (other INT)",
    "CREATE TABLE from_a (PRIMARY KEY (id)) SELECT id, n * 2 AS twice FROM a",
    "CREATE TABLE with_options (PRIMARY KEY (id)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT 'START TRANSACTION' \
     SELECT id, n FROM a",
    "CREATE TABLE no_rows (c VARCHAR(30) DEFAULT 'START TRANSACTION', id INT PRIMARY KEY) COMMENT = 'START TRANSACTION'",
    "INSERT INTO no_rows (id) VALUES (1)",
    "ALTER TABLE a ADD COLUMN first_one INT FIRST, ADD COLUMN after_n VARCHAR(9) DEFAULT 'x' AFTER n",
    "INSERT INTO a (n, after_n) VALUES (4, 'y')",
    "SET time_zone = '-07:00', timestamp = 1700000000.123456",
    "ALTER TABLE a ADD COLUMN filled TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)",
    "SET time_zone = DEFAULT, timestamp = DEFAULT",
    "ALTER TABLE a MODIFY n BIGINT UNSIGNED NOT NULL DEFAULT 7, RENAME COLUMN t TO text_of_it, DROP COLUMN first_one",
    "ALTER TABLE a CHANGE after_n moved VARCHAR(20) CHARACTER SET latin1 FIRST",
    "INSERT INTO a (text_of_it) VALUES ('defaults')",
    "ALTER TABLE a ALTER COLUMN n SET DEFAULT 9, ALTER moved DROP DEFAULT, ADD KEY by_n (n), ADD UNIQUE KEY u (id, n)",
    "ALTER TABLE a RENAME INDEX by_n TO by_number, ALTER INDEX u INVISIBLE, ADD CONSTRAINT positive CHECK (n >= 0)",
    "CREATE INDEX ft ON a (text_of_it)",
    "CREATE FULLTEXT INDEX words ON a (text_of_it)",
    "DROP INDEX ft ON a",
    "ALTER TABLE a CONVERT TO CHARACTER SET utf8mb3",
    "ALTER TABLE a DEFAULT CHARACTER SET latin1, ROW_FORMAT = DYNAMIC, COMMENT 'it''s; RENAME TO nothing'",
    // Settings of the session that the statement means something else without.
    "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
    "CREATE TABLE \"quoted \"\"name\" (\"a b\" INT PRIMARY KEY, c VARCHAR(20) AS (\"a b\" || 'x'))",
    "INSERT INTO \"quoted \"\"name\" (\"a b\") VALUES (1)",
    "SET sql_mode = 'NO_ZERO_DATE,NO_BACKSLASH_ESCAPES'",
    "CREATE TABLE escapes (c VARCHAR(20) DEFAULT 'a\\', id INT PRIMARY KEY)",
    "INSERT INTO escapes (id) VALUES (1)",
    "SET sql_mode = ''",
    "CREATE TABLE zero (d DATE NOT NULL DEFAULT '0000-00-00', id INT PRIMARY KEY)",
    "SET sql_mode = DEFAULT",
    "SET NAMES latin1",
    "CREATE TABLE named_in_latin1 (id INT PRIMARY KEY, c VARCHAR(10) DEFAULT _latin1 X'E9' COMMENT 'caf\u{e9}')",
    "SET NAMES utf8mb4",
    "SET collation_server = latin1_swedish_ci",
    "CREATE DATABASE other",
    "SET collation_server = DEFAULT",
    "SET default_collation_for_utf8mb4 = utf8mb4_general_ci",
    "CREATE TABLE collated (id INT PRIMARY KEY, c VARCHAR(10)) CHARACTER SET utf8mb4",
    "SET default_collation_for_utf8mb4 = DEFAULT",
    "SET foreign_key_checks = 0",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
    "CREATE TABLE parent (id INT PRIMARY KEY)",
    "SET foreign_key_checks = 1",
    "INSERT INTO parent VALUES (1), (2)",
    "INSERT INTO child VALUES (1, 1)",
    "SET sql_generate_invisible_primary_key = ON",
    "CREATE TABLE given_a_key (n INT)",
    "SET sql_generate_invisible_primary_key = OFF",
    "INSERT INTO given_a_key VALUES (5), (5)",
    // Numbers given to rows that are there: by the session's own steps, and us has others.
    "CREATE TABLE numbered (n INT)",
    "INSERT INTO numbered VALUES (1), (2), (3)",
    "SET auto_increment_increment = 2, auto_increment_offset = 1",
    "ALTER TABLE numbered ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY",
    "SET auto_increment_increment = 1",
    // Partitions.
    "CREATE TABLE parts (id INT, at INT, PRIMARY KEY (id, at)) PARTITION BY RANGE (at) \
     (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts VALUES (1, 5), (2, 15), (3, 25)",
    "ALTER TABLE parts REORGANIZE PARTITION p2 INTO (PARTITION p2 VALUES LESS THAN (30), PARTITION p3 VALUES LESS THAN MAXVALUE)",
    "ALTER TABLE parts TRUNCATE PARTITION p1",
    "CREATE TABLE outside (id INT, at INT, PRIMARY KEY (id, at))",
    "ALTER TABLE parts EXCHANGE PARTITION p2 WITH TABLE outside",
    "ALTER TABLE parts DROP PARTITION p0",
    "INSERT INTO parts VALUES (4, 15)",
    "ALTER TABLE parts ANALYZE PARTITION p1",
    "ALTER TABLE parts REMOVE PARTITIONING",
    "CREATE TABLE hashed (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3",
    "ALTER TABLE hashed ADD PARTITION PARTITIONS 2",
    "ALTER TABLE hashed COALESCE PARTITION 1",
    // Views.
    "CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW seen AS SELECT id, n FROM a WHERE n > 1 WITH CHECK OPTION",
    "ALTER VIEW seen AS SELECT id FROM a",
    "CREATE OR REPLACE VIEW also_seen AS SELECT * FROM seen",
    "CREATE VIEW gone AS SELECT 1 AS one",
    "DROP VIEW gone",
    // Names.
    "RENAME TABLE like_a TO renamed, from_a TO like_a",
    "ALTER TABLE renamed RENAME TO other.moved",
    "INSERT INTO other.moved (n) VALUES (77)",
    "DROP TABLE IF EXISTS escapes, never_there",
    "TRUNCATE TABLE child",
    "INSERT INTO parent VALUES (3)",
    "ALTER DATABASE other CHARACTER SET utf8mb4",
    "CREATE DATABASE short_lived",
    "CREATE TABLE short_lived.t (id INT PRIMARY KEY)",
    "DROP DATABASE short_lived",
    // A statement that fails leaves nothing; a temporary table is nobody's affair.
    "CREATE TEMPORARY TABLE temp_a SELECT * FROM a",
    "ALTER TABLE temp_a ADD COLUMN z INT",
    "DROP TABLE temp_a",
    "ANALYZE TABLE a",
    // Objects that are each region's own.
    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.n = 1",
    "DROP TRIGGER t",
    "CREATE PROCEDURE p() SELECT 1",
    "DROP PROCEDURE p",
    // Under a GTID with a tag.
    "SET gtid_next = 'AUTOMATIC:ddl'",
    "CREATE TABLE tagged (id INT PRIMARY KEY)",
    "INSERT INTO tagged VALUES (1)",
    "SET gtid_next = 'AUTOMATIC'",
    // As pt-online-schema-change does it.
    "CREATE TABLE _a_new LIKE a",
    "ALTER TABLE _a_new ADD COLUMN by_pt INT DEFAULT 3, ENGINE = InnoDB",
    "CREATE TRIGGER pt_ins AFTER INSERT ON a FOR EACH ROW REPLACE INTO _a_new (moved, id, n, text_of_it) VALUES (NEW.moved, NEW.id, NEW.n, NEW.text_of_it)",
    "CREATE TRIGGER pt_del AFTER DELETE ON a FOR EACH ROW DELETE IGNORE FROM _a_new WHERE id <=> OLD.id",
    "INSERT INTO a (n, moved) VALUES (50, 'while copied')",
    "INSERT LOW_PRIORITY IGNORE INTO _a_new (moved, id, n, text_of_it, d, filled) SELECT moved, id, n, text_of_it, d, filled FROM a LOCK IN SHARE MODE",
    "DELETE FROM a WHERE n = 2",
    "RENAME TABLE a TO _a_old, _a_new TO a",
    "DROP TABLE IF EXISTS _a_old",
    "INSERT INTO a (n, moved) VALUES (51, 'after the swap')",
    // As gh-ost does it: its own change table, a lock, the swap.
    "CREATE TABLE _parent_ghc (id BIGINT AUTO_INCREMENT PRIMARY KEY, hint VARCHAR(64) CHARACTER SET ascii NOT NULL, value VARCHAR(4096) CHARACTER SET ascii NOT NULL, UNIQUE KEY hint_uidx (hint)) AUTO_INCREMENT = 256",
    "INSERT INTO _parent_ghc (id, hint, value) VALUES (2, 'state', 'GhostTableMigrated') ON DUPLICATE KEY UPDATE value = VALUES(value)",
    "CREATE TABLE _hashed_gho LIKE hashed",
    "ALTER TABLE _hashed_gho ADD COLUMN by_ghost INT",
    "INSERT INTO hashed VALUES (1), (2)",
    "REPLACE INTO _hashed_gho (id) VALUES (1), (2)",
    "CREATE TABLE _hashed_del (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB COMMENT = 'ghost-cut-over-sentry'",
    "DROP TABLE IF EXISTS _hashed_del",
    "RENAME TABLE hashed TO _hashed_del, _hashed_gho TO hashed",
    "DROP TABLE IF EXISTS _parent_ghc",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_statement_means_the_same_in_the_other_region() {
    let schemas = ["shop", "other", "short_lived"].map(str::to_owned).to_vec();
    let pair = Pair::new(PairOptions {
        ddl: Some("eu-us"),
        schemas: schemas.clone(),
        server_args: vec!["--log-bin-trust-function-creators=ON".into()],
        ..PairOptions::default()
    })
    .await;
    // Views are made by an account that may, as statements under a tag are run.
    pair.us.run("GRANT CREATE VIEW, SHOW VIEW, SET_ANY_DEFINER, SYSTEM_USER, TRANSACTION_GTID_TAG ON *.* TO 'twinlog_writer'@'127.0.0.1'").await;
    pair.us.run("SET GLOBAL auto_increment_increment = 10, GLOBAL auto_increment_offset = 2").await;
    pair.start().await;
    pair.eu.run_all(STATEMENTS).await;
    pair.wait_applied("eu-us", SOON).await;
    defined_alike(&pair.eu, &pair.us, &schemas).await.unwrap_or_else(|e| panic!("{e}"));
    pair.wait_in_step(SOON).await;
    // Nothing came back: eu has no GTID but its own and those of the way back's checkpoint.
    let log = pair.log(Process::Applier("us-eu"));
    assert!(!log.contains("DDL applied"), "{log}");
    // Both directions go on.
    pair.us.run("INSERT INTO shop.a (id, n, moved) VALUES (1000, 52, 'from us')").await;
    pair.wait_in_step(SOON).await;
}

/// A link without `ddl`: what leaves rows as they are passes, what changes them unseen stops it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_without_ddl_passes_what_leaves_rows_and_goes_on_when_the_target_is_alike() {
    let pair = Pair::one_way(PairOptions::default()).await;
    for region in [&pair.eu, &pair.us] {
        region
            .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b INT)"])
            .await;
    }
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    pair.wait_state("eu-us", "running", SOON).await;
    pair.eu
        .run_all(&[
            "ALTER TABLE shop.t ADD KEY (a), COMMENT 'new', ALTER b SET DEFAULT 4",
            "CREATE INDEX by_b ON shop.t (b)",
            "DROP INDEX by_b ON shop.t",
            "INSERT INTO shop.t VALUES (1, 1, 1)",
        ])
        .await;
    pair.wait_in_step(SOON).await;
    assert!(pair.log(Process::Applier("eu-us")).contains("DDL passed over"));
    // A column, then a row with it: both definitions are shown, and the link waits for the target to be alike.
    pair.eu
        .run_all(&["ALTER TABLE shop.t ADD COLUMN c INT AFTER id", "INSERT INTO shop.t VALUES (2, 2, 2, 2)"])
        .await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    for word in ["shop.t", "source:", "target:", "c int"] {
        assert!(status.last_error().contains(word), "{word}: {}", status.last_error());
    }
    pair.us.run("ALTER TABLE shop.t ADD COLUMN c INT AFTER id").await;
    pair.wait_in_step(SOON).await;
    // A table that only eu has, made there.
    pair.eu.run_all(&["CREATE TABLE shop.made SELECT 1 AS id", "INSERT INTO shop.made VALUES (2)"]).await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("shop.made"), "{}", status.last_error());
    pair.us.run("CREATE TABLE shop.made (id INT NOT NULL DEFAULT '0')").await;
    pair.wait_in_step(SOON).await;
    pair.us.run("CREATE TABLE shop.made_as (id INT NOT NULL DEFAULT '0') COMMENT 'said'").await;
    pair.eu.run("CREATE TABLE shop.made_as ENGINE = InnoDB COMMENT 'said' SELECT 1 AS id").await;
    pair.wait_in_step(SOON).await;
    pair.eu.run("TRUNCATE TABLE shop.t").await;
    let status = pair.wait_state("eu-us", "failed", SOON).await;
    assert!(status.last_error().contains("TRUNCATE"), "{}", status.last_error());
}
