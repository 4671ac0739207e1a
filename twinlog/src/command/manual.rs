//! `twinlog completions` and `twinlog man`: what packages ship, made from the definitions of the command line, so that
//! neither can say what the program does not do.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Writes a shell's completions to standard output.
pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "twinlog", &mut script);
    let mut out = io::stdout().lock();
    let written = out.write_all(&script).and_then(|()| out.flush());
    written.map_err(|e| Failure::from_error("cannot write the completions", &e))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each command into a folder.
pub(crate) fn pages(folder: &Path) -> Result<ExitCode, Failure> {
    let failed = |e| Failure::from_error(&format!("cannot write the manual into {}", folder.display()), &e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
