//! Asking a process for its status.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Report;

/// It answers from memory; who takes longer is as good as gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A status with GTID sets of thousands of runs stays far below.
const LARGEST_ANSWER: usize = 8 << 20;

/// Why there is no answer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable(pub(crate) String);

/// Asks the process that listens at `address`.
pub(crate) async fn ask(address: &str) -> Result<Report, Unreachable> {
    let failed = |why: String| Unreachable(format!("no status from {address}: {why}"));
    match tokio::time::timeout(TIMEOUT, fetch(address)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

async fn fetch(address: &str) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/api/v1/status").header(header::HOST, address).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await?.to_bytes();
        if code != StatusCode::OK {
            return Err(format!("it answers {code}").into());
        }
        Ok(serde_json::from_slice(&body)?)
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        report = &mut exchange => report,
        // It may end when the answer is here and not read yet.
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}
