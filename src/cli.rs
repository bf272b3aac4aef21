//! The command line: verbs, exit codes, and the only place that prints to standard output.

mod admin_client;
mod await_reload;
mod check;
mod client;
mod demo;
mod doctor;
mod explain;
mod generate;
mod init;
mod man1;
mod man5;
mod policy;
mod reload;
mod run;
mod status;
mod token;

use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// An authorizing proxy in front of an OpenClaw gateway: least privilege for every client
#[derive(Debug, Parser)]
#[command(name = "scopeshim", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 failure, or problems found; 2 no problem found, but `doctor` could not \
test everything; 64 the command line is wrong; \
66 the configuration file cannot be read; 69 an address cannot be listened on, or the running process cannot be reached; \
78 the configuration is wrong, or the running process refused it.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the gateway's configuration and write a working one for scopeshim
    Init(init::Args),
    /// Run the proxy
    Run(ConfigFile),
    /// Make the running process reload its configuration, and wait for the result
    Reload(admin_client::RunningProcess),
    /// Show the state of the running process
    Status(status::Args),
    /// Show the state of the running process, refreshed every 2 seconds
    Top(status::TopArgs),
    /// Test the live chain with real requests, and say what to change on which side
    Doctor(doctor::Args),
    /// Validate a configuration file and report every problem
    Check(check::Args),
    /// Show who a caller would be, what it may do, and why
    Explain(Box<explain::Args>),
    /// Compare policies, and run a policy's own tests
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Manage named bearer tokens
    #[command(subcommand)]
    Token(token::Verb),
    /// Make a token for a client, with the least scopes it needs, and print its settings filled in
    Client(client::Args),
    /// Generate manual pages, completions, and the schema of the configuration file
    #[command(subcommand, hide = true)]
    Generate(generate::Verb),
    /// Show everything on this machine, with a built-in fake gateway
    Demo(demo::Args),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, short, env = "SCOPESHIM_CONFIG", default_value = "/etc/scopeshim/config.toml", value_name = "FILE")]
    config: PathBuf,
}

/// How the process ends (sysexits(3); systemd prints the names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed, or something was found.
    Failed = 1,
    /// Nothing was found, and not everything could be tested.
    Incomplete = 2,
    /// `EX_USAGE`: the command line is wrong.
    Usage = 64,
    /// `EX_NOINPUT`: a file cannot be read.
    NoInput = 66,
    /// `EX_UNAVAILABLE`: an address cannot be listened on, the gateway's name leads nowhere, or the running
    /// process cannot be asked.
    Unavailable = 69,
    /// `EX_OSERR`: the operating system refuses something basic.
    System = 71,
    /// `EX_CONFIG`: the configuration is wrong, or the running process refused it.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    match cli.verb {
        Verb::Init(args) => init::init(args),
        Verb::Run(at) => run::run(&at.config),
        Verb::Reload(at) => reload::reload(&at),
        Verb::Status(args) => status::status(&args),
        Verb::Top(args) => status::top(&args),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Explain(args) => explain::explain(&args),
        Verb::Policy(verb) => policy::policy(&verb),
        Verb::Generate(verb) => generate::generate(&verb),
        Verb::Token(verb) => token::token(verb),
        Verb::Client(args) => client::client(&args),
        Verb::Demo(args) => demo::demo(&args),
    }
}

/// Prints to standard output; a reader that went away is no error.
fn say(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_ref().as_bytes());
    let _ = out.write_all(b"\n");
    let _ = out.flush();
}

/// Prints to standard error.
fn complain(text: impl AsRef<str>) {
    // Behind what was logged before it.
    crate::logging::flush();
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_ref().as_bytes());
    let _ = err.write_all(b"\n");
}
