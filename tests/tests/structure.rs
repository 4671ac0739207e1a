//! `initial = "structure"`: what is in step is made in the target, exactly once, whatever is killed meanwhile.

use std::time::Duration;

use harness::{Check, Pair, PairOptions, Process, Region, seed, until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SOON: Duration = Duration::from_secs(60);
const APPLIER: Process = Process::Applier("eu-us");

/// Every kind of object, in eu.
const OBJECTS: [&str; 29] = [
    "CREATE DATABASE shop CHARACTER SET latin1 COLLATE latin1_german1_ci",
    "CREATE DATABASE shop_empty",
    "USE shop",
    "CREATE TABLE z_parent (id INT PRIMARY KEY, other INT, code CHAR(4) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin UNIQUE)",
    "CREATE TABLE a_child (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL COMMENT 'it''s ; a `name`', \
     n INT DEFAULT (1 + 2), twice INT AS (n * 2) STORED, thrice INT AS (n * 3) VIRTUAL INVISIBLE, doc JSON, g GEOMETRY SRID 4326, \
     e ENUM('x','y,)') CHARACTER SET latin2 DEFAULT 'x', s SET('a','b'), at TIMESTAMP(3) DEFAULT '2020-02-02 02:02:02.222', \
     changed DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), body TEXT, \
     KEY desc_order (n DESC, id), KEY prefix (body(10)), KEY hidden (s) INVISIBLE, KEY expression ((n + 1)), FULLTEXT KEY words (body), \
     CONSTRAINT above CHECK (n > 0 AND body <> 'FOREIGN KEY'), CONSTRAINT lax CHECK (n < 9) NOT ENFORCED, \
     CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES z_parent (id) ON DELETE CASCADE) AUTO_INCREMENT = 4711 COMMENT 'first'",
    "ALTER TABLE z_parent ADD CONSTRAINT to_itself FOREIGN KEY (other) REFERENCES z_parent (id)",
    "CREATE TABLE ring_a (id INT PRIMARY KEY, b INT)",
    "CREATE TABLE ring_b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES ring_a (id))",
    "ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b (id)",
    "CREATE TABLE parted (id INT, at DATE, PRIMARY KEY (id, at)) PARTITION BY RANGE COLUMNS (at) SUBPARTITION BY HASH (id) \
     SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN ('2020-01-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE))",
    "SET SESSION sql_mode = ''",
    "CREATE TABLE old_dates (id INT PRIMARY KEY, d DATE NOT NULL DEFAULT '0000-00-00')",
    "SET SESSION sql_mode = DEFAULT, sql_generate_invisible_primary_key = ON",
    "CREATE TABLE keyless (a INT)",
    "SET SESSION sql_generate_invisible_primary_key = OFF",
    "CREATE TABLE `odd ``name, 1` (`a b` INT PRIMARY KEY)",
    "CREATE USER app@'%' IDENTIFIED BY 'x'",
    "GRANT ALL ON shop.* TO app@'%'",
    "CREATE DEFINER = app@'%' FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "CREATE DEFINER = app@'%' PROCEDURE fill() BEGIN INSERT INTO z_parent (id) VALUES (77); END",
    "CREATE DEFINER = app@'%' VIEW z_view AS SELECT id, twice(id) AS t FROM z_parent",
    "CREATE DEFINER = app@'%' SQL SECURITY INVOKER VIEW a_view AS SELECT v.t FROM z_view v JOIN ring_a ON ring_a.id = v.id",
    "SET NAMES latin1 COLLATE latin1_german1_ci",
    "CREATE DEFINER = app@'%' VIEW in_latin1 AS SELECT 'x' AS x",
    "SET NAMES utf8mb4",
    "CREATE DEFINER = app@'%' TRIGGER second BEFORE INSERT ON ring_a FOR EACH ROW SET NEW.id = NEW.id",
    "CREATE DEFINER = app@'%' TRIGGER first BEFORE INSERT ON ring_a FOR EACH ROW PRECEDES second SET NEW.id = NEW.id + 0",
    "CREATE DEFINER = app@'%' EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' COMMENT 'ENABLE' DO DELETE FROM shop.ring_a WHERE id < 0",
    "CREATE TABLE shop_empty.tmp_1 (id INT PRIMARY KEY)",
];

/// What the accounts need besides, and nothing more; docs/structure.md has the same.
async fn allow(pair: &Pair, programs: bool) {
    for database in ["shop", "shop_empty"] {
        pair.eu.run(&format!("GRANT SELECT, SHOW VIEW ON {database}.* TO twinlog_reader@'127.0.0.1'")).await;
        pair.us
            .run(&format!(
                "GRANT CREATE, REFERENCES, CREATE VIEW ON {database}.* TO twinlog_writer@'127.0.0.1'"
            ))
            .await;
    }
    if programs {
        pair.eu.run("GRANT TRIGGER, EVENT ON shop.* TO twinlog_reader@'127.0.0.1'").await;
        pair.eu.run("GRANT SHOW_ROUTINE ON *.* TO twinlog_reader@'127.0.0.1'").await;
        pair.us
            .run_all(&[
                "GRANT TRIGGER, EVENT, CREATE ROUTINE, EXECUTE ON shop.* TO twinlog_writer@'127.0.0.1'",
                "GRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER ON *.* TO twinlog_writer@'127.0.0.1'",
                "SET GLOBAL log_bin_trust_function_creators = ON",
                // A view that calls a function asks for the function's definer.
                "CREATE USER app@'%' IDENTIFIED BY 'x'",
                "GRANT ALL ON shop.* TO app@'%'",
            ])
            .await;
    }
}

async fn structure_pair(lines: &str) -> Pair {
    let mut pair = Pair::new(PairOptions::default()).await;
    pair.configure(|file| {
        file.set_tables(&["shop.*", "shop_empty.*", "!shop_empty.tmp_*"]);
        file.add_to_link("eu-us", &format!("initial = \"structure\"\n{lines}"));
    });
    pair
}

/// All that is defined in `shop`, one text each.
async fn defined(region: &Region) -> Vec<String> {
    let mut all = Vec::new();
    let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1";
    for table in region.rows::<String>(tables).await {
        let create = format!("SHOW CREATE TABLE shop.`{}`", table.replace('`', "``"));
        let create = region.row::<(String, String)>(&create).await.1;
        // A server remembers whether the character set was said that the collation tells anyway, and shows it if so.
        all.push(
            create.replace(" CHARACTER SET latin1 COLLATE latin1_german1_ci", " COLLATE latin1_german1_ci"),
        );
    }
    for query in [
        "SELECT CONCAT_WS('|', SCHEMA_NAME, DEFAULT_COLLATION_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'shop%' ORDER BY 1",
        "SELECT CONCAT_WS('|', TABLE_NAME, VIEW_DEFINITION, SECURITY_TYPE, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION) \
         FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'shop' ORDER BY 1",
        "SELECT CONCAT_WS('|', ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, SQL_MODE, DEFINER, DATABASE_COLLATION) \
         FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop' ORDER BY 1",
        "SELECT CONCAT_WS('|', TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT, SQL_MODE, DEFINER) \
         FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop' ORDER BY 1",
        "SELECT CONCAT_WS('|', EVENT_NAME, EVENT_DEFINITION, INTERVAL_VALUE, STARTS, EVENT_COMMENT, SQL_MODE, DEFINER) \
         FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop' ORDER BY 1",
    ] {
        all.extend(region.rows::<String>(query).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_object_is_made_once_whenever_the_applier_is_killed_and_none_comes_back() {
    let pair = structure_pair("load = { triggers = true, routines = true, events = true }").await;
    pair.eu.run_all(&OBJECTS).await;
    let check = Check::of(&pair).await;
    let unable = [check.with_status("fail"), check.with_status("warn")].concat().join("\n");
    for word in ["CREATE", "REFERENCES", "CREATE VIEW", "SHOW VIEW"] {
        assert!(unable.contains(word), "{word}: {unable}");
    }
    allow(&pair, true).await;
    let mut random = StdRng::seed_from_u64(seed());
    for process in [Process::Relay("eu"), Process::Relay("us")] {
        pair.start_one(process);
    }
    for _ in 0..5 {
        pair.start_one(APPLIER);
        tokio::time::sleep(Duration::from_millis(random.random_range(150..600))).await;
        pair.kill9(APPLIER);
    }
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    pair.start_one(Process::Applier("us-eu"));
    pair.wait_running().await;

    let (eu, us) = (defined(&pair.eu).await, defined(&pair.us).await);
    assert_eq!(eu, us);
    assert!(
        us.iter().any(|d| d.contains("my_row_id")) && us.iter().any(|d| d.contains("AUTO_INCREMENT=4711"))
    );
    let state: String =
        pair.us.row("SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop'").await;
    assert_eq!(state, "REPLICA_SIDE_DISABLED");
    let left_out: u64 =
        pair.us.row("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'tmp_1'").await;
    assert_eq!(left_out, 0);

    // Each under a GTID of the link's own, from the first to the last; and the way back has left them out.
    let (steps, first): (u64, String) = pair
        .us
        .row("SELECT COUNT(*), MIN(gtid) FROM twinlog.structure WHERE step > 0 AND state = 'made'")
        .await;
    let uuid = first.split(':').next().expect("a uuid").to_owned();
    let executed = pair.us.gtid_executed().await;
    assert!(executed.contains(&format!("{uuid}:1-{steps}")), "{uuid} {steps} {executed}");
    pair.eu.run("INSERT INTO shop.z_parent VALUES (1, 1, 'a')").await;
    pair.us.run("INSERT INTO shop.z_parent VALUES (2, 2, 'A')").await;
    pair.eu.run("INSERT INTO shop.ring_a VALUES (1, NULL)").await;
    pair.wait_in_step(SOON).await;
    assert!(!pair.eu.gtid_executed().await.contains(&uuid));
    assert_eq!(pair.eu.row::<u64>("SELECT COUNT(*) FROM shop.z_parent").await, 2);

    // A link that has begun makes nothing again.
    pair.stop_one(APPLIER).await;
    pair.start_one(APPLIER);
    pair.wait_running().await;
    assert!(pair.us.gtid_executed().await.contains(&format!("{uuid}:1-{steps}")));
    pair.assert_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_listed_before_anything_is_made_and_what_fits_is_kept_when_that_is_said() {
    let mut pair = structure_pair("").await;
    allow(&pair, false).await;
    pair.eu
        .run_all(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.alike (id INT PRIMARY KEY, a INT)",
            "CREATE TABLE shop.full (id INT PRIMARY KEY, a INT)",
            "CREATE TABLE shop.other (id INT PRIMARY KEY, a INT)",
            "CREATE TABLE shop.missing (id INT PRIMARY KEY)",
            "CREATE VIEW shop.seen AS SELECT 1 AS one",
        ])
        .await;
    pair.us
        .run_all(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.alike (id INT PRIMARY KEY, a INT) AUTO_INCREMENT = 5",
            "CREATE TABLE shop.full (id INT PRIMARY KEY, a INT)",
            "INSERT INTO shop.full VALUES (1, 1)",
            "CREATE TABLE shop.other (id INT PRIMARY KEY, a INT, KEY (a)) COMMENT 'us'",
            "CREATE VIEW shop.seen AS SELECT 2 AS one",
        ])
        .await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Relay("us"));
    let refused = pair.run_to_failure(APPLIER, pair.config()).await;
    refused.assert_failed(
        1,
        &[
            "table shop.full is there and holds rows",
            "table shop.other is there with another definition",
            "COMMENT='us'",
            "view shop.seen is there with another query",
            "existing = \"keep\"",
        ],
    );
    assert!(!refused.err.contains("alike"), "{refused}");
    let made = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'missing'";
    assert_eq!(pair.us.row::<u64>(made).await, 0);

    pair.configure(|file| file.add_to_link("eu-us", "existing = \"keep\""));
    pair.us.run("ALTER TABLE shop.other MODIFY a VARCHAR(5)").await;
    pair.run_to_failure(APPLIER, pair.config())
        .await
        .assert_failed(1, &["table shop.other does not fit", "a int at the source", "a varchar"]);
    assert_eq!(pair.us.row::<u64>(made).await, 0);
    pair.us.run("ALTER TABLE shop.other MODIFY a INT").await;
    pair.start_one(APPLIER);
    pair.wait_state("eu-us", "running", SOON).await;
    assert_eq!(pair.us.row::<u64>(made).await, 1);
    pair.eu.run("INSERT INTO shop.other VALUES (1, 1)").await;
    until("the row is there", SOON, async || {
        let rows: u64 = pair.us.row("SELECT COUNT(*) FROM shop.other").await;
        if rows == 1 { Ok(()) } else { Err(format!("{rows} rows")) }
    })
    .await;
}

/// What the link makes is sent by the relay of its target like all else that is committed there. A way back that carries DDL
/// would run it where it came from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_link_makes_does_not_come_back_by_a_way_back_that_carries_statements() {
    let mut pair = Pair::new(PairOptions { ddl: Some("us-eu"), ..PairOptions::default() }).await;
    pair.configure(|file| {
        file.set_tables(&["shop.*", "!shop.late"]);
        file.add_to_link("eu-us", "initial = \"structure+data\"");
    });
    pair.eu.run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    pair.us.run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'").await;
    let tables = ["first", "second", "late"];
    pair.eu.run("CREATE DATABASE shop").await;
    for table in tables {
        pair.eu.run(&format!("CREATE TABLE shop.{table} (id INT PRIMARY KEY)")).await;
        pair.eu.run(&format!("INSERT INTO shop.{table} VALUES (1)")).await;
    }
    pair.start().await;
    // And of a table that joins later.
    pair.configure(|file| file.set_tables(&["shop.*"]));
    for applier in [APPLIER, Process::Applier("us-eu")] {
        pair.signal(applier, "HUP");
    }
    pair.wait_in_step(SOON).await;
    // A statement of us crosses: all that was made before it has come by.
    pair.us.run("CREATE TABLE shop.of_us (id INT PRIMARY KEY)").await;
    pair.us.run("INSERT INTO shop.of_us VALUES (1)").await;
    pair.wait_in_step(SOON).await;

    let made: String = pair.us.row("SELECT MIN(gtid) FROM twinlog.structure WHERE step > 0").await;
    let uuid = made.split(':').next().expect("a uuid").to_owned();
    // The database, and each table.
    assert!(pair.us.gtid_executed().await.contains(&format!("{uuid}:1-{}", tables.len() + 1)));
    assert!(!pair.eu.gtid_executed().await.contains(&uuid), "it came back");
    let back = pair.link_status("us-eu").await;
    assert_eq!((back.state(), back.last_error()), ("running", ""), "{}", back.json());
    assert_eq!(back.count("ddl_applied"), 1, "{}", back.json());
    assert!(back.count("echo_dropped") > tables.len() as u64, "{}", back.json());
    pair.assert_alive();
}
