//! A database that becomes unavailable for a while.
//!
//! PostgreSQL is reached through a socket of this program. When it is closed, connections break in the middle, and new
//! ones fail. An SQLite file cannot become unavailable in this way. So another connection holds its only write lock for
//! longer than any caller waits.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

/// The port in the socket's name.
pub(crate) const PORT: u16 = 5432;

/// A socket beside PostgreSQL's own.
pub(crate) struct Detour {
    folder: tempfile::TempDir,
    open: watch::Sender<bool>,
}

impl Detour {
    /// Opens a socket that leads to the server of this URL.
    pub(crate) fn to(url: &str) -> Result<Detour, super::orders::Failure> {
        let options: PgConnectOptions = url.parse()?;
        let folder = tempfile::Builder::new().prefix("shop-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}")))?;
        let (open, watched) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, options.clone(), watched.clone()));
            }
        });
        Ok(Detour { folder, open })
    }

    /// Where the socket is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the server unavailable for this time.
    pub(crate) async fn cut(&self, time: Duration) {
        self.open.send_replace(false);
        tokio::time::sleep(time).await;
        self.open.send_replace(true);
    }
}

async fn pass(mut near: UnixStream, options: PgConnectOptions, mut open: watch::Receiver<bool>) {
    if !*open.borrow() {
        return;
    }
    let Ok(mut far) = connect(&options).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(options: &PgConnectOptions) -> io::Result<Box<dyn Stream>> {
    let (host, port) = (options.get_host(), options.get_port());
    let folder = options.get_socket().cloned().or_else(|| host.starts_with('/').then(|| PathBuf::from(host)));
    Ok(match folder {
        Some(folder) => Box::new(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?),
        None => Box::new(TcpStream::connect((host, port)).await?),
    })
}
