//! The configuration, fed with what people write.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use wire::TlsMode;

use applier::{Detect, Policy};

use super::{Faults, File, PasswordSource, applier_config, parse, relay_config};

/// Two regions, both ways, with nothing that is not needed.
const PAIR: &str = r#"
[sync]
name = "shop"
tables = ["shop.*", "!shop.tmp_*"]
state_dir = "state"
allow_inline_secrets = true
[region.eu]
mysql.address = "10.0.0.5"
mysql.user = "twinlog"
mysql.password = "a"
relay.listen = "127.0.0.1:3407"
relay.password = "r"
[region.us]
mysql.address = ["10.1.0.5:3307", "[fd00::5]"]
mysql.reader_user = "reader"
mysql.reader_password = "b"
mysql.writer_user = "writer"
mysql.writer_password = "c"
relay.listen = "127.0.0.1:3408"
relay.password = "r"
[link.eu-us]
from = "eu"
to = "us"
[link.us-eu]
from = "us"
to = "eu"
"#;

fn read(text: &str) -> Result<File, Faults> {
    parse(text, Path::new("/etc/twinlog/shop.toml"))
}

/// The pair with a piece of text replaced by another.
fn changed(from: &str, to: &str) -> Result<File, Faults> {
    assert!(PAIR.contains(from), "{from}");
    read(&PAIR.replacen(from, to, 1))
}

/// The pair with keys added to one link.
fn with(link: &str, keys: &str) -> Result<File, Faults> {
    changed(&format!("[link.{link}]\n"), &format!("[link.{link}]\n{keys}\n"))
}

/// Each fault as `key: message`.
fn faults(result: Result<File, Faults>) -> Vec<String> {
    let faults = result.expect_err("this file has faults");
    faults.list.into_iter().map(|f| format!("{}: {}", f.key, f.message)).collect()
}

#[track_caller]
fn assert_fault(result: Result<File, Faults>, key: &str, part: &str) {
    let all = faults(result);
    assert!(
        all.iter().any(|f| f.starts_with(&format!("{key}: ")) && f.contains(part)),
        "no {key} … {part} in {all:#?}"
    );
}

#[track_caller]
fn assert_warning(result: Result<File, Faults>, key: &str, part: &str) {
    let all = result.unwrap().warnings;
    assert!(all.iter().any(|f| f.key == key && f.message.contains(part)), "no {key} … {part} in {all:#?}");
}

#[test]
fn a_links_own_comparisons_have_the_options_of_the_command() {
    let file = with(
        "eu-us",
        "verify = { every = \"24h\", table = \"!shop.big\", max_rows_per_second = 9, max_load = 0, max_lag = \"0s\", wait = \"5s\" }",
    )
    .unwrap();
    let schedule = applier_config(&file, "eu-us").unwrap().verify.unwrap();
    assert_eq!(
        (schedule.every, schedule.config.between),
        (Duration::from_secs(86_400), Some(("eu".into(), "us".into())))
    );
    let limits = schedule.config.limits;
    assert_eq!((limits.max_rows_per_second, limits.max_load, limits.max_lag), (Some(9), None, None));
    assert_eq!((limits.wait, limits.sessions), (Duration::from_secs(5), 2));
    let only = schedule.config.only.unwrap();
    assert!(only.matches("shop", "other") && !only.matches("shop", "big"));
    assert!(schedule.outcome.ends_with("state/verify-eu-us.last.json"));
    assert!(applier_config(&file, "us-eu").unwrap().verify.is_none());
}

