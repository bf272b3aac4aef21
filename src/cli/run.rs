//! `run`: serve until told to stop.

use super::{Exit, check, complain};
use crate::app::{App, Provenance, StartError, Stopped};
use crate::config::diagnostic::Source;
use crate::config::surroundings::{System, default_state_dir};
use crate::config::{self, Config, Loaded};
use crate::reload::Reload;
use crate::state::{StateDir, state_dir_in};
use crate::telemetry;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(super) fn run(path: &Path) -> Exit {
    let (config, from) = match load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    telemetry::start(&config.fixed.log);
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
    let from_last_good = from.from_last_good;
    let app = App::build(config, Some(from)).await?;
    for listener in app.listeners() {
        tracing::info!(address = %listener, gateway, mode, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    if from_last_good {
        tracing::error!("the configuration file is broken: serving by the last good one until it is mended");
    }
    let (stop, stopped) = mpsc::channel(4);
    let reload = app.reload();
    tokio::spawn(async move { signals.follow(stop, reload).await });
    match app.serve(stopped).await {
        Stopped::Drained => tracing::info!("stopped; every request came to its end"),
        Stopped::Cut(open) => tracing::warn!(cut = open, "stopped; requests were cut"),
    }
    Ok(())
}

/// Reads the configuration; where it is broken, the last one that was good (law 11).
fn load(path: &Path) -> Result<(Config, Provenance), Exit> {
    let (loaded, _) = check::rehearse(check::load(path)?);
    if !loaded.problems.is_empty() {
        complain(loaded.render().trim_end());
    }
    let Loaded { source, config, files, .. } = loaded;
    if let Some(config) = config {
        return Ok((config, Provenance { path: path.to_owned(), text: source.text, files, from_last_good: false }));
    }
    let dirs = [state_dir_in(&source.text), Some(default_state_dir(&System))];
    let kept = dirs.into_iter().flatten().find_map(|dir| StateDir::new(&dir).recall(path));
    let last_good = kept.map(|text| config::parse(Source::new(source.name.clone(), text), &System));
    let Some(Loaded { config: Some(config), source, .. }) = last_good else {
        complain(format!("{}: the configuration is wrong; nothing was started", path.display()));
        return Err(Exit::Config);
    };
    complain(format!("{}: the configuration is wrong; starting from the last good one instead", path.display()));
    Ok((config, Provenance { path: path.to_owned(), text: source.text, files, from_last_good: true }))
}

fn failed(error: &StartError) -> Exit {
    complain(format!("error: {error}"));
    match error {
        StartError::Bind(_) => {
            complain("  = help: stop the other process, or change `[[listen]] address` (or `[admin]`)");
            Exit::Unavailable
        }
        StartError::Resolve(_) => {
            complain("  = help: is `[gateway] url` right?");
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
