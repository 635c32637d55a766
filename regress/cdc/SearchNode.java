import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.settings.Settings;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.transport.Netty4Plugin;

/** A node of OpenSearch for a test, by itself and with the modules that the sink needs. Arguments: its settings, NAME=VALUE. */
public class SearchNode extends Node {
    SearchNode(Settings settings) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "test"),
              List.of(Netty4Plugin.class, PainlessPlugin.class, ReindexPlugin.class), true);
    }

    public static void main(String[] words) throws Exception {
        Settings.Builder settings = Settings.builder()
            .put("cluster.name", "test")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
        for (String word : words) {
            int equals = word.indexOf('=');
            settings.put(word.substring(0, equals), word.substring(equals + 1));
        }
        new SearchNode(settings.build()).start();
        new CountDownLatch(1).await(); // until it is killed
    }
}
