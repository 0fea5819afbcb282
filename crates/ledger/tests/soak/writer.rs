//! Another process that writes to the SQLite file: it begins a transaction, writes many rows, says so, and then holds
//! the write lock until it is killed or its standard input is closed.

use std::io::Read;

use crate::tables::{Database, OnSqlite};

/// The statement of the transaction. It writes about two megabytes, so that pages of it reach the write-ahead log
/// before a commit.
const WRITE: &str = "BEGIN IMMEDIATE; \
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
     INSERT INTO noise (text) SELECT hex(zeroblob(500)) FROM n";

pub(crate) async fn play(url: &str) {
    let mut conn = loop {
        if let Ok(mut conn) = OnSqlite::connect(url).await
            // A small cache, so that written pages leave it before the commit.
            && OnSqlite::execute(&mut conn, "PRAGMA cache_size = 20").await.is_ok()
            && OnSqlite::execute(&mut conn, WRITE).await.is_ok()
        {
            break conn;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    // The soak reads standard error, since the test harness prints to standard output, too.
    eprintln!("held");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    OnSqlite::execute(&mut conn, "ROLLBACK").await.unwrap();
}
