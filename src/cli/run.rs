//! `run`: serve until told to stop.

use super::{Exit, check, complain};
use crate::app::{App, LastGood, Provenance, StartError, Stopped};
use crate::config::diagnostic::Source;
use crate::config::environment::{System, default_state_dir};
use crate::config::{self, Config, Loaded};
use crate::last_good::{StateDir, state_dir_in};
use crate::logging;
use crate::reload::Reload;
use jiff::Timestamp;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(super) fn run(path: &Path) -> Exit {
    let (config, from) = match load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    // Goes last, with the last lines.
    let _log = logging::start(&config.fixed.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.fixed.threads)
        .thread_name("scopeshim")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&StartError::System(error)),
    };
    let exit = runtime.block_on(async {
        match serve(config, from).await {
            Ok(()) => Exit::Ok,
            Err(error) => failed(&error),
        }
    });
    // Whatever is still open was given its time.
    runtime.shutdown_background();
    exit
}

async fn serve(config: Config, from: Provenance) -> Result<(), StartError> {
    // Before anything else: the default action of SIGHUP would end the process.
    let mut signals = Signals::begin()?;
    let mode = config.live.gateway_auth.mode();
    let gateway = config.fixed.gateway.authority();
    let last_good = from.last_good.clone();
    let app = App::build(config, Some(from)).await?;
    for listener in app.listeners() {
        tracing::info!(address = %listener, gateway, mode, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    if let Some(found) = last_good {
        let withheld = found.withheld.join(", ");
        tracing::error!(withheld, "the configuration file is broken: the last good one is in force until it is fixed");
    }
    let (stop, stopped) = mpsc::channel(4);
    let reload = app.reload();
    tokio::spawn(async move { signals.follow(stop, reload).await });
    match app.serve(stopped).await {
        Stopped::Drained => tracing::info!("stopped; every request was completed"),
        Stopped::Cut(open) => tracing::warn!(cut = open, "stopped; requests were cut"),
    }
    Ok(())
}

/// Reads the configuration; where it is broken, the last one that was good (law 11), without the tokens
/// that were revoked since.
fn load(path: &Path) -> Result<(Config, Provenance), Exit> {
    let (loaded, _) = check::dry_run(check::load(path)?);
    if !loaded.problems.is_empty() {
        complain(loaded.render().trim_end());
    }
    let Loaded { source, config, files, .. } = loaded;
    let from = |text, last_good| Provenance { path: path.to_owned(), text, files, last_good };
    if let Some(config) = config {
        return Ok((config, from(source.text, None)));
    }
    let dirs = [state_dir_in(&source.text), Some(default_state_dir(&System))];
    let kept = dirs.into_iter().flatten().find_map(|dir| {
        let state = StateDir::new(&dir);
        state.recall(path).map(|text| (text, state))
    });
    let last_good = kept.map(|(text, state)| (config::parse(Source::new(source.name.clone(), text), &System), state));
    let Some((Loaded { config: Some(mut config), source: kept, .. }, state)) = last_good else {
        complain(format!("{}: the configuration is wrong; nothing was started", path.display()));
        return Err(Exit::Config);
    };
    let listed = config::listed(&source.text);
    let withheld = state.withheld(path).with_listed(listed.clone()).apply(&mut config.live.tokens, Timestamp::now());
    complain(format!("{}: the configuration is wrong; starting from the last good one instead", path.display()));
    if !withheld.is_empty() {
        let names = withheld.join(", ");
        complain(format!("  not accepted any more, because they were revoked since: {names}"));
    }
    Ok((config, from(kept.text, Some(LastGood { withheld, listed }))))
}

fn failed(error: &StartError) -> Exit {
    complain(format!("error: {error}"));
    match error {
        StartError::Bind(fault) if fault.is_unix() => {
            complain(
                "  = help: another scopeshim of this user runs already. A second one needs a `[server] state_dir` of its own \
                 (its admin socket is there), and another `[[listen]] address`",
            );
            Exit::Unavailable
        }
        StartError::Bind(_) => {
            complain(
                "  = help: stop the other process, or change `[[listen]] address` (or `[admin]`); a second scopeshim of this \
                 user needs a `[server] state_dir` of its own too",
            );
            Exit::Unavailable
        }
        StartError::Resolve(_) => {
            complain("  = help: check `[gateway] url`");
            Exit::Unavailable
        }
        StartError::System(_) => Exit::System,
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn begin() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// A word for each SIGTERM or SIGINT, a reload for each SIGHUP.
    async fn follow(&mut self, stop: mpsc::Sender<()>, reload: Option<Reload>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv() => {
                    if let Some(reload) = reload.clone() {
                        tokio::spawn(async move { reload.now().await });
                    }
                    continue;
                }
            }
            if stop.send(()).await.is_err() {
                return;
            }
        }
    }
}
