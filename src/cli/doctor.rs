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
    exit(&report)
}

fn print(checked: &Checked) {
    let wrong = checked.findings.iter().any(|f| f.severity == Severity::Error);
    let mark = match checked.verdict {
        Verdict::Good => "ok",
        Verdict::Skipped => "skip",
        Verdict::NotTested => "-",
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

fn exit(report: &Report) -> Exit {
    if report.healthy {
        Exit::Ok
    } else if count(report, Severity::Error) == 0 {
        Exit::Incomplete
    } else {
        Exit::Failed
    }
}

fn count(report: &Report, severity: Severity) -> usize {
    report.checks.iter().flat_map(|c| &c.findings).filter(|f| f.severity == severity).count()
}

/// The stages that went so.
fn stages(report: &Report, verdict: Verdict) -> String {
    let stages: Vec<&str> = report.checks.iter().filter(|c| c.verdict == verdict).map(|c| c.stage).collect();
    stages.join(", ")
}

fn summary(report: &Report) -> String {
    let skipped = stages(report, Verdict::Skipped);
    let mut said = match (count(report, Severity::Error), skipped.is_empty()) {
        (0, true) => "healthy".to_owned(),
        (0, false) => format!("not proven: nothing wrong was found, but these stages were skipped: {skipped}"),
        (1, _) => "1 problem".to_owned(),
        (errors, _) => format!("{errors} problems. Fix the first one first: later ones may follow from it"),
    };
    if count(report, Severity::Error) > 0 && !skipped.is_empty() {
        said = format!("{said}. Skipped: {skipped}");
    }
    let untested = stages(report, Verdict::NotTested);
    if report.healthy && !untested.is_empty() {
        said = format!("{said}. Not tested: {untested}");
    }
    match count(report, Severity::Warning) {
        0 => said,
        warnings => format!("{said}; {warnings} to consider"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_probe::{Advice, Side};

    fn checked(stage: &'static str, verdict: Verdict, severity: Option<Severity>) -> Checked {
        let advice = |severity| Advice::new("code", severity, Side::Proxy, "what", "why", "change");
        Checked { stage, verdict, said: String::new(), findings: severity.map(advice).into_iter().collect() }
    }

    #[test]
    fn a_stage_that_was_skipped_is_not_healthy() {
        let good = || checked("config", Verdict::Good, None);
        let skipped = || checked("websocket", Verdict::Skipped, None);
        let report = |healthy, checks| Report { healthy, checks };
        let all = report(true, vec![good(), checked("stream", Verdict::NotTested, None)]);
        assert_eq!((summary(&all).as_str(), exit(&all)), ("healthy. Not tested: stream", Exit::Ok));
        let some = report(false, vec![good(), skipped()]);
        assert!(!summary(&some).contains("healthy") && summary(&some).ends_with("skipped: websocket"));
        assert_eq!(exit(&some), Exit::Incomplete);
        let wrong = report(false, vec![checked("request", Verdict::Found, Some(Severity::Error)), skipped()]);
        assert_eq!((summary(&wrong).as_str(), exit(&wrong)), ("1 problem. Skipped: websocket", Exit::Failed));
        let warned = report(true, vec![checked("narrowing", Verdict::Found, Some(Severity::Warning))]);
        assert_eq!(summary(&warned), "healthy; 1 to consider");
    }
}
