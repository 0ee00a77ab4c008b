package io.github.quarryhn.examples;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import io.github.quarryhn.plugin.Part;
import io.github.quarryhn.plugin.Projection;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.LongFunction;

/** A folder of data as quarry reads it: ids, judgements, and vectors of each model in .npy files. */
final class Data {
    /** A query and a document that is relevant to it. */
    record Pair(String query, String positive) {}

    private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();

    final Path folder;
    final List<String> documents;
    final List<String> queries;
    final Map<String, Integer> documentRow = new HashMap<>();
    final Map<String, Integer> queryRow = new HashMap<>();
    final List<Pair> pairs = new ArrayList<>();
    /** By query: documents that are never its negatives, which are those judged relevant to it, and itself. */
    final Map<String, Set<String>> excluded = new LinkedHashMap<>();

    Data(Path folder) throws IOException {
        this.folder = folder;
        documents = ids(folder.resolve("corpus.jsonl"), documentRow);
        queries = ids(folder.resolve("queries.jsonl"), queryRow);
        for (String split : List.of("train", "test")) {
            for (Pair pair : judged(folder.resolve("qrels/" + split + ".tsv"))) {
                pairs.add(pair);
                excluded.computeIfAbsent(pair.query, q -> new TreeSet<>(documentRow.containsKey(q) ? Set.of(q) : Set.of())).add(pair.positive);
            }
        }
    }

    /** The pairs whose score is above 0. The first line may name the columns. */
    static List<Pair> judged(Path tsv) throws IOException {
        List<Pair> pairs = new ArrayList<>();
        List<String> lines = Files.readAllLines(tsv);
        for (int i = 0; i < lines.size(); i++) {
            String[] field = lines.get(i).split("\t");
            try {
                if (Double.parseDouble(field[2]) > 0) {
                    pairs.add(new Pair(field[0], field[1]));
                }
            } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
                if (i > 0) {
                    throw new IOException(tsv + ":" + (i + 1) + ": expected query, document and score, separated by tabs", e);
                }
            }
        }
        return pairs;
    }

    private static List<String> ids(Path jsonl, Map<String, Integer> row) throws IOException {
        List<String> ids = new ArrayList<>();
        for (String line : Files.readAllLines(jsonl)) {
            String id = GSON.fromJson(line, JsonObject.class).get("_id").getAsString();
            row.put(id, ids.size());
            ids.add(id);
        }
        return ids;
    }

    /** The vectors of all models: side is {@code docs} or {@code queries}. */
    Map<String, float[][]> vectors(Projection projection, String side) throws IOException {
        Map<String, float[][]> models = new LinkedHashMap<>();
        for (Projection.Model model : projection.models()) {
            models.put(model.name(), npy(folder.resolve("vectors").resolve(model.name()).resolve(side + ".npy"), model.width()));
        }
        return models;
    }

    /** Reads rows of float16, as the example has them; each is a float32 exactly. */
    private static float[][] npy(Path file, int width) throws IOException {
        ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        int begin = 10 + in.getShort(8);
        String header = StandardCharsets.US_ASCII.decode(in.slice(10, begin - 10)).toString();
        if (!header.contains("'<f2'") || header.contains("'fortran_order': True")) {
            throw new IOException(file + ": this example reads float16 in C order, and the file has " + header.strip());
        }
        in.position(begin);
        float[][] rows = new float[in.remaining() / 2 / width][width];
        for (float[] row : rows) {
            for (int i = 0; i < width; i++) {
                row[i] = Float.float16ToFloat(in.getShort());
            }
        }
        return rows;
    }

    /** A line of negatives.jsonl. */
    static String line(Pair pair, Part part, int index, List<Part.Negative> negatives, LongFunction<String> id) {
        StringBuilder out = new StringBuilder("{\"query_id\":").append(GSON.toJson(pair.query)).append(",\"positive_id\":")
                .append(GSON.toJson(pair.positive)).append(",\"d_q_pd\":").append(number(1 - part.positiveScore(index))).append(",\"negatives\":[");
        for (int i = 0; i < negatives.size(); i++) {
            Part.Negative n = negatives.get(i);
            out.append(i == 0 ? "" : ",").append("{\"id\":").append(GSON.toJson(id.apply(n.position()))).append(",\"rank\":").append(i + 1)
                    .append(",\"d_q_d\":").append(number(1 - n.score())).append(",\"d_pd_d\":").append(number(1 - n.scoreToPositive())).append('}');
        }
        out.append(']');
        if (negatives.isEmpty()) {
            out.append(",\"none\":\"").append(part.window(index) ? "eq6" : "window").append('"');
        }
        return out.append("}\n").toString();
    }

    /** The shortest decimal that parses back, as JavaScript writes numbers of this size. */
    private static String number(double x) {
        BigDecimal shortest = new BigDecimal(Double.toString(x)).stripTrailingZeros();
        return Math.abs(x) >= 1e-6 || x == 0 ? shortest.toPlainString() : shortest.toString().replace('E', 'e');
    }
}
