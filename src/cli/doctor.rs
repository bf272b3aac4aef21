//! `doctor`: the live chain, proven stage by stage.

use super::{ConfigFile, Exit, complain, say};
use crate::doctor::{Checked, DoctorOptions, Report, Verdict, examine};
use crate::gateway_probe::Severity;
use crate::secret::Secret;

/// Where a client's token is taken from: never the command line, which every user of the machine can see.
const TOKEN: &str = "SCOPESHIM_TOKEN";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The environment variable SCOPESHIM_TOKEN holds the client's token to test with. Without it, doctor uses the \
gateway's secret where `[gateway_secret]` accepts it, or the anonymous caller."
)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Also stream a chat and time its events; this costs a model call
    #[arg(long)]
    chat: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn doctor(args: &Args) -> Exit {
    let token = match std::env::var(TOKEN).ok().filter(|t| !t.is_empty()).map(|t| Secret::parse(&t)).transpose() {
        Ok(token) => token,
        Err(fault) => {
            complain(format!("error: {TOKEN}: {fault}"));
            return Exit::Usage;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format!("error: cannot start: {error}"));
            return Exit::System;
        }
    };
    let report = runtime.block_on(examine(DoctorOptions { config: &args.file.config, token, chat: args.chat }));
    runtime.shutdown_background();
    if args.json {
        say(serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        report.checks.iter().for_each(print);
        say(summary(&report));
    }
    if report.healthy { Exit::Ok } else { Exit::Failed }
}

fn print(checked: &Checked) {
    let wrong = checked.findings.iter().any(|f| f.severity == Severity::Error);
    let mark = match checked.verdict {
        Verdict::Good => "ok",
        Verdict::Skipped => "-",
        Verdict::Found if wrong => "FAIL",
        Verdict::Found => "warn",
    };
    say(format!("{mark:5} {:11} {}", checked.stage, checked.said).trim_end());
    for finding in &checked.findings {
        say(format!("                  {}", finding.what));
        say(format!("                  why: {}", finding.why));
        say(format!("                  change ({}): {}", finding.side.as_str(), finding.change));
    }
}

fn summary(report: &Report) -> String {
    let count = |severity| report.checks.iter().flat_map(|c| &c.findings).filter(|f| f.severity == severity).count();
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "healthy".to_owned(),
        (0, warnings) => format!("healthy; {warnings} to consider"),
        (1, _) => "1 problem".to_owned(),
        (errors, _) => format!("{errors} problems. Fix the first one first: later ones may follow from it"),
    }
}
