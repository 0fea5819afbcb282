//! Placeholder.
use std::sync::Arc;
/// x
#[derive(Debug)]
pub struct AdminToken;
impl AdminToken {
    /// x
    pub fn prepare(_: &crate::config::Settings, _: std::net::SocketAddr) -> Result<AdminToken, String> { Ok(AdminToken) }
}
/// x
pub async fn serve(l: tokio::net::TcpListener, _: Arc<crate::running::Running>, _: AdminToken) -> std::io::Result<()> {
    loop { let (s, _) = l.accept().await?; s.readable().await?; let _ = s.try_write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"); let mut b=[0;4096]; let _=s.try_read(&mut b); }
}
