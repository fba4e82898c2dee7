//! Traces for OpenTelemetry: the way of a sampled command from its frame
//! through the log to each view, as spans sent over OTLP (HTTP, protobuf).
//!
//! Off unless there is an endpoint, and then nothing is done for a command but
//! to see that it is off. Spans are made by hand, not from those of `tracing`:
//! they begin in one thread and end in another, and log filters do not concern
//! them. One exporter a process, as with logs and metrics.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan};
use parking_lot::Mutex;

use crate::config::ServerUrl;

/// How long one export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Where a collector takes traces, below its base.
const TRACES_PATH: &str = "/v1/traces";

static ACTIVE: OnceLock<Active> = OnceLock::new();

/// What is traced, and where it is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceArgs {
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP), such as
    /// http://127.0.0.1:4318; without it nothing is traced
    #[arg(
        long,
        env = "TIDINGS_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<ServerUrl>,
    /// Which part of all commands the edge traces, from 0 to 1
    #[arg(
        long,
        env = "TIDINGS_TRACE_RATIO",
        value_name = "RATIO",
        default_value_t = 1.0,
        value_parser = parse_ratio
    )]
    pub trace_ratio: f64,
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} is not a number from 0 to 1")),
    }
}

struct Active {
    tracer: SdkTracer,
    /// Commands whose key is below it are traced.
    threshold: u64,
}

fn threshold(ratio: f64) -> u64 {
    // Past the largest number it gives the largest.
    (ratio * u64::MAX as f64) as u64
}

/// Sends spans until it is dropped; then the last ones, within three seconds.
#[must_use = "spans are sent as long as it lives"]
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

impl Drop for Exporter {
    fn drop(&mut self) {
        let Some(provider) = &self.0 else { return };
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Starts to trace, if there is an endpoint. The service is called as the
/// binary is. Once a process; keep what it gives until the end.
///
/// # Errors
/// An endpoint that is no URL, or traces that are sent already.
pub fn start(args: &TraceArgs) -> Result<Exporter> {
    let Some(endpoint) = &args.otlp_endpoint else {
        return Ok(Exporter(None));
    };
    let url = endpoint.expose().trim_end_matches('/');
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    ensure!(
        is_http,
        "TIDINGS_OTLP_ENDPOINT: {endpoint} does not begin with http:// or https://"
    );
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{url}{TRACES_PATH}"))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .context("TIDINGS_OTLP_ENDPOINT")?;
    let binary = std::env::current_exe().context("cannot find the binary's name")?;
    let name = binary.file_stem().unwrap_or_default().to_string_lossy();
    let resource = Resource::builder()
        .with_service_name(name.into_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        // What is not to be traced never gets to it.
        .with_sampler(Sampler::AlwaysOn)
        .build();
    let active = Active {
        tracer: provider.tracer("tidings"),
        threshold: threshold(args.trace_ratio),
    };
    ensure!(
        ACTIVE.set(active).is_ok(),
        "traces are sent somewhere already"
    );
    tracing::info!(endpoint = %endpoint, ratio = args.trace_ratio, "tracing");
    Ok(Exporter(Some(provider)))
}

/// A span's place in its trace, as a `traceparent` has it: the id of the trace
/// and its own.
pub type SpanIds = (u128, u64);

/// What a span is of.
#[derive(Clone, Debug)]
pub struct Work {
    /// The part of the system at work: `edge`, `sequencer`, or a view's name.
    pub part: &'static str,
    /// What it does with the topic's record.
    pub operation: Operation,
    /// The topic's name.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// When it began.
    pub since: Instant,
}

/// What a part does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes it.
    Send,
    /// Reads it and acts on it.
    Process,
}

/// Begins a trace, if the command of this key is one of those that are traced:
/// a command sent again is, or is not, like the first time.
#[must_use]
pub fn begin(key: u128, work: &Work) -> Option<Span> {
    let active = ACTIVE.get()?;
    active
        .takes(key)
        .then(|| active.span(work, &Context::new()))
}

/// Goes on with a trace, if this process sends spans and there is one; `parent`
/// is asked only then.
#[must_use]
pub fn follow(parent: impl FnOnce() -> Option<SpanIds>, work: &Work) -> Option<Span> {
    let active = ACTIVE.get()?;
    let (trace, span) = parent()?;
    let parent = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(span),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let parent = Context::new().with_remote_span_context(parent);
    Some(active.span(work, &parent))
}

impl Active {
    fn takes(&self, key: u128) -> bool {
        // The low half of a version 5 UUID but for its two constant bits.
        let even = (key as u64) << 2;
        even < self.threshold || self.threshold == u64::MAX
    }

    fn span(&self, work: &Work, parent: &Context) -> Span {
        let (operation, kind) = match work.operation {
            Operation::Send => ("send", SpanKind::Producer),
            Operation::Process => ("process", SpanKind::Consumer),
        };
        let since = SystemTime::now()
            .checked_sub(work.since.elapsed())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        // The names of OpenTelemetry's semantic conventions for messaging.
        let attributes = vec![
            KeyValue::new("tidings.part", work.part),
            KeyValue::new("messaging.system", "tidings"),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.destination.name", work.topic),
            KeyValue::new(
                "messaging.destination.partition.id",
                work.partition.to_string(),
            ),
        ];
        let builder = SpanBuilder::from_name(format!("{operation} {}", work.topic))
            .with_kind(kind)
            .with_start_time(since)
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, parent);
        Span(Box::new(Mutex::new(span)))
    }
}

/// Work at hand; it ends when this is dropped.
#[derive(Debug)]
pub struct Span(Box<Mutex<SdkSpan>>);

impl Span {
    /// Its place in its trace, for those who go on with it.
    #[must_use]
    pub fn ids(&self) -> SpanIds {
        let span = self.0.lock();
        let context = span.span_context();
        (
            u128::from_be_bytes(context.trace_id().to_bytes()),
            u64::from_be_bytes(context.span_id().to_bytes()),
        )
    }

