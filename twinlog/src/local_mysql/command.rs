//! Running a program to its end and saying well what went wrong.

use std::process::{Command, Stdio};

use super::{Error, Result};

/// How much of a failed program's output an error shows, in bytes.
const SHOWN: usize = 4000;

/// Runs it to the end and gives what it wrote to its standard output.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("cannot run", std::path::Path::new(&program)))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Command {
        program: program.to_string_lossy().into_owned(),
        status: output.status.to_string(),
        output: tail(said.trim(), SHOWN).into(),
    })
}

/// The last `limit` bytes of a text, from the start of a line on.
pub(super) fn tail(text: &str, limit: usize) -> &str {
    let Some(from) = text.len().checked_sub(limit) else { return text };
    match text.as_bytes()[from..].iter().position(|b| *b == b'\n') {
        // What follows a newline is a character boundary.
        Some(newline) => &text[from + newline + 1..],
        None => text.char_indices().find(|(i, _)| *i >= from).map_or("", |(i, _)| &text[i..]),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{run, tail};

    #[test]
    fn a_tail_starts_with_a_line_and_never_splits_a_character() {
        assert_eq!(tail("one\ntwo\nthree", 7), "three");
        assert_eq!(tail("short", 100), "short");
        assert_eq!(tail("ééé", 3), "é");
    }

    #[test]
    fn a_failure_shows_what_the_program_said() {
        let error = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("why") && error.contains('3'), "{error}");
    }
}
