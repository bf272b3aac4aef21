//! `generate`: what is made from the definition of the command line and of the configuration.

use super::{Cli, Exit, complain};
use crate::config::file::File;
use clap::CommandFactory as _;
use clap_complete::Shell;
use schemars::generate::SchemaSettings;
use std::io::Write as _;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The manual page, section 1
    Man,
    /// The manual page of the configuration file, section 5
    Man5,
    /// Completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The JSON schema of the configuration file (draft 7)
    Schema,
}

pub(super) fn generate(verb: &Verb) -> Exit {
    let mut out = Vec::new();
    let made = match verb {
        Verb::Man => super::man1::page(&mut out),
        Verb::Man5 => {
            out = super::man5::page(&schema()).into_bytes();
            Ok(())
        }
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "scopeshim", &mut out);
            Ok(())
        }
        Verb::Schema => serde_json::to_writer_pretty(&mut out, &schema()).map_err(Into::into),
    };
    if made.and_then(|()| std::io::stdout().write_all(&out)).is_err() {
        complain("error: it cannot be written");
        return Exit::Failed;
    }
    if matches!(verb, Verb::Schema) {
        let _ = std::io::stdout().write_all(b"\n");
    }
    Exit::Ok
}

/// The schema of the configuration file. Draft 7, because that is what editors' TOML plugins read.
fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<File>().to_value();
    if let Some(map) = schema.as_object_mut() {
        map.insert("title".to_owned(), "scopeshim configuration".into());
    }
    schema
}
