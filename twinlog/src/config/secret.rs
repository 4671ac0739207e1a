//! Where a password is, and reading it from there.

use std::path::PathBuf;
use std::{env, fs};

use wire::Secret;

use super::reader::Section;
use super::{Fault, Sync};

/// A password file is a line, not a book.
const LONGEST_FILE: u64 = 4096;

/// A token is tried by machines.
const SHORTEST_TOKEN: usize = 16;

/// Where a password is.
#[derive(Clone, Debug, Default)]
pub enum PasswordSource {
    /// There is none.
    #[default]
    Empty,
    /// In a file; one newline at its end does not count.
    File {
        /// The file.
        path: PathBuf,
        /// Where the file names it.
        at: Place,
    },
    /// In an environment variable.
    Env {
        /// The variable.
        name: String,
        /// Where the file names it.
        at: Place,
    },
    /// In the configuration file itself.
    Inline(Secret),
}

/// A key in the configuration file.
#[derive(Clone, Debug)]
pub struct Place {
    line: usize,
    key: String,
}

impl Place {
    fn of(section: &Section<'_>, key: &str) -> Self {
        Self { line: section.line(key), key: section.path(key) }
    }

    fn fault(&self, message: String) -> Fault {
        Fault { line: self.line, key: self.key.clone(), message }
    }
}

/// The keys of one password: `password_file`, `password_env` and `password`, with what stands before them.
pub(super) struct Keys {
    pub(super) file: &'static str,
    pub(super) env: &'static str,
    pub(super) inline: &'static str,
}

/// `password…`
pub(super) const PLAIN: Keys = Keys { file: "password_file", env: "password_env", inline: "password" };
/// `reader_password…`
pub(super) const READER: Keys =
    Keys { file: "reader_password_file", env: "reader_password_env", inline: "reader_password" };
/// `writer_password…`
pub(super) const WRITER: Keys =
    Keys { file: "writer_password_file", env: "writer_password_env", inline: "writer_password" };

impl PasswordSource {
    /// Reads the keys of one password; more than one of them is a fault.
    pub(super) fn read(section: &Section<'_>, keys: &Keys, sync: &Sync) -> Self {
        let file = section.file(keys.file).map(|path| Self::File { path, at: Place::of(section, keys.file) });
        let env = section.text(keys.env).map(|name| Self::Env { name, at: Place::of(section, keys.env) });
        let inline = section.text(keys.inline);
        if inline.is_some() && !sync.allow_inline_secrets {
            section.fault(
                keys.inline,
                format!(
                    "a password in the file is refused: use {} or {}, or set allow_inline_secrets in [sync]",
                    keys.file, keys.env
                ),
            );
        }
        let inline = inline.map(|text| Self::Inline(Secret::new(text)));
        let mut given: Vec<Self> = [file, env, inline].into_iter().flatten().collect();
        if given.len() > 1 {
            section.fault(
                keys.file,
                format!("only one of {}, {} and {} may be given", keys.file, keys.env, keys.inline),
            );
        }
        given.pop().unwrap_or_default()
    }

    /// A secret that can only be in a file.
    pub(super) fn file(section: &Section<'_>, key: &'static str) -> Self {
        section.file(key).map_or(Self::Empty, |path| Self::File { path, at: Place::of(section, key) })
    }

    /// The secret of an admin API: `None` where there is none.
    ///
    /// # Errors
    ///
    /// A file that can't be read, or a token that is easily guessed.
    pub fn token(&self) -> Result<Option<Secret>, Fault> {
        let (Self::File { path, at }, secret) = (self, self.resolve()?) else { return Ok(None) };
        let fits =
            secret.expose().len() >= SHORTEST_TOKEN && secret.expose().bytes().all(|b| b.is_ascii_graphic());
        if fits {
            return Ok(Some(secret));
        }
        Err(at.fault(format!(
            "the token must be at least {SHORTEST_TOKEN} letters, digits or signs, without blanks: {}; make one with: \
             openssl rand -hex 32",
            path.display()
        )))
    }

    /// The password itself.
    pub(super) fn resolve(&self) -> Result<Secret, Fault> {
        match self {
            Self::Empty => Ok(Secret::default()),
            Self::Inline(secret) => Ok(secret.clone()),
            Self::Env { name, at } => env::var(name).map(Secret::new).map_err(|_| {
                at.fault(format!("the environment variable is not set, or is not text: {name}"))
            }),
            Self::File { path, at } => {
                let wrong = |why: String| {
                    at.fault(format!("the password file cannot be used: {}: {why}", path.display()))
                };
                let length = fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
                if length > LONGEST_FILE {
                    return Err(wrong(format!("longer than {LONGEST_FILE} bytes")));
                }
                let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
            }
        }
    }
}