#[test]
fn a_pair_is_read_with_defaults_for_the_rest() {
    let file = read(PAIR).unwrap();
    assert_eq!(file.warnings, []);
    assert_eq!(file.sync.meta_schema, "twinlog");
    let relay = relay_config(&file, "eu").unwrap();
    assert_eq!((relay.sync.as_str(), relay.region.as_str(), relay.user.as_str()), ("shop", "eu", "link"));
    assert_eq!(relay.sources[0].address, "10.0.0.5:3306");
    assert_eq!(relay.sources[0].password.expose(), "a");
    assert_eq!(relay.dir, Path::new("/etc/twinlog/state/relay-eu"));
    assert_eq!((relay.retain, relay.max_size), (Duration::from_secs(72 * 3600), 200 << 30));
    assert_eq!(relay.start, relay::Start::Asked);
    assert_eq!(
        relay.links,
        ["shop/eu/us", "shop/us/eu#window"],
        "a link, and the conflict window of the way back"
    );

    let applier = applier_config(&file, "eu-us").unwrap();
    assert_eq!((applier.source.address.as_str(), applier.source.user.as_str()), ("127.0.0.1:3407", "link"));
    assert_eq!(applier.source.tls.mode, TlsMode::Disabled);
    let targets: Vec<&str> = applier.targets.iter().map(|t| t.address.as_str()).collect();
    assert_eq!(targets, ["10.1.0.5:3307", "[fd00::5]:3306"]);
    assert_eq!((applier.targets[0].user.as_str(), applier.targets[0].password.expose()), ("writer", "c"));
    assert_eq!(applier.source_servers[0].user, "twinlog");
    assert!(applier.objects.has("shop", "stock") && !applier.objects.has("shop", "tmp_1"));
    assert_eq!(applier.regions.keys().collect::<Vec<_>>(), ["eu", "us"]);
    assert!(applier.server_id >= 1 << 31 && relay.server_id >= 1 << 31);
}

#[test]
fn the_example_is_a_configuration_without_faults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("example.toml");
    let file = super::load(&path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(file.warnings, []);
    let applier = applier_config(&file, "eu-us");
    // Its password files are not there, and that is told by the key that names them.
    assert!(applier.unwrap_err().to_string().contains("region.eu.mysql.password_file"));
}

