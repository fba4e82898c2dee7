use bytes::{Bytes, BytesMut};
use rdkafka::error::KafkaError;
use rdkafka::message::{
    BorrowedMessage, Header, Headers as _, Message, OwnedHeaders, Timestamp as KafkaTimestamp,
};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use tidings_domain::Timestamp;
use tidings_wire::{Headers, Record, Stored};

use super::names::Names;

/// Gives a record to a producer, which copies it. Never blocks.
///
/// # Errors
/// Why the producer did not take it, and the opaque back.
pub(super) fn send<C: ProducerContext>(
    producer: &BaseProducer<C>,
    topic: &str,
    partition: i32,
    record: &Record,
    opaque: C::DeliveryOpaque,
) -> Result<(), (KafkaError, C::DeliveryOpaque)> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.iter().len());
    for (key, value) in record.headers.iter() {
        headers = headers.insert(Header {
            key,
            value: Some(value.as_ref()),
        });
    }
    let message: BaseRecord<'_, [u8], [u8], C::DeliveryOpaque> = BaseRecord {
        topic,
        partition: Some(partition),
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: Some(record.timestamp.0),
        headers: Some(headers),
        delivery_opaque: opaque,
    };
    producer
        .send(message)
        .map_err(|(err, message)| (err, message.delivery_opaque))
}

/// A message as a record; none where it is of a topic that is not ours.
///
/// Key, value and header values are copied into one buffer and share it.
pub(super) fn stored(message: &BorrowedMessage<'_>, names: &Names) -> Option<Stored> {
    let topic = names.topic(message.topic())?;
    let headers = message.headers();
    let headers_of = || headers.into_iter().flat_map(|headers| headers.iter());
    let bytes_of = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);

    let length = bytes_of(message.key())
        + bytes_of(message.payload())
        + headers_of()
            .map(|header| bytes_of(header.value))
            .sum::<usize>();
    let mut buffer = BytesMut::with_capacity(length);
    let parts = [message.key(), message.payload()];
    for part in parts
        .into_iter()
        .chain(headers_of().map(|header| header.value))
        .flatten()
    {
        buffer.extend_from_slice(part);
    }
    let mut rest = buffer.freeze();
    let mut next = |part: &[u8]| -> Bytes { rest.split_to(part.len()) };

    let key = message.key().map(&mut next);
    let value = message.payload().map(&mut next);
    let mut kept = Headers::with_capacity(headers.map_or(0, |headers| headers.count()));
    for header in headers_of() {
        kept.push_read(header.key, header.value.map(&mut next).unwrap_or_default());
    }
    let timestamp = match message.timestamp() {
        KafkaTimestamp::CreateTime(ms) | KafkaTimestamp::LogAppendTime(ms) => Timestamp(ms),
        KafkaTimestamp::NotAvailable => Timestamp(0),
    };
    Some(Stored {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        record: Record {
            key,
            value,
            headers: kept,
            timestamp,
        },
    })
}
