//! The configuration file of a pair, written as people write it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::accounts::{PASSWORD, READER, WRITER};

/// Who may attach to the relays of a test.
pub(crate) const LINK_USER: &str = "link";

/// One `[region.*]` of the file.
#[derive(Clone, Debug)]
pub(crate) struct RegionSection {
    pub(crate) name: &'static str,
    pub(crate) mysql_address: String,
    pub(crate) relay_listen: String,
    pub(crate) relay_address: String,
    /// The region has a relay.
    pub(crate) relay: bool,
    /// Where its log is.
    pub(crate) relay_dir: PathBuf,
    /// Further lines, as they stand in the file.
    pub(crate) more: Vec<String>,
}

/// One `[link.*]` of the file.
#[derive(Clone, Debug)]
pub(crate) struct LinkSection {
    pub(crate) name: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) ddl: bool,
    /// Further lines, as they stand in the file.
    pub(crate) more: Vec<String>,
}

/// What stands in the configuration file of a pair. A copy can be changed and written under another name, for a
/// process that is to see the world otherwise.
#[derive(Clone, Debug)]
pub struct SyncFile {
    pub(crate) folder: PathBuf,
    pub(crate) tables: Vec<String>,
    pub(crate) meta_schema: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) regions: Vec<RegionSection>,
    pub(crate) links: Vec<LinkSection>,
}

impl SyncFile {
    /// The region's MySQL is at another address (a proxy's).
    pub fn set_mysql_address(&mut self, region: &str, address: &str) {
        self.region(region).mysql_address = address.to_owned();
    }

    /// A further line for a region, for example `relay.max_size = "1MiB"`.
    pub fn add_to_region(&mut self, region: &str, line: &str) {
        self.region(region).more.push(line.to_owned());
    }

    /// A further line for a link, for example `group = { max_transactions = 1 }`.
    pub fn add_to_link(&mut self, link: &str, line: &str) {
        let link = self.links.iter_mut().find(|l| l.name == link).expect("the link is in the file");
        link.more.push(line.to_owned());
    }

    /// `[sync] state_dir`.
    pub fn set_state_dir(&mut self, dir: &Path) {
        dir.clone_into(&mut self.state_dir);
    }

    /// `relay.dir` of a region.
    pub fn set_relay_dir(&mut self, region: &str, dir: &Path) {
        dir.clone_into(&mut self.region(region).relay_dir);
    }

    /// The patterns of `[sync] tables`.
    pub fn set_tables(&mut self, patterns: &[&str]) {
        self.tables = patterns.iter().map(|&p| p.to_owned()).collect();
    }

    /// Where a region's relay listens, with no proxy between.
    pub fn relay_listen(&self, region: &str) -> &str {
        let found = self.regions.iter().find(|r| r.name == region);
        &found.expect("the region is in the file").relay_listen
    }

    /// The user and the password of those who attach to a relay.
    pub fn relay_account(&self) -> (&'static str, &'static str) {
        (LINK_USER, PASSWORD)
    }

    fn region(&mut self, region: &str) -> &mut RegionSection {
        self.regions.iter_mut().find(|r| r.name == region).expect("the region is in the file")
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes everything");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "[sync]\nname = \"shop\"\ntables = {:?}", self.tables)?;
        writeln!(out, "meta_schema = {:?}\nstate_dir = {:?}", self.meta_schema, self.state_dir)?;
        for region in &self.regions {
            writeln!(out, "\n[region.{}]", region.name)?;
            writeln!(out, "mysql.address = {:?}", region.mysql_address)?;
            writeln!(out, "mysql.reader_user = \"{READER}\"\nmysql.reader_password_file = \"secret\"")?;
            writeln!(out, "mysql.writer_user = \"{WRITER}\"\nmysql.writer_password_file = \"secret\"")?;
            if region.relay {
                writeln!(
                    out,
                    "relay.listen = {:?}\nrelay.address = {:?}",
                    region.relay_listen, region.relay_address
                )?;
                writeln!(out, "relay.user = \"{LINK_USER}\"\nrelay.password_file = \"secret\"")?;
                writeln!(out, "relay.dir = {:?}", region.relay_dir)?;
            }
            region.more.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        for link in &self.links {
            writeln!(out, "\n[link.{}]\nfrom = {:?}\nto = {:?}", link.name, link.from, link.to)?;
            writeln!(out, "ddl = {}", link.ddl)?;
            link.more.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
    }

    /// Writes it into the pair's folder under this name, with the secret beside it; gives its path.
    pub fn write(&self, name: &str) -> PathBuf {
        write(&self.folder.join("secret"), PASSWORD);
        let path = self.folder.join(name);
        write(&path, &self.text());
        path
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("can't write {}: {e}", path.display()));
}
