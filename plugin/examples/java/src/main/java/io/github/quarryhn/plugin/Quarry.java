package io.github.quarryhn.plugin;

import io.github.quarryhn.plugin.Engine.Operation;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The operations of the plugin on one instance, which one thread uses at a time. All of them throw {@link QuarryException}; an operation that
 * fails changes nothing.
 */
public final class Quarry implements AutoCloseable {
    private static final byte[] NOTHING = {};

    private final Engine.Instance instance;

    public Quarry(Engine engine) {
        instance = engine.open();
    }

    /** What the module is, as JSON: its version, operations, kernels and limits. */
    public String info() {
        return new String(instance.call(Operation.INFO, NOTHING), StandardCharsets.UTF_8);
    }

    /** Loads a projection file, as {@code quarry fit} writes it. Raw vectors need one. */
    public Projection load(Path file) throws IOException {
        byte[] projection = Files.readAllBytes(file);
        instance.call(Operation.LOAD_PROJECTION, projection);
        return new Projection(projection);
    }

    /**
     * Projects vectors, once, when a document is indexed or a query comes in. With projected vectors {@link #select} takes a twentieth of the time.
     *
     * @param models the rows of each model, n of its width
     * @return n rows, as wide as the projection has components
     */
    public float[][] transform(Map<String, float[][]> models) {
        Message message = new Message();
        Vectors.raw(models).addTo(message, "documents");
        return Message.Received.of(instance.call(Operation.TRANSFORM, message.encode())).rows("documents");
    }

    /** The negatives of one pair among candidates, all projected. A position is the candidate's index. The positive is not to be among them. */
    public List<Part.Negative> select(float[] query, float[] positive, float[][] candidates, Options options) {
        if (candidates.length == 0) {
            return List.of(); // without rows a tensor has no width, and the module refuses it
        }
        Pairs pair = new Pairs(Vectors.projected(query), Vectors.projected(positive)).add(0, 0);
        return select(pair, Vectors.projected(candidates), options).negatives(0);
    }

    /** The negatives of pairs among documents, in one call. What a {@link Miner} has begun is untouched. */
    public Part select(Pairs pairs, Vectors documents, Options options) {
        Message message = pairs.message(options);
        documents.addTo(message, "documents");
        return new Part(instance.call(Operation.SELECT, message.encode()));
    }

    /** Begins to mine pairs. The instance keeps one set of pairs, so this ends the miner before it. */
    public Miner miner(Pairs pairs, Options options) {
        instance.call(Operation.BEGIN, pairs.message(options).encode());
        return new Miner();
    }

    /** Mines documents that come in blocks of any size, in any order. */
    public final class Miner {
        /** Mines documents, the first of which is at that position. Each position may come once. */
        public void push(Vectors documents, long first) {
            Message message = new Message().options(Map.of("first", Long.toString(first)));
            documents.addTo(message, "documents");
            instance.call(Operation.PUSH, message.encode());
        }

        /** The negatives among all documents so far. The pairs stay, ready for another part. */
        public Part finish() {
            return new Part(instance.call(Operation.FINISH, NOTHING));
        }
    }

    /** Joins parts of the same pairs and of other documents, in any order. */
    public Part merge(List<Part> parts) {
        Message message = new Message();
        for (int i = 0; i < parts.size(); i++) {
            message.add("part" + i, parts.get(i).bytes());
        }
        return new Part(instance.call(Operation.MERGE, message.encode()));
    }

    @Override
    public void close() {
        instance.close();
    }
}
