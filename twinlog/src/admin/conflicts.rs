//! `/api/v1/conflicts`: list, show, decide, flip. An applier answers for its target, `up` for every region.

use applier::{ConflictTable, Flipped, Recorded, Take, Wanted};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::call::Call;
use super::reply::Reply;
use super::site::Site;
use super::{Kind, text_of};
use crate::command::ConflictTables;
use crate::failure::Failure;

/// The most conflicts of a region in one answer: each may hold two rows.
const MOST: u64 = 1000;
/// When nothing is said.
const USUAL: u64 = 100;
/// The largest number that JSON carries everywhere: a conflict's own never comes near.
const LARGEST_NUMBER: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolution {
    take: Word,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Source,
    Target,
    Skip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn answer(site: &Site, call: &Call, rest: &[&str]) -> Result<Reply, Reply> {
    // What is asked for wrongly is said before who could answer it.
    match rest {
        [] | [_, _] => call.only(&Method::GET, "GET")?,
        [_, _, "resolve" | "flip"] => call.only(&Method::POST, "POST")?,
        _ => return Err(Reply::not_found("no such page")),
    }
    if site.kind() == Kind::Relay {
        return Err(Reply::not_found(
            "a relay has no conflicts: ask the applier that writes into the region",
        ));
    }
    match *rest {
        [] => list(site, call).await,
        [region, number] => {
            call.knows(&[])?;
            Ok(Reply::json(&find(site, region, number).await?.1))
        }
        [region, number, action] => {
            call.knows(&[])?;
            change(site, call, (region, number), action).await
        }
        _ => Err(Reply::not_found("no such page")),
    }
}

async fn list(site: &Site, call: &Call) -> Result<Reply, Reply> {
    call.knows(&["link", "table", "kind", "open", "since", "after", "limit"])?;
    let file = site.file();
    let link = match call.parameter("link") {
        None => None,
        Some(name) => Some(file.links.get(name).ok_or_else(|| Reply::not_found("no such link in the file"))?),
    };
    let open = match call.parameter("open") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Reply::bad("open must be true or false")),
    };
    let limit = call.number("limit")?.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Reply::bad(&format!("limit must be from 1 to {MOST}")));
    }
    let within = call.number("since")?;
    // A hundred years are more than any conflict table holds, and what an interval of the server can be.
    if within.is_some_and(|seconds| seconds > 100 * 365 * 86_400) {
        return Err(Reply::bad("since is a number of seconds until now, at most a hundred years"));
    }
    let after = call.number("after")?;
    if after.is_some_and(|number| number > LARGEST_NUMBER) {
        return Err(Reply::bad(&format!("after must be a conflict's number, at most {LARGEST_NUMBER}")));
    }
    let wanted = Wanted {
        link: link.map(|link| format!("{}/{}/{}", file.sync.name, link.from, link.to)),
        table: call.parameter("table").map(Into::into),
        kind: call.parameter("kind").map(Into::into),
        open,
        within,
        after,
        limit: Some(limit),
        ..Wanted::default()
    };
    let tables = tables(site)?;
    let mut conflicts = Vec::new();
    for region in tables.regions().filter(|region| link.is_none_or(|link| link.to == *region)) {
        let mut table = open_table(&tables, region).await?;
        conflicts.extend(table.list(&wanted).await.map_err(|e| unreadable(&e))?);
    }
    Ok(Reply::json(&json!({ "conflicts": conflicts })))
}

async fn change(
    site: &Site,
    call: &Call,
    (region, number): (&str, &str),
    action: &str,
) -> Result<Reply, Reply> {
    let take = match action {
        "resolve" => Some(match call.body::<Resolution>()?.take {
            Word::Source => Take::Source,
            Word::Target => Take::Target,
            Word::Skip => Take::Skip,
        }),
        _ => {
            call.body::<Nothing>()?;
            None
        }
    };
    let (mut table, conflict) = find(site, region, number).await?;
    let said = match take {
        Some(take) => {
            let answered = table.resolve(conflict.number(), take).await.map_err(|e| unreadable(&e))?;
            if !answered {
                let what = format!("the conflict does not wait for a decision: {} won", conflict.winner);
                let remedy = "flip it to make the loser win";
                return Err(Reply::error(StatusCode::CONFLICT, &what, Some(remedy)));
            }
            "decided; its link goes on"
        }
        None => {
            let flipped = table.flip(&conflict).await.map_err(|error| {
                let failure = Failure::from_diagnosis("the conflict can't be flipped", &error);
                Reply::failure(StatusCode::CONFLICT, &failure)
            })?;
            match flipped {
                Flipped::Written => "the loser's row is there again",
                Flipped::Deleted => "the row is gone again",
            }
        }
    };
    Ok(Reply::json(&json!({ "id": conflict.id, "said": said })))
}

/// The regions that this process may be asked about.
fn tables(site: &Site) -> Result<ConflictTables, Reply> {
    let file = site.file();
    let tables = match site.kind() {
        Kind::Applier => ConflictTables::of_link(&file, site.name()),
        Kind::Up | Kind::Relay => ConflictTables::of(&file),
    };
    tables.map_err(|failure| Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, &failure))
}

async fn open_table(tables: &ConflictTables, region: &str) -> Result<ConflictTable, Reply> {
    tables.open(region).await.map_err(|failure| Reply::failure(StatusCode::BAD_GATEWAY, &failure))
}

async fn find(site: &Site, region: &str, number: &str) -> Result<(ConflictTable, Recorded), Reply> {
    let tables = tables(site)?;
    if !tables.regions().any(|known| known == region) {
        return Err(Reply::not_found("no link of this process writes into this region"));
    }
    let number = number
        .parse()
        .map_err(|_| Reply::not_found(&format!("no conflict's number: {}", text_of(number))))?;
    let mut table = open_table(&tables, region).await?;
    let wanted = Wanted { number: Some(number), ..Wanted::default() };
    let found = table.list(&wanted).await.map_err(|e| unreadable(&e))?.into_iter().next();
    found.map(|conflict| (table, conflict)).ok_or_else(|| Reply::not_found("there is no such conflict"))
}

fn unreadable(error: &applier::Error) -> Reply {
    let failure = Failure::from_diagnosis("the conflict table can't be asked", error);
    Reply::failure(StatusCode::BAD_GATEWAY, &failure)
}
