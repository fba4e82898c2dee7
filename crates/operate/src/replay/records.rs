//! A file of records, byte for byte.
//!
//! It begins with `TIDINGS-RECORDS 1` and a line feed. Each record is its
//! length in bytes (u32), so many bytes, and their XXH3 (u64). All numbers are
//! little-endian. A record's bytes are: the topic (u8 length, UTF-8), the
//! partition (i32), the offset (i64), the timestamp (i64, milliseconds since
//! the Unix epoch), the key and the value (each an i32 length, -1 for none, and
//! its bytes), the number of headers (u16), and of each its name (u16 length,
//! UTF-8) and value (u32 length, bytes).

use std::io::{self, Read, Write};

use bytes::Bytes;
use tidings_domain::Timestamp;
use tidings_wire::{Headers, Record, Stored, Topic};
use xxhash_rust::xxh3::xxh3_64;

/// What the file begins with.
const MAGIC: &[u8] = b"TIDINGS-RECORDS 1\n";
/// No record is longer: a broken length must not make us allocate.
const LONGEST: usize = 64 << 20;

/// Writes a file of records.
#[derive(Debug)]
pub struct RecordsWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> RecordsWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Of the output.
    pub fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self::go_on(out))
    }

    /// Goes on behind a whole record.
    pub fn go_on(out: W) -> Self {
        Self {
            out,
            buffer: Vec::new(),
        }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// Of the output; [`io::ErrorKind::InvalidInput`] for what no log holds.
    pub fn write(&mut self, stored: &Stored) -> io::Result<()> {
        self.buffer.clear();
        let into = &mut self.buffer;
        let topic = stored.topic.name();
        into.push(length(topic.len())?);
        into.extend_from_slice(topic.as_bytes());
        into.extend_from_slice(&stored.partition.to_le_bytes());
        into.extend_from_slice(&stored.offset.to_le_bytes());
        let record = &stored.record;
        into.extend_from_slice(&record.timestamp.0.to_le_bytes());
        for part in [&record.key, &record.value] {
            let size: i32 = part.as_ref().map_or(Ok(-1), |part| length(part.len()))?;
            into.extend_from_slice(&size.to_le_bytes());
            into.extend_from_slice(part.as_deref().unwrap_or_default());
        }
        let count: u16 = length(record.headers.iter().len())?;
        into.extend_from_slice(&count.to_le_bytes());
        for (name, value) in record.headers.iter() {
            into.extend_from_slice(&length::<u16>(name.len())?.to_le_bytes());
            into.extend_from_slice(name.as_bytes());
            into.extend_from_slice(&length::<u32>(value.len())?.to_le_bytes());
            into.extend_from_slice(value);
        }
        let size: u32 = length(into.len())?;
        self.out.write_all(&size.to_le_bytes())?;
        self.out.write_all(&self.buffer)?;
        self.out.write_all(&xxh3_64(&self.buffer).to_le_bytes())
    }

    /// The output.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

fn length<T: TryFrom<usize>>(length: usize) -> io::Result<T> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a part is too long");
    T::try_from(length).map_err(too_long)
}

/// Reads a file of records.
#[derive(Debug)]
pub struct RecordsReader<R> {
    input: R,
    /// Bytes up to the end of the last whole record.
    whole: u64,
}

