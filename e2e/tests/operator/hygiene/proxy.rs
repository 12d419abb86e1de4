//! A proxy that wants a password and connects to wherever it is asked to, but for the first time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that serves for as long as the test's runtime lives.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    connected: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts one. Whoever comes without `authorization` is refused, and so is the first who has it; the refusal says this.
    pub(crate) async fn start(authorization: String, refusal: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connected);
        let asked = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (authorization, refusal) = (authorization.clone(), refusal.clone());
                let (asked, count) = (Arc::clone(&asked), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut client = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).await.is_ok_and(|read| read > 0) {}
                    let known =
                        head.to_lowercase().contains(&format!("proxy-authorization: {authorization}").to_lowercase());
                    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    if !known || asked.fetch_add(1, Ordering::SeqCst) == 0 {
                        let _ = client.write_all(refusal.as_bytes()).await;
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    if client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.is_ok() {
                        count.fetch_add(1, Ordering::SeqCst);
                        // Either side may go away; that is how tunnels end.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, connected }
    }

    /// How many connections went through.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }
}
