//! Every metric there is: its name, its labels, its buckets. Labels are closed sets; nothing a client
//! chose ever becomes one.

mod by_label;
mod scrape;

pub use scrape::Gauges;

use crate::metric_labels::{AdminEndpoint, Decision, Label, RouteLabel, SourceLabel, StreamKind};
use crate::refusal::Code;
use crate::scope::ScopeSet;
use by_label::{PerLabel, Scopes, Table, each};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::time::Duration;
use strum::VariantArray as _;

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Table,
    responses: Vec<IntCounter>,
    refusals: PerLabel<Code, IntCounter>,
    granted: Scopes,
    requested: Scopes,
    duration: Histogram,
    first_byte: Histogram,
    stream_duration: PerLabel<StreamKind, Histogram>,
    streams: PerLabel<StreamKind, IntGauge>,
    spoofed: IntCounter,
    invariant: IntCounter,
    suppressed: IntCounter,
    lines_lost: IntCounter,
    panics: IntCounter,
    admin_connections: PerLabel<AdminEndpoint, IntCounter>,
    most: IntGauge,
    connections: IntGauge,
    in_flight: IntGauge,
    generation: IntGauge,
    reload_ok: IntGauge,
    reload_at: IntGauge,
    reloads: IntCounterVec,
    restart_pending: IntGauge,
    issuer_keys: IntGaugeVec,
    issuer_confirmed: IntGaugeVec,
    next_expiry: IntGauge,
    whois: IntCounterVec,
    tailnet_silent: IntGauge,
    gateway_suspended: IntGauge,
    limit_allowed: IntGaugeVec,
    limit_used: IntGaugeVec,
    limit_refused: IntCounterVec,
}

/// A request at its end, as far as metrics go.
#[derive(Debug, Clone, Copy)]
pub struct RequestEnd<'a> {
    /// The route's name.
    pub route: RouteLabel,
    /// How it was decided.
    pub decision: Decision,
    /// What proved the caller.
    pub source: SourceLabel,
    /// The answer's status; 0 when there was none.
    pub status: u16,
    /// The refusal's code.
    pub refusal: Option<Code>,
    /// From the head's end to the answer's.
    pub duration: Duration,
    /// From the head's end to the answer's begin.
    pub first_byte: Option<Duration>,
    /// Which kind of stream it was, if it was one.
    pub stream: Option<StreamKind>,
    /// Headers that claimed what they may not.
    pub spoofed: usize,
    /// The scopes that were sent.
    pub granted: Option<&'a ScopeSet>,
    /// The scopes that were asked for.
    pub requested: Option<&'a ScopeSet>,
}