#[test]
fn all_faults_are_told_at_once_each_with_its_line() {
    let text = PAIR.replace("10.0.0.5", "10.0.0.5:x").replace("to = \"eu\"", "to = \"asia\"\nworkres = 2");
    let error = read(&text).unwrap_err();
    let lines: Vec<(usize, &str)> = error.list.iter().map(|f| (f.line, f.key.as_str())).collect();
    assert_eq!(lines, [(8, "region.eu.mysql.address"), (26, "link.us-eu.to"), (27, "link.us-eu.workres")]);
    let text = error.to_string();
    assert!(text.contains("/etc/twinlog/shop.toml"), "{text}");
    assert!(
        text.contains("line 27: link.us-eu.workres: unknown key; the nearest known key is workers"),
        "{text}"
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let error = read("[sync]\nname = \"shop\ntables = 3 4\n").unwrap_err();
    assert!(error.list.iter().any(|f| f.line == 2), "{error}");
    assert!(read("\u{feff}[sync").is_err());
}

#[test]
fn missing_keys_are_named() {
    assert_fault(read(""), "sync", "missing");
    assert_fault(changed("name = \"shop\"", ""), "sync.name", "missing");
    assert_fault(changed("tables = [\"shop.*\", \"!shop.tmp_*\"]", ""), "sync.tables", "missing");
    assert_fault(
        changed("mysql.user = \"twinlog\"\nmysql.password = \"a\"", ""),
        "region.eu.mysql.user",
        "missing",
    );
    assert_fault(changed("relay.password = \"r\"\n", ""), "region.eu.relay.password_file", "missing");
    assert_fault(changed("from = \"eu\"", ""), "link.eu-us.from", "missing");
    assert_fault(
        changed("mysql.address = \"10.0.0.5\"", "mysql.address = []"),
        "region.eu.mysql.address",
        "missing",
    );
}

#[test]
fn wrong_types_and_words_are_told_with_what_would_be_right() {
    assert_fault(changed("name = \"shop\"", "name = 3"), "sync.name", "must be a string, not integer");
    assert_fault(with("eu-us", "ddl = \"yes\""), "link.eu-us.ddl", "must be true or false");
    assert_fault(with("eu-us", "workers = 0"), "link.eu-us.workers", "must be from 1 to 16");
    assert_fault(
        with("eu-us", "on_conflict = \"older\""),
        "link.eu-us.on_conflict",
        "report, ignore, overwrite, newest",
    );
    assert_fault(
        with("eu-us", "group = { max_bytes = \"4 miles\" }"),
        "link.eu-us.group.max_bytes",
        "not a size",
    );
    let verify = |options: &str| with("eu-us", &format!("verify = {{ {options} }}"));
    assert_fault(verify("max_load = 1"), "link.eu-us.verify.every", "is missing");
    assert_fault(verify("every = \"0s\""), "link.eu-us.verify.every", "1s at least");
    assert_fault(verify("every = \"1h\", max_lags = \"1s\""), "link.eu-us.verify.max_lags", "max_lag");
    assert_fault(verify("every = \"1h\", sessions = 65"), "link.eu-us.verify.sessions", "from 1 to 64");
    assert_fault(changed("name = \"shop\"", "name = \"../x\""), "sync.name", "letters, digits");
    assert_fault(changed("[link.eu-us]", "[link.\"eu us\"]"), "link.\"eu us\"", "letters, digits");
    assert_fault(changed("\"shop.*\"", "\"shop\""), "sync.tables", "has no database");
    assert_fault(read("sync = 3\nregion = 4\n[link]\na = 5"), "link.a", "must be a table");
}

#[test]
fn a_password_in_the_file_needs_leave() {
    let refused = changed("allow_inline_secrets = true\n", "");
    assert_fault(refused, "region.eu.mysql.password", "use password_file or password_env");
    let twice = changed("mysql.password = \"a\"", "mysql.password = \"a\"\nmysql.password_env = \"P\"");
    assert_fault(twice, "region.eu.mysql.password_file", "only one of");
}

#[test]
fn password_files_are_relative_to_the_file_and_lose_one_newline() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("eu"), "se cret \n").unwrap();
    let text = PAIR.replace("mysql.password = \"a\"", "mysql.password_file = \"eu\"");
    let file = parse(&text, &folder.path().join("shop.toml")).unwrap();
    assert_eq!(relay_config(&file, "eu").unwrap().sources[0].password.expose(), "se cret ");
    fs::remove_file(folder.path().join("eu")).unwrap();
    let error = relay_config(&file, "eu").unwrap_err().to_string();
    assert!(error.contains("line 10: region.eu.mysql.password_file: the password file cannot"), "{error}");
    let env = PAIR.replace("mysql.password = \"a\"", "mysql.password_env = \"TWINLOG_NO_SUCH_VARIABLE\"");
    let error = relay_config(&read(&env).unwrap(), "eu").unwrap_err().to_string();
    assert!(error.contains("TWINLOG_NO_SUCH_VARIABLE"), "{error}");
}

