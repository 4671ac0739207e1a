//! Being a source: clients log in, ask what replicas ask, and are sent events.

mod command;
mod dump;
mod login;
mod session;
mod turn_away;

pub use command::Command;
pub use dump::{Ack, AckReceiver, EventSender};
pub use login::{LoginOptions, Peer, accept};
pub use session::Session;
pub use turn_away::turn_away;