impl<R: Read> RecordsReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// Of the input; [`io::ErrorKind::InvalidData`] where it is no such file.
    pub fn begin(mut input: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        let read = input.read_exact(&mut magic);
        if read.is_err() || magic != MAGIC {
            return Err(broken("it is no file of records"));
        }
        let whole = MAGIC.len() as u64;
        Ok(Self { input, whole })
    }

    /// The next record; none at the end, and where a record is cut off.
    ///
    /// # Errors
    /// Of the input; [`io::ErrorKind::InvalidData`] where a record is broken.
    pub fn next_record(&mut self) -> io::Result<Option<Stored>> {
        let mut size = [0; 4];
        if !read_all(&mut self.input, &mut size)? {
            return Ok(None);
        }
        let size = u32::from_le_bytes(size) as usize;
        if size > LONGEST {
            return Err(broken("a record's length makes no sense"));
        }
        let mut body = vec![0; size];
        let mut digest = [0; 8];
        if !read_all(&mut self.input, &mut body)? || !read_all(&mut self.input, &mut digest)? {
            return Ok(None);
        }
        if u64::from_le_bytes(digest) != xxh3_64(&body) {
            return Err(broken("a record is not as it was written"));
        }
        let stored = parse(Bytes::from(body)).ok_or_else(|| broken("a record cannot be read"))?;
        self.whole += (4 + size + 8) as u64;
        Ok(Some(stored))
    }

    /// How many bytes the whole records take, with the beginning.
    pub fn whole_bytes(&self) -> u64 {
        self.whole
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Fills a buffer; false where the input ends before.
fn read_all(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn parse(mut rest: Bytes) -> Option<Stored> {
    let take = |rest: &mut Bytes, size: usize| (size <= rest.len()).then(|| rest.split_to(size));
    fn number<const N: usize>(rest: &mut Bytes) -> Option<[u8; N]> {
        (N <= rest.len())
            .then(|| rest.split_to(N))?
            .as_ref()
            .try_into()
            .ok()
    }
    let size = usize::from(number::<1>(&mut rest)?[0]);
    let topic = take(&mut rest, size)?;
    let topic = Topic::parse(std::str::from_utf8(&topic).ok()?)?;
    let partition = i32::from_le_bytes(number(&mut rest)?);
    let offset = i64::from_le_bytes(number(&mut rest)?);
    let timestamp = Timestamp(i64::from_le_bytes(number(&mut rest)?));
    let part = |rest: &mut Bytes| -> Option<Option<Bytes>> {
        match i32::from_le_bytes(number(rest)?) {
            -1 => Some(None),
            size => Some(Some(take(rest, usize::try_from(size).ok()?)?)),
        }
    };
    let (key, value) = (part(&mut rest)?, part(&mut rest)?);
    let count = u16::from_le_bytes(number(&mut rest)?);
    let mut headers = Headers::with_capacity(usize::from(count));
    for _ in 0..count {
        let size = u16::from_le_bytes(number(&mut rest)?);
        let name = take(&mut rest, usize::from(size))?;
        let size = u32::from_le_bytes(number(&mut rest)?);
        let value = take(&mut rest, usize::try_from(size).ok()?)?;
        headers.push_read(std::str::from_utf8(&name).ok()?, value);
    }
    rest.is_empty().then_some(Stored {
        topic,
        partition,
        offset,
        record: Record {
            key,
            value,
            headers,
            timestamp,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Stored> {
        let record = |n: i64, key: Option<&'static str>, value: Option<&'static [u8]>| {
            let mut headers = Headers::default();
            headers.push("tenant", "acme");
            headers.push_read("theirs", Bytes::from_static(&[0, 255]));
            headers.push_read("theirs", Bytes::new());
            Stored {
                topic: Topic::MessageDelivered,
                partition: 3,
                offset: n,
                record: Record {
                    key: key.map(Bytes::from),
                    value: value.map(Bytes::from_static),
                    headers,
                    timestamp: Timestamp(-n),
                },
            }
        };
        vec![
            record(1, Some("k"), Some(b"v")),
            record(2, None, None),
            record(i64::MAX, Some(""), Some(b"")),
        ]
    }

    fn written() -> Vec<u8> {
        let mut writer = RecordsWriter::begin(Vec::new()).unwrap();
        for stored in records() {
            writer.write(&stored).unwrap();
        }
        writer.get_mut().clone()
    }

    #[test]
    fn what_is_written_is_read() {
        let file = written();
        let mut reader = RecordsReader::begin(&file[..]).unwrap();
        for expected in records() {
            assert_eq!(reader.next_record().unwrap(), Some(expected));
        }
        assert_eq!(reader.next_record().unwrap(), None);
        assert_eq!(reader.whole_bytes(), file.len() as u64);
    }

    #[test]
    fn a_file_that_is_cut_off_ends_after_its_last_whole_record() {
        let file = written();
        for end in MAGIC.len()..file.len() {
            let mut reader = RecordsReader::begin(&file[..end]).unwrap();
            let mut count = 0;
            while reader.next_record().unwrap().is_some() {
                count += 1;
            }
            assert!(count < 3 && reader.whole_bytes() <= end as u64);
        }
        assert!(RecordsReader::begin(&file[..5]).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut file = written();
        let at = MAGIC.len() + 20;
        file[at] ^= 1;
        let mut reader = RecordsReader::begin(&file[..]).unwrap();
        let error = reader.next_record().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