#[test]
fn tls_comes_whole_and_plain_tcp_beyond_loopback_is_asked_for() {
    let open = "relay.listen = \"0.0.0.0:3407\"\nrelay.address = \"relay.eu:3407\"";
    let listen = "relay.listen = \"127.0.0.1:3407\"";
    assert_fault(changed(listen, open), "region.eu.relay.tls_cert", "missing");
    let by_hand = changed(listen, &format!("{open}\nrelay.tls = \"disabled\"")).unwrap();
    assert!(relay_config(&by_hand, "eu").unwrap().tls.is_none());
    assert_eq!(applier_config(&by_hand, "eu-us").unwrap().source.address, "relay.eu:3407");

    let half = changed(listen, &format!("{open}\nrelay.tls_cert = \"c\""));
    assert_fault(half, "region.eu.relay.tls_key", "missing");
    let certified = format!("{open}\nrelay.tls_cert = \"c\"\nrelay.tls_key = \"k\"");
    assert_warning(changed(listen, &certified), "region.eu.relay.tls", "give tls_ca");
    let verified = changed(listen, &format!("{certified}\nrelay.tls_ca = \"ca\"")).unwrap();
    let source = applier_config(&verified, "eu-us").unwrap().source.tls;
    assert_eq!(
        (source.mode, source.ca.unwrap().as_path()),
        (TlsMode::VerifyIdentity, Path::new("/etc/twinlog/ca"))
    );
    assert_fault(
        changed(listen, "relay.listen = \"0.0.0.0:1\"\nrelay.tls = \"disabled\""),
        "region.eu.relay.address",
        "nobody can reach",
    );

    let mysql = changed("mysql.user = \"twinlog\"", "mysql.user = \"twinlog\"\nmysql.tls = \"verify-ca\"");
    assert_fault(mysql, "region.eu.mysql.tls_ca", "missing");
}

#[test]
fn links_must_join_two_regions_once() {
    assert_fault(
        changed("to = \"us\"", "to = \"asia\""),
        "link.eu-us.to",
        "no such region: asia; there are eu, us",
    );
    assert_fault(changed("to = \"us\"", "to = \"eu\""), "link.eu-us.to", "is the region that the link reads");
    let twice = read(&format!("{PAIR}[link.again]\nfrom = \"eu\"\nto = \"us\"\n"));
    assert_fault(twice, "link.eu-us", "goes from eu to us as again does");
}

#[test]
fn ids_folders_and_ports_are_not_shared() {
    assert_fault(
        changed("127.0.0.1:3408", "127.0.0.1:3407"),
        "region.us.relay.listen",
        "the same address as region.eu.relay.listen",
    );
    let ids = PAIR.replace("from = ", "server_id = 7\nfrom = ");
    assert_fault(read(&ids), "link.us-eu.server_id", "the same server_id as link.eu-us.server_id");
    let dirs = PAIR.replace("relay.password =", "relay.dir = \"d\"\nrelay.password =");
    assert_fault(read(&dirs), "region.us.relay.dir", "the same folder");
}

#[test]
fn the_meta_schema_is_never_in_step() {
    assert_fault(changed("\"shop.*\"", "\"*.*\""), "sync.tables", "add \"!twinlog.*\"");
    assert!(changed("\"shop.*\", \"!shop.tmp_*\"", "\"*.*\", \"!twinlog.*\"").is_ok());
}

#[test]
fn ddl_goes_one_way_round_a_ring() {
    let both = PAIR.replace("from = ", "ddl = true\nfrom = ");
    assert_fault(read(&both), "link.us-eu.ddl", "only one link of a ring");
    assert!(with("eu-us", "ddl = true").is_ok());
    let asia = "[region.ap]\nmysql.address = \"10.2.0.5\"\nmysql.user = \"t\"\nrelay.listen = \"127.0.0.1:3409\"\nrelay.password = \"r\"\n";
    let link = |from: &str, to: &str, ddl: bool| {
        format!("[link.{from}-{to}]\nfrom = \"{from}\"\nto = \"{to}\"\nddl = {ddl}\n")
    };
    // Out of one region to all others is no ring; from a second one it is.
    let mesh = |us_ddl: bool| {
        let more = link("eu", "ap", true)
            + &link("ap", "eu", false)
            + &link("us", "ap", us_ddl)
            + &link("ap", "us", false);
        read(&format!("{}{asia}{more}", PAIR.replace("from = \"eu\"", "ddl = true\nfrom = \"eu\"")))
    };
    assert!(mesh(false).is_ok());
    assert_fault(mesh(true), "link.us-ap.ddl", "only one link of a ring");
}

