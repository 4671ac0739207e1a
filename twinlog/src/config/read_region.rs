//! `[region.NAME]`: a MySQL and its relay.

use std::time::Duration;

use uuid::Uuid;
use wire::{ListenerTls, TlsMode, TlsOptions};

use super::reader::Section;
use super::secret::{self, Keys, PasswordSource};
use super::{Account, Mysql, Region, Relay, Sync, derive, read_admin, value};

/// MySQL's own port.
const MYSQL_PORT: u16 = 3306;

/// Long enough for a far region, short enough to try the next address soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Three days: a weekend in which nobody looks.
const RETAIN: Duration = Duration::from_secs(72 * 3600);

const MAX_SIZE: u64 = 200 << 30;

/// A log smaller than this could not hold one segment of a usual size.
const SMALLEST_LOG: u64 = 1 << 20;

/// Reads one region.
pub(super) fn read(name: &str, section: &Section<'_>, sync: &Sync) -> Region {
    if let Err(message) = value::name(name) {
        section.fault_here(message);
    }
    let mysql = match section.section("mysql") {
        Some(mysql) => read_mysql(&mysql, sync),
        None => {
            section.fault("mysql", "is missing: give mysql.address and mysql.user");
            Mysql {
                addresses: Vec::new(),
                reader: Account::default(),
                writer: Account::default(),
                tls: TlsOptions::default(),
                connect_timeout: CONNECT_TIMEOUT,
            }
        }
    };
    let gtid_uuids = read_uuids(section);
    let relay = section.section("relay").map(|relay| read_relay(name, &relay, sync));
    section.finish();
    Region { name: name.to_owned(), mysql, gtid_uuids, relay }
}

fn read_uuids(section: &Section<'_>) -> Vec<Uuid> {
    let mut uuids = Vec::new();
    for text in section.strings("gtid_uuids").unwrap_or_default() {
        match text.parse() {
            Ok(uuid) => uuids.push(uuid),
            Err(_) => section.fault("gtid_uuids", format!("not a uuid: {text:?}")),
        }
    }
    uuids
}

fn read_mysql(section: &Section<'_>, sync: &Sync) -> Mysql {
    let mut addresses = Vec::new();
    for text in section.strings("address").unwrap_or_default() {
        match value::address(&text, Some(MYSQL_PORT)) {
            Ok(address) => addresses.push(address),
            Err(message) => section.fault("address", message),
        }
    }
    if addresses.is_empty() {
        section.fault("address", "is missing");
    }
    let both = read_account(section, "user", &secret::PLAIN, sync);
    let reader = read_account(section, "reader_user", &secret::READER, sync).or_else(|| both.clone());
    let writer = read_account(section, "writer_user", &secret::WRITER, sync).or_else(|| both.clone());
    if reader.is_none() && writer.is_none() {
        section.fault("user", "is missing: give user, or reader_user and writer_user");
    }
    let tls = TlsOptions {
        mode: section.parsed("tls", value::tls_mode).unwrap_or_default(),
        ca: section.file("tls_ca"),
        cert: section.file("tls_cert"),
        key: section.file("tls_key"),
    };
    if matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity) && tls.ca.is_none() {
        section.fault("tls_ca", "is missing: tls = \"verify-ca\" and \"verify-identity\" need the CA");
    }
    both_or_none(section, tls.cert.is_some(), tls.key.is_some());
    let connect_timeout = section.parsed("connect_timeout", value::duration).unwrap_or(CONNECT_TIMEOUT);
    section.finish();
    Mysql {
        addresses,
        reader: reader.unwrap_or_default(),
        writer: writer.unwrap_or_default(),
        tls,
        connect_timeout,
    }
}

/// A user and the password's keys; a password without its user is a fault.
fn read_account(section: &Section<'_>, user: &'static str, keys: &Keys, sync: &Sync) -> Option<Account> {
    let password = PasswordSource::read(section, keys, sync);
    let name = section.text(user);
    if name.is_none() && !matches!(password, PasswordSource::Empty) {
        section.fault(user, "is missing, and its password is given");
    }
    if name.as_deref() == Some("") {
        section.fault(user, "is empty");
    }
    name.map(|user| Account { user, password })
}

