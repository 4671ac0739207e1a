//! Which of the source's addresses to pull from: the first that lacks nothing.
//!
//! **Promise 5**: a server that lacks what the log has had is never pulled from, however many others are gone. What
//! it lacks is shown. When another one that did not answer comes back, the relay goes on there by itself.

use binlog::GtidSet;
use wire::ConnectOptions;

use crate::Error;
use crate::upstream::Upstream;

/// None of the addresses will do.
#[derive(Debug)]
pub(crate) struct NoSource {
    /// Why: of the first that answered and did not fit, else of the last that did not answer.
    pub(crate) error: Error,
    /// Another time one may.
    pub(crate) may_come: bool,
}

impl From<Error> for NoSource {
    fn from(error: Error) -> Self {
        let may_come = error.is_transient();
        Self { error, may_come }
    }
}

/// Asks one after the other, and gives the first that has all of `has` and has not purged what lies behind it.
pub(crate) async fn choose(
    addresses: &[ConnectOptions],
    server_id: u32,
    has: &GtidSet,
) -> Result<Upstream, NoSource> {
    let (mut unfit, mut away) = (None, None);
    for options in addresses {
        let error = match fit(options, server_id, has).await {
            Ok(upstream) => return Ok(upstream),
            Err(error) => error,
        };
        if addresses.len() > 1 {
            tracing::warn!(source = options.address, error = crate::describe(&error), "source will not do");
        }
        if error.is_transient() {
            away = Some(error);
        } else {
            unfit.get_or_insert(error);
        }
    }
    let may_come = away.is_some();
    let error = unfit.or(away).unwrap_or(Error::Source {
        doing: "connecting",
        source: wire::Error::Invalid { what: "no address is configured".into() },
    });
    Err(NoSource { error, may_come })
}

async fn fit(options: &ConnectOptions, server_id: u32, has: &GtidSet) -> Result<Upstream, Error> {
    let mut upstream = Upstream::connect(options, server_id).await?;
    upstream.check_against(has).await?;
    Ok(upstream)
}
