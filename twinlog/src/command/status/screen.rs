//! The terminal as one screen: taken over, measured, drawn on, and given back as it was, whatever ends the program.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// Enters the alternate screen and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Shows the cursor and gives the screen back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where a terminal does not tell its size.
const USUAL: (usize, usize) = (80, 24);

/// A terminal that is taken over. Dropping it gives it back.
pub(super) struct Screen {
    /// How it was; absent where keys can't be read.
    before: Option<Termios>,
}

/// May colours be written there? Not where `NO_COLOR` says so, nor to a terminal that knows none.
pub(crate) fn takes_colour(to: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    moves(to) && !set("NO_COLOR")
}

/// Is it a terminal on which what is written can be written over?
pub(crate) fn moves(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Screen {
    /// Takes the terminal of standard output over; keys come one by one and are not shown.
    pub(super) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        if let Some(before) = &before {
            let mut keys = before.clone();
            // Signals still come by keys: Ctrl-C ends the program as it always does.
            keys.local_modes.remove(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Now, &keys)?;
        }
        write(ENTER)?;
        Ok(Self { before })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        told.map_or(USUAL, |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Draws these lines from the top, and clears what was there: line by line, so that nothing flickers.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text)
    }

    /// The keys that are pressed. The reading thread ends with the program: a read of a terminal can't be cancelled.
    pub(super) fn keys(&self) -> mpsc::Receiver<u8> {
        let (sender, keys) = mpsc::channel(16);
        if self.before.is_some() {
            let read = move || {
                let mut key = [0];
                while matches!(io::stdin().lock().read(&mut key), Ok(1)) {
                    if sender.blocking_send(key[0]).is_err() {
                        return;
                    }
                }
            };
            // Without keys it ends by Ctrl-C.
            let _ = std::thread::Builder::new().name("keys".into()).spawn(read);
        }
        keys
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