impl Metrics {
    /// Registers every metric, every combination of labels at 0.
    ///
    /// # Errors
    /// Never, unless a name here is wrong.
    #[expect(clippy::too_many_lines, reason = "a table, one line a metric")]
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("scopeshim".to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let all = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(all.clone()))?;
            Ok(all)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let one = IntCounter::new(name, help)?;
            registry.register(Box::new(one.clone()))?;
            Ok(one)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let one = IntGauge::new(name, help)?;
            registry.register(Box::new(one.clone()))?;
            Ok(one)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let all = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(all.clone()))?;
            Ok(all)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> Result<Histogram, prometheus::Error> {
            let one = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(one.clone()))?;
            Ok(one)
        };
        // Whole answers: from a model list off the cache to an agent that works for minutes.
        let answers = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        // Streams: from a word to a day.
        let streams = HistogramVec::new(
            HistogramOpts::new("stream_duration_seconds", "How long event streams and sockets were open.")
                .buckets(vec![1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0]),
            &["kind"],
        )?;
        registry.register(Box::new(streams.clone()))?;
        let refusals = counters("refusals_total", "Requests that were refused or failed, by reason.", &["reason"])?;
        let admin_connections = counters(
            "admin_connections_dropped_total",
            "Connections to the admin endpoints that were closed for newer ones, by endpoint.",
            &["endpoint"],
        )?;
        let open = gauges("streams_open", "Event streams and sockets open now.", &["kind"])?;
        let build = gauges("build_info", "The version of this build; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            requests: Table::new(&counters(
                "requests_total",
                "Completed requests, by route, decision and identity source.",
                &["route", "decision", "source"],
            )?),
            responses: each(
                &counters(
                    "responses_total",
                    "Answers, by class of status; none: the client saw no status.",
                    &["class"],
                )?,
                CLASSES,
            ),
            refusals: PerLabel::new(|code: Code| refusals.with_label_values(&[code.as_str()])),
            granted: Scopes::new(&counters("scopes_granted_total", "Scopes sent to the gateway.", &["scope"])?),
            requested: Scopes::new(&counters(
                "scopes_requested_total",
                "Scopes that clients asked for by x-openclaw-scopes.",
                &["scope"],
            )?),
            duration: histogram(
                "request_duration_seconds",
                "Duration of requests that are not streams, from the end of the head to the end of the answer.",
                &answers,
            )?,
            first_byte: histogram("gateway_first_byte_seconds", "Time until the gateway began its answer.", &answers)?,
            stream_duration: PerLabel::new(|kind: StreamKind| streams.with_label_values(&[kind.as_str()])),
            streams: PerLabel::new(|kind: StreamKind| open.with_label_values(&[kind.as_str()])),
            spoofed: counter(
                "forged_headers_total",
                "Request headers that claimed identity, origin or authority and were removed.",
            )?,
            invariant: counter(
                "invariant_violations_total",
                "Requests about to leave without exactly one scopes header, which were stopped. Must stay 0.",
            )?,
            suppressed: counter(
                "access_lines_suppressed_total",
                "Access lines of refused requests and unauthenticated callers that were not written because there were too many.",
            )?,
            lines_lost: counter(
                "log_lines_lost_total",
                "Log lines that were lost because the reader of standard error was too slow.",
            )?,
            panics: counter("panics_total", "Panics while handling a request. Must stay 0.")?,
            admin_connections: PerLabel::new(|endpoint: AdminEndpoint| {
                admin_connections.with_label_values(&[endpoint.as_str()])
            }),
            most: gauge("connections_max", "The most client connections that may be open.")?,
            connections: gauge("connections_open", "Client connections open now.")?,
            in_flight: gauge("requests_in_flight", "Requests being answered now.")?,
            generation: gauge("policy_generation", "The number of the policy in force, counted from the start.")?,
            reload_ok: gauge(
                "config_last_reload_successful",
                "Whether the last reload of the configuration came into force.",
            )?,
            reload_at: gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the policy in force came into force, in seconds since 1970.",
            )?,
            restart_pending: gauge(
                "config_restart_pending",
                "1 while the file in force changes keys that need a restart.",
            )?,
            reloads: counters("config_reloads_total", "Reloads of the configuration, by result.", &["result"])?,
            issuer_keys: gauges("issuer_keys", "Usable keys of each issuer.", &["issuer"])?,
            issuer_confirmed: gauges(
                "issuer_keys_confirmed_timestamp_seconds",
                "When each issuer whose keys are fetched last confirmed them, in seconds since 1970; 0: never.",
                &["issuer"],
            )?,
            next_expiry: gauge(
                "token_next_expiry_timestamp_seconds",
                "When the next named token expires, in seconds since 1970; 0: none does.",
            )?,
            whois: counters("tailnet_whois_total", "Lookups of callers at tailscaled, by result.", &["result"])?,
            tailnet_silent: gauge(
                "tailnet_unavailable",
                "1 while tailscaled does not answer although a listener needs it.",
            )?,
            gateway_suspended: gauge(
                "gateway_suspended",
                "1 while the gateway is suspended or about to restart and refuses all work (503 gateway_unavailable).",
            )?,
            limit_allowed: gauges(
                "principal_limit",
                "What the limit of a named token allows; of requests_per_minute: at once.",
                LIMIT_LABELS,
            )?,
            limit_used: gauges(
                "principal_limit_used",
                "Usage of the limit; without a token: of all other principals of the source together.",
                LIMIT_LABELS,
            )?,
            limit_refused: counters(
                "principal_limit_refusals_total",
                "Requests that a principal's limit refused.",
                LIMIT_LABELS,
            )?,
            registry: registry.clone(),
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    fn begin_at_zero(&self) {
        for result in ["success", "failure"] {
            self.reloads.with_label_values(&[result]);
        }
        for result in ["found", "unknown", "error"] {
            self.whois.with_label_values(&[result]);
        }
    }

    /// A request came to its end.
    pub fn ended(&self, e: RequestEnd<'_>) {
        self.requests.of(e.route, e.decision, e.source).into_iter().for_each(IntCounter::inc);
        let class = match e.status {
            status @ 100..=599 => usize::from(status / 100 - 1),
            _ => CLASSES.len() - 1,
        };
        self.responses.get(class).into_iter().for_each(IntCounter::inc);
        if let Some(code) = e.refusal {
            self.refusals.of(code).for_each(IntCounter::inc);
        }
        match e.stream {
            Some(kind) => self.stream_duration.of(kind).for_each(|of| of.observe(e.duration.as_secs_f64())),
            None => self.duration.observe(e.duration.as_secs_f64()),
        }
        if let Some(first_byte) = e.first_byte {
            self.first_byte.observe(first_byte.as_secs_f64());
        }
        self.spoofed.inc_by(e.spoofed as u64);
        self.granted.count(e.granted);
        self.requested.count(e.requested);
    }

    /// A client was refused before it had asked for anything.
    pub fn refused(&self, code: Code) {
        self.refusals.of(code).for_each(IntCounter::inc);
    }

    /// A stream is open for as long as the value lives.
    #[must_use]
    pub fn stream(&self, kind: StreamKind) -> OpenStream {
        let gauge = self.streams.of(kind).next().cloned();
        gauge.iter().for_each(IntGauge::inc);
        OpenStream(gauge)
    }

    /// A request was stopped that would have left without exactly one scopes header.
    pub fn invariant_violated(&self) {
        self.invariant.inc();
    }

    /// An access line was not written.
    pub fn line_suppressed(&self) {
        self.suppressed.inc();
    }

    /// tailscaled was asked who is calling: `found`, `unknown` or `error`.
    pub fn whois(&self, result: &str) {
        self.whois.with_label_values(&[result]).inc();
    }

    /// A connection to an admin endpoint had to make room for a newer one.
    pub fn admin_refused(&self, endpoint: AdminEndpoint) {
        self.admin_connections.of(endpoint).for_each(IntCounter::inc);
    }

    /// A fault of this program ended a request.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Requests so far: all, and those refused.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let sum = |wanted: &[Decision]| {
            Table::all()
                .filter(|(_, d, _)| wanted.contains(d))
                .filter_map(|(r, d, s)| self.requests.of(r, d, s))
                .map(IntCounter::get)
                .sum()
        };
        (sum(Decision::VARIANTS), sum(&[Decision::Deny]))
    }

    /// Streams of this kind that are open now.
    #[must_use]
    pub fn streams_open(&self, kind: StreamKind) -> i64 {
        self.streams.of(kind).map(IntGauge::get).sum()
    }
}

