//! Servers of our own: they start together, keep their data over a kill, and never stay behind.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its assertions do")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use twinlog::local_mysql::{Error, Installation, Server, ServerOptions, locate_or_fetch};

fn installation() -> Installation {
    locate_or_fetch().unwrap_or_else(|e| panic!("{e}"))
}

fn start(name: &str, server_id: u32) -> Server {
    let options = ServerOptions { name: name.into(), server_id, ..ServerOptions::default() };
    Server::start(&installation(), options).unwrap_or_else(|e| panic!("{e}"))
}

fn sql(server: &Server, statement: &str) -> String {
    let output = server.client("mysql").args(["-N", "-B", "-e", statement]).output().unwrap();
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Is there a process of this id that has not ended? A zombie has.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|s| s.chars().next()).is_some_and(|state| state != 'Z')
}

#[test]
fn two_servers_run_side_by_side_with_gtids_on_and_uuids_of_their_own() {
    let (eu, us) = thread::scope(|s| {
        let eu = s.spawn(|| start("eu", 1));
        let us = s.spawn(|| start("us", 2));
        (eu.join().unwrap(), us.join().unwrap())
    });
    let settings = "select @@server_id, @@gtid_mode, @@binlog_row_metadata, @@sync_binlog, @@gtid_executed";
    assert_eq!(sql(&eu, settings), "1\tON\tFULL\t1");
    assert_eq!(sql(&us, settings), "2\tON\tFULL\t1");
    assert_ne!(sql(&eu, "select @@server_uuid"), sql(&us, "select @@server_uuid"));
    assert_ne!(eu.port(), us.port());
}

#[test]
fn a_killed_server_comes_back_on_its_port_with_what_was_committed() {
    let mut server = start("eu", 1);
    sql(&server, "create database d; create table d.t (a int primary key); insert into d.t values (7)");
    let (port, pid, uuid) = (server.port(), server.pid().unwrap(), sql(&server, "select @@server_uuid"));
    server.kill9();
    assert!(!runs(pid));
    assert_eq!(server.pid(), None);
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(sql(&server, "select a, @@server_uuid from d.t"), format!("7\t{uuid}"));
    server.restart_with(vec!["--binlog-row-metadata=MINIMAL".into()]).unwrap();
    assert_eq!(sql(&server, "select a, @@binlog_row_metadata from d.t"), "7\tMINIMAL");
}

#[test]
fn dropping_a_server_ends_it_and_removes_its_folder() {
    let server = start("eu", 1);
    let (pid, datadir) = (server.pid().unwrap(), server.datadir().to_path_buf());
    assert!(runs(pid) && datadir.exists());
    drop(server);
    assert!(!runs(pid));
    assert!(!datadir.exists());
}

#[test]
fn a_data_folder_given_is_kept_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = || ServerOptions {
        name: "eu".into(),
        server_id: 1,
        datadir: Some(folder.path().join("data")),
        ..ServerOptions::default()
    };
    let mut server = Server::start(&installation(), options()).unwrap();
    sql(&server, "create database kept");
    server.stop();
    drop(server);
    let server = Server::start(&installation(), options()).unwrap();
    assert_eq!(sql(&server, "show databases like 'kept'"), "kept");
}

#[test]
fn a_server_that_can_not_start_says_why() {
    let options = ServerOptions {
        name: "odd".into(),
        extra_args: vec!["--no-such-option=1".into()],
        ..Default::default()
    };
    let error = Server::start(&installation(), options).unwrap_err();
    assert!(matches!(error, Error::Died { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn a_port_that_is_taken_and_asked_for_is_an_error_that_names_the_server() {
    let first = start("first", 1);
    let options = ServerOptions { name: "second".into(), port: Some(first.port()), ..Default::default() };
    let error = Server::start(&installation(), options).unwrap_err();
    assert!(matches!(error, Error::NoPort { .. }), "{error:?}");
}

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "run by a_server_dies_with_a_killed_parent"]
fn start_a_server_and_wait_to_be_killed() {
    // From a thread that ends: the server must outlive that.
    let server = thread::spawn(|| start("orphan", 1)).join().unwrap();
    println!("pid={}", server.pid().unwrap());
    thread::sleep(Duration::from_secs(120));
}

#[test]
fn a_server_dies_with_a_killed_parent() {
    if !Path::new("/usr/bin/setpriv").exists() && !Path::new("/bin/setpriv").exists() {
        panic!("this promise needs setpriv of util-linux: install it");
    }
    installation();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "start_a_server_and_wait_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|l| l.split_once("pid=").and_then(|(_, pid)| pid.trim().parse().ok()))
        .expect("the helper prints the server's process id");
    assert!(runs(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the server is gone", || !runs(pid));
}
