//! `twinlog check`: what is wrong, and what mends it; nothing is changed.

use std::io::Write;
use std::process::ExitCode;

use crate::check;
use crate::cli::CheckArgs;
use crate::failure::Failure;

/// Exit code 0 when nothing fails, 1 when something does.
pub(crate) async fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    // Its warnings are findings, and not logged besides.
    let file = twinlog::config::load(&args.output.file.config)?;
    let report = Box::pin(check::run(file, args.probe)).await?;
    let failed = |e: &(dyn std::error::Error + 'static)| Failure::from_error("cannot write the report", e);
    let mut out = std::io::stdout().lock();
    let text = if args.output.json {
        serde_json::to_string_pretty(&report).map_err(|e| failed(&e))? + "\n"
    } else {
        check::render(&report, super::takes_colour(&out))
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| failed(&e))?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
