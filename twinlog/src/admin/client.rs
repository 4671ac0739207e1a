//! Asking processes, and telling them what to do: for the command line, `up`, and the console.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use twinlog::config::{Admin, File};
use wire::{Secret, TlsOptions};

use super::call::Call;
pub(crate) use super::call::encoded;
use super::reply::Reply;
use super::{Kind, ProcessStatus, Report, published};

/// For what is answered from memory; who takes longer is as good as gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// For what waits for a server.
pub(crate) const ORDER_TIMEOUT: Duration = Duration::from_secs(30);

/// A status with GTID sets of thousands of runs stays far below.
const LARGEST_ANSWER: usize = 8 << 20;

/// Why there is no answer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable(pub(crate) String);

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody answers there.
    Unreachable(Unreachable),
    /// The process refused.
    Answered { code: u16, message: String, remedy: Option<String> },
}

/// How to reach a process.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    sync: String,
    kind: Kind,
    name: String,
    /// Or why it can't be known.
    address: Result<String, String>,
    tls: TlsOptions,
    token: Result<Option<Secret>, String>,
}

impl Peer {
    /// As the file says, else as published on this host.
    pub(crate) fn of(file: &File, kind: Kind, name: &str) -> Self {
        let admin = match kind {
            Kind::Relay => file.regions.get(name).and_then(|r| r.relay.as_ref()).map(|r| &r.admin),
            Kind::Applier => file.links.get(name).map(|l| &l.admin),
            Kind::Up => Some(&file.sync.admin),
        };
        let none = Admin::default();
        let admin = admin.unwrap_or(&none);
        let listen = admin.listen.as_ref().filter(|l| !l.ends_with(":0"));
        let address = match admin.address.as_ref().or(listen) {
            Some(address) => Ok(address.clone()),
            None => published(&file.sync.state_dir, kind, name),
        };
        Self {
            sync: file.sync.name.clone(),
            kind,
            name: name.to_owned(),
            address,
            tls: admin.client_tls.clone(),
            token: admin.token.token().map_err(|fault| fault.to_string()),
        }
    }

    /// Every relay and applier of a file.
    pub(crate) fn all(file: &File) -> Vec<Self> {
        let relays = file.regions.values().filter(|r| r.relay.is_some()).map(|r| (Kind::Relay, &r.name));
        let appliers = file.links.values().map(|l| (Kind::Applier, &l.name));
        relays.chain(appliers).map(|(kind, name)| Self::of(file, kind, name)).collect()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As metrics name it: `("link", "eu-us")`.
    pub(super) fn label(&self) -> (&'static str, String) {
        let of = if self.kind == Kind::Relay { "region" } else { "link" };
        (of, self.name.clone())
    }

    /// What is at a path, as it is.
    pub(super) async fn text(&self, path: &str) -> Result<String, Refused> {
        let (code, body) = self.send(Method::GET, path, Vec::new(), TIMEOUT).await?;
        if code.is_success() {
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
        Err(self.unreachable(&format!("it answers {code}")))
    }

    /// Its status; and makes sure that it is the right one who answers: a port may have found a new owner.
    pub(crate) async fn status(&self) -> Result<ProcessStatus, Unreachable> {
        let report: Report = self.get("/api/v1/status").await.map_err(|refused| match refused {
            Refused::Unreachable(why) => why,
            Refused::Answered { message, .. } => Unreachable(message),
        })?;
        let (its_kind, its_name) = report.status.identity();
        if report.sync == self.sync && its_kind == self.kind && its_name == self.name {
            return Ok(report.status);
        }
        let address = self.address.as_deref().unwrap_or_default();
        Err(Unreachable(format!("{its_kind} {its_name} of sync {} answers at {address}", report.sync)))
    }

    /// What is at a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        self.exchange(Method::GET, path, Vec::new(), TIMEOUT).await
    }

    /// Sends a body there.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        let body = serde_json::to_vec(body).map_err(|e| self.unreachable(&e.to_string()))?;
        self.exchange(Method::POST, path, body, ORDER_TIMEOUT).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<T, Refused> {
        let (code, body) = self.send(method, path, body, within).await?;
        if code.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|e| self.unreachable(&format!("its answer is not understood: {e}")));
        }
        let json: Json = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| json["error"][key].as_str().map(str::to_owned);
        Err(Refused::Answered {
            code: code.as_u16(),
            message: text("message").unwrap_or_else(|| format!("it answers {code}")),
            remedy: text("remedy"),
        })
    }

    /// Sends a request, and gives code and body of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(StatusCode, Vec<u8>), Refused> {
        let address = self.address.as_ref().map_err(|why| Refused::Unreachable(Unreachable(why.clone())))?;
        let token = self.token.as_ref().map_err(|why| Refused::Unreachable(Unreachable(why.clone())))?;
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, address);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|e| self.unreachable(&e.to_string()))?;
        match tokio::time::timeout(within, self.over_the_wire(address, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&chain(&*error))),
            Err(_) => Err(self.unreachable(&format!("no answer within {} s", within.as_secs()))),
        }
    }

    async fn over_the_wire(
        &self,
        address: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Vec<u8>), Box<dyn Error + Send + Sync>> {
        // A host that is gone says nothing, and whoever waits for an order to be carried out need not wait for that.
        let stream = tokio::time::timeout(TIMEOUT, TcpStream::connect(address))
            .await
            .map_err(|_| format!("no connection within {} s", TIMEOUT.as_secs()))??;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let stream = wire::connect_tls(stream, &self.tls, host).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let code = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await?.to_bytes();
            Ok((code, body.to_vec()))
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

    fn unreachable(&self, why: &str) -> Refused {
        let address = self.address.as_deref().unwrap_or_default();
        Refused::Unreachable(Unreachable(format!(
            "no answer from {} {} at {address}: {why}",
            self.kind, self.name
        )))
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        text += &format!(": {error}");
        at = error.source();
    }
    text
}

