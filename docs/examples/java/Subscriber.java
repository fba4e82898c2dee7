import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.avro.LogicalType;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads message.delivered and prints each event as one line of JSON.
 *
 * <pre>
 *   mvn dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib
 *   java -cp 'lib/*' Subscriber.java BROKERS REGISTRY GROUP [--topic-prefix PREFIX] [--exit-at-end]
 * </pre>
 *
 * A group goes on where it stopped. Replace {@code handle} with your own work, and see
 * docs/subscribing.md for what the records mean.
 */
public final class Subscriber implements ConsumerRebalanceListener {
    private static final int COMMIT_EVERY = 500; // records

    /** Tells which records of one partition count. Give it all, in log order. */
    static final class ReaderRule {
        private long epoch;
        private String owner = "";

        ReaderRule(String state) {
            if (!state.isEmpty()) {
                String[] parts = state.split(" ");
                epoch = Long.parseLong(parts[0]);
                owner = parts[1];
            }
        }

        boolean counts(long epoch, String owner, boolean isClaim) {
            if (isClaim && epoch > this.epoch) {
                this.epoch = epoch;
                this.owner = owner;
            }
            return !isClaim && epoch == this.epoch && owner.equals(this.owner);
        }

        /** What to keep with an offset, to go on from there. */
        @Override
        public String toString() {
            return epoch == 0 ? "" : epoch + " " + owner;
        }
    }

    /** Decodes values: a zero byte, the schema's id in four bytes, one Avro datum. */
    static final class Decoder {
        private final HttpClient http = HttpClient.newHttpClient();
        private final ObjectMapper json = new ObjectMapper();
        private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
        private final String registry;

        Decoder(String registry) {
            this.registry = registry;
        }

        GenericRecord decode(byte[] value) throws Exception {
            ByteBuffer framed = ByteBuffer.wrap(value);
            if (framed.get() != 0) {
                throw new IllegalArgumentException("the value has no magic byte");
            }
            int id = framed.getInt();
            GenericDatumReader<GenericRecord> reader = readers.get(id);
            if (reader == null) {
                reader = new GenericDatumReader<>(schema(id));
                readers.put(id, reader);
            }
            return reader.read(
                    null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
        }

        private Schema schema(int id) throws Exception {
            URI uri = URI.create(registry + "/schemas/ids/" + id);
            HttpResponse<String> answer =
                    http.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(uri + ": status " + answer.statusCode());
            }
            return new Schema.Parser().parse(json.readTree(answer.body()).get("schema").asText());
        }
    }

    private final ObjectMapper json = new ObjectMapper();
    private final Map<TopicPartition, ReaderRule> rules = new HashMap<>();
    private final Map<TopicPartition, Long> next = new HashMap<>();
    private final Decoder decoder;
    private final KafkaConsumer<byte[], byte[]> consumer;

    Subscriber(String brokers, String registry, String group) {
        decoder = new Decoder(registry);
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("group.id", group);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    void run(String topic, boolean exitAtEnd) throws Exception {
        try (consumer) {
            consumer.subscribe(List.of(topic), this);
            int uncommitted = 0;
            do {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    take(record);
                    uncommitted++;
                }
                if (uncommitted >= COMMIT_EVERY) {
                    commit();
                    uncommitted = 0;
                }
            } while (!(exitAtEnd && isAtEnd()));
            commit();
        }
    }

    private void take(ConsumerRecord<byte[], byte[]> record) throws Exception {
        Map<String, String> headers = new HashMap<>();
        for (Header header : record.headers()) {
            headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
        }
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        boolean isClaim = record.value() == null;
        long epoch = Long.parseLong(headers.get("ce_epoch"));
        if (rules.get(partition).counts(epoch, headers.get("ce_owner"), isClaim)) {
            GenericRecord decision = decoder.decode(record.value());
            // Rejected, duplicate, dead, and changes that are the sender's own are no events.
            if ("accepted".equals(decision.get("outcome").toString()) && decision.get("seq") != null) {
                handle(record, headers, decision);
            }
        }
        next.put(partition, record.offset() + 1);
    }

    /** One event. The same one may come again after a crash: its conversation and seq tell. */
    private void handle(
            ConsumerRecord<byte[], byte[]> record, Map<String, String> headers, GenericRecord decision)
            throws Exception {
        Map<?, ?> fields = (Map<?, ?>) plain(decision, decision.getSchema());
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("partition", record.partition());
        line.put("offset", record.offset());
        line.put("id", headers.get("ce_id"));
        line.put("type", headers.get("ce_type"));
        line.put("tenant", fields.get("tenant"));
        line.put("conversation_id", fields.get("conversation_id"));
        line.put("seq", fields.get("seq"));
        line.put("at", fields.get("at"));
        line.put("by", fields.get("sender"));
        line.put("event", fields.get("event"));
        System.out.println(json.writeValueAsString(line));
    }

    /** An Avro value as maps, lists, texts and numbers. */
    private static Object plain(Object value, Schema schema) {
        if (value == null) {
            return null;
        }
        switch (schema.getType()) {
            case UNION: // Of null and one other.
                return plain(value, schema.getTypes().get(1));
            case RECORD:
                Map<String, Object> fields = new LinkedHashMap<>();
                for (Schema.Field field : schema.getFields()) {
                    fields.put(
                            field.name(), plain(((GenericRecord) value).get(field.pos()), field.schema()));
                }
                return fields;
            case ARRAY:
                return ((Collection<?>) value)
                        .stream().map(item -> plain(item, schema.getElementType())).toList();
            case LONG:
                LogicalType type = schema.getLogicalType();
                return type instanceof LogicalTypes.TimestampMillis ? time((Long) value) : value;
            default:
                return value instanceof CharSequence ? value.toString() : value;
        }
    }

    private static String time(long milliseconds) {
        return DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
                .withZone(ZoneOffset.UTC)
                .format(Instant.ofEpochMilli(milliseconds));
    }

    private boolean isAtEnd() {
        if (rules.isEmpty()) {
            return false;
        }
        Map<TopicPartition, Long> ends = consumer.endOffsets(rules.keySet());
        return ends.entrySet().stream()
                .allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> committed =
                consumer.committed(Set.copyOf(partitions));
        for (TopicPartition partition : partitions) {
            // The rule's state stands beside the position: the claim that counts here may be far
            // behind. Without a position, from the beginning.
            OffsetAndMetadata position = committed.get(partition);
            rules.put(partition, new ReaderRule(position == null ? "" : position.metadata()));
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit();
        onPartitionsLost(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        partitions.forEach(rules::remove);
        partitions.forEach(next::remove);
    }

    private void commit() {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        next.forEach(
                (partition, offset) ->
                        offsets.put(
                                partition, new OffsetAndMetadata(offset, rules.get(partition).toString())));
        consumer.commitSync(offsets);
    }

    public static void main(String[] args) throws Exception {
        List<String> options = List.of(args).subList(Math.min(3, args.length), args.length);
        int prefix = options.indexOf("--topic-prefix");
        if (args.length < 3 || prefix == options.size() - 1 && prefix >= 0) {
            System.err.println(
                    "usage: Subscriber.java BROKERS REGISTRY GROUP [--topic-prefix PREFIX] [--exit-at-end]");
            System.exit(2);
        }
        String topic = (prefix < 0 ? "" : options.get(prefix + 1)) + "message.delivered";
        new Subscriber(args[0], args[1], args[2]).run(topic, options.contains("--exit-at-end"));
    }
}
