-- The same in both regions, each for itself: accounts with what they need and no more, and a table to try.
SET sql_log_bin = 0;
CREATE USER reader IDENTIFIED BY 'twinlog';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader;
CREATE USER writer IDENTIFIED BY 'twinlog';
GRANT REPLICATION_APPLIER, REPLICATION CLIENT ON *.* TO writer;
GRANT ALL ON twinlog.* TO writer;
CREATE DATABASE shop;
CREATE TABLE shop.customer (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL);
GRANT SELECT ON shop.* TO reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO writer;
SET sql_log_bin = 1;
