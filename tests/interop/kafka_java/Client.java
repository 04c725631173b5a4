import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's Java client under the command line of `../README.md`. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private static final String SESSION_MS = "10000";
    private static final long DELETED_BEFORE = 5;

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 1; i + 1 < args.length; i += 2) {
            options.put(args[i], args[i + 1]);
        }
        switch (args[0]) {
            case "produce" -> produce(options);
            case "consume" -> consume(options);
            default -> admin(options);
        }
    }

    private static void admin(Map<String, String> options) throws Exception {
        String topic = options.get("--topic");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", options.get("--server")))) {
            switch (options.get("--call")) {
                case "describe-producers" -> OUT.println(
                    admin.describeProducers(List.of(partition)).all().get().get(partition).activeProducers().size());
                case "delete-records" -> OUT.println(
                    admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(DELETED_BEFORE)))
                        .lowWatermarks().get(partition).get().lowWatermark());
                case "describe-log-dirs" -> OUT.println(bytes(admin, partition));
                case "append-config" -> changePolicy(admin, topic, AlterConfigOp.OpType.APPEND, "compact");
                case "subtract-config" -> changePolicy(admin, topic, AlterConfigOp.OpType.SUBTRACT, "delete");
                case "list-config-resources" -> configured(admin).forEach(OUT::println);
                default -> throw new IllegalArgumentException(options.get("--call"));
            }
        }
    }

    private static long bytes(Admin admin, TopicPartition partition) throws Exception {
        int broker = admin.describeCluster().nodes().get().iterator().next().id();
        return admin.describeLogDirs(List.of(broker)).allDescriptions().get().get(broker).values().stream()
            .map(directory -> directory.replicaInfos().get(partition))
            .filter(Objects::nonNull)
            .findFirst().orElseThrow().size();
    }

    private static void changePolicy(Admin admin, String topic, AlterConfigOp.OpType operation, String item)
            throws Exception {
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry("cleanup.policy", item), operation);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    /** Topics that have a configuration. Version 3 has no such call, and must compile as well. */
    @SuppressWarnings("unchecked")
    private static List<String> configured(Admin admin) throws Exception {
        Object listed = Admin.class.getMethod("listConfigResources").invoke(admin);
        Object all = listed.getClass().getMethod("all").invoke(listed);
        return ((KafkaFuture<Collection<ConfigResource>>) all).get().stream()
            .filter(resource -> resource.type() == ConfigResource.Type.TOPIC)
            .map(ConfigResource::name)
            .toList();
    }

    private static void produce(Map<String, String> options) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", options.get("--server"));
        properties.put("compression.type", options.get("--codec"));
        String batchBytes = options.get("--batch-bytes");
        if (batchBytes != null) {
            properties.put("batch.size", batchBytes);
        }
        // For one batch longer than its records take to come: the flush ends it.
        properties.put("linger.ms", batchBytes == null ? "50" : "30000");
        properties.put("key.serializer", ByteArraySerializer.class.getName());
        properties.put("value.serializer", ByteArraySerializer.class.getName());
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                sent.add(producer.send(record(options.get("--topic"), JSON.readTree(line))));
            }
            producer.flush();
            for (Future<RecordMetadata> acknowledgement : sent) {
                acknowledgement.get();
            }
        }
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode json) throws Exception {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
            topic, null, json.get("timestamp").longValue(), bytes(json.get("key")), bytes(json.get("value")));
        for (JsonNode header : json.get("headers")) {
            record.headers().add(header.get(0).textValue(), bytes(header.get(1)));
        }
        return record;
    }

    private static byte[] bytes(JsonNode base64) throws Exception {
        return base64.isNull() ? null : base64.binaryValue();
    }

    private static void consume(Map<String, String> options) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", options.get("--server"));
        properties.put("group.id", options.get("--group"));
        properties.put("group.protocol", options.get("--protocol"));
        if (options.get("--protocol").equals("classic")) {
            properties.put("session.timeout.ms", SESSION_MS);
        }
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        String count = options.get("--count");
        Quota quota = new Quota(count == null ? Long.MAX_VALUE : Long.parseLong(count));
        if (count == null) {
            quota.endWithStandardInput();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            if (options.containsKey("--pattern")) {
                subscribe(consumer, options.get("--pattern"));
            } else {
                consumer.subscribe(List.of(options.get("--topics").split(",")));
            }
            while (quota.isOpen()) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    OUT.println(JSON.writeValueAsString(json(record)));
                }
                if (!records.isEmpty()) {
                    commit(consumer);
                }
                quota.took(records.count());
            }
        }
    }

    /** The broker finds the topics that match. Version 3 has no such call, and must compile as well. */
    private static void subscribe(KafkaConsumer<byte[], byte[]> consumer, String pattern) throws Exception {
        Class<?> type = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
        Object subscription = type.getConstructor(String.class).newInstance(pattern);
        KafkaConsumer.class.getMethod("subscribe", type).invoke(consumer, subscription);
    }

    /** Commits what was consumed, unless a rebalance took its partitions: then others read it again. */
    private static void commit(KafkaConsumer<byte[], byte[]> consumer) {
        try {
            consumer.commitSync();
        } catch (CommitFailedException | RebalanceInProgressException lost) {
            System.err.println("not committed: " + lost.getMessage());
        }
    }

    private static ObjectNode json(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode json = JSON.createObjectNode();
        json.put("topic", record.topic());
        json.put("partition", record.partition());
        json.put("offset", record.offset());
        json.put("key", record.key());
        json.put("value", record.value());
        ArrayNode headers = json.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
        json.put("timestamp", record.timestamp());
        return json;
    }

    /** How many records are still to be consumed: until a number is, or standard input ends. */
    private static final class Quota {
        private long left;
        private volatile boolean ended;

        Quota(long count) {
            left = count;
        }

        void endWithStandardInput() {
            Thread watcher = new Thread(() -> {
                try {
                    System.in.transferTo(PrintStream.nullOutputStream());
                } catch (java.io.IOException broken) {
                    System.err.println("standard input: " + broken);
                }
                ended = true;
            });
            watcher.setDaemon(true);
            watcher.start();
        }

        void took(long records) {
            left -= records;
        }

        boolean isOpen() {
            return !ended && left > 0;
        }
    }
}