#[test]
fn both_directions_of_a_pair_agree() {
    let operations = with("eu-us", "operations = [\"insert\"]");
    assert_fault(operations, "link.us-eu.operations", "differs from those of eu-us");
    let newest = with("eu-us", "on_conflict = \"newest\"");
    assert_fault(newest, "link.eu-us.on_conflict", "newest needs newest on the way back too: us-eu");
    let table = with("eu-us", "table.\"shop.stock\".on_conflict = \"newest\"");
    assert_fault(table, "link.eu-us.table.\"shop.stock\".on_conflict", "newest needs newest for shop.stock");
    let key = with("eu-us", "on_conflict = \"newest\"\ndetect = \"key\"");
    assert_fault(key, "link.eu-us.detect", "newest needs detect = \"row\"");
    assert_fault(
        with("eu-us", "table.\"store.x\".detect = \"key\""),
        "link.eu-us.table.\"store.x\"",
        "not in step",
    );
}

#[test]
fn the_way_back_has_the_inverse_rename() {
    let rename = |eu_us: &str, us_eu: &str| {
        let text = PAIR.replace("from = \"eu\"", &format!("rename = {{ {eu_us} }}\nfrom = \"eu\""));
        read(&text.replace("from = \"us\"", &format!("rename = {{ {us_eu} }}\nfrom = \"us\"")))
    };
    let there = "\"shop.a\" = \"store.a\"";
    assert_fault(rename(there, "\"store.a\" = \"shop.b\""), "link.eu-us.rename", "not the inverse");
    let both = rename(there, "\"store.a\" = \"shop.a\"").unwrap();
    assert!(!both.links["eu-us"].renames_are_derived && both.links["us-eu"].renames_are_derived);
    let derived = rename("\"shop\" = \"store\"", "").unwrap();
    let objects = |link: &str| super::objects(&derived, &derived.links[link]);
    assert_eq!(objects("us-eu").names.there("store", "a"), Some(("shop".into(), "a".into())));
    assert!(objects("us-eu").has("store", "a") && !objects("us-eu").has("shop", "a"));
    assert_fault(rename("\"shop\" = \"store.a\"", ""), "link.eu-us.rename", "a database becomes a database");
    assert_fault(rename("\"shop\" = \"twinlog\"", ""), "link.eu-us.rename", "each server's own");
    assert_fault(
        rename("\"shop.a\" = \"s.x\", \"shop.b\" = \"s.x\"", ""),
        "link.eu-us.rename",
        "would both become s.x",
    );
    assert_fault(rename("\"shop.*\" = \"s.x\"", ""), "link.eu-us.rename", "not database.table");
}

#[test]
fn operations_are_alike_in_both_directions() {
    let left_out = "operations = [\"insert\", \"update\"]";
    assert_fault(with("eu-us", left_out), "link.us-eu.operations", "differs from those of eu-us");
    let both = PAIR.replace("from = \"", &format!("{left_out}\nfrom = \""));
    let config = applier_config(&read(&both).unwrap(), "us-eu").unwrap();
    assert!(config.objects.operations.update && !config.objects.operations.delete);
    let table = format!("table.\"shop.stock\".{left_out}");
    assert_fault(
        with("eu-us", &table),
        "link.us-eu.table.\"shop.stock\".operations",
        "differs from that of shop.stock",
    );
    assert!(read(&PAIR.replace("from = \"", &format!("{table}\nfrom = \""))).is_ok());
}

#[test]
fn keys_in_a_pair_are_a_warning() {
    assert_warning(with("eu-us", "detect = \"key\""), "link.eu-us.detect", "leave the regions different");
}

#[test]
fn keys_of_the_copy_and_of_the_processes_are_read() {
    let semi_sync = changed("relay.password = \"r\"", "relay.password = \"r\"\nrelay.semi_sync = true");
    assert!(relay_config(&semi_sync.unwrap(), "eu").unwrap().semi_sync);
    let served = "initial = \"structure+data\"\non_conflict = \"report\"\nworkers = 4\nadmin.listen = \"127.0.0.1:7481\"";
    let file = with("eu-us", served).unwrap();
    assert_eq!(file.links["eu-us"].admin.listen.as_deref(), Some("127.0.0.1:7481"));
    let load = applier_config(&file, "eu-us").unwrap().load;
    assert!(load.initial.has_structure() && load.initial.has_data());
}

