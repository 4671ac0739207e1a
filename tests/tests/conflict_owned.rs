//! What the conflict window rests on: under a row's lock, the GTIDs that the server owns and those that it has executed,
//! asked for in this order, hold the row's last writer. `gtid_executed` alone lags behind the locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use binlog::GtidSet;
use harness::{Region, RegionOptions, take_slot};
use tokio::task::JoinSet;
use wire::{ConnectOptions, Connection, Secret, TlsOptions};

const FOR: Duration = Duration::from_secs(4);
const ROWS: u64 = 3;
const WRITERS: u64 = 8;

/// Which transaction wrote which value.
type Written = Arc<Mutex<HashMap<u64, GtidSet>>>;

async fn connect(region: &Region) -> Connection {
    let options = ConnectOptions {
        address: region.address().to_owned(),
        user: "root".into(),
        password: Secret::default(),
        tls: TlsOptions::default(),
        connect_timeout: Duration::from_secs(10),
    };
    Connection::connect(&options).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owned_and_executed_under_a_rows_lock_holds_its_last_writer() {
    let _slot = take_slot().await;
    let [region] = Region::start_all([RegionOptions { name: "eu", server_id: 1, extra_args: Vec::new() }]);
    region
        .run_all(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v BIGINT UNSIGNED)"])
        .await;
    for row in 0..ROWS {
        region.run(&format!("INSERT INTO shop.t VALUES ({row}, 0)")).await;
    }
    let (end, written) = (Instant::now() + FOR, Written::default());
    let mut writers = JoinSet::new();
    for writer in 1..=WRITERS {
        writers.spawn(write(connect(&region).await, writer, end, written.clone()));
    }
    let mut readers = JoinSet::new();
    for reader in 0..2 {
        readers.spawn(look(connect(&region).await, reader, end));
    }
    writers.join_all().await;
    let seen: Vec<(u64, GtidSet, GtidSet)> = readers.join_all().await.into_iter().flatten().collect();
    let written = written.lock().unwrap();
    let (mut looks, mut lagged) = (0, 0);
    for (value, owned, executed) in seen.iter().filter(|(value, ..)| *value != 0) {
        let writer = &written[value];
        let mut both = owned.clone();
        both.union_with(executed);
        assert!(both.contains_all(writer), "{writer} wrote {value}: owned {owned}, executed {executed}");
        looks += 1;
        lagged += u64::from(!executed.contains_all(writer));
    }
    println!("{looks} looks, {lagged} of them at a row whose writer was not executed yet");
    assert!(looks > 100, "{looks} looks");
}

async fn write(mut session: Connection, writer: u64, end: Instant, written: Written) {
    session.execute("SET SESSION session_track_gtids = OWN_GTID").await.expect("the server answers as asked");
    for n in 1.. {
        if Instant::now() > end {
            return;
        }
        let value = n * 100 + writer;
        session
            .execute(format!("UPDATE shop.t SET v = {value} WHERE id = {}", n % ROWS))
            .await
            .expect("the server answers as asked");
        let own = session.take_own_gtids();
        let gtids = own.first().expect("the server tells the GTID of a commit").parse().expect("a GTID set");
        written.lock().expect("the server answers as asked").insert(value, gtids);
    }
}

/// Locks a row, reads who may have written it, lets it go, again and again.
async fn look(mut session: Connection, reader: u64, end: Instant) -> Vec<(u64, GtidSet, GtidSet)> {
    let mut seen = Vec::new();
    for n in reader.. {
        if Instant::now() > end {
            break;
        }
        session.execute("BEGIN").await.expect("the server answers as asked");
        let row = session
            .query_rows(format!("SELECT v FROM shop.t WHERE id = {} FOR UPDATE", n % ROWS))
            .await
            .expect("the server answers as asked");
        let value = row
            .single_text()
            .expect("the server answers as asked")
            .parse()
            .expect("the server answers as asked");
        let question = "SELECT @@GLOBAL.gtid_owned AS owned, @@GLOBAL.gtid_executed AS executed";
        let answer = session.query_rows(question).await.expect("the server answers as asked");
        let answer = answer.first().expect("the server answers as asked");
        let without_threads = |text: String| {
            let parts = text.split(':').map(|part| part.split('#').next().unwrap_or_default().to_owned());
            parts.collect::<Vec<_>>().join(":")
        };
        let owned = without_threads(answer.text("owned").expect("the server answers as asked"))
            .parse()
            .expect("the server answers as asked");
        seen.push((
            value,
            owned,
            answer
                .text("executed")
                .expect("the server answers as asked")
                .parse()
                .expect("the server answers as asked"),
        ));
        session.execute("COMMIT").await.expect("the server answers as asked");
    }
    seen
}
