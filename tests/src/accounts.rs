//! The accounts of a region, with exactly the privileges that are documented: a test that passes with more would hide
//! one that is missing.

/// What the processes log in with.
pub(crate) const READER: &str = "twinlog_reader";
pub(crate) const WRITER: &str = "twinlog_writer";
/// Every account's password; quoting must not matter.
pub(crate) const PASSWORD: &str = "p@ss 'word\"#1";

/// The statements that make both accounts, for the synced schemas.
pub(crate) fn statements(schemas: &[String], meta_schema: &str, ddl: bool) -> Vec<String> {
    let password = PASSWORD.replace('\'', "''");
    let mut statements = vec![
        format!("CREATE USER '{READER}'@'127.0.0.1' IDENTIFIED BY '{password}'"),
        format!("CREATE USER '{WRITER}'@'127.0.0.1' IDENTIFIED BY '{password}'"),
        format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{READER}'@'127.0.0.1'"),
        format!("GRANT REPLICATION CLIENT, REPLICATION_APPLIER ON *.* TO '{WRITER}'@'127.0.0.1'"),
        format!("GRANT ALL ON `{meta_schema}`.* TO '{WRITER}'@'127.0.0.1'"),
    ];
    let rights = if ddl { ", CREATE, ALTER, DROP, INDEX, REFERENCES" } else { "" };
    for schema in schemas {
        statements.push(format!("GRANT SELECT ON `{schema}`.* TO '{READER}'@'127.0.0.1'"));
        statements.push(format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE{rights} ON `{schema}`.* TO '{WRITER}'@'127.0.0.1'"
        ));
    }
    statements
}
