//! `admin.*` and `console.*`: where a process answers programs and people, and who may ask.

use wire::{ListenerTls, TlsMode, TlsOptions};

use super::read_region::both_or_none;
use super::reader::Section;
use super::secret::PasswordSource;
use super::{Admin, value};

/// Reads `admin` of a section. Beyond loopback a token and TLS are no option but required: who reaches this address
/// can stop links and read rows.
pub(super) fn read(section: &Section<'_>) -> Admin {
    let Some(admin) = section.section("admin") else { return Admin::default() };
    let ca = admin.file("tls_ca");
    let mut read = read_door(&admin);
    let mode = match (&read.tls, &ca) {
        (None, _) => TlsMode::Disabled,
        (Some(_), Some(_)) => TlsMode::VerifyIdentity,
        (Some(_), None) => TlsMode::Required,
    };
    if read.tls.is_some() && ca.is_none() {
        admin.warn("tls_ca", "is missing: who asks does not verify the process's certificate");
    }
    if read.tls.is_none() && ca.is_some() {
        admin.fault("tls_cert", "is missing, and tls_ca is given");
    }
    read.client_tls = TlsOptions { mode, ca, ..TlsOptions::default() };
    admin.finish();
    read
}

/// Reads `console` of `[sync]`: the same, asked by browsers, which know their CAs by themselves.
pub(super) fn read_console(section: &Section<'_>) -> Admin {
    let Some(console) = section.section("console") else { return Admin::default() };
    let read = read_door(&console);
    console.finish();
    read
}

fn read_door(section: &Section<'_>) -> Admin {
    let (cert, key) = (section.file("tls_cert"), section.file("tls_key"));
    both_or_none(section, cert.is_some(), key.is_some());
    let read = Admin {
        listen: section.parsed("listen", value::listen),
        address: section.parsed("address", |a| value::address(a, None)),
        token: PasswordSource::file(section, "token_file"),
        tls: cert.zip(key).map(|(cert, key)| ListenerTls { cert, key, ca: None }),
        ..Admin::default()
    };
    check(section, &read);
    read
}

fn check(section: &Section<'_>, admin: &Admin) {
    let beyond = admin.listen.as_deref().filter(|listen| !value::is_loopback(listen));
    if let Some(listen) = beyond {
        if matches!(admin.token, PasswordSource::Empty) {
            let why =
                format!("is missing: {listen} is reached from other hosts, and who asks must show a token");
            section.fault("token_file", why);
        }
        if admin.tls.is_none() && !section.has("tls_cert") {
            section.fault("tls_cert", format!("is missing: {listen} is reached from other hosts"));
        }
        if admin.address.is_none() && !section.has("address") && value::is_wildcard(listen) {
            section.fault("address", format!("is missing: nobody can reach {listen}"));
        }
    }
}
