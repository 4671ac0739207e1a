//! `admin.*`: where a process answers people and programs, and who may ask.

use wire::{ListenerTls, TlsMode, TlsOptions};

use super::read_region::both_or_none;
use super::reader::Section;
use super::secret::PasswordSource;
use super::{Admin, value};

/// Reads `admin` of a section. Beyond loopback a token and TLS are no option but required: who reaches this address
/// can stop links and read rows.
pub(super) fn read(section: &Section<'_>) -> Admin {
    let Some(admin) = section.section("admin") else { return Admin::default() };
    let (cert, key, ca) = (admin.file("tls_cert"), admin.file("tls_key"), admin.file("tls_ca"));
    both_or_none(&admin, cert.is_some(), key.is_some());
    let tls = cert.zip(key).map(|(cert, key)| ListenerTls { cert, key, ca: None });
    let mode = match (&tls, &ca) {
        (None, _) => TlsMode::Disabled,
        (Some(_), Some(_)) => TlsMode::VerifyIdentity,
        (Some(_), None) => TlsMode::Required,
    };
    let read = Admin {
        listen: admin.parsed("listen", value::listen),
        address: admin.parsed("address", |a| value::address(a, None)),
        token: PasswordSource::file(&admin, "token_file"),
        tls,
        client_tls: TlsOptions { mode, ca, ..TlsOptions::default() },
    };
    check(&admin, &read);
    admin.finish();
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
    if admin.tls.is_some() && admin.client_tls.ca.is_none() {
        section.warn("tls_ca", "is missing: who asks does not verify the process's certificate");
    }
    if admin.tls.is_none() && admin.client_tls.ca.is_some() {
        section.fault("tls_cert", "is missing, and tls_ca is given");
    }
}
