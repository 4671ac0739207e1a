//! `twinlog conflicts`: what collided, who won, what waits for a person; decide, flip.

mod show;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use applier::{ConflictTable, Flipped, Recorded, Take, Wanted};
use tokio::task::JoinSet;
use twinlog::config::{File, applier_config};
use wire::ConnectOptions;

use crate::cli::{ConflictAction, ConflictsArgs, FileArgs, ListArgs, TakeWord};
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// Between two looks with `--follow`.
const PERIOD: Duration = Duration::from_millis(500);

/// Exit code 0 when it is done, 1 when a conflict is not there or can't be changed.
pub(crate) async fn run(args: ConflictsArgs) -> Result<ExitCode, Failure> {
    match args.action {
        Some(ConflictAction::Show { file, id, json }) => show_one(&file, &id, json).await,
        Some(ConflictAction::Resolve { file, ids, take }) => resolve(&file, &ids, take).await,
        Some(ConflictAction::Flip { file, ids }) => flip(&file, &ids).await,
        None => follow(&args.list).await,
    }
}

/// The conflict tables of a file's regions that links write into.
pub(crate) struct Tables {
    meta_schema: String,
    servers: BTreeMap<String, Vec<ConnectOptions>>,
}

impl Tables {
    /// Those of this file; the passwords are read here.
    pub(crate) fn of(file: &File) -> Result<Self, Failure> {
        let mut servers = BTreeMap::new();
        for link in file.links.values() {
            servers.insert(link.to.clone(), applier_config(file, &link.name)?.targets);
        }
        Ok(Self { meta_schema: file.sync.meta_schema.clone(), servers })
    }

    /// That of the region which this link writes into; no other region's password is needed.
    pub(crate) fn of_link(file: &File, link: &str) -> Result<Self, Failure> {
        let targets = applier_config(file, link)?.targets;
        let to = file.links.get(link).map(|link| link.to.clone()).unwrap_or_default();
        Ok(Self { meta_schema: file.sync.meta_schema.clone(), servers: BTreeMap::from([(to, targets)]) })
    }

    /// The regions that links write into.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &str> {
        self.servers.keys().map(String::as_str)
    }

    /// Connects to a region's.
    pub(crate) async fn open(&self, region: &str) -> Result<ConflictTable, Failure> {
        let Some(servers) = self.servers.get(region) else {
            let known: Vec<&str> = self.servers.keys().map(String::as_str).collect();
            let failure = Failure::usage(format!("no link writes into a region {region:?}"));
            return Err(failure.with_remedy(format!("regions with conflicts: {}", known.join(", "))));
        };
        let opened = ConflictTable::open(region, servers, &self.meta_schema).await;
        opened.map_err(|error| Failure::from_diagnosis(&format!("region {region} can't be asked"), &error))
    }

    /// The conflict of an ID, and the table it stands in.
    pub(crate) async fn find(&self, id: &str) -> Result<(ConflictTable, Recorded), Failure> {
        let bad =
            || Failure::usage(format!("{id:?} is no conflict's ID: write region/number, for example us/17"));
        let (region, number) = id.rsplit_once('/').ok_or_else(bad)?;
        let number = number.parse().map_err(|_| bad())?;
        let mut table = self.open(region).await?;
        let wanted = Wanted { number: Some(number), ..Wanted::default() };
        let found =
            table.list(&wanted).await.map_err(|e| Failure::from_diagnosis("conflicts can't be read", &e))?;
        let missing = || {
            Failure::failed(format!("there is no conflict {id}")).with_remedy("twinlog conflicts lists them")
        };
        Ok((table, found.into_iter().next().ok_or_else(missing)?))
    }
}

async fn follow(args: &ListArgs) -> Result<ExitCode, Failure> {
    // Without an action it is required.
    let config = args.config.clone().unwrap_or_default();
    let file = super::load(&FileArgs { config })?;
    let tables = Tables::of(&file)?;
    let link = match &args.link {
        None => None,
        Some(name) => {
            let unknown = || Failure::usage(format!("no such link: {name}"));
            let link = file.links.get(name).ok_or_else(unknown)?;
            Some((link.to.clone(), format!("{}/{}/{}", file.sync.name, link.from, link.to)))
        }
    };
    let mut regions = Vec::new();
    for region in tables.servers.keys().filter(|r| link.as_ref().is_none_or(|(to, _)| to == *r)) {
        let wanted = Wanted {
            link: link.as_ref().map(|(_, key)| key.clone()),
            table: args.table.clone(),
            kind: args.kind.clone(),
            open: args.open,
            within: args.since.map(|d| d.as_secs().max(1)),
            limit: Some(args.limit),
            ..Wanted::default()
        };
        regions.push((tables.open(region).await?, wanted));
    }
    let mut tasks = JoinSet::new();
    let shutdown = Shutdown::on_signals(&mut tasks)?;
    let mut is_first = true;
    loop {
        let mut found = Vec::new();
        for (table, wanted) in &mut regions {
            let new = table.list(wanted).await;
            let new = new.map_err(|e| Failure::from_diagnosis("conflicts can't be read", &e))?;
            wanted.after = new.last().map(Recorded::number).or(wanted.after);
            found.extend(new);
        }
        found.sort_by(|a, b| a.decided_at.cmp(&b.decided_at));
        let text = if args.json {
            show::json(&found, args.follow)
                .map_err(|e| Failure::from_error("cannot write the conflicts", &e))?
        } else {
            show::table(&found, is_first)
        };
        write(&text)?;
        is_first = false;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            () = shutdown.token.cancelled() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn show_one(file: &FileArgs, id: &str, json: bool) -> Result<ExitCode, Failure> {
    let (_, conflict) = Tables::of(&super::load(file)?)?.find(id).await?;
    let text = if json {
        serde_json::to_string_pretty(&conflict)
            .map_err(|e| Failure::from_error("cannot write the conflict", &e))?
            + "\n"
    } else {
        show::both_rows(&conflict)
    };
    write(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn resolve(file: &FileArgs, ids: &[String], take: TakeWord) -> Result<ExitCode, Failure> {
    let tables = Tables::of(&super::load(file)?)?;
    let take = match take {
        TakeWord::Source => Take::Source,
        TakeWord::Target => Take::Target,
        TakeWord::Skip => Take::Skip,
    };
    for id in ids {
        let (mut table, conflict) = tables.find(id).await?;
        let answered = table.resolve(conflict.number(), take).await;
        if !answered.map_err(|e| Failure::from_diagnosis("the conflict can't be decided", &e))? {
            let failure = Failure::failed(format!(
                "conflict {id} does not wait for a decision: {} won",
                conflict.winner
            ));
            return Err(failure.with_remedy(format!("to make the loser win: twinlog conflicts flip {id}")));
        }
        write(&format!("{id}: decided; link {} goes on\n", conflict.link))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn flip(file: &FileArgs, ids: &[String]) -> Result<ExitCode, Failure> {
    let tables = Tables::of(&super::load(file)?)?;
    for id in ids {
        let (mut table, conflict) = tables.find(id).await?;
        let flipped = table.flip(&conflict).await;
        let what = match flipped.map_err(|e| Failure::from_diagnosis("the conflict can't be flipped", &e))? {
            Flipped::Written => "the loser's row is there again",
            Flipped::Deleted => "the row is gone again",
        };
        write(&format!("{id}: {} {}: {what}\n", conflict.table, conflict.key))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::from_error("cannot write the conflicts", &e))
}
