//! What a process costs: processor seconds and memory, as the kernel counts them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// Clock ticks of `/proc/PID/stat` a second: 100 on every Linux.
const TICKS: f64 = 100.0;

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// By the clock.
    pub(super) seconds: f64,
    /// User and system time of the process that was measured.
    pub(super) cpu: f64,
}

/// Runs what starts children and waits for them.
pub(super) fn measured<T>(action: impl FnOnce() -> Result<T>) -> Result<(Measured, T)> {
    let own = "self";
    let before = children_cpu(own)?;
    let began = Instant::now();
    let value = action()?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((Measured { seconds, cpu: children_cpu(own)? - before }, value))
}

/// Processor seconds of a process.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    stat(&pid.to_string(), 11)
}

/// Processor seconds of the children it has waited for.
fn children_cpu(pid: &str) -> Result<f64> {
    stat(pid, 13)
}

/// The sum of two fields of `/proc/PID/stat`, counted behind the name.
fn stat(pid: &str, first: usize) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let fields = text.rsplit_once(')').context("no process name in it")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| -> Result<f64> { Ok(fields.get(n).context("too short")?.parse()?) };
    Ok((ticks(first)? + ticks(first + 1)?) / TICKS)
}

/// Resident memory of a process, MiB: now and at most.
pub(crate) fn resident(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
        Ok(line.split_whitespace().next().context("no value")?.parse::<u64>()? >> 10)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Touches as much memory as a run will need for its files, and gives it back. On a virtual machine the first touch
/// of a page is the host's time, and whoever ran first would pay for both.
pub(super) fn warm(folder: &Path, bytes: u64) -> Result<()> {
    let path = folder.join("warm");
    let piece = vec![1; 1 << 20];
    let mut file = fs::File::create(&path)?;
    for _ in 0..bytes >> 20 {
        file.write_all(&piece)?;
    }
    drop(file);
    Ok(fs::remove_file(path)?)
}
