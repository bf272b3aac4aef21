//! `check`: everything that is wrong with a configuration, before it is used.

use super::{ConfigFile, Exit, complain, say};
use crate::config::diagnostic::Severity;
use crate::config::environment::System;
use crate::config::{self, BootstrapConfig, Config, Loaded};
use crate::policy::Policy;
use crate::request_evaluation::policy_test::{self, Failure};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Treat warnings as errors
    #[arg(long)]
    deny_warnings: bool,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: &Args) -> Exit {
    let loaded = match load(&args.file.config).map(dry_run) {
        Ok((loaded, _)) => loaded,
        Err(exit) => return exit,
    };
    let (errors, warnings) = loaded.counts();
    let wrong = errors > 0 || (args.deny_warnings && warnings > 0);
    if args.json {
        say(as_json(&loaded, !wrong).to_string());
        return if wrong { Exit::Config } else { Exit::Ok };
    }
    if !loaded.problems.is_empty() {
        complain(loaded.render().trim_end());
    }
    let name = args.file.config.display();
    if wrong {
        complain(format!("{name}: {}", tally(errors, warnings)));
        return Exit::Config;
    }
    let tail = if warnings > 0 { format!(", {}", tally(0, warnings)) } else { String::new() };
    say(format!("{name}: ok{tail}"));
    Exit::Ok
}

fn tally(errors: usize, warnings: usize) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, w) => count(w, "warning"),
        (e, 0) => count(e, "error"),
        (e, w) => format!("{}, {}", count(e, "error"), count(w, "warning")),
    }
}

fn as_json(loaded: &Loaded, ok: bool) -> Value {
    let problems: Vec<Value> = loaded
        .problems
        .iter()
        .map(|p| {
            let (line, column) = p.span.as_ref().map(|s| loaded.source.position(s.start)).unzip();
            json!({
                "severity": if p.severity == Severity::Error { "error" } else { "warning" },
                "code": p.code, "message": p.message, "help": p.hint,
                "file": loaded.source.name, "line": line, "column": column,
            })
        })
        .collect();
    json!({ "ok": ok, "problems": problems })
}

/// Reads a configuration file, or says why that cannot be done.
pub(super) fn load(path: &Path) -> Result<Loaded, Exit> {
    config::load(path, &System).map_err(|error| {
        complain(format!("error: {} cannot be read: {error}", path.display()));
        complain("  = help: name the file with --config FILE, or copy config.example.toml there");
        Exit::NoInput
    })
}

/// Runs the policy's own tests, if the file is right so far; what fails is noted among the problems.
/// Returns the policy they ran on.
pub(super) fn dry_run(mut loaded: Loaded) -> (Loaded, Option<Policy>) {
    let Some(Config { fixed, live }) = loaded.config.take() else { return (loaded, None) };
    let policy = Policy::dry_run(live);
    loaded.problems.extend(policy_test::failures(&policy, Timestamp::now()).into_iter().map(Failure::problem));
    let (errors, _) = loaded.counts();
    if errors > 0 {
        return (loaded, None);
    }
    // The tests leave the policy as it was: give it back for who wants to go on with it.
    loaded.config = Some(Config { fixed, live: policy.live().clone() });
    (loaded, Some(policy))
}

/// Reads a configuration that must be right, and compiles it for a dry run.
pub(super) fn load_policy(path: &Path) -> Result<(BootstrapConfig, Policy), Exit> {
    let (mut loaded, policy) = dry_run(load(path)?);
    if let (Some(config), Some(policy)) = (loaded.config.take(), policy) {
        return Ok((config.fixed, policy));
    }
    complain(loaded.render().trim_end());
    complain(format!("{}: the configuration is wrong", path.display()));
    Err(Exit::Config)
}
