//! `twinlog relay`: one region's relay, as a process of its own.

use std::process::ExitCode;

use relay::{Error, Relay};
use tokio_util::sync::CancellationToken;
use twinlog::config::{File, relay_config};

use super::service::{self, Plan, Service};
use crate::admin::{Hands, Kind, ProcessStatus, Reader};
use crate::cli::RelayArgs;
use crate::failure::{Diagnosis, Failure};

/// Runs it until a signal comes.
pub(crate) async fn run(args: RelayArgs) -> Result<ExitCode, Failure> {
    let file = super::load(&args.process.file)?;
    let config = relay_config(&file, &args.region)?;
    let admin = file.regions.get(&args.region).and_then(|r| r.relay.as_ref()).map(|r| r.admin.clone());
    let plan = Plan {
        kind: Kind::Relay,
        name: args.region,
        reaches: config.sources.iter().map(|s| s.address.clone()).collect(),
        admin: admin.unwrap_or_default(),
        args: args.process,
        file,
    };
    service::run::<Relay>(plan, config).await
}

impl Service for Relay {
    type Config = relay::Config;
    type Error = Error;

    const MUST_COME_TO_RUN: bool = false;

    async fn vet(file: &File, name: &str) -> Result<(), Failure> {
        crate::check::at_start::relay(file, name).await
    }

    async fn build(config: relay::Config) -> Result<Self, Error> {
        Self::build(config).await
    }

    fn reader(&self) -> Reader {
        let handle = self.status();
        Box::new(move || ProcessStatus::Relay(handle.get()))
    }

    fn hands(&self) -> Hands {
        Hands::Relay(self.status())
    }

    async fn run(self, shutdown: CancellationToken, _stay: bool) -> Result<(), Error> {
        self.run(shutdown).await
    }
}

impl Diagnosis for Error {
    fn advice(&self) -> Option<String> {
        self.remedy()
    }

    fn may_pass(&self) -> bool {
        self.is_transient()
    }

    fn must_end(&self) -> bool {
        Self::must_end(self)
    }
}
