//! `init`: from the gateway's configuration to a working one of this proxy's.

mod collisions;
mod files;
mod snippets;

use super::admin_client::RunningProcess;
use super::await_reload::{ReloadOutcome, settle};
use super::{Exit, complain, say, token};
use crate::config::environment::{Environment, System};
use crate::openclaw_config::{Fault, OpenClaw};
use files::{Choices, Files};
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's configuration file; default: where the gateway itself looks for it
    #[arg(long, value_name = "FILE")]
    openclaw_config: Option<PathBuf>,
    /// Directory for config.toml and the gateway's secret; default: /etc/scopeshim for root, else
    /// ~/.config/scopeshim
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where clients will connect: host:port, or unix:/path/to/socket
    #[arg(long, default_value = "127.0.0.1:18780", value_name = "ADDRESS")]
    listen: String,
    /// Name of the first token
    #[arg(long, default_value = "first-client", value_name = "NAME")]
    token_name: String,
    /// A scope of the first token; can be repeated
    #[arg(long = "scope", value_name = "SCOPE", default_values = ["operator.read", "operator.write"])]
    scopes: Vec<String>,
    /// Ask no questions
    #[arg(long, short)]
    yes: bool,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn init(mut args: Args) -> Exit {
    let found = match OpenClaw::read(args.openclaw_config.as_deref(), &System) {
        Ok(found) => found,
        Err(fault) => return unreadable(&fault),
    };
    let mut out = args.out.take().unwrap_or_else(|| default_out(&System));
    let interactive = !args.yes && !args.dry_run && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if interactive && !questions(&found, &mut args, &mut out) {
        complain("nothing was written");
        return Exit::Failed;
    }
    if !crate::config::is_name(&args.token_name) {
        complain(format!("error: `{}` is not a name: 1 to 64 letters, digits and . _ - @", args.token_name));
        return Exit::Usage;
    }
    let Ok(secret) = token::generate() else {
        complain("error: the system's random numbers are not available");
        return Exit::System;
    };
    let choices = Choices { listen: &args.listen, token_name: &args.token_name, scopes: &args.scopes, token: &secret };
    let files = match Files::prepare(&found, &choices, &out) {
        Ok(files) => files,
        Err(problems) => {
            complain(problems.trim_end());
            complain("nothing was written");
            return Exit::Config;
        }
    };
    if args.dry_run {
        say(format!("{} would be:\n\n{}", files.config().display(), files.text()));
        if let Some(path) = files.secret() {
            say(format!("{} would hold the gateway's secret, mode {:04o}.", path.display(), files.secret_mode()));
        }
        say("Nothing was written. A run without --dry-run makes another token and shows it.");
        return Exit::Ok;
    }
    if let Err(error) = files.write(args.force) {
        complain(format!("error: {error}"));
        return Exit::Failed;
    }
    say(format!("Read {}.", found.path.display()));
    say(format!(
        "Wrote {}{}.\n",
        files.config().display(),
        match files.secret() {
            Some(path) => format!(" and {} (the gateway's secret, mode {:04o})", path.display(), files.secret_mode()),
            None => String::new(),
        }
    ));
    say(format!("The token `{}`, shown this once:\n\n    {secret}\n", args.token_name));
    for warning in collisions::of(&args.listen, &found) {
        complain(format!("warning: {warning}"));
    }
    say(snippets::gateway_changes(&found));
    if let Some(advice) = snippets::isolation(&found) {
        say(advice);
    }
    say(snippets::clients(&args.listen, &secret));
    if let Some(warning) = snippets::exposure(&args.listen) {
        complain(warning);
    }
    // Who wrote over the file of a running process has changed who is let in.
    let settled =
        if args.force { settle(&RunningProcess::by(files.config())) } else { ReloadOutcome::InForce(String::new()) };
    match settled {
        ReloadOutcome::InForce(said) if !said.is_empty() => {
            say(format!("It is in force: {said}\n"));
        }
        ReloadOutcome::InForce(_) | ReloadOutcome::NotRunning(_) => {}
        ReloadOutcome::Unknown(why) => {
            complain(format!("warning: cannot tell whether a running process has it in force: {why}"));
        }
        ReloadOutcome::Refused(said) => {
            complain(format!(
                "{said}\nerror: {} is written and NOT in force, for the reasons above",
                files.config().display()
            ));
            return Exit::Config;
        }
    }
    let config = files.config().display();
    if files.packaged() {
        say(format!(
            "Next:\n\n    systemctl enable --now scopeshim\n    SCOPESHIM_TOKEN={secret} scopeshim doctor --config {config}"
        ));
        return Exit::Ok;
    }
    say(format!(
        "Next:\n\n    scopeshim run --config {config}\n    SCOPESHIM_TOKEN={secret} scopeshim doctor --config {config}"
    ));
    Exit::Ok
}

fn unreadable(fault: &Fault) -> Exit {
    complain(format!("error: {fault}"));
    match fault {
        Fault::Missing(_) => {
            complain("  = help: name it with --openclaw-config FILE; `openclaw config file` prints its path");
            Exit::NoInput
        }
        Fault::Unreadable(..) => {
            complain("  = help: run this as the user who runs the gateway, or as root");
            Exit::NoInput
        }
        Fault::Syntax(..) | Fault::Include(_) | Fault::Value { .. } => Exit::Config,
    }
}

fn default_out(around: &dyn Environment) -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/etc/scopeshim");
    }
    let config = around.variable("XDG_CONFIG_HOME").filter(|d| d.starts_with('/')).map(PathBuf::from);
    let home = || Path::new(&around.variable("HOME").unwrap_or_default()).join(".config");
    config.unwrap_or_else(home).join("scopeshim")
}

/// Asks what flags did not say; `false` when the person wants out.
fn questions(found: &OpenClaw, args: &mut Args, out: &mut PathBuf) -> bool {
    say(format!("The gateway's configuration: {}", found.path.display()));
    say("An empty answer takes the value in brackets.\n");
    let Some(listen) = ask("Where will clients connect", &args.listen) else { return false };
    let Some(name) = ask("What is the first client's name", &args.token_name) else { return false };
    let Some(scopes) = ask("Which scopes does it get", &args.scopes.join(" ")) else { return false };
    let Some(dir) = ask("Where will the configuration be written", &out.display().to_string()) else { return false };
    args.listen = listen;
    args.token_name = name;
    args.scopes = scopes.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    *out = PathBuf::from(dir);
    ask("Write it (yes or no)", "yes").is_some_and(|answer| answer.to_ascii_lowercase().starts_with('y'))
}

/// One question; `None` at the end of input.
fn ask(question: &str, default: &str) -> Option<String> {
    say(format!("{question}? [{default}]"));
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).ok()? == 0 {
        return None;
    }
    let answer = line.trim();
    Some(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}
