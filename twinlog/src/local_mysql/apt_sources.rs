//! Where this machine gets Debian packages from: read out of its apt configuration.
//!
//! Both forms are understood: one line (`deb [options] uri suite components`, `sources.list(5)`) and deb822
//! (`Types:` / `URIs:` / `Suites:` stanzas). Only entries that name a Debian release itself are taken, so that
//! security archives and third parties' repositories are not asked for the suite wanted here.

use std::fs;
use std::path::{Path, PathBuf};

/// Names a Debian archive's releases go by.
const RELEASES: [&str; 12] = [
    "stable",
    "testing",
    "unstable",
    "sid",
    "oldstable",
    "oldoldstable",
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
];

/// One archive and the keyring it is signed with, where the configuration names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    /// Its address, as apt wants it.
    pub(super) uri: String,
    /// The keyring file named beside it.
    pub(super) signed_by: Option<PathBuf>,
    /// The release that the machine takes from it.
    pub(super) suite: String,
}

/// The Debian archives of the apt configuration in this folder (`/etc/apt`), in its order, each once.
pub(super) fn archives(etc: &Path) -> Vec<Archive> {
    let mut files = vec![etc.join("sources.list")];
    let mut parts: Vec<PathBuf> =
        fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut found: Vec<Archive> = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let entries = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => one_line(&text),
            Some("sources") => deb822(&text),
            _ => continue,
        };
        for archive in entries {
            if !found.iter().any(|f| f.uri == archive.uri) {
                found.push(archive);
            }
        }
    }
    found
}

/// The Debian archives of a file in the one-line form.
fn one_line(text: &str) -> Vec<Archive> {
    text.lines().filter_map(one_line_entry).collect()
}

fn one_line_entry(line: &str) -> Option<Archive> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    if !is_debian([suite], words) {
        return None;
    }
    let signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).and_then(keyring);
    Some(Archive { uri: uri.into(), signed_by, suite: suite.into() })
}

/// The Debian archives of a file in deb822 form.
fn deb822(text: &str) -> Vec<Archive> {
    let mut found = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            found.extend(stanza_entries(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            stanza.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    found
}

fn stanza_entries(stanza: &[(String, String)]) -> Vec<Archive> {
    let get = |key: &str| stanza.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
    let enabled = !matches!(get("enabled").to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off");
    let binary = get("types").split_whitespace().any(|t| t == "deb");
    let debian = is_debian(get("suites").split_whitespace(), get("components").split_whitespace());
    if !(enabled && binary && debian) {
        return Vec::new();
    }
    let signed_by = keyring(get("signed-by"));
    let suite = get("suites").split_whitespace().find(|s| RELEASES.contains(s)).unwrap_or_default();
    let archive = |uri: &str| Archive { uri: uri.into(), signed_by: signed_by.clone(), suite: suite.into() };
    get("uris").split_whitespace().map(archive).collect()
}

/// Is this an entry of the Debian archive itself: a release, and the component `main`?
fn is_debian<'a>(
    suites: impl IntoIterator<Item = &'a str>,
    components: impl IntoIterator<Item = &'a str>,
) -> bool {
    suites.into_iter().any(|s| RELEASES.contains(&s)) && components.into_iter().any(|c| c == "main")
}

/// A `Signed-By` that is the path of a file; a key block or a fingerprint is not.
fn keyring(value: &str) -> Option<PathBuf> {
    let first = value.split([',', ' ', '\n']).next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Archive, archives, deb822, one_line};

    fn archive(uri: &str, suite: &str, signed_by: Option<&str>) -> Archive {
        Archive { uri: uri.into(), signed_by: signed_by.map(PathBuf::from), suite: suite.into() }
    }

    #[test]
    fn the_one_line_form_gives_releases_and_leaves_out_security_and_third_parties() {
        let text = "# deb http://commented/debian trixie main\n\
                    deb-src http://mirror.example/debian trixie main\n\
                    deb http://mirror.example/debian trixie main contrib # why\n\
                    deb [arch=amd64 signed-by=/k/a.gpg] http://other.example/debian\tsid main\n\
                    deb http://mirror.example/debian-security trixie-security main\n\
                    deb http://vendor.example/apt stable tools\n\
                    deb [broken http://x.example/debian sid main\n";
        assert_eq!(
            one_line(text),
            [
                archive("http://mirror.example/debian", "trixie", None),
                archive("http://other.example/debian", "sid", Some("/k/a.gpg"))
            ]
        );
    }

    #[test]
    fn the_deb822_form_gives_every_uri_of_an_enabled_stanza() {
        let text = "Types: deb deb-src\n# a comment inside\nURIs: http://a.example/debian\n http://b.example/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k/debian.gpg\n\n\
                    Types: deb\nURIs: http://c.example/debian\nSuites: trixie\nComponents: main\nEnabled: no\n\n\
                    Types: deb\nURIs: http://d.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n .\n";
        assert_eq!(
            deb822(text),
            [
                archive("http://a.example/debian", "bookworm", Some("/k/debian.gpg")),
                archive("http://b.example/debian", "bookworm", Some("/k/debian.gpg")),
                archive("http://d.example/debian", "trixie", None)
            ]
        );
    }

    #[test]
    fn all_files_are_read_and_an_archive_named_twice_comes_once() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(etc.path().join("sources.list"), "deb http://a.example/debian sid main\n").unwrap();
        fs::write(parts.join("b.sources"), "Types: deb\nURIs: http://a.example/debian http://b.example/debian\nSuites: sid\nComponents: main\n").unwrap();
        fs::write(parts.join("c.list.disabled"), "deb http://c.example/debian sid main\n").unwrap();
        let uris: Vec<String> = archives(etc.path()).into_iter().map(|a| a.uri).collect();
        assert_eq!(uris, ["http://a.example/debian", "http://b.example/debian"]);
    }
}
