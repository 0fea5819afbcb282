//! If a database cannot be opened, the error names the database and says what is wrong with it.

use seawall_ledger::store::Store;
use seawall_ledger::store::postgres::{Postgres, Settings};
use seawall_ledger::store::sqlite::Sqlite;
use seawall_ledger::{StoreError, Trouble};

use crate::scratch::Server;

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

#[tokio::test]
async fn a_schema_of_another_program_is_named_and_not_touched() {
    let url = Server::shared().database();
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    Server::shared().sql(name, "CREATE SCHEMA seawall; CREATE TABLE seawall.action (of_others int)");
    let store = Postgres::connect(&url, Settings::default()).await.unwrap();
    let refused = store.migrate().await.unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Foreign, "{refused}");
    let said = refused.to_string();
    assert!(said.contains("tables of another program") && said.contains(name), "{said}");
    let tables = "SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'seawall'";
    assert_eq!(Server::shared().sql(name, tables).trim(), "action");
}

#[tokio::test]
async fn tables_that_are_missing_are_named() {
    let url = Server::shared().database();
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let store = Postgres::connect(&url, Settings::default()).await.unwrap();
    store.migrate().await.unwrap();
    Server::shared().sql(name, "DROP TABLE seawall.action CASCADE");
    let refused = store.open_counts().await.unwrap_err();
    assert_eq!(refused.trouble(), Trouble::Foreign, "{refused}");
    assert!(refused.to_string().contains("seawall.action"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    let text = "These are notes, and no database. ".repeat(200);
    std::fs::write(&file, &text).unwrap();
    let refused = Sqlite::open(&file).await.unwrap_err().to_string();
    assert!(refused.contains(file.to_str().unwrap()) && refused.contains("not a database"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}