#[test]
fn beyond_loopback_an_admin_address_needs_a_token_and_tls() {
    let listen = "admin.listen = \"0.0.0.0:7481\"\nadmin.address = \"db1.example:7481\"";
    assert_fault(with("eu-us", listen), "link.eu-us.admin.token_file", "must show a token");
    assert_fault(with("eu-us", listen), "link.eu-us.admin.tls_cert", "is missing");
    let all = format!(
        "{listen}\nadmin.token_file = \"t\"\nadmin.tls_cert = \"c\"\nadmin.tls_key = \"k\"\nadmin.tls_ca = \"a\""
    );
    let admin = &with("eu-us", &all).unwrap().links["eu-us"].admin;
    assert_eq!(admin.client_tls.mode, TlsMode::VerifyIdentity);
    assert!(admin.tls.is_some() && matches!(admin.token, PasswordSource::File { .. }));
    let wildcard = all.replace("admin.address = \"db1.example:7481\"", "");
    assert_fault(with("eu-us", &wildcard), "link.eu-us.admin.address", "nobody can reach");
    let no_key = "admin.tls_cert = \"c\"";
    assert_fault(with("eu-us", no_key), "link.eu-us.admin.tls_key", "is missing");
}

#[test]
fn beyond_loopback_a_console_needs_a_token_and_tls() {
    let sync = |keys: &str| changed("name = \"shop\"\n", &format!("name = \"shop\"\n{keys}\n"));
    let listen = "console.listen = \"0.0.0.0:7490\"\nconsole.address = \"console.example:7490\"";
    assert_fault(sync(listen), "sync.console.token_file", "must show a token");
    assert_fault(sync(listen), "sync.console.tls_cert", "is missing");
    let all =
        format!("{listen}\nconsole.token_file = \"t\"\nconsole.tls_cert = \"c\"\nconsole.tls_key = \"k\"");
    let console = sync(&all).unwrap().sync.console;
    assert_eq!(console.address.as_deref(), Some("console.example:7490"));
    assert!(console.tls.is_some() && matches!(console.token, PasswordSource::File { .. }));
    // Browsers know their CAs by themselves.
    assert_fault(sync(&format!("{all}\nconsole.tls_ca = \"a\"")), "sync.console.tls_ca", "unknown");
}

#[test]
fn a_token_that_is_easily_guessed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = |text: &str| {
        let path = folder.path().join("token");
        fs::write(&path, text).unwrap();
        let line = format!("admin.token_file = {path:?}");
        with("eu-us", &line).unwrap().links["eu-us"].admin.token.token()
    };
    assert!(token("0123456789abcdef\n").unwrap().is_some());
    for bad in ["", "short", "sixteen letters and blanks"] {
        assert!(token(bad).unwrap_err().to_string().contains("openssl rand"), "{bad}");
    }
    assert!(PasswordSource::Empty.token().unwrap().is_none());
}

