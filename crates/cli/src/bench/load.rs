//! A load: messages that are due at given times, whatever the server does, or
//! as many as a window allows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::LocalSet;

use super::fleet::{self, Group};
use super::meter::{Meter, Seen, conversation_of};
use super::report::LoadReport;
use super::scan::{self, Stamp, scan};
use super::socket::{self, CLOSE, PING, PONG, TEXT, decode, encode};
use crate::client::Dialer;

/// How long answers are waited for when the last message is sent.
const DRAIN: Duration = Duration::from_secs(10);
/// The edge closes who is silent for fifty seconds; listeners say this often
/// that they are there.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// The shortest sleep of the pacer: shorter ones cost more than they give.
const TICK: Duration = Duration::from_micros(200);
/// How long a socket may refuse to take a message.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// What load to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// Messages a second; 0: as many as the window allows.
    pub(super) rate: f64,
    pub(super) seconds: f64,
    pub(super) warmup_seconds: f64,
    pub(super) members: usize,
    /// Conversations of each group of so many members.
    pub(super) conversations: usize,
    pub(super) bytes: usize,
    pub(super) window: usize,
}

/// Makes the load and measures it. Blocks; call it on a thread of its own.
pub(super) fn run(dialer: &Dialer, load: Load) -> Result<LoadReport> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = &uuid::Uuid::new_v4().simple().to_string()[..8];
    let (lines, groups) = runtime.block_on(async {
        let mut lines = fleet::open(dialer, run, load.connections).await?;
        let groups = fleet::converse(&mut lines, load.members, load.conversations).await?;
        Ok::<_, anyhow::Error>((lines, groups))
    })?;
    let cpu_before = cpu_seconds();
    let others = groups.iter().map(|group| group.size as u64 - 1).collect();
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let (from, to) = (
        nanos(load.warmup_seconds),
        nanos(load.warmup_seconds + load.seconds),
    );

    let mut readers = Vec::with_capacity(lines.len());
    let mut writers = Vec::with_capacity(lines.len());
    for (index, line) in lines.into_iter().enumerate() {
        let (reader, writer) = line.stream.into_split();
        readers.push((reader, line.read));
        writers.push(Writer::new(writer, &groups[index / load.members]));
    }
    let sender = Arc::new(Sender {
        writers,
        bytes: load.bytes,
        begun: Instant::now(),
        ends: to,
        sent: AtomicU64::new(0),
        next: AtomicU64::new(0),
        stuck: AtomicU64::new(0),
        done: AtomicBool::new(false),
    });
    let meter = Rc::new(RefCell::new(Meter::new(from, to, others)));
    LocalSet::new().block_on(&runtime, drive(load, readers, &sender, &meter))?;

    let meter = meter.borrow();
    let sent = sender.sent.load(Ordering::Acquire);
    let undecided = sent - (meter.delivered_count + meter.rejected_count).min(sent);
    let mut causes: BTreeMap<String, u64> = meter.causes.clone();
    let stuck = sender.stuck.load(Ordering::Acquire);
    if stuck > 0 {
        causes.insert("could not be written".to_owned(), stuck);
    }
    Ok(LoadReport {
        connections: load.connections,
        conversations: groups.iter().map(|group| group.conversations.len()).sum(),
        members: load.members,
        bytes: load.bytes,
        seconds: load.seconds,
        offered_rate: (load.rate > 0.0).then_some(load.rate),
        achieved_rate: meter.delivered_in_time as f64 / load.seconds,
        sent,
        delivered: meter.delivered_count,
        received: meter.received_count,
        pending_ms: meter.pending.percentiles(),
        delivered_ms: meter.delivered.percentiles(),
        received_ms: meter.received.percentiles(),
        errors: causes.values().sum(),
        error_causes: causes,
        lost: undecided + meter.received_expected.saturating_sub(meter.received_count),
        duplicated: meter.duplicated,
        out_of_order: meter.out_of_order,
        generator_cpu_seconds: cpu_seconds() - cpu_before,
        raw: None,
        ratio_to_raw: None,
    })
}

