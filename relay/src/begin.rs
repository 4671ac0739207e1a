//! Where an empty relay log begins.
//!
//! A relay that lost its disk must not begin at its source's present: the links that stand behind would have a gap
//! that the source could still fill (**promise 5**). So, unless it is told where to begin, it waits a little for its
//! links to ask, and begins where the one furthest behind asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binlog::GtidSet;
use tokio::sync::watch;
use tokio::time::Instant;

/// What links have asked for since the relay was started. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Asked(Arc<watch::Sender<BTreeMap<String, Option<GtidSet>>>>);

impl Asked {
    /// Nobody has asked; these are expected to.
    pub(crate) fn new(links: &[String]) -> Self {
        Self(Arc::new(watch::Sender::new(links.iter().map(|link| (link.clone(), None)).collect())))
    }

    /// A link asks for what is not in `has`.
    pub(crate) fn note(&self, link: &str, has: &GtidSet) {
        self.0.send_if_modified(|asked| match asked.get_mut(link) {
            Some(known) => {
                *known = Some(has.clone());
                true
            }
            // Not one of ours.
            None => false,
        });
    }

    /// Waits until all have asked, for `patience` at most: what was asked, and who did not ask.
    pub(crate) async fn wait(&self, patience: Duration) -> (Vec<GtidSet>, Vec<String>) {
        let mut asked = self.0.subscribe();
        let all = asked.wait_for(|asked| asked.values().all(Option::is_some));
        // In time or not, what is there counts.
        _ = tokio::time::timeout_at(Instant::now() + patience, all).await;
        let asked = self.0.borrow();
        let silent = asked.iter().filter(|(_, has)| has.is_none()).map(|(link, _)| link.clone());
        (asked.values().flatten().cloned().collect(), silent.collect())
    }
}

/// Where to begin so that all are served that can be: those who lack nothing that the source has purged.
/// `None` when nobody has asked, or nobody can be served.
pub(crate) fn where_asked(asked: &[GtidSet], executed: &GtidSet, purged: &GtidSet) -> Option<GtidSet> {
    let mut can_be_served = asked.iter().filter(|has| has.contains_all(purged)).peekable();
    can_be_served.peek()?;
    // What a link has and the source has not is for the link to hear of.
    Some(can_be_served.fold(executed.clone(), |begin, has| begin.intersection(has)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use binlog::GtidSet;

    use super::{Asked, where_asked};

    fn set(text: &str) -> GtidSet {
        text.replace('a', "00000000-0000-0000-0000-00000000000a").parse().unwrap()
    }

    #[test]
    fn a_log_begins_where_the_link_furthest_behind_asks() {
        let executed = set("a:1-100");
        let begin = |asked: &[&str], purged| {
            let asked: Vec<_> = asked.iter().map(|text| set(text)).collect();
            where_asked(&asked, &executed, &set(purged))
        };
        assert_eq!(begin(&["a:1-50", "a:1-70"], "a:1-20"), Some(set("a:1-50")));
        assert_eq!(begin(&["a:1-50:60", "a:1-70"], ""), Some(set("a:1-50:60")));
        assert_eq!(begin(&["a:1-10", "a:1-70"], "a:1-20"), Some(set("a:1-70")), "the first can't be served");
        assert_eq!(begin(&["a:1-10"], "a:1-20"), None);
        assert_eq!(begin(&[], ""), None);
        assert_eq!(begin(&["a:1-120"], ""), Some(set("a:1-100")), "beyond the source there is nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn all_links_are_waited_for_and_not_for_ever() {
        let asked = Asked::new(&["one".into(), "two".into()]);
        asked.note("two", &set("a:1-5"));
        asked.note("a stranger", &set("a:1"));
        let (sets, silent) = asked.wait(Duration::from_secs(10)).await;
        assert_eq!((sets, silent), (vec![set("a:1-5")], vec!["one".to_owned()]));
        asked.note("one", &set("a:1-3"));
        let (sets, silent) = asked.wait(Duration::from_secs(10)).await;
        assert_eq!((sets.len(), silent.len()), (2, 0));
    }
}