#[test]
fn a_pair_finds_conflicts_by_rows_unless_it_is_told_otherwise_and_a_link_without_a_way_back_by_keys() {
    let conflicts = |file: &File| applier_config(file, "eu-us").unwrap().conflicts;
    let pair = changed("", "").unwrap();
    let config = applier_config(&pair, "eu-us").unwrap();
    assert_eq!((config.conflicts.rules.policy, config.conflicts.rules.detect), (Policy::Report, Detect::Row));
    let us_relay = applier_config(&pair, "us-eu").unwrap().source.address;
    assert_eq!(config.target_relay.map(|relay| relay.address), Some(us_relay));
    assert!(relay_config(&pair, "us").unwrap().links.contains(&"shop/eu/us#window".to_owned()));
    let by_key = with("eu-us", "detect = \"key\"").unwrap();
    assert_eq!(conflicts(&by_key).rules.detect, Detect::Key);
    assert!(applier_config(&by_key, "eu-us").unwrap().target_relay.is_none());
    assert!(!relay_config(&by_key, "us").unwrap().links.contains(&"shop/eu/us#window".to_owned()));
    let table =
        with("eu-us", "on_conflict = \"ignore\"\ntable.\"shop.stock\".on_conflict = \"overwrite\"").unwrap();
    assert_eq!(conflicts(&table).of("shop", "stock").policy, Policy::Overwrite);
    assert_eq!(conflicts(&table).of("shop", "other").policy, Policy::Ignore);
}

#[test]
fn where_three_regions_look_for_conflicts_by_rows_a_group_is_one_transaction() {
    let third = "[region.ap]\nmysql.address = \"10.2.0.5\"\nmysql.user = \"twinlog\"\nmysql.password = \"a\"\n\
         relay.listen = \"127.0.0.1:3409\"\nrelay.password = \"r\"\n[link.eu-us]";
    let of = |text: &str| applier_config(&read(text).unwrap(), "eu-us").unwrap().group.max_transactions;
    assert_eq!(of(PAIR), 256);
    let three = PAIR.replace("[link.eu-us]", third);
    assert_eq!(of(&three), 1);
    let by_key = three
        .replace("to = \"us\"\n", "to = \"us\"\ndetect = \"key\"\n")
        .replace("to = \"eu\"\n", "to = \"eu\"\ndetect = \"key\"\n");
    assert_eq!(of(&by_key), 256);
}

#[test]
fn a_link_knows_which_further_regions_write_into_its_target() {
    let third = "[region.ap]\nmysql.address = \"10.2.0.5\"\nmysql.user = \"twinlog\"\nmysql.password = \"a\"\n\
         relay.listen = \"127.0.0.1:3409\"\nrelay.password = \"r\"\n[link.ap-us]\nfrom = \"ap\"\nto = \"us\"\n[link.eu-us]";
    let file = read(&PAIR.replace("[link.eu-us]", third)).unwrap();
    let of = |link: &str| applier_config(&file, link).unwrap().others;
    assert_eq!(of("eu-us"), ["ap"]);
    assert_eq!(of("ap-us"), ["eu"]);
    assert!(of("us-eu").is_empty(), "ap does not write into eu");
}

#[test]
fn a_relay_starts_where_it_is_told() {
    let start = |text: &str| {
        changed("relay.password = \"r\"", &format!("relay.password = \"r\"\nrelay.start = \"{text}\""))
    };
    assert_eq!(relay_config(&start("oldest").unwrap(), "eu").unwrap().start, relay::Start::Oldest);
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    let after = relay_config(&start(set).unwrap(), "eu").unwrap().start;
    assert_eq!(after, relay::Start::After(set.parse().unwrap()));
    assert_fault(start("yesterday"), "region.eu.relay.start", "must be now, oldest or a GTID set");
}

#[test]
fn a_region_without_a_relay_is_read_directly() {
    let text = PAIR.replace("relay.listen = \"127.0.0.1:3407\"\nrelay.password = \"r\"\n", "");
    let file = read(&text).unwrap();
    assert_eq!(applier_config(&file, "eu-us").unwrap().source.address, "10.0.0.5:3306");
    assert!(relay_config(&file, "eu").is_err());
    assert!(applier_config(&file, "nowhere").unwrap_err().to_string().contains("there are eu-us, us-eu"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_reader_panic(at in 0..PAIR.len(), length in 0usize..40, new in "[\\[\\]{}=.\",a-z0-9\n]{0,8}") {
        let end = (at + length).min(PAIR.len());
        let _ = read(&format!("{}{new}{}", &PAIR[..at], &PAIR[end..]));
    }
}
