//! A small HTTP/1.1 client that costs little and keeps its connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a refused request is sent again.
const RETRY_MAX: Duration = Duration::from_secs(120);

/// The longest that one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
    /// Sent with every request.
    headers: String,
}

impl Connection {
    pub(crate) fn open(address: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set no delay")?;
        stream.set_read_timeout(Some(ANSWER_MAX)).context("set a time limit")?;
        let headers = key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned(), headers })
    }

    /// Posts a remote write request, again and again while the server is overloaded.
    pub(crate) fn write(&mut self, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        self.post(path, headers, body).map(drop)
    }

    /// Posts a request, again and again while the server is overloaded; returns the answer.
    pub(crate) fn post(
        &mut self,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> anyhow::Result<Vec<u8>> {
        let started = Instant::now();
        loop {
            let (status, answer) = self.request("POST", path, headers, body)?;
            match status {
                200..=299 => return Ok(answer),
                429 | 500..=599 if started.elapsed() < RETRY_MAX => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                _ => bail!("{path} answers {status}: {}", String::from_utf8_lossy(&answer)),
            }
        }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{headers}Content-Length: {}\r\n\r\n",
            self.address,
            self.headers,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).context("send")?;
        stream.write_all(body).context("send")?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.with_context(|| format!("no status in '{line}'"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length")?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let mut body = Vec::new();
        if !chunked {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).context("read the answer")?;
            return Ok((status, body));
        }
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size")?;
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..]).context("read the answer")?;
            self.line()?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("read the answer")? == 0 {
            bail!("{} closed the connection", self.address);
        }
        Ok(line.trim_end().to_owned())
    }
}