    /// Notes the offset of the record.
    pub fn offset(&self, offset: i64) {
        self.note("messaging.kafka.offset", offset);
    }

    /// Notes something about the work; never a text that somebody wrote.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        self.0.lock().set_attribute(KeyValue::new(name, value));
    }

    /// Notes that something happened now.
    pub fn event(&self, name: &'static str) {
        self.0.lock().add_event(name, Vec::new());
    }

    /// Notes that it failed, and how.
    pub fn failed(&self, how: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.lock().set_status(Status::error(how));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(ratio: &str) -> Active {
        Active {
            tracer: SdkTracerProvider::builder().build().tracer("test"),
            threshold: threshold(parse_ratio(ratio).unwrap()),
        }
    }

    #[test]
    fn a_ratio_of_all_keys_is_taken_and_always_the_same() {
        for (ratio, expected) in [
            ("0", 0..=0),
            ("0.25", 2_300..=2_700),
            ("1", 10_000..=10_000),
        ] {
            let taken = || {
                let active = active(ratio);
                (0..10_000_u128)
                    // Spread as hashes are, with the two constant bits of UUIDs.
                    .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) as u64 >> 2 | 1 << 63)
                    .filter(|key| active.takes(u128::from(*key)))
                    .collect::<Vec<_>>()
            };
            assert!(
                expected.contains(&taken().len()),
                "{ratio}: {}",
                taken().len()
            );
            assert_eq!(taken(), taken());
        }
    }

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        for bad in ["-0.1", "1.1", "NaN", "half"] {
            assert!(parse_ratio(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_an_endpoint_nothing_is_traced() {
        let args = TraceArgs {
            otlp_endpoint: None,
            trace_ratio: 1.0,
        };
        let exporter = start(&args).unwrap();
        assert!(exporter.0.is_none());
        let work = Work {
            part: "edge",
            operation: Operation::Send,
            topic: "message.sent",
            partition: 0,
            since: Instant::now(),
        };
        assert!(begin(0, &work).is_none());
        assert!(follow(|| unreachable!("tracing is off"), &work).is_none());
    }

    #[test]
    fn an_endpoint_is_an_http_url() {
        let args = TraceArgs {
            otlp_endpoint: Some("collector:4317".parse().unwrap()),
            trace_ratio: 1.0,
        };
        let error = start(&args).unwrap_err().to_string();
        assert!(error.contains("TIDINGS_OTLP_ENDPOINT"), "{error}");
    }
}