/// Sends and reads until all is answered.
async fn drive(
    load: Load,
    readers: Vec<(OwnedReadHalf, Vec<u8>)>,
    sender: &Arc<Sender>,
    meter: &Rc<RefCell<Meter>>,
) -> Result<()> {
    // One buffer for all: what is read is used up before the next read.
    let buffer = Rc::new(RefCell::new(vec![0; 64 * 1024]));
    let mut reading = Vec::with_capacity(readers.len());
    for (index, (half, partial)) in readers.into_iter().enumerate() {
        let reader = Reader {
            index,
            group: index / load.members,
            half,
            partial,
            seen: Seen::new(load.connections, load.conversations),
            closed_loop: load.rate == 0.0,
            sender: Arc::clone(sender),
            meter: Rc::clone(meter),
            buffer: Rc::clone(&buffer),
        };
        reading.push(tokio::task::spawn_local(reader.run()));
    }

    let pacer = if load.rate > 0.0 {
        let (sender, rate) = (Arc::clone(sender), load.rate);
        let pacer = thread::Builder::new().name("pacer".to_owned());
        Some(
            pacer
                .spawn(move || sender.keep_pace(rate))
                .context("cannot start a thread")?,
        )
    } else {
        let mut frame = Vec::new();
        for turn in 0..load.window {
            sender.send(turn % sender.writers.len(), sender.now(), &mut frame);
        }
        None
    };
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let end = Duration::from_nanos(sender.ends);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = heartbeat.tick() => sender.beat(),
        }
        let elapsed = sender.begun.elapsed();
        if elapsed < end {
            continue;
        }
        sender.done.store(true, Ordering::Release);
        let paced = pacer.as_ref().is_none_or(thread::JoinHandle::is_finished);
        let meter = meter.borrow();
        let decided = meter.delivered_count + meter.rejected_count;
        let complete = decided >= sender.sent.load(Ordering::Acquire)
            && meter.received_count >= meter.received_expected;
        if (paced && complete) || elapsed > end + DRAIN {
            break;
        }
    }
    if let Some(pacer) = pacer {
        pacer.join().map_err(|_| anyhow!("the pacer panicked"))?;
    }
    for task in &reading {
        task.abort();
    }
    Ok(())
}

/// Writes messages, from whichever thread.
struct Sender {
    writers: Vec<Writer>,
    bytes: usize,
    begun: Instant,
    /// No message is due from here on, in nanoseconds of the run.
    ends: u64,
    sent: AtomicU64,
    /// The number of the next message.
    next: AtomicU64,
    stuck: AtomicU64,
    done: AtomicBool,
}

struct Writer {
    half: OwnedWriteHalf,
    /// A frame's text from behind the `temp_id` up to the text, for each
    /// conversation.
    middles: Vec<String>,
    /// Frames of two threads must not mix.
    busy: AtomicBool,
}

impl Writer {
    fn new(half: OwnedWriteHalf, group: &Group) -> Self {
        let middle = |id| format!(r#"","conversation_id":"{id}","content":{{"text":""#);
        Self {
            half,
            middles: group.conversations.iter().map(middle).collect(),
            busy: AtomicBool::new(false),
        }
    }

    /// Writes all of it; whether that worked.
    fn write(&self, mut bytes: &[u8]) -> bool {
        let begun = Instant::now();
        while self.busy.swap(true, Ordering::Acquire) {
            thread::yield_now();
        }
        while !bytes.is_empty() && begun.elapsed() < WRITE_PATIENCE {
            match self.half.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    thread::sleep(TICK);
                }
                Err(_) => break,
            }
        }
        self.busy.store(false, Ordering::Release);
        bytes.is_empty()
    }
}

