//! MySQL's own test programs as a workload: `mysqltest` runs them against eu, and us is compared after each.
//!
//! They drop what they made at their end; that part is left out, so that there is something to compare. The programs
//! come in Debian's `mysql-testsuite`, 340 MB, fetched into the cache as the server is: therefore ignored by default.
//!
//!     cargo test -p twinlog-tests --test scenarios mysql_suite -- --ignored        a few of them
//!     TWINLOG_MYSQL_TESTS=all …                                                    all that can run here
//!     TWINLOG_MYSQL_TESTS=t/insert.test,t/json_ddl.test …                          these

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use harness::{Pair, PairOptions, Process, Region, defined_alike, difference, installation};
use twinlog::local_mysql::locate_or_fetch_package;

const SOON: Duration = Duration::from_secs(120);
/// One program may take so long.
const ONE: Duration = Duration::from_secs(60);

/// Run when nothing else is said: they must end well.
const FEW: [&str; 33] = [
    "t/alter_table_partition.test",
    "t/bigint.test",
    "t/binary.test",
    "t/bulk_replace.test",
    "t/comment_column.test",
    "t/comment_table.test",
    "t/ctype_cp932.test",
    "t/ctype_gbk.test",
    "t/ctype_unicode900.test",
    "t/desc_index_innodb.test",
    "t/fk_var_fixed_col_widths.test",
    "t/foreign_key_fkc.test",
    "t/type_binary.test",
    "t/type_datetime.test",
    "t/type_decimal.test",
    "t/type_float.test",
    "t/type_nchar.test",
    "t/type_time.test",
    "t/type_timestamp_explicit.test",
    "t/type_uint.test",
    "t/type_vector.test",
    "t/type_year.test",
    "suite/json/t/json_ddl_innodb.test",
    "suite/json/t/json_gcol_innodb.test",
    "suite/json/t/json_group_concat_innodb.test",
    "suite/json/t/json_prep_stmts.test",
    "suite/parts/t/part_ctype_utf32.test",
    "suite/parts/t/partition-dml-1-12-innodb.test",
    "suite/parts/t/partition-dml-1-2-innodb.test",
    "suite/gcol/t/gcol_rejected_innodb.test",
    "suite/gis/t/all_geometry_types_instantiable.test",
    "suite/collations/t/chinese.test",
    "suite/collations/t/german.test",
];
/// Folders of the whole list.
const FOLDERS: [&str; 6] =
    ["t", "suite/json/t", "suite/gcol/t", "suite/gis/t", "suite/collations/t", "suite/parts/t"];
/// What a program of the whole list must not hold, and why: tests/README.md.
const NOT: [&str; 24] = [
    "myisam",
    "restart_mysqld",
    "shutdown_server",
    "have_debug",
    "big_test",
    "federated",
    "archive",
    "=memory",
    "= memory",
    "=heap",
    "=csv",
    "=merge",
    "=blackhole",
    "binlog_format",
    "--exec",
    "reset binary",
    "count_sessions",
    "gtid",
    "create user",
    "sql_log_bin",
    "have_ndb",
    "mysql_upgrade",
    "restrict_fk_on_non_standard_key",
    "spatial reference system",
];

struct Suite {
    /// `usr/lib/mysql-test` of the package.
    dir: PathBuf,
    work: tempfile::TempDir,
}

impl Suite {
    fn programs(&self) -> Vec<String> {
        match std::env::var("TWINLOG_MYSQL_TESTS").as_deref() {
            Err(_) => FEW.map(str::to_owned).to_vec(),
            Ok("all") => FOLDERS.iter().flat_map(|folder| self.runnable(folder)).collect(),
            Ok(list) => list.split(',').map(str::to_owned).collect(),
        }
    }

