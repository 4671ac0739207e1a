//! Asking a process for its status.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
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

/// Tells the process that listens at `address` to do something: POST. What it answers, and whether it did it.
pub(crate) async fn tell(
    address: &str,
    path: &str,
    body: &Value,
) -> Result<(StatusCode, Value), Unreachable> {
    let failed = |why: String| Unreachable(format!("no answer from {address}: {why}"));
    let request = Request::post(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|e| failed(e.to_string()))?;
    match tokio::time::timeout(TIMEOUT, exchange(address, request)).await {
        // A refusal may be plain text.
        Ok(Ok((code, body))) => Ok((code, serde_json::from_slice(&body).unwrap_or_default())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("none within {} s", TIMEOUT.as_secs()))),
    }
}

async fn fetch(address: &str) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let request = Request::get("/api/v1/status").header(header::HOST, address).body(Full::default())?;
    let (code, body) = exchange(address, request).await?;
    if code != StatusCode::OK {
        return Err(format!("it answers {code}").into());
    }
    Ok(serde_json::from_slice(&body)?)
}

async fn exchange(
    address: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let code = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await?.to_bytes();
        Ok((code, body))
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // It may end when the answer is here and not read yet.
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}
