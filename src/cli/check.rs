//! `check`: everything that is wrong with a configuration, before it is used.

use super::{ConfigFile, Exit, complain, say};
use crate::config::surroundings::System;
use crate::config::{self, Config, Loaded};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Fail on warnings too
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn check(args: &Args) -> Exit {
    let loaded = match load(&args.file.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let (errors, warnings) = loaded.counts();
    if !loaded.problems.is_empty() {
        complain(loaded.render().trim_end());
    }
    if errors > 0 || (args.deny_warnings && warnings > 0) {
        complain(format!("{}: {}", args.file.config.display(), tally(errors, warnings)));
        return Exit::Config;
    }
    say(format!(
        "{}: ok{}",
        args.file.config.display(),
        if warnings > 0 { format!(", {}", tally(0, warnings)) } else { String::new() }
    ));
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

/// Reads a configuration file, or says why that cannot be done.
pub(super) fn load(path: &Path) -> Result<Loaded, Exit> {
    config::load(path, &System).map_err(|error| {
        complain(format!("error: {} cannot be read: {error}", path.display()));
        complain("  = help: name the file with --config FILE, or copy config.example.toml there");
        Exit::NoInput
    })
}

/// Reads a configuration file that must be right; what is wrong is said.
pub(super) fn load_valid(path: &Path) -> Result<Config, Exit> {
    let loaded = load(path)?;
    let text = loaded.render();
    if !text.is_empty() {
        complain(text.trim_end());
    }
    loaded.config.ok_or_else(|| {
        complain(format!("{}: the configuration is wrong; nothing was started", path.display()));
        Exit::Config
    })
}
