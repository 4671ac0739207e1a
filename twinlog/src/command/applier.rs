//! `twinlog applier`: one link's applier, as a process of its own.

use std::process::ExitCode;

use applier::{Applier, Error, OnFailure};
use tokio_util::sync::CancellationToken;
use twinlog::config::{File, applier_config};

use super::service::{self, Plan, Service};
use crate::admin::{Hands, Kind, ProcessStatus, Reader};
use crate::cli::ApplierArgs;
use crate::failure::{Diagnosis, Failure};

/// Runs it until a signal comes.
pub(crate) async fn run(args: ApplierArgs) -> Result<ExitCode, Failure> {
    let file = super::load(&args.process.file)?;
    let config = applier_config(&file, &args.link)?;
    let servers = [&config.source].into_iter().chain(&config.targets);
    let plan = Plan {
        kind: Kind::Applier,
        reaches: servers.map(|s| s.address.clone()).collect(),
        admin: file.links.get(&args.link).map(|l| l.admin.clone()).unwrap_or_default(),
        name: args.link,
        args: args.process,
        file,
    };
    service::run::<Applier>(plan, config).await
}

impl Service for Applier {
    type Config = applier::Config;
    type Error = Error;

    const MUST_COME_TO_RUN: bool = true;

    async fn vet(file: &File, name: &str) -> Result<(), Failure> {
        crate::check::at_start::applier(file, name).await
    }

    async fn build(config: applier::Config) -> Result<Self, Error> {
        Self::build(config).await
    }

    fn reader(&self) -> Reader {
        let handle = self.status();
        Box::new(move || ProcessStatus::Applier(handle.get()))
    }

    fn hands(&self) -> Hands {
        Hands::Applier(self.control())
    }

    async fn run(self, shutdown: CancellationToken, stay: bool) -> Result<(), Error> {
        let on_failure = if stay { OnFailure::Stay } else { OnFailure::End };
        self.run(shutdown, on_failure).await
    }
}

impl Diagnosis for Error {
    fn advice(&self) -> Option<String> {
        self.remedy()
    }

    fn may_pass(&self) -> bool {
        self.is_transient()
    }
}
