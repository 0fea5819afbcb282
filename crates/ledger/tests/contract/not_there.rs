//! If a database cannot be opened, the error names the database and says what is wrong with it.

use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::{StoreError, Trouble};

fn says(refused: &StoreError, words: &[&str]) {
    assert_eq!(refused.trouble(), Trouble::Away);
    let text = refused.to_string();
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no/such/folder/ledger.db");
    let refused = Sqlite::open(&file).await.unwrap_err();
    says(&refused, &[file.to_str().unwrap(), "unable to open"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    // The port is bound but nothing listens on it. So no other program gets the port, and every connect is refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let url = format!("postgres://somebody@{address}/ledger");
    let refused = Postgres::connect(&url, Settings::default()).await.unwrap_err();
    says(&refused, &[&address.to_string(), "refused"]);
}
