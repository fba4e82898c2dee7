import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.bson.BsonDecoder;
import de.bwaldvogel.mongo.wire.bson.BsonEncoder;
import de.bwaldvogel.mongo.wire.message.MessageHeader;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Set;

/**
 * A server that speaks the MongoDB protocol, for tests and for trying the
 * cluster: {@code MongoServerMain PORT memory | journal FILE}.
 */
public final class MongoServerMain {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        MemoryBackend backend;
        if (args[1].equals("journal")) {
            Path file = Path.of(args[2]);
            long readable = JournaledBackend.readable(file);
            backend = new JournaledBackend(file, readable);
        } else {
            backend = new MemoryBackend();
        }
        MongoServer server = new MongoServer(backend.version(new Version5()));
        server.bind("127.0.0.1", port);
        System.err.println("listening on 127.0.0.1:" + port);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        Thread.currentThread().join();
    }

    /**
     * The memory backend, with each writing command in a file before it is
     * answered, and replayed from there at the next start. What was
     * acknowledged survives kill -9 of this process (not a power cut: nothing
     * is synced), and a command is there as a whole or not at all. The file is
     * never compacted.
     */
    private static final class JournaledBackend extends MemoryBackend {
        private static final Set<String> READS =
                Set.of(
                        "aggregate", "buildInfo", "buildinfo", "count", "distinct", "endSessions",
                        "find", "getLastError", "getMore", "getParameter", "hello", "hostInfo",
                        "isMaster", "ismaster", "killCursors", "listCollections", "listDatabases",
                        "listIndexes", "ping", "serverStatus");

        private final FileChannel journal;

        JournaledBackend(Path file, long length) throws IOException {
            journal =
                    FileChannel.open(
                            file, StandardOpenOption.CREATE, StandardOpenOption.READ,
                            StandardOpenOption.WRITE);
            // A command cut short by kill -9 was never answered.
            journal.truncate(length);
            journal.position(length);
            replay(file, length);
        }

        /** How many bytes of the file are whole commands. */
        static long readable(Path file) throws IOException {
            if (!Files.exists(file)) {
                return 0;
            }
            long size = Files.size(file);
            long end = 0;
            try (FileChannel channel = FileChannel.open(file)) {
                ByteBuffer length = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
                while (end + 4 <= size) {
                    channel.read(length.clear(), end);
                    int document = length.getInt(0);
                    if (document < 5 || end + document > size) {
                        break;
                    }
                    end += document;
                }
            }
            return end;
        }

        private void replay(Path file, long length) throws IOException {
            Channel channel = new EmbeddedChannel();
            try (InputStream stream = Files.newInputStream(file);
                    DataInputStream in = new DataInputStream(new BufferedInputStream(stream))) {
                for (long at = 0; at < length; ) {
                    int size = Integer.reverseBytes(in.readInt());
                    ByteBuf bytes = Unpooled.buffer(size).writeIntLE(size);
                    bytes.writeBytes(in.readNBytes(size - 4));
                    Document command = BsonDecoder.decodeBson(bytes);
                    try {
                        super.handleMessage(
                                new MongoMessage(channel, new MessageHeader(0, 0), command));
                    } catch (RuntimeException refused) {
                        // It was refused the first time as well, and answered so.
                    }
                    at += size;
                }
            } finally {
                channel.close();
            }
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            Document command = message.getDocument();
            if (READS.contains(command.keySet().iterator().next())) {
                return super.handleMessage(message);
            }
            ByteBuf bytes = Unpooled.buffer();
            BsonEncoder.encodeDocument(command, bytes);
            // One at a time: the file must have the order in which they took effect.
            synchronized (journal) {
                try {
                    return super.handleMessage(message);
                } finally {
                    append(bytes);
                }
            }
        }

        private void append(ByteBuf bytes) {
            try {
                ByteBuffer rest = bytes.nioBuffer();
                while (rest.hasRemaining()) {
                    journal.write(rest);
                }
            } catch (IOException e) {
                // Memory is now ahead of the file: nothing more may be answered.
                System.err.println("cannot write the journal: " + e);
                Runtime.getRuntime().halt(1);
            }
        }
    }

    /** Drivers refuse a server older than wire version 9; the stock version says less. */
    private static final class Version5 implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }

        @Override
        public String toVersionString() {
            return "5.0.0";
        }
    }
}
