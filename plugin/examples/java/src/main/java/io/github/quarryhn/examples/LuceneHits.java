package io.github.quarryhn.examples;

import com.google.gson.GsonBuilder;
import io.github.quarryhn.examples.LuceneIndex.Hit;
import io.github.quarryhn.plugin.Options;
import io.github.quarryhn.plugin.Pairs;
import io.github.quarryhn.plugin.Part;
import io.github.quarryhn.plugin.Projection;
import io.github.quarryhn.plugin.Quarry;
import io.github.quarryhn.plugin.Vectors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.util.Version;

/**
 * Mines the hits of a search. Documents are projected once and indexed. Each pair's query is projected as it comes, Lucene finds what is near to
 * it, and select takes the negatives among those hits.
 */
public final class LuceneHits {
    private static final int TOP = 5;
    private static final int HITS = 50;

    private final Data data;
    private final Quarry quarry;
    private final LuceneIndex index;
    private final Map<String, float[][]> queries;

    private LuceneHits(Data data, Quarry quarry, LuceneIndex index, Map<String, float[][]> queries) {
        this.data = data;
        this.quarry = quarry;
        this.index = index;
        this.queries = queries;
    }

    /** @param args as those of {@link Mine}, and then a folder for the index */
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[3]);
        Path indexed = Path.of(args[6]);
        Data data = new Data(folder.resolve("data"));
        try (Quarry quarry = new Quarry(Mine.engine(args[0], Path.of(args[1]), Path.of(args[2])))) {
            Projection projection = quarry.load(folder.resolve("projection.safetensors"));
            LuceneIndex.write(indexed, data.documents, quarry.transform(data.vectors(projection, "docs")), projection.fingerprint());
            try (LuceneIndex index = new LuceneIndex(indexed, projection.fingerprint())) {
                LuceneHits hits = new LuceneHits(data, quarry, index, data.vectors(projection, "queries"));
                boolean equal = hits.equal("dual", folder.resolve("negatives.jsonl"))
                        & hits.equal("capped", folder.resolve("negatives-capped.jsonl"))
                        & hits.within("dual", HITS) & hits.within("capped", HITS)
                        & hits.within("capped", 10); // so few that negatives are missed
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("host", args[4]);
                line.put("version", "Lucene " + Version.LATEST + ", " + Bench.version(args[5]));
                for (String unmeasured : List.of("start_ms", "in_mb_s", "select_raw_ms")) {
                    line.put(unmeasured, null); // those of the engine
                }
                line.put("select_projected_ms", hits.measure());
                line.put("equal", equal);
                System.out.println(new GsonBuilder().serializeNulls().create().toJson(line));
            }
        }
    }

    /** What select takes among the hits of a pair, and the hits, which its positions point to. */
    private record Mined(Part part, List<Hit> hits) {
        /** The line of negatives.jsonl. */
        String line(Data.Pair pair) {
            return Data.line(pair, part, 0, part.negatives(0), position -> hits.get((int) position).id());
        }

        /** The negatives by id. */
        Map<String, Part.Negative> negatives() {
            Map<String, Part.Negative> byId = new LinkedHashMap<>();
            part.negatives(0).forEach(n -> byId.put(hits.get((int) n.position()).id(), n));
            return byId;
        }
    }

    private Mined mine(Data.Pair pair, int k, String rule) throws IOException {
        int row = data.queryRow.get(pair.query());
        Map<String, float[][]> raw = new LinkedHashMap<>();
        queries.forEach((model, rows) -> raw.put(model, new float[][] {rows[row]}));
        float[] query = quarry.transform(raw)[0];
        float[] positive = index.document(pair.positive()).vector();
        List<Hit> hits = index.nearest(query, k, data.excluded.get(pair.query()));
        float[][] candidates = hits.stream().map(Hit::vector).toArray(float[][]::new);
        Pairs one = new Pairs(Vectors.projected(query), Vectors.projected(positive)).add(0, 0);
        return new Mined(quarry.select(one, Vectors.projected(candidates), Options.rule(rule).top(TOP)), hits);
    }

    /** With all documents as hits the negatives are the command line's, byte for byte. */
    private boolean equal(String rule, Path expected) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (Data.Pair pair : data.pairs) {
            lines.append(mine(pair, index.size(), rule).line(pair));
        }
        boolean equal = lines.toString().equals(Files.readString(expected));
        System.err.println("lucene, " + rule + ", all documents: negatives " + (equal ? "equal" : "differ"));
        return equal;
    }

    /**
     * With fewer hits a negative that is no hit is missed, and the one after it moves up. So what is found begins with those negatives of all
     * documents that are hits, in their order and with the same numbers; others follow only where some are missed.
     */
    private boolean within(String rule, int k) throws IOException {
        boolean holds = true;
        int missed = 0;
        for (Data.Pair pair : data.pairs) {
            Mined some = mine(pair, k, rule);
            Map<String, Part.Negative> found = some.negatives();
            Map<String, Part.Negative> hit = mine(pair, index.size(), rule).negatives();
            int all = hit.size();
            hit.keySet().retainAll(some.hits.stream().map(Hit::id).toList());
            missed += all - hit.size();
            List<String> first = found.keySet().stream().limit(hit.size()).toList();
            holds &= first.equals(List.copyOf(hit.keySet()))
                    && hit.entrySet().stream().allMatch(e -> same(e.getValue(), found.get(e.getKey())))
                    && (all < TOP ? found.size() == hit.size() : found.size() >= hit.size() && found.size() <= TOP);
        }
        System.err.println("lucene, " + rule + ", " + k + " hits: " + missed + " negatives missed; the others "
                + (holds ? "as among all documents" : "differ"));
        return holds;
    }

    private static boolean same(Part.Negative a, Part.Negative b) {
        return a.score() == b.score() && a.scoreToPositive() == b.scoreToPositive();
    }

    /** Milliseconds from a raw query to its negatives: transform, 50 hits of Lucene with their vectors, select. */
    private Map<String, Double> measure() throws IOException {
        double[] milliseconds = new double[200];
        for (int i = -20; i < milliseconds.length; i++) {
            Data.Pair pair = data.pairs.get(Math.floorMod(i, data.pairs.size()));
            long t = System.nanoTime();
            mine(pair, HITS, "capped");
            if (i >= 0) {
                milliseconds[i] = (System.nanoTime() - t) / 1e6;
            }
        }
        return Bench.summary(milliseconds);
    }
}
