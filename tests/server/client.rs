//! A server on a free port, and a client that writes its own HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uplink_exporter::config::Store;
use uplink_exporter::server::{self, Guard, Options, State};

/// How long running requests may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A running server and its configuration file.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) file: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// An answer, its header names in lower case.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Server {
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, Options::default()).await
    }

    pub(crate) async fn start_with(configuration: &str, options: Options) -> Self {
        Self::start_behind(Guard::open(None).unwrap(), configuration, options).await
    }

    pub(crate) async fn start_behind(guard: Guard, configuration: &str, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("probes.yml");
        std::fs::write(&file, configuration).unwrap();
        let store = Store::open(&file).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State::new(store, guard, Arc::default(), options);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let task = tokio::spawn(server::run(vec![listener.into()], state, shutdown, GRACE));
        Self { address, file, stop: Some(stop), task, _folder: folder }
    }

    pub(crate) fn write(&self, configuration: &str) {
        std::fs::write(&self.file, configuration).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn ended(&mut self) {
        (&mut self.task).await.unwrap();
    }

    /// Sends a request, and leaves it at that.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn fetch(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        Reply::read(self.send(method, path, headers).await).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.fetch("GET", "/metrics", &[]).await.text()
    }

    /// Waits until the server's metrics have a line.
    pub(crate) async fn until(&self, line: &str) {
        for _ in 0..100 {
            if self.metrics().await.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{line} did not come");
    }
}

impl Reply {
    pub(crate) async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}
