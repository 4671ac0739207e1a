//! A group, applied: whole, in halves around what is refused, or around members that collide.

use std::time::Duration;

use binlog::Gtid;
use wire::ServerError;

use crate::Error;
use crate::apply::{ATTEMPTS, Applier, Failure};
use crate::attempt::Told;
use crate::conflict::parts::parts;
use crate::group::{Group, Member};

/// Rows of a transaction that is done row by row beside others that collide.
const SMALL: u64 = 8;

impl Applier {
    /// Commits a group, or finds what in it can't be.
    pub(crate) async fn apply(&mut self, group: Group) -> Result<(), Error> {
        self.wait_for_seen(&group).await?;
        if let Some(at) = group.members().iter().position(|m| m.largest_event() > self.largest_event) {
            return Box::pin(self.apply_around_large(group, at)).await;
        }
        let known = match self.known_collisions(&group).await {
            Ok(known) => known,
            Err(Failure::Fatal(error)) => return Err(error),
            Err(_) => Vec::new(),
        };
        if !known.is_empty() {
            return self.apply_around(group, &known).await;
        }
        match self.try_until_unlocked(&group).await {
            Ok(()) => Ok(()),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Collides(members)) => self.apply_around(group, &members).await,
            Err(_) if group.members().len() == 1 => self.redo(group.members()).await,
            Err(_) => {
                let mut first = group.into_members();
                let second = first.split_off(first.len() / 2);
                tracing::debug!(
                    transactions = first.len() + second.len(),
                    "group refused, applying its halves"
                );
                Box::pin(self.apply(first.into_iter().collect())).await?;
                Box::pin(self.apply(second.into_iter().collect())).await
            }
        }
    }

    /// Applies a transaction with a row that no statement can carry by itself, and the others around it: such a packet
    /// would make the server end the connection.
    async fn apply_around_large(&mut self, group: Group, at: usize) -> Result<(), Error> {
        let mut before = group.into_members();
        let mut behind = before.split_off(at).into_iter();
        let too_large = behind.next();
        if !before.is_empty() {
            Box::pin(self.apply(before.into_iter().collect())).await?;
        }
        let rest: Group = behind.collect();
        if let Some(member) = too_large {
            self.apply_large_rows(member).await?;
        }
        if rest.is_empty() { Ok(()) } else { Box::pin(self.apply(rest)).await }
    }

    /// Members that are to be done row by row, as far as that is known before the group is tried.
    pub(crate) async fn known_collisions(&mut self, group: &Group) -> Result<Vec<usize>, Failure> {
        let mut known = self.collisions(group).await?;
        if !self.open.is_empty() {
            let waits = |m: &Member| self.is_open(&m.gtid);
            known.extend(group.members().iter().enumerate().filter(|(_, m)| waits(m)).map(|(i, _)| i));
            known.sort_unstable();
            known.dedup();
        }
        Ok(known)
    }

    /// Does a transaction wait for a person, or has it an answer?
    pub(crate) fn is_open(&self, gtid: &Gtid) -> bool {
        self.open.contains(gtid)
    }

    /// Applies the members that collide row by row, and those between them as groups.
    async fn apply_around(&mut self, group: Group, colliding: &[usize]) -> Result<(), Error> {
        let members = group.members();
        let is_small = |i: usize| members[i].rows.total() <= SMALL && members[i].spilled.is_none();
        let parts = parts(members.len(), colliding, is_small);
        let mut members = group.into_members().into_iter();
        for part in parts {
            let these: Vec<Member> = members.by_ref().take(part.members.len()).collect();
            if part.row_by_row {
                self.redo(&these).await?;
            } else {
                Box::pin(self.apply(these.into_iter().collect())).await?;
            }
        }
        Ok(())
    }

    /// Tries again while others hold the locks it needs.
    async fn try_until_unlocked(&mut self, group: &Group) -> Result<(), Failure> {
        let mut attempt = 0;
        loop {
            match self.attempt(group).await {
                Err(Failure::Refused(source)) if matches!(source.code, 1205 | 1213) => {
                    attempt += 1;
                    if attempt == ATTEMPTS {
                        return Err(Failure::Fatal(apply_error(group, source)));
                    }
                    tracing::debug!(error = %source, attempt, "group waits for locks");
                    tokio::time::sleep(Duration::from_millis(rand::random_range(5..50) * u64::from(attempt)))
                        .await;
                }
                Err(Failure::WindowBehind(needed)) => {
                    self.wait_for_window(&needed).await.map_err(Failure::Fatal)?;
                }
                // Read-only, shutting down, out of resources: nothing is wrong with the rows.
                Err(Failure::Refused(source)) if source.is_transient() => {
                    return Err(Failure::Fatal(apply_error(group, source)));
                }
                other => return other,
            }
        }
    }

    /// One attempt: all of the group and its checkpoint are committed, or nothing.
    async fn attempt(&mut self, group: &Group) -> Result<(), Failure> {
        let (covers, mark) = (group.covers(), group.mark());
        let fence = self.fence(&covers, &mark);
        let around = self.around(group, fence).map_err(Failure::Fatal)?;
        let told = self.owner.apply(&mut self.connection, &mut self.versions, group, &around).await?;
        if let Err(failure) = self.judge(group, told).await {
            self.rollback().await.map_err(Failure::Fatal)?;
            return Err(failure);
        }
        let took = self.owner.commit(&mut self.connection).await?;
        self.progress.commit_took(took);
        let gtids = self.connection.take_own_gtids();
        self.group_committed(group, &covers, &mark, gtids).map_err(Failure::Fatal)
    }

    /// May a group that has run be committed? Asked of what the target said under its locks; it is not rolled back
    /// here.
    pub(crate) async fn judge(&mut self, group: &Group, told: Told) -> Result<(), Failure> {
        if let Some(table) = told.altered {
            return Err(Failure::Fatal(Error::DefinitionChanged { table }));
        }
        match told.executed {
            Some(executed) => self.check_window(group, &executed).await,
            None => Ok(()),
        }
    }
}

fn apply_error(group: &Group, source: ServerError) -> Error {
    let gtid = group.members().first().map(|m| m.gtid.to_string()).unwrap_or_default();
    Error::Apply { gtid, source }
}
