//! Configuration: [`file::File`] as written, [`Config`] as validated.
//!
//! A [`Config`] holds nothing that could still turn out to be wrong. Its fixed part needs a
//! restart to change; its live part is compiled into a policy whenever the file changes.

mod app_users;
mod bootstrap;
pub mod diagnostic;
mod dynamic;
pub mod environment;
pub mod file;
mod grant;
mod issuer;
mod limits;
mod parse;
mod renamed_keys;
mod token_list;
mod validate;

pub use crate::principal_limits::{PrincipalLimits, Rate};
pub use app_users::{AppUsers, MissingUser};
pub use bootstrap::{Admin, BootstrapConfig, GatewayAddress, Listen, ListenAddress, ListenerIdentity, Log, LogFormat};
pub use dynamic::{
    Anonymous, DynamicConfig, Excess, GatewayAuth, HeaderRule, HeaderRules, OwnDevice, Token, TrustedProxy,
    WebSocketRules,
};
pub use grant::{Asks, Conditions, GrantRule, PolicyTest, SimulatedCaller, Subject, TailnetCapability, TailnetSubject};
pub use issuer::{ClaimPath, Issuer, KeySource, NameClaim};
pub use limits::{BodySizes, Limits, Pace, UnauthenticatedLimits};
pub use token_list::{TokenList, listed};

use crate::atomic_file::FileFingerprint;
use diagnostic::{Problem, Problems, Severity, Source};
use environment::{Environment, RecordingEnvironment};
use std::path::Path;

/// A validated configuration.
#[derive(Debug)]
pub struct Config {
    /// What needs a restart to change.
    pub fixed: BootstrapConfig,
    /// What a reload changes.
    pub live: DynamicConfig,
}

/// A configuration file that was read: its text, what is wrong with it, and what it says if
/// nothing serious is.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub source: Source,
    /// Everything wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
    /// What it says; `None` if there is an error among the problems.
    pub config: Option<Config>,
    /// The files it was read from, as they looked before.
    pub files: Vec<FileFingerprint>,
}

impl Loaded {
    /// Every problem, rendered for a person.
    #[must_use]
    pub fn render(&self) -> String {
        self.problems.iter().map(|p| self.source.render(p) + "\n").collect()
    }

    /// How many errors and how many warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        (errors, self.problems.len() - errors)
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
/// When the file itself cannot be read.
pub fn load(path: &Path, environment: &dyn Environment) -> std::io::Result<Loaded> {
    let before = FileFingerprint::of(path);
    let text = std::fs::read_to_string(path)?;
    let mut loaded = parse(Source::new(path.display().to_string(), text), environment);
    loaded.files.push(before);
    Ok(loaded)
}

/// Validates a configuration text.
#[must_use]
pub fn parse(source: Source, environment: &dyn Environment) -> Loaded {
    let mut problems = Problems::default();
    let environment = RecordingEnvironment::new(environment);
    let config = parse::read(&source.text, &mut problems)
        .and_then(|file| validate::validate(&file, &source, &environment, &mut problems));
    let config = if problems.any_error() { None } else { config };
    Loaded { source, problems: problems.into_sorted(), config, files: environment.into_files() }
}

/// Whether a text can be the name of a token: 1 to 64 letters, digits and `. _ - @`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@'))
}
