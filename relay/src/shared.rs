//! What all sessions of the listener share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use storage::RelayLog;
use tokio_util::sync::CancellationToken;
use wire::{LoginOptions, Users};

use crate::Config;
use crate::abreast::Abreast;
use crate::answers::Facts;
use crate::begin::Asked;
use crate::guard::Guard;
use crate::live::Live;
use crate::serve::Replicas;
use crate::status::Progress;
use crate::tail::Tail;

/// Shared by all sessions.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) login: LoginOptions,
    pub(crate) progress: Progress,
    pub(crate) tail: Tail,
    pub(crate) asked: Asked,
    pub(crate) abreast: Arc<Abreast>,
    pub(crate) guard: Guard,
    pub(crate) replicas: Replicas,
    pub(crate) live: Live,
    pub(crate) next_id: AtomicU64,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(
        config: &Config,
        login: LoginOptions,
        address: SocketAddr,
        log: &RelayLog,
        progress: &Progress,
        live: &Live,
        shutdown: &CancellationToken,
    ) -> Self {
        Self {
            facts: Facts {
                log: log.clone(),
                sync: config.sync.clone(),
                region: config.region.clone(),
                server_id: config.server_id,
                version: login.server_version.clone(),
                listen_port: address.port(),
                progress: progress.clone(),
            },
            login,
            progress: progress.clone(),
            tail: Tail::new(log.durable_end().position),
            asked: Asked::new(&config.links),
            abreast: Arc::new(Abreast::new(&config.sources, config.server_id, log, progress)),
            guard: Guard::new(config.limits.logins, config.limits.logins_per_address),
            replicas: Replicas::default(),
            live: live.clone(),
            next_id: AtomicU64::new(1),
            shutdown: shutdown.clone(),
            config: config.clone(),
        }
    }
}

/// Who may log in, and within which bounds; over plain TCP.
pub(crate) fn login_options(config: &Config, version: String) -> LoginOptions {
    let limits = &config.limits;
    LoginOptions {
        server_version: version,
        users: Arc::new(Users::new().with(&config.user, &config.password)),
        require_tls: false,
        tls: None,
        login_timeout: limits.login_timeout,
        idle_timeout: limits.idle_timeout,
        write_timeout: limits.write_timeout,
        max_packet: limits.command,
    }
}
