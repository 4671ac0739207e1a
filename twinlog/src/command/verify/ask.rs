//! Whether to repair: asked on the terminal, after it was shown what would be done.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Fails where nobody can be asked: before hours are spent on comparing.
pub(super) fn someone_is_there() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    let failure = Failure::usage("--repair asks before it writes, and there is no terminal to ask on");
    Err(failure.with_remedy("add --yes to repair without asking, or --dry-run to see what it would do"))
}

/// Asks; anything but a clear yes is no.
pub(super) fn shall_it(rows: usize) -> bool {
    let mut answer = String::new();
    // A terminal that is gone says no.
    let _ = write!(io::stderr(), "repair {rows} rows? [y/N] ").and_then(|()| io::stderr().flush());
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
