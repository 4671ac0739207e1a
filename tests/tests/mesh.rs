//! Three regions, each with a link to both others, all written to.

use std::time::Duration;

use harness::{Finished, Mesh, Region, seed, until};
use mysql_async::prelude::Queryable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::tables_join::{Writers, fill, wait_chunks};

const WITHIN: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(15);
/// Rows that are there before: at this rate they take long enough that something can happen in the middle.
const ROWS: u32 = 6_000;
const LOAD: &str =
    "initial = \"structure+data\"\nload = { threads = 2, batch_rows = 100, max_rows_per_second = 1000 }";

/// A mesh in which the later change wins.
async fn newest() -> Mesh {
    let mut mesh = Mesh::new().await;
    mesh.configure(|file| {
        Mesh::LINKS.into_iter().for_each(|link| file.add_to_link(link, "on_conflict = \"newest\""));
    });
    mesh
}

/// The same, which copies what is in eu into both others.
async fn copying() -> Mesh {
    let mut mesh = newest().await;
    mesh.configure(|file| {
        file.add_to_link("eu-us", LOAD);
        file.add_to_link("eu-ap", LOAD);
    });
    mesh.region("eu").run("GRANT SHOW VIEW ON shop.* TO twinlog_reader@'127.0.0.1'").await;
    for to in ["us", "ap"] {
        mesh.region(to)
            .run("GRANT CREATE, REFERENCES, CREATE VIEW ON shop.* TO twinlog_writer@'127.0.0.1'")
            .await;
    }
    mesh.region("eu").run("CREATE DATABASE shop").await;
    mesh
}

async fn all_is_copied(mesh: &Mesh, table: &str) {
    for to in ["us", "ap"] {
        until(&format!("shop.{table} is copied into {to}"), WITHIN, async || {
            let done =
                format!("SELECT COUNT(*) FROM twinlog.load WHERE table_name = '{table}' AND state = 'done'");
            let all = "SELECT COUNT(*) FROM twinlog.load WHERE database_name = '' AND state = 'done'";
            let region = mesh.region(to);
            if region.row::<u64>(&done).await > 0 && region.row::<u64>(all).await == 1 {
                Ok(())
            } else {
                Err(format!("{:?}", mesh.try_status().await.map(|status| status.json().to_string())))
            }
        })
        .await;
    }
}

