//! Does the other link of a pair copy rows, or settle keys in doubt? Nothing is called drift meanwhile: what does not meet
//! the row it expects stays out, and the key is settled when the copy is complete.

use std::time::Duration;

use tokio::time::Instant;
use wire::ConnectOptions;

use crate::config::Config;
use crate::copy::copy_state;
use crate::origin::LinkKey;
use crate::target;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// The other link of a pair.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Where it writes.
    servers: Vec<ConnectOptions>,
    schema: String,
    link: LinkKey,
    /// It is to copy rows, and has not been seen to have done it.
    copies: bool,
    looked: Option<Instant>,
}

impl Pair {
    /// `None` where there is no way back.
    pub(crate) fn new(config: &Config, link: &LinkKey) -> Option<Self> {
        let back = config.way_back.as_ref()?;
        Some(Self {
            servers: back.servers.clone(),
            schema: config.meta_schema.clone(),
            link: LinkKey { sync: link.sync.clone(), from: link.to.clone(), to: link.from.clone() },
            copies: back.copies,
            looked: None,
        })
    }

    /// Does it copy now? Asked of its target now and then; one that can't be reached is taken to go on.
    pub(crate) async fn is_copying(&mut self) -> bool {
        if !self.copies || self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return self.copies;
        }
        self.looked = Some(Instant::now());
        if let Ok(mut session) = target::connect(&self.servers).await
            && let Ok(state) = copy_state(&mut session, &self.schema, &self.link).await
        {
            self.copies = state.as_deref() != Some("done");
        }
        self.copies
    }
}
