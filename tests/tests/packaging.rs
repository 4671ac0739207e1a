//! What packages ship: completions, manual pages, units.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Finished, debian_command, pip_packages, python, twinlog};

const SHORT: Duration = Duration::from_secs(60);
const UNITS: [(&str, &str); 2] = [("twinlog-relay", "eu"), ("twinlog-applier", "eu-us")];
/// What `systemd-analyze security` may say at most, in tenths: 0 is sealed off, 100 open to everything.
const EXPOSURE: &str = "20";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd")
}

fn unit(name: &str) -> String {
    let path = packaging().join(format!("{name}@.service"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[tokio::test]
async fn every_shell_gets_completions_that_know_every_command_and_bash_takes_them() {
    let help = Finished::of(&["--help"], SHORT).await.out;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"check") && commands.contains(&"relay"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let finished = Finished::of(&["completions", shell], SHORT).await;
        assert_eq!(finished.code, 0, "{finished}");
        for command in &commands {
            assert!(finished.out.contains(command), "{shell} does not know {command}");
        }
        if shell == "bash" {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("twinlog.bash");
            std::fs::write(&path, &finished.out).expect("a file can be written");
            // As a shell completes `twinlog sta`.
            let script = format!(
                "source {}; COMP_WORDS=(twinlog sta); COMP_CWORD=1; _twinlog twinlog sta twinlog; echo \"${{COMPREPLY[*]}}\"",
                path.display()
            );
            let done = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
            assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "status");
        }
    }
    assert_eq!(Finished::of(&["completions", "tcsh"], SHORT).await.code, 2);
}

#[tokio::test]
async fn there_is_a_manual_page_for_every_command_and_it_says_what_help_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let into = folder.path().join("man1");
    let path = into.to_string_lossy().into_owned();
    assert_eq!(Finished::of(&["man", &path], SHORT).await.code, 0);
    let page = |name: &str| {
        let text = std::fs::read_to_string(into.join(format!("{name}.1")));
        text.unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    assert!(page("twinlog").contains(".TH") && page("twinlog").contains("check"));
    for (command, option) in [("check", "probe"), ("relay", "region"), ("log-export", "output")] {
        let page = page(&format!("twinlog-{command}"));
        assert!(page.contains(&format!("\\-\\-{option}")), "{command}: {page}");
    }
    let taken = folder.path().join("file");
    std::fs::write(&taken, "").expect("a file can be written");
    let path = taken.to_string_lossy().into_owned();
    Finished::of(&["man", &path], SHORT).await.assert_failed(1, &["cannot write the manual", &path]);
}

#[tokio::test]
async fn the_units_run_a_command_line_that_is_understood() {
    for (name, instance) in UNITS {
        let text = unit(name);
        let line =
            text.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/twinlog ")).expect("ExecStart");
        let line = line.replace("%i", instance).replace("/etc/twinlog/twinlog.toml", "no-such-file.toml");
        let args: Vec<&str> = line.split(' ').collect();
        // Understood as far as the file, which is not there.
        Finished::of(&args, SHORT).await.assert_failed(2, &["no-such-file.toml"]);
    }
}

#[tokio::test]
async fn systemd_takes_the_units_and_finds_them_sealed_off() {
    let analyze = async || {
        let found = || debian_command("systemd", "usr/bin/systemd-analyze");
        tokio::task::spawn_blocking(found).await.expect("systemd-analyze is found")
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, instance) in UNITS {
        // It wants to see the program where the unit says it is.
        let text = unit(name).replace("/usr/bin/twinlog", &twinlog().get_program().to_string_lossy());
        let text = text.replace("Documentation=man:", "# man:");
        let path = folder.path().join(format!("{name}@{instance}.service"));
        std::fs::write(&path, text).expect("a unit can be written");
        let verify = analyze().await.args(["verify", "--man=no"]).arg(&path).output();
        let verify = verify.expect("systemd-analyze runs");
        let said = String::from_utf8_lossy(&verify.stderr).into_owned();
        let about = said.lines().filter(|line| line.contains(name)).collect::<Vec<_>>();
        assert!(verify.status.success() && about.is_empty(), "{name}: {said}");
        let mut security = analyze().await;
        security.args(["security", "--offline=yes", &format!("--threshold={EXPOSURE}")]).arg(&path);
        let security = security.output().expect("systemd-analyze runs");
        let said = String::from_utf8_lossy(&security.stdout).into_owned();
        assert!(security.status.success(), "{name}: {said}");
    }
}

/// A file of what is packaged.
fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

/// Checks by schemas that come with these packages of Python: nothing is asked from elsewhere.
const LINTERS: [&str; 3] = ["yamllint==1.38.0", "check-jsonschema==0.39.0", "kubernetes-validate==1.37.0"];

/// Runs one of the linters, a module of Python, on a file.
async fn lint(module: &[&str], file: &Path) {
    let folder = pip_packages("linters", &LINTERS).await;
    let mut command = python().await;
    command.env("PYTHONPATH", &folder).arg("-m").args(module).arg(file);
    let said = Finished::of_command(&mut command, SHORT).await;
    assert_eq!(said.code, 0, "{} on {}: {said}", module.join(" "), file.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_and_manifests_are_well_formed_and_run_commands_that_are_understood() {
    let (compose, kubernetes) = (packaged("docker/compose.yaml"), packaged("kubernetes/twinlog.yaml"));
    let rules = "{extends: default, rules: {line-length: disable, braces: {max-spaces-inside: 1}, document-start: disable, truthy: disable}}";
    for file in [&compose, &kubernetes] {
        lint(&["yamllint", "--strict", "-d", rules], file).await;
    }
    lint(&["check_jsonschema", "--builtin-schema", "vendor.compose-spec"], &compose).await;
    lint(&["kubernetes_validate", "--strict"], &kubernetes).await;
    // Every command line in them is understood as far as the file, which is not there.
    let mut lines = 0;
    for file in [&compose, &kubernetes] {
        let text = std::fs::read_to_string(file).expect("it can be read");
        for list in text.lines().filter_map(|l| l.split_once("[\"").map(|(_, rest)| rest)) {
            let args: Vec<&str> = list.trim_end_matches(']').trim_end_matches('"').split("\", \"").collect();
            if !["relay", "applier", "console"].contains(&args[0]) {
                continue;
            }
            let args: Vec<&str> =
                args.iter().map(|a| if a.ends_with(".toml") { "no-such-file.toml" } else { a }).collect();
            Finished::of(&args, SHORT).await.assert_failed(2, &["no-such-file.toml"]);
            lines += 1;
        }
    }
    assert_eq!(lines, 7);
}

#[tokio::test]
async fn the_file_of_the_two_servers_to_try_reads_well_and_names_what_compose_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["twinlog.toml", "password"] {
        std::fs::copy(packaged("docker").join(name), folder.path().join(name)).expect("it can be copied");
    }
    let file = folder.path().join("twinlog.toml");
    // Read whole: what fails is that nothing runs.
    let said = Finished::of(&["status", "--json", "-c", &file.to_string_lossy()], SHORT).await;
    assert_eq!(said.code, 1, "{said}");
    let compose = std::fs::read_to_string(packaged("docker/compose.yaml")).expect("it can be read");
    for (kind, names) in [("--region", ["eu", "us"]), ("--link", ["eu-us", "us-eu"])] {
        for name in names {
            assert!(
                compose.contains(&format!("\"{kind}\", \"{name}\""))
                    && said.out.contains(&format!("\"{name}\"")),
                "{name}"
            );
        }
    }
}