/// Whose limit: the source, a configured token's name or nothing, the key that sets it.
const LIMIT_LABELS: &[&str] = &["source", "token", "limit"];

/// The classes of status.
const CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Lowers a gauge when it goes.
#[derive(Debug)]
pub struct OpenStream(Option<IntGauge>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_begins_at_zero_and_nothing_else_can_appear() {
        let metrics = Metrics::new().unwrap();
        let text = String::from_utf8(metrics.render(&Gauges::default())).unwrap();
        let series = |t: &str| t.lines().filter(|l| !l.starts_with('#')).count();
        assert!(
            text.contains(r#"scopeshim_requests_total{decision="deny",route="models",source="token"} 0"#),
            "{text}"
        );
        let before = series(&text);
        metrics.ended(RequestEnd {
            route: RouteLabel::Models,
            decision: Decision::Deny,
            source: SourceLabel::Token,
            status: 403,
            refusal: Some(Code::MissingScope),
            duration: Duration::from_millis(3),
            first_byte: None,
            stream: None,
            spoofed: 2,
            granted: None,
            requested: Some(&ScopeSet::parse_lines([&b"a,b,operator.read"[..]]).unwrap()),
        });
        let text = String::from_utf8(metrics.render(&Gauges::default())).unwrap();
        assert_eq!(series(&text), before);
        assert!(text.contains("scopeshim_scopes_requested_total{scope=\"other\"} 2"));
    }

    #[test]
    fn every_route_and_every_refusal_has_its_series() {
        let metrics = Metrics::new().unwrap();
        let text = String::from_utf8(metrics.render(&Gauges::default())).unwrap();
        for code in Code::VARIANTS {
            assert!(text.contains(&format!("scopeshim_refusals_total{{reason=\"{code}\"}} 0")), "{code}");
        }
        for (route, decision, source) in Table::all() {
            let (route, decision, source) = (route.as_str(), decision.as_str(), source.as_str());
            let series = format!("{{decision=\"{decision}\",route=\"{route}\",source=\"{source}\"}} 0");
            assert!(text.contains(&series), "{series}");
        }
        assert!(text.contains("route=\"web_page\""));
    }

    #[test]
    fn each_combination_counts_in_its_own_series() {
        let metrics = Metrics::new().unwrap();
        for (n, (route, decision, source)) in Table::all().enumerate() {
            metrics.requests.of(route, decision, source).unwrap().inc_by(n as u64 + 1);
        }
        let text = String::from_utf8(metrics.render(&Gauges::default())).unwrap();
        for (n, (route, decision, source)) in Table::all().enumerate() {
            let labels = [("decision", decision.as_str()), ("route", route.as_str()), ("source", source.as_str())];
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            assert!(text.contains(&format!("scopeshim_requests_total{{{}}} {}\n", labels.join(","), n + 1)));
        }
    }
}
