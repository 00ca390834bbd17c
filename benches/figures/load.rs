//! A load: so many connections, each asking again as soon as it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a load saw.
pub struct Seen {
    pub answers: usize,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// Asks over keep-alive connections for this long; every answer must be a 200. `requests` are
/// asked in turn.
pub async fn run(
    to: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    time: Duration,
) -> Seen {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + time;
    for number in 0..connections {
        let requests = Arc::clone(requests);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut times = Vec::new();
            let mut buffer = vec![0_u8; 64 * 1024];
            let mut next = number;
            while Instant::now() < until {
                let begun = Instant::now();
                stream.write_all(&requests[next % requests.len()]).await.unwrap();
                next += connections;
                answer(&mut stream, &mut buffer).await;
                times.push(begun.elapsed());
            }
            times
        });
    }
    let begun = Instant::now();
    let mut times: Vec<Duration> = Vec::new();
    while let Some(some) = tasks.join_next().await {
        times.extend(some.unwrap());
    }
    let took = begun.elapsed();
    times.sort();
    Seen {
        answers: times.len(),
        per_second: times.len() as f64 / took.as_secs_f64(),
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    }
}

/// One answer with a content length.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let lines = std::str::from_utf8(&text[..head]).unwrap().to_ascii_lowercase();
        assert!(lines.starts_with("http/1.1 200"), "{lines}");
        let length = lines.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
        if filled >= head + 4 + length.trim().parse::<usize>().unwrap() {
            return;
        }
    }
}