fn read_relay(region: &str, section: &Section<'_>, sync: &Sync) -> Relay {
    let listen = section.required("listen", value::listen).unwrap_or_default();
    let address = section.parsed("address", |a| value::address(a, None));
    if address.is_none() && !section.has("address") && (value::is_wildcard(&listen) || listen.ends_with(":0"))
    {
        section.fault("address", format!("is missing: nobody can reach {listen}"));
    }
    let (tls, client_tls) = read_relay_tls(section, &listen);
    let account = Account {
        user: section.text("user").unwrap_or_else(|| "link".into()),
        password: PasswordSource::read(section, &secret::PLAIN, sync),
    };
    if matches!(account.password, PasswordSource::Empty) {
        section.fault("password_file", "is missing: who attaches to a relay needs a password");
    }
    let server_id =
        section.integer("server_id", 1, u64::from(u32::MAX)).and_then(|id| u32::try_from(id).ok());
    let plain_by_hand = section.text("tls").is_some_and(|tls| value::tls_mode(&tls) == Ok(TlsMode::Disabled));
    let relay = Relay {
        address: address.unwrap_or_else(|| listen.clone()),
        listen,
        tls,
        plain_by_hand,
        client_tls,
        account,
        dir: section.file("dir").unwrap_or_else(|| sync.state_dir.join(format!("relay-{region}"))),
        server_id: server_id.unwrap_or_else(|| derive::server_id(&sync.name, "relay", region)),
        start: section.parsed("start", read_start).unwrap_or(relay::Start::Asked),
        semi_sync: section.flag("semi_sync").unwrap_or(false),
        retain: section.parsed("retain", value::duration).unwrap_or(RETAIN),
        max_size: section.size("max_size", SMALLEST_LOG, u64::MAX).unwrap_or(MAX_SIZE),
        admin: read_admin::read(section),
    };
    section.finish();
    relay
}

fn read_start(text: &str) -> Result<relay::Start, String> {
    match text {
        "now" => Ok(relay::Start::Now),
        "oldest" => Ok(relay::Start::Oldest),
        set => set
            .parse()
            .map(relay::Start::After)
            .map_err(|_| format!("must be now, oldest or a GTID set, not {text:?}")),
    }
}

/// TLS of the listener and of those who attach to it. `tls` says how much the latter verify; beyond loopback plain TCP
/// must be asked for by `tls = "disabled"`.
fn read_relay_tls(section: &Section<'_>, listen: &str) -> (Option<ListenerTls>, TlsOptions) {
    let mode = section.parsed("tls", value::tls_mode);
    let (cert, key) = (section.file("tls_cert"), section.file("tls_key"));
    let (ca, client_ca) = (section.file("tls_ca"), section.file("tls_client_ca"));
    both_or_none(section, cert.is_some(), key.is_some());
    let plain = TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() };
    let (Some(cert), Some(key)) = (cert, key) else {
        let beyond = !listen.is_empty() && !value::is_loopback(listen);
        if beyond && mode != Some(TlsMode::Disabled) && !section.has("tls_cert") {
            section.fault(
                "tls_cert",
                format!("is missing: {listen} is reached from other hosts; or set tls = \"disabled\""),
            );
        }
        if mode.is_some_and(|m| !matches!(m, TlsMode::Disabled | TlsMode::Preferred))
            && !section.has("tls_cert")
        {
            section.fault("tls", "asks for TLS, and tls_cert and tls_key are missing");
        }
        return (None, plain);
    };
    if mode == Some(TlsMode::Disabled) {
        section.fault("tls", "is \"disabled\", and tls_cert is given");
        return (None, plain);
    }
    let mode = mode.unwrap_or(if ca.is_some() { TlsMode::VerifyIdentity } else { TlsMode::Required });
    if matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity) && ca.is_none() {
        section.fault("tls_ca", "is missing: who attaches verifies the relay's certificate by it");
    }
    if !matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity) {
        section.warn("tls", "who attaches does not verify the relay's certificate: give tls_ca");
    }
    let client = TlsOptions { mode, ca, ..TlsOptions::default() };
    (Some(ListenerTls { cert, key, ca: client_ca }), client)
}

/// A certificate and its key come together.
pub(super) fn both_or_none(section: &Section<'_>, cert: bool, key: bool) {
    match (cert, key) {
        (true, false) => section.fault("tls_key", "is missing, and tls_cert is given"),
        (false, true) => section.fault("tls_cert", "is missing, and tls_key is given"),
        _ => {}
    }
}
