//! Starting a process that does not outlive this one.
//!
//! `setpriv --pdeathsig KILL` (util-linux) has the kernel kill the child when its parent is gone. The kernel means the
//! parent *thread*, so all children are started by one thread that lives as long as the process. Without `setpriv`
//! the child is still killed when its owner is dropped.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};

const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];

type Answer = mpsc::SyncSender<io::Result<Child>>;

/// Starts the program with its arguments, all it writes going to `log`, in a process group of its own, so that a
/// terminal's Ctrl-C reaches only its owner.
pub(super) fn spawn(command: &Command, log: File) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<(Command, Answer)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        // When the thread can't be made, the receiver is dropped with it and sending fails below.
        let _ = std::thread::Builder::new().name("mysqld starter".into()).spawn(move || start_all(receiver));
        sender
    });
    let mut guarded = dying_with_us(command);
    guarded.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, child) = mpsc::sync_channel(1);
    starter.send((guarded, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

fn start_all(orders: mpsc::Receiver<(Command, Answer)>) {
    for (mut command, answer) in orders {
        // A caller that did not wait for its child can't own it.
        if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The same program and arguments, run through `setpriv` where that is there. It becomes the program by `exec`: the
/// process id is the program's.
fn dying_with_us(command: &Command) -> Command {
    let mut guarded = match SETPRIV.iter().find(|p| Path::new(p).is_file()) {
        Some(setpriv) => {
            let mut guarded = Command::new(setpriv);
            guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
            guarded
        }
        None => Command::new(command.get_program()),
    };
    guarded.args(command.get_args());
    guarded
}