impl Sender {
    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends the next message over a connection. It was due at `due`: that is
    /// what its latencies are measured from, however late it is sent.
    fn send(&self, connection: usize, due: u64, frame: &mut Vec<u8>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stamp = Stamp { number, due };
        let writer = &self.writers[connection];
        let mut text = Vec::with_capacity(self.bytes + 256);
        text.extend_from_slice(br#"{"type":"send","temp_id":""#);
        scan::write(stamp, &mut text);
        let conversation = conversation_of(number, self.writers.len(), writer.middles.len());
        text.extend_from_slice(writer.middles[conversation].as_bytes());
        let begin = text.len();
        scan::write(stamp, &mut text);
        text.push(b' ');
        let padded = (begin + self.bytes).max(text.len());
        text.resize(padded, b'x');
        text.extend_from_slice(br#""}}"#);
        frame.clear();
        encode(TEXT, &text, frame);
        if writer.write(frame) {
            self.sent.fetch_add(1, Ordering::Release);
        } else {
            self.stuck.fetch_add(1, Ordering::Release);
        }
    }

    /// Sends each message when it is due, connection by connection.
    fn keep_pace(&self, rate: f64) {
        let mut frame = Vec::new();
        let mut count = 0_u64;
        loop {
            let due = (count as f64 * 1e9 / rate) as u64;
            if due >= self.ends || self.done.load(Ordering::Acquire) {
                return;
            }
            let now = self.now();
            if due > now {
                thread::sleep(Duration::from_nanos(due - now).max(TICK));
                continue;
            }
            let connection = usize::try_from(count).unwrap_or(0) % self.writers.len();
            self.send(connection, due, &mut frame);
            count += 1;
        }
    }

    fn beat(&self) {
        let mut ping = Vec::new();
        encode(PING, b"", &mut ping);
        for writer in &self.writers {
            // A connection that is gone is told by its reader.
            writer.write(&ping);
        }
    }
}

/// Reads one connection.
struct Reader {
    index: usize,
    group: usize,
    half: OwnedReadHalf,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    seen: Seen,
    /// Whether a decided message makes room for the next.
    closed_loop: bool,
    sender: Arc<Sender>,
    meter: Rc<RefCell<Meter>>,
    buffer: Rc<RefCell<Vec<u8>>>,
}

impl Reader {
    async fn run(mut self) {
        let cause = poll_fn(|context| self.poll(context)).await;
        self.meter.borrow_mut().fault(&cause);
    }

    /// Takes what there is; ready with the cause when the connection ends.
    fn poll(&mut self, context: &mut TaskContext<'_>) -> Poll<String> {
        let buffer = Rc::clone(&self.buffer);
        let mut buffer = buffer.borrow_mut();
        loop {
            let mut read = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.half).poll_read(context, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Poll::Ready("the connection ended".to_owned());
                }
                Poll::Ready(Ok(())) => {
                    if let Some(closed) = self.take(read.filled()) {
                        return Poll::Ready(closed);
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        if self.partial.is_empty() {
            let (used, closed) = self.take_frames(bytes);
            self.partial.extend_from_slice(&bytes[used..]);
            return closed;
        }
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let (used, closed) = self.take_frames(&partial);
        partial.drain(..used);
        self.partial = partial;
        closed
    }

    /// Takes the whole frames; how many bytes they are, and why the server
    /// closes, if it does.
    fn take_frames(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let now = self.sender.now();
        let (mut used, mut decided) = (0, 0);
        while let Some(frame) = decode(&bytes[used..]) {
            used += frame.length;
            match frame.opcode {
                TEXT => {
                    let said = scan(frame.payload);
                    let mut meter = self.meter.borrow_mut();
                    let own = meter.take(said, now, self.group, &mut self.seen);
                    decided += usize::from(own);
                }
                PING => {
                    let mut pong = Vec::new();
                    encode(PONG, frame.payload, &mut pong);
                    self.sender.writers[self.index].write(&pong);
                }
                CLOSE => return (used, Some(socket::close_reason(frame.payload))),
                _ => {}
            }
        }
        if self.closed_loop && now < self.sender.ends {
            let mut frame = Vec::new();
            for _ in 0..decided {
                self.sender.send(self.index, self.sender.now(), &mut frame);
            }
        }
        (used, None)
    }
}

/// The CPU time this process has used. Nothing where there is no /proc.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold spaces; utime and stime are the 12th
    // and 13th after it.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_ascii_whitespace().skip(11).take(2);
    fields
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}
