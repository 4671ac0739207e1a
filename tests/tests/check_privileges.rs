//! Privileges are found out by doing: what is taken away is named, and the grant that is said gives it back.

use harness::Check;

use crate::check::right_pair;

const READER: &str = "'twinlog_reader'@'127.0.0.1'";
const WRITER: &str = "'twinlog_writer'@'127.0.0.1'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_privilege_that_is_missing_is_named_with_the_grant_that_gives_it() {
    let pair = right_pair(Some("eu-us")).await;
    for (revoke, item, status, lacks) in [
        (format!("REPLICATION SLAVE ON *.* FROM {READER}"), "reader_dump", "fail", "REPLICATION SLAVE"),
        (
            format!("REPLICATION CLIENT ON *.* FROM {READER}"),
            "reader_privileges",
            "fail",
            "REPLICATION CLIENT",
        ),
        (format!("SELECT ON shop.* FROM {READER}"), "reader_select", "warn", "SELECT"),
        (
            format!("REPLICATION CLIENT ON *.* FROM {WRITER}"),
            "writer_privileges",
            "fail",
            "REPLICATION CLIENT",
        ),
        (
            format!("REPLICATION_APPLIER ON *.* FROM {WRITER}"),
            "writer_privileges",
            "fail",
            "REPLICATION_APPLIER",
        ),
        (format!("SELECT ON shop.* FROM {WRITER}"), "writer_rows", "fail", "SELECT"),
        (format!("INSERT ON shop.* FROM {WRITER}"), "writer_rows", "fail", "INSERT"),
        (format!("UPDATE ON shop.* FROM {WRITER}"), "writer_rows", "fail", "UPDATE"),
        (format!("DELETE ON shop.* FROM {WRITER}"), "writer_rows", "fail", "DELETE"),
        (format!("CREATE ON shop.* FROM {WRITER}"), "writer_ddl", "fail", "CREATE"),
        (format!("ALTER ON shop.* FROM {WRITER}"), "writer_ddl", "fail", "ALTER"),
        (format!("DROP ON shop.* FROM {WRITER}"), "writer_ddl", "fail", "DROP"),
        (format!("INDEX ON shop.* FROM {WRITER}"), "writer_ddl", "fail", "INDEX"),
        (format!("REFERENCES ON shop.* FROM {WRITER}"), "writer_ddl", "fail", "REFERENCES"),
        (format!("CREATE ON twinlog.* FROM {WRITER}"), "writer_meta", "fail", "CREATE"),
        (format!("INSERT ON twinlog.* FROM {WRITER}"), "writer_meta", "fail", "INSERT"),
        (
            format!("ALL ON twinlog.* FROM {WRITER}"),
            "writer_meta",
            "fail",
            "SELECT, INSERT, UPDATE, DELETE, CREATE",
        ),
    ] {
        pair.us.run(&format!("REVOKE {revoke}")).await;
        let check = Check::of(&pair).await;
        let named =
            |i: &&harness::Item| i.0["region"] == "us" && i.found().starts_with(&format!("lacks {lacks}"));
        let found = check.all(item).into_iter().find(|i| named(&i));
        let found = found.unwrap_or_else(|| panic!("{revoke}: {:?}", check.all(item)));
        assert_eq!(found.status(), status, "{revoke}: {}", found.line());
        assert_eq!(check.code, i32::from(status == "fail"), "{revoke}: {:?}", check.with_status("fail"));
        let of_eu = check.all(item).into_iter().filter(|i| i.0["region"] == "eu");
        assert!(of_eu.into_iter().all(|i| i.status() == "pass"), "the other region has them all");
        for (region, statement) in found.sql() {
            pair.region(&region).run(&statement).await;
        }
        let after = Check::of(&pair).await;
        let left: Vec<_> = after
            .all(item)
            .into_iter()
            .filter(|i| i.status() != "pass" && !i.found().contains("VIEW"))
            .collect();
        assert!(left.is_empty(), "after {:?}: {left:?}", found.sql());
    }
    assert_eq!(Check::of(&pair).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_given_table_by_table_are_enough_and_the_one_table_that_lacks_them_is_named() {
    let pair = right_pair(None).await;
    pair.us.run("CREATE TABLE shop.`other one` (id INT PRIMARY KEY)").await;
    pair.eu.run("CREATE TABLE shop.`other one` (id INT PRIMARY KEY)").await;
    let rows = "SELECT, INSERT, UPDATE, DELETE";
    pair.us
        .run_all(&[
            format!("REVOKE {rows} ON shop.* FROM {WRITER}"),
            format!("GRANT {rows} ON shop.item TO {WRITER}"),
            format!("GRANT SELECT ON shop.`other one` TO {WRITER}"),
        ])
        .await;
    let items: Vec<_> =
        Check::of(&pair).await.all("writer_rows").into_iter().filter(|i| i.0["region"] == "us").collect();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0].found(), "lacks INSERT, UPDATE, DELETE on `shop`.`other one`");
    for (region, statement) in items[0].sql() {
        pair.region(&region).run(&statement).await;
    }
    let check = Check::of(&pair).await;
    assert_eq!(check.item("writer_rows", "us").status(), "pass", "{:#}", check.json);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_come_with_a_role_count() {
    let pair = right_pair(None).await;
    pair.us
        .run_all(&[
            "CREATE ROLE applying".to_owned(),
            "GRANT REPLICATION_APPLIER ON *.* TO applying".to_owned(),
            format!("REVOKE REPLICATION_APPLIER ON *.* FROM {WRITER}"),
            format!("GRANT applying TO {WRITER}"),
        ])
        .await;
    let without = Check::of(&pair).await.item("writer_privileges", "us");
    assert_eq!(without.status(), "fail", "a role that is not active gives nothing: {}", without.line());
    pair.us.run(&format!("SET DEFAULT ROLE applying TO {WRITER}")).await;
    let with = Check::of(&pair).await.item("writer_privileges", "us");
    assert_eq!(with.status(), "pass", "{}", with.line());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tagged_gtids_need_one_privilege_more_where_ddl_crosses() {
    let pair = right_pair(Some("eu-us")).await;
    assert!(Check::of(&pair).await.item("writer_privileges", "us").found().starts_with("REPLICATION"));
    pair.eu
        .run_all(&["SET gtid_next = 'AUTOMATIC:abc'", "CREATE TABLE shop.tagged (id INT PRIMARY KEY)"])
        .await;
    pair.us.run("CREATE TABLE shop.tagged (id INT PRIMARY KEY)").await;
    let item = Check::of(&pair).await.item("writer_privileges", "us");
    assert_eq!(item.status(), "fail", "{}", item.line());
    assert!(item.found().contains("TRANSACTION_GTID_TAG"), "{}", item.line());
    for (region, statement) in item.sql() {
        pair.region(&region).run(&statement).await;
    }
    assert_eq!(Check::of(&pair).await.item("writer_privileges", "us").status(), "pass");
}
