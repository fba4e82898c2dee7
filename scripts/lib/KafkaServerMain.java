import java.nio.file.Files;
import java.nio.file.Path;

/**
 * One Kafka node: {@code KafkaServerMain PROPERTIES LOG_FOLDER CLUSTER_ID}.
 * Formats the folder the first time, as Kafka wants it, in the same process:
 * one start of a JVM less, and nothing that outlives a kill in between.
 */
public final class KafkaServerMain {
    public static void main(String[] args) {
        if (!Files.exists(Path.of(args[1], "meta.properties"))) {
            int status =
                    kafka.tools.StorageTool.execute(
                            new String[] {"format", "--config", args[0], "--cluster-id", args[2]},
                            System.out);
            if (status != 0) {
                System.exit(status);
            }
        }
        kafka.Kafka.main(new String[] {args[0]});
    }
}