/// Orders something of a link, by its applier.
pub(crate) async fn order<T: DeserializeOwned>(
    file: &File,
    link: &str,
    action: &str,
    body: &impl Serialize,
) -> Result<T, Refused> {
    let path = format!("/api/v1/links/{}/{action}", encoded(link));
    Peer::of(file, Kind::Applier, link).post(&path, body).await
}

/// Asks one process after the other until one can answer: who is not there, does not serve the path, or lacks a server or
/// a password for it, leaves it to the next. What the last one says is said when none can.
pub(crate) async fn first<T: DeserializeOwned>(
    peers: &[Peer],
    (method, path): (Method, &str),
    body: &Json,
    within: Duration,
) -> Result<T, Refused> {
    let mut last = Refused::Unreachable(Unreachable("the file has no process that could be asked".into()));
    for peer in peers {
        let body = if method == Method::GET { Vec::new() } else { body.to_string().into_bytes() };
        match peer.exchange(method.clone(), path, body, within).await {
            Err(refused) if refused.leaves_it_to_others() => {
                // An answer tells more than a silence.
                if matches!(refused, Refused::Answered { .. }) || matches!(last, Refused::Unreachable(_)) {
                    last = refused;
                }
            }
            answered => return answered,
        }
    }
    Err(last)
}

impl Refused {
    fn leaves_it_to_others(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Answered { code, .. } => matches!(code, 401 | 403 | 404 | 500..),
        }
    }
}

/// Passes a request on as it is, and the answer back.
pub(super) async fn pass_on(peer: &Peer, call: &Call) -> Result<Reply, Reply> {
    match peer.send(call.method.clone(), &call.target, call.body.clone(), ORDER_TIMEOUT).await {
        Ok((code, body)) => Ok(Reply::raw_json(code, body)),
        Err(Refused::Unreachable(Unreachable(why))) => {
            let remedy = "start the process, or correct its admin.address in the configuration";
            Err(Reply::error(StatusCode::BAD_GATEWAY, &why, Some(remedy)))
        }
        Err(Refused::Answered { code, message, remedy }) => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
            Err(Reply::error(code, &message, remedy.as_deref()))
        }
    }
}