    fn runnable(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join(folder)).expect("the package has its folders");
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|x| x == "test"))
            .map(|e| format!("{folder}/{}", e.file_name().to_string_lossy()))
            .filter(|program| self.hindrance(program).is_none())
            .collect();
        names.sort();
        names
    }

    /// The word in a program that says that it can't run here.
    fn hindrance(&self, program: &str) -> Option<&'static str> {
        let text = std::fs::read(self.dir.join(program)).unwrap_or_else(|e| panic!("{program}: {e}"));
        let text = String::from_utf8_lossy(&text).to_lowercase();
        NOT.into_iter().find(|word| text.contains(word))
    }

    /// Runs a program without the drops at its end; what it said when it did not end well.
    async fn run(&self, program: &str, region: &Region) -> Result<(), String> {
        let text = std::fs::read(self.dir.join(program)).map_err(|e| e.to_string())?;
        let text = without_last_drops(&String::from_utf8_lossy(&text));
        let file = self.dir.join(format!("{}.kept", program.trim_end_matches(".test")));
        std::fs::write(&file, text).map_err(|e| e.to_string())?;
        let work = self.work.path();
        let socket = region.socket();
        let mut command = installation().foreign(&self.dir.join("bin/mysqltest"));
        command
            .args(["--host=127.0.0.1", "--user=root", "--database=test", "--silent"])
            .arg(format!("--port={}", region.port()))
            .arg(format!("--basedir={}/", self.dir.display()))
            .arg(format!("--tmpdir={}", work.display()))
            .arg(format!("--logdir={}", work.display()))
            .arg(format!("--test-file={}", file.display()))
            .current_dir(&self.dir)
            .env("MYSQL_TEST_DIR", &self.dir)
            .env("MYSQLTEST_VARDIR", work)
            .env("MYSQL_TMP_DIR", work)
            .env("MASTER_MYPORT", region.port().to_string())
            .env("MASTER_MYSOCK", socket)
            .env("MYSQLD_DATADIR", region.datadir());
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| e.to_string())?;
        let output = tokio::time::timeout(ONE, child.wait_with_output()).await;
        let _ = std::fs::remove_file(&file);
        match output {
            Err(_) => Err(format!("it took more than {} s", ONE.as_secs())),
            Ok(Err(e)) => Err(e.to_string()),
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(said.lines().last().unwrap_or_default().chars().take(200).collect())
            }
        }
    }
}

/// A program up to the block of drops that ends it.
fn without_last_drops(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_end = |line: &&str| {
        let line = line.trim().to_lowercase();
        line.is_empty() || line.starts_with("drop ") || line.starts_with('#') || line.starts_with("--echo")
    };
    let kept = lines.iter().rposition(|line| !is_end(line)).map_or(0, |at| at + 1);
    lines[..kept].iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fetches 340 MB: MySQL's own test programs"]
async fn mysql_s_own_test_programs_leave_both_regions_equal() {
    let root = tokio::task::block_in_place(|| locate_or_fetch_package("mysql-testsuite"));
    let root = root.unwrap_or_else(|e| panic!("{e}"));
    let suite = Suite {
        dir: root.join("usr/lib/mysql-test"),
        work: tempfile::Builder::new().prefix("twinlog-suite-").tempdir().expect("a temporary folder"),
    };
    let schemas =
        ["test", "mtr", "mysqltest", "mysqltest1", "mysqltest2", "test1", "test2", "db1", "db2", "d1"];
    let schemas = schemas.map(str::to_owned).to_vec();
    let pair = Pair::one_way(PairOptions {
        ddl: Some("eu-us"),
        schemas: schemas.clone(),
        server_args: vec!["--log-bin-trust-function-creators=ON".into()],
        ..PairOptions::default()
    })
    .await;
    let more =
        "GRANT CREATE VIEW, SHOW VIEW, SET_ANY_DEFINER, SYSTEM_USER ON *.* TO 'twinlog_writer'@'127.0.0.1'";
    pair.us.run(more).await;
    pair.start_one(Process::Relay("eu"));
    pair.start_one(Process::Applier("eu-us"));
    pair.wait_state("eu-us", "running", SOON).await;
    let (mut well, mut otherwise) = (0, Vec::new());
    for program in suite.programs() {
        for schema in &schemas {
            pair.eu.run(&format!("DROP DATABASE IF EXISTS {schema}")).await;
        }
        pair.eu.run_all(&["CREATE DATABASE test", "CREATE DATABASE mtr"]).await;
        if let Some(word) = suite.hindrance(&program) {
            otherwise.push(format!("{program}: it has {word:?}, and was not run"));
            continue;
        }
        let began = std::time::Instant::now();
        let ended = suite.run(&program, &pair.eu).await;
        println!("{program}: {ended:?} after {:?}", began.elapsed());
        match ended {
            Ok(()) => well += 1,
            Err(said) => otherwise.push(format!("{program}: {said}")),
        }
        pair.wait_applied("eu-us", SOON).await;
        let alike = defined_alike(&pair.eu, &pair.us, &schemas).await;
        alike.unwrap_or_else(|e| panic!("after {program}: {e}"));
        let equal = Box::pin(difference(&pair.eu, &pair.us, &schemas)).await;
        equal.unwrap_or_else(|e| panic!("after {program}: {e}"));
    }
    println!("{well} programs ended well, and {} otherwise:\n{}", otherwise.len(), otherwise.join("\n"));
    println!("the link: {}", pair.link_status("eu-us").await.json());
    assert!(well > 0 && (std::env::var("TWINLOG_MYSQL_TESTS").is_ok() || otherwise.is_empty()));
}
