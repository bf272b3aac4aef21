//! `run`: serve until told to stop.

use super::{Exit, check, complain};
use crate::app::{App, StartError, Stopped};
use crate::telemetry;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(super) fn run(path: &Path) -> Exit {
    let config = match check::load_valid(path) {
        Ok(config) => config,
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
        // Before anything else: the default action of SIGHUP would end the process.
        let stop = match stop_signals() {
            Ok(stop) => stop,
            Err(error) => return failed(&StartError::System(error)),
        };
        let mode = config.live.gateway_auth.mode();
        let gateway = config.fixed.gateway.authority();
        match App::build(config).await {
            Ok(app) => {
                for listener in app.listeners() {
                    tracing::info!(address = %listener, gateway, mode, version = env!("CARGO_PKG_VERSION"), "listening");
                }
                match app.serve(stop).await {
                    Stopped::Drained => tracing::info!("stopped; every request came to its end"),
                    Stopped::Cut(open) => tracing::warn!(cut = open, "stopped; requests were cut"),
                }
                Exit::Ok
            }
            Err(error) => failed(&error),
        }
    });
    // Whatever is still open was given its time.
    runtime.shutdown_background();
    exit
}

fn failed(error: &StartError) -> Exit {
    complain(format!("error: {error}"));
    match error {
        StartError::Bind(_) => {
            complain("  = help: stop the other process, or change `[[listen]] address`");
            Exit::Unavailable
        }
        StartError::Resolve(_) => {
            complain("  = help: is `[gateway] url` right?");
            Exit::Unavailable
        }
        StartError::System(_) => Exit::System,
    }
}

/// A word for each SIGTERM or SIGINT.
fn stop_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (send, receive) = mpsc::channel(4);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => continue,
            }
            if send.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receive)
}
