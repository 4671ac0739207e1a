//! The tables a workload writes, in the schema `shop`: each kind of change, and traps for rows applied twice or not.

/// The schema of the workload.
pub(crate) const SCHEMA: &str = "shop";

/// Statements that make the tables, the same in both regions.
///
/// - `counter`: `n = n + 1` hides nothing that is done twice or left out.
/// - `tape`: no key at all, so a row inserted twice stands there twice, without an error.
/// - `account`, `transfer`: transactions over several tables; the sum of all balances never changes.
/// - `note`: insert, update, delete; text and generated columns.
pub const TABLES: [&str; 6] = [
    "CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4",
    "CREATE TABLE shop.counter (id INT PRIMARY KEY, n BIGINT NOT NULL, token BIGINT NOT NULL)",
    "CREATE TABLE shop.tape (writer INT NOT NULL, token BIGINT NOT NULL)",
    "CREATE TABLE shop.account (id INT PRIMARY KEY, owner VARCHAR(40) NOT NULL, balance DECIMAL(20,4) NOT NULL)",
    "CREATE TABLE shop.transfer (id BIGINT AUTO_INCREMENT PRIMARY KEY, payer INT NOT NULL, payee INT NOT NULL, \
     amount DECIMAL(20,4) NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
     FOREIGN KEY (payer) REFERENCES shop.account (id), FOREIGN KEY (payee) REFERENCES shop.account (id))",
    "CREATE TABLE shop.note (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT NOT NULL, \
     body TEXT NOT NULL, length INT AS (CHAR_LENGTH(body)) STORED, seen DOUBLE NOT NULL, doc JSON, \
     changed DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), KEY (length))",
];

/// Rows of its own for each writer: no two writers ever change the same row.
pub(crate) const COUNTERS: i32 = 8;
pub(crate) const ACCOUNTS: i32 = 4;
/// What every account starts with.
pub(crate) const BALANCE: i64 = 1000;

/// The statements that give a writer its rows. They are run in one region, or in both before anything is started.
pub(crate) fn rows_of(writer: i32) -> Vec<String> {
    let mut statements = Vec::new();
    for id in counters_of(writer) {
        statements.push(format!("INSERT INTO shop.counter VALUES ({id}, 0, 0)"));
    }
    for id in accounts_of(writer) {
        statements.push(format!("INSERT INTO shop.account VALUES ({id}, 'owner {id}', {BALANCE})"));
    }
    statements
}

pub(crate) fn counters_of(writer: i32) -> std::ops::Range<i32> {
    writer * COUNTERS..(writer + 1) * COUNTERS
}

pub(crate) fn accounts_of(writer: i32) -> std::ops::Range<i32> {
    writer * ACCOUNTS..(writer + 1) * ACCOUNTS
}
