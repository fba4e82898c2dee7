import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node: {@code SearchServerMain FOLDER HTTP_PORT}. Without what
 * its own launcher adds around a node (a security manager, checks of the
 * machine), and with the few of its modules that a search view uses.
 *
 * <p>It is an Elasticsearch node, too, when {@code org.opensearch} is replaced
 * by {@code org.elasticsearch}: the one began as a copy of the other.
 */
public final class SearchServerMain {
    private static final List<Class<? extends Plugin>> MODULES =
            List.of(
                    Netty4Plugin.class,
                    CommonAnalysisPlugin.class,
                    MapperExtrasPlugin.class,
                    ReindexPlugin.class);

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]);
        Settings settings =
                Settings.builder()
                        .put("path.home", home.toString())
                        .put("cluster.name", "tidings")
                        .put("node.name", "tidings")
                        .put("network.host", "127.0.0.1")
                        .put("http.port", args[1])
                        // Nobody asks for it: the node is alone.
                        .put("transport.port", "0")
                        .put("transport.type", "netty4")
                        .put("http.type", "netty4")
                        .put("discovery.type", "single-node")
                        // A disk that is nearly full must not fail tests.
                        .put("cluster.routing.allocation.disk.threshold_enabled", false)
                        .build();
        Environment environment =
                InternalSettingsPreparer.prepareEnvironment(
                        settings, Map.of(), home.resolve("config"), () -> "tidings");
        Node node = new ServerNode(environment);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        try {
            node.start();
        } catch (Throwable failure) {
            failure.printStackTrace();
            // Its threads would keep the process there.
            System.exit(1);
        }
        Thread.currentThread().join();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception failure) {
            failure.printStackTrace();
        }
    }

    /** The constructor that takes modules from the class path is protected. */
    private static final class ServerNode extends Node {
        ServerNode(Environment environment) {
            super(environment, MODULES, false);
        }
    }
}
