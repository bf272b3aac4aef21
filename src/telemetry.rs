//! Log lines: to standard error, text for people, JSON for machines.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Begins logging. A second call changes nothing.
pub fn start(log: &Log) {
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    // The framework reports every client that hangs up; our access line says it better.
    let framework = if log.level >= LevelFilter::DEBUG { log.level } else { LevelFilter::OFF };
    let filter = Targets::new()
        .with_default(log.level)
        .with_target("pingora_core", framework)
        .with_target("pingora_proxy", framework)
        .with_target("pingora_pool", framework);
    let layer = if text {
        fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed()
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