/// `TWINLOG_STORM_SECONDS`, as for a pair; 12 when it is not set.
fn storm() -> Duration {
    let seconds = std::env::var("TWINLOG_STORM_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(12))
}

/// Changes the same few rows of a table as everybody else does, until the time is over.
async fn collide(region: &Region, table: &str, seed: u64, end: Instant) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut session = region.connect().await;
    while Instant::now() < end {
        let (id, v) = (rng.random_range(1..=40), rng.random_range(0..1_000_000));
        let name = region.name();
        let statement = match rng.random_range(0..4) {
            0 => format!("DELETE FROM shop.{table} WHERE id = {id}"),
            1 => format!("REPLACE INTO shop.{table} VALUES ({id}, {v}, '{name}')"),
            _ => format!("UPDATE shop.{table} SET v = {v}, w = '{name}' WHERE id BETWEEN {id} AND {id} + 2"),
        };
        match session.query_drop(statement).await {
            // The victim of a deadlock with a link, as applications are.
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1205 | 1213) => {}
            done => done.expect("a change"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn collide_everywhere(mesh: &Mesh, table: &str, during: Duration) {
    let (seed, end) = (seed(), Instant::now() + during);
    let [eu, us, ap] = &mesh.regions;
    tokio::join!(
        collide(eu, table, seed ^ 1, end),
        collide(us, table, seed ^ 2, end),
        collide(ap, table, seed ^ 3, end)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_regions_that_change_the_same_rows_all_the_time_end_equal_though_all_is_killed() {
    let mesh = newest().await;
    for region in &mesh.regions {
        region.run("CREATE DATABASE shop").await;
        fill(region, "t", 40).await;
    }
    mesh.start().await;
    let kills = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            mesh.kill9();
            mesh.start().await;
        }
    };
    tokio::join!(collide_everywhere(&mesh, "t", storm()), kills);
    mesh.wait_in_step(WITHIN).await;
    mesh.wait_running(WITHIN).await;
    for region in &mesh.regions {
        let conflicts: u64 = region.row("SELECT COUNT(*) FROM twinlog.conflict").await;
        println!("{conflicts} conflicts in {}", region.name());
        assert!(conflicts > 10, "nothing collided in {}", region.name());
    }
}

/// Asks a link for something.
async fn link(mesh: &Mesh, what: &str, name: &str) {
    let config = mesh.config().to_string_lossy().into_owned();
    let said = Finished::of(&["link", what, "-c", &config, "--link", name], WITHIN).await;
    assert_eq!(said.code, 0, "{said}");
}

async fn reads(region: &Region, query: &str, wanted: u64) {
    until(&format!("{} in {}", query, region.name()), WITHIN, async || {
        let found: u64 = region.row(query).await;
        if found == wanted { Ok(()) } else { Err(format!("{found}, not {wanted}")) }
    })
    .await;
}

/// What eu wrote reaches us only behind what ap did to it: there is nothing to delete yet, and what ap puts back stands there
/// still. us logs nothing for it, and yet must know when the older change comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_changes_nothing_where_it_comes_early_is_not_undone_by_the_older_one_that_comes_late() {
    let mesh = newest().await;
    for region in &mesh.regions {
        region.run("CREATE DATABASE shop").await;
        fill(region, "t", 10).await;
    }
    mesh.start().await;
    mesh.wait_running(WITHIN).await;
    let [eu, us, ap] = &mesh.regions;
    for restarts in [false, true] {
        link(&mesh, "pause", "eu-us").await;
        let (new, v) = if restarts { (101, 11) } else { (100, 10) };
        let before: u64 = us.row("SELECT v FROM shop.t WHERE id = 5").await;
        eu.run(&format!("INSERT INTO shop.t VALUES ({new}, 1, 'eu')")).await;
        eu.run(&format!("UPDATE shop.t SET v = {v} WHERE id = 5")).await;
        reads(ap, &format!("SELECT COUNT(*) FROM shop.t WHERE id = {new}"), 1).await;
        reads(ap, "SELECT v FROM shop.t WHERE id = 5", v).await;
        ap.run(&format!("DELETE FROM shop.t WHERE id = {new}")).await;
        ap.run(&format!("UPDATE shop.t SET v = {before} WHERE id = 5")).await;
        ap.run(&format!("INSERT INTO shop.t VALUES ({new} + 1000, 1, 'behind')")).await;
        reads(us, &format!("SELECT COUNT(*) FROM shop.t WHERE id = {new} + 1000"), 1).await;
        if restarts {
            mesh.kill9();
            mesh.start().await;
        }
        link(&mesh, "resume", "eu-us").await;
        mesh.wait_running(WITHIN).await;
        mesh.wait_in_step(WITHIN).await;
        eu.run(&format!("INSERT INTO shop.t VALUES ({new} + 2000, 1, 'behind')")).await;
        reads(us, &format!("SELECT COUNT(*) FROM shop.t WHERE id = {new} + 2000"), 1).await;
        mesh.wait_in_step(WITHIN).await;
        reads(us, &format!("SELECT COUNT(*) FROM shop.t WHERE id = {new}"), 0).await;
        reads(us, "SELECT v FROM shop.t WHERE id = 5", before).await;
        reads(us, "SELECT COUNT(*) FROM twinlog.trace", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_comes_before_its_parent_of_a_third_region_waits_for_it() {
    let mesh = newest().await;
    for region in &mesh.regions {
        region
            .run_all(&[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.parent (id INT PRIMARY KEY)",
                "CREATE TABLE shop.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES shop.parent (id))",
            ])
            .await;
    }
    mesh.start().await;
    mesh.wait_running(WITHIN).await;
    let [eu, us, ap] = &mesh.regions;
    link(&mesh, "pause", "eu-us").await;
    eu.run("INSERT INTO shop.parent VALUES (1)").await;
    reads(ap, "SELECT COUNT(*) FROM shop.parent", 1).await;
    ap.run("INSERT INTO shop.child VALUES (1, 1)").await;
    until("ap-us waits for the parent", WITHIN, async || {
        let status = mesh.try_status().await?.link("ap-us")?;
        let says = status.text("reason").contains("waits for what its region had seen of eu");
        if says { Ok(()) } else { Err(status.json().to_string()) }
    })
    .await;
    link(&mesh, "resume", "eu-us").await;
    reads(us, "SELECT COUNT(*) FROM shop.child", 1).await;
    mesh.wait_running(WITHIN).await;
    mesh.wait_in_step(WITHIN).await;
    assert_eq!(us.row::<u64>("SELECT COUNT(*) FROM twinlog.conflict").await, 0);
}

/// docs/initial-load.md says so: with three regions a table is written in the one that it is copied from only, until it
/// is everywhere.
async fn is_copied_and_then_written_everywhere(mesh: &Mesh, table: &'static str, is_killed: bool) {
    let mut writers = Writers::new();
    writers.change(mesh.region("eu"), table, 1_000_000, PAUSE);
    if is_killed {
        wait_chunks(mesh.region("us"), table, 5).await;
        mesh.kill9();
        mesh.start().await;
    }
    all_is_copied(mesh, table).await;
    mesh.wait_running(WITHIN).await;
    writers.stop().await;
    mesh.wait_in_step(WITHIN).await;
    collide_everywhere(mesh, table, Duration::from_secs(5)).await;
    mesh.wait_in_step(WITHIN).await;
    mesh.wait_running(WITHIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_regions_begin_with_the_rows_of_one_while_it_is_written_though_all_is_killed() {
    let mesh = copying().await;
    fill(mesh.region("eu"), "t", ROWS).await;
    mesh.launch();
    is_copied_and_then_written_everywhere(&mesh, "t", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_joins_a_mesh_of_three_while_it_is_written_where_its_rows_are() {
    let mut mesh = copying().await;
    mesh.configure(|file| file.set_tables(&["shop.*", "!shop.late"]));
    fill(mesh.region("eu"), "t", 50).await;
    mesh.start().await;
    mesh.wait_running(WITHIN).await;
    mesh.wait_in_step(WITHIN).await;
    fill(mesh.region("eu"), "late", ROWS).await;
    mesh.configure(|file| file.set_tables(&["shop.*"]));
    let config = mesh.config().to_string_lossy().into_owned();
    let said = Finished::of(&["reload", "-c", &config], WITHIN).await;
    assert!(said.code < 2, "{said}");
    for to in ["us", "ap"] {
        let line = format!("applier eu-{to}: shop.late joins: it is copied");
        assert!(said.out.contains(&line), "{line}: {said}");
    }
    is_copied_and_then_written_everywhere(&mesh, "late", false).await;
}
