//! `tidings tail`.

use std::io::{self, BufWriter, Write};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_log::{LogError, LogReader, read_range};
use tidings_wire::{Codec, Stored, Topic, format_time};

use crate::output::hex;
use crate::place::PlaceArgs;

/// How many records are taken at once.
const AT_ONCE: usize = 1_024;
/// How often a follower looks whether there is anything.
const POLL: Duration = Duration::from_millis(500);

/// Print what a topic holds, decoded, one JSON object a line
///
/// Each line has the record's topic, partition, offset, timestamp, key,
/// headers and value. A value that cannot be decoded is null, with the reason
/// as `error` and the bytes as `hex`; that of a dead letter is its bytes in hex.
/// Without --follow, partition by partition; with it, as records come.
///
/// Works on the data folder of a `tidings dev` that is running, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings tail message.delivered
  tidings tail message.delivered --follow
  tidings tail message.sent --from 100 --partition 3 --max 10
  tidings tail dead.sequencer --brokers 127.0.0.1:9092
  tidings tail message.delivered | jq 'select(.value.outcome == \"rejected\")'")]
pub(crate) struct TailArgs {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = topic_parser())]
    topic: Topic,
    /// Where to begin: beginning, end or an offset [default: beginning; with --follow: end]
    #[arg(long, value_name = "WHERE")]
    from: Option<From>,
    /// Go on with what comes
    #[arg(long, short)]
    follow: bool,
    /// Only this partition
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    Offset(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            offset => match offset.parse() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                _ => Err("expected `beginning`, `end` or an offset".to_owned()),
            },
        }
    }
}

pub(crate) fn topic_parser() -> impl TypedValueParser<Value = Topic> {
    PossibleValuesParser::new(Topic::ALL.map(Topic::name))
        .try_map(|name| Topic::parse(&name).ok_or_else(|| format!("no topic {name}")))
}

pub(crate) fn run(args: &TailArgs) -> Result<()> {
    // Kept to the end: the codec may ask the registry on it.
    let runtime = crate::runtime()?;
    let (log, codec) = runtime.block_on(args.place.open())?;
    let partitions = match args.partition {
        Some(partition) if partition < log.partitions() => partition..partition + 1,
        Some(partition) => bail!(
            "no partition {partition}: {} has 0 to {}",
            args.topic,
            log.partitions() - 1
        ),
        None => 0..log.partitions(),
    };
    let from = args.from.unwrap_or(if args.follow {
        From::End
    } else {
        From::Beginning
    });
    let mut starts = Vec::new();
    for partition in partitions {
        let (low, high) = log.watermarks(args.topic, partition)?;
        let start = match from {
            From::Beginning => low,
            From::End => high,
            From::Offset(offset) => offset.clamp(low, high),
        };
        starts.push((args.topic, partition, start));
    }
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        codec,
        left: args.max.unwrap_or(u64::MAX),
    };
    let printed = if args.follow {
        follow(&*log, &starts, &mut printer)
    } else {
        print(&*log, &starts, &mut printer)
    };
    match printed {
        Ok(()) | Err(Stop::Enough) => Ok(printer.out.flush()?),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Why no more is printed.
enum Stop {
    /// As many as were asked for.
    Enough,
    Failed(anyhow::Error),
}

impl std::convert::From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error.into())
    }
}

impl std::convert::From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

fn print<W: Write>(
    log: &dyn LogReader,
    starts: &[(Topic, i32, i64)],
    printer: &mut Printer<W>,
) -> Result<(), Stop> {
    for (topic, partition, from) in starts {
        read_range(log, *topic, *partition, *from, i64::MAX, |stored| {
            printer.print(&stored)
        })?;
    }
    Ok(())
}

fn follow<W: Write>(
    log: &dyn LogReader,
    starts: &[(Topic, i32, i64)],
    printer: &mut Printer<W>,
) -> Result<(), Stop> {
    let mut follower = log.follow(starts)?;
    let mut batch = Vec::new();
    loop {
        match follower.poll(AT_ONCE, POLL, &mut batch) {
            // It comes back, and then we go on where we were.
            Ok(()) | Err(LogError::Unavailable(_)) => {}
            Err(error) => return Err(error.into()),
        }
        for stored in batch.drain(..) {
            printer.print(&stored)?;
        }
        printer.out.flush()?;
    }
}

struct Printer<W> {
    out: W,
    codec: Codec,
    left: u64,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, stored: &Stored) -> Result<(), Stop> {
        if self.left == 0 {
            return Err(Stop::Enough);
        }
        self.left -= 1;
        let line = Line::new(&self.codec, stored);
        serde_json::to_writer(&mut self.out, &line).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        // Nobody should wait for a record that is there already.
        if self.left == 0 {
            Err(Stop::Enough)
        } else {
            Ok(())
        }
    }
}

/// A record as an object.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    topic: &'static str,
    partition: i32,
    offset: i64,
    timestamp: String,
    key: Option<String>,
    /// Of headers that repeat, the last.
    headers: Map<String, Value>,
    value: Value,
    /// Why the value could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The value that could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Line {
    pub(crate) fn new(codec: &Codec, stored: &Stored) -> Self {
        let record = &stored.record;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = record.headers.iter();
        let mut line = Self {
            topic: stored.topic.name(),
            partition: stored.partition,
            offset: stored.offset,
            timestamp: format_time(record.timestamp),
            key: record.key.as_deref().map(text),
            headers: headers
                .map(|(name, value)| (name.to_owned(), text(value).into()))
                .collect(),
            value: Value::Null,
            error: None,
            hex: None,
        };
        if !Topic::WITH_SCHEMA.contains(&stored.topic) {
            // Whatever could not be read when it was put here.
            line.value = record.value.as_deref().map(hex).into();
            return line;
        }
        match codec.to_json(record) {
            Ok(value) => line.value = value,
            Err(error) => {
                line.error = Some(error.to_string());
                line.hex = record.value.as_deref().map(hex);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!("beginning".parse(), Ok(From::Beginning));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("12".parse(), Ok(From::Offset(12)));
        for text in ["", "-1", "start", "1.5"] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_shown_as_it_is() {
        use tidings_domain::Timestamp;
        use tidings_wire::{Headers, Record};

        let mut headers = Headers::with_capacity(1);
        headers.push("tenant", "acme");
        let record = Record {
            key: Some("k".into()),
            value: Some(vec![0xde, 0xad].into()),
            headers,
            timestamp: Timestamp(0),
        };
        let stored = |topic| Stored {
            topic,
            partition: 3,
            offset: 7,
            record: record.clone(),
        };
        let codec = Codec::locked();
        let sent = Line::new(&codec, &stored(Topic::MessageSent));
        assert_eq!(sent.value, Value::Null);
        assert_eq!(sent.hex.as_deref(), Some("dead"));
        assert!(sent.error.is_some());
        assert_eq!(sent.headers["tenant"], "acme");
        assert_eq!((sent.partition, sent.offset), (3, 7));
        let dead = Line::new(&codec, &stored(Topic::DeadSequencer));
        assert_eq!(dead.value, "dead");
        assert!(dead.error.is_none() && dead.hex.is_none());
    }
}
