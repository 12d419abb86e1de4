//! A server over TLS that answers as the test tells it, byte for byte, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves until the test's runtime ends.
pub(crate) struct Teller {
    host: String,
    ca: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    head: String,
    body: String,
}

impl Asked {
    /// Verb and path.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The fields of a form, in the order in which they came.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        let url = reqwest::Url::parse(&format!("https://x/?{}", self.body)).unwrap();
        url.query_pairs().into_owned().collect()
    }
}

/// A server's half of TLS on the loopback address, and the certificate for its clients.
pub(crate) fn identity() -> (TlsAcceptor, String) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certified.cert.pem())
}

impl Teller {
    pub(crate) async fn new(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (acceptor, ca) = identity();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("https://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (answer, log) = (Arc::new(answer), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, log) = (acceptor.clone(), answer.clone(), log.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some(request) = read(&mut stream).await else { return };
                    log.lock().unwrap().push(request.clone());
                    // The client may go away in the middle: that is what some tests are about.
                    let _ = stream.write_all(&answer(&request)).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { host, ca, asked }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The certificate that signs for it.
    pub(crate) fn ca(&self) -> String {
        self.ca.clone()
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests with this verb and path.
    pub(crate) fn asked_for(&self, line: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.line() == line).collect()
    }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let request = Asked { head: head.to_owned(), body: body.to_owned() };
            let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(request);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(&format!("{status} X\r\nContent-Type: application/json"), body)
}

/// An answer with status line and headers as told.
pub(crate) fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
