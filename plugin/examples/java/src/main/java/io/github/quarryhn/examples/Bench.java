package io.github.quarryhn.examples;

import com.google.gson.Gson;
import io.github.quarryhn.plugin.Engine;
import io.github.quarryhn.plugin.Engine.Operation;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** Measures calls with the prepared messages, and compares each answer. */
final class Bench {
    private static final byte[] NOTHING = {};

    private final Engine.Instance instance;
    private final Path folder;
    private boolean equal = true;

    private Bench(Engine.Instance instance, Path folder) {
        this.instance = instance;
        this.folder = folder;
    }

    static String line(String host, String version, double start, Engine engine, Path folder, boolean equal) throws IOException {
        try (Engine.Instance instance = engine.open()) {
            Bench bench = new Bench(instance, folder);
            instance.call(Operation.LOAD_PROJECTION, bench.read("projection.safetensors"));
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("host", host);
            line.put("version", version(version));
            line.put("start_ms", round(start));
            line.put("in_mb_s", round(bench.megabytes()));
            line.put("select_raw_ms", bench.selects("select-raw.safetensors"));
            line.put("select_projected_ms", bench.selects("select-projected.safetensors"));
            line.put("equal", equal && bench.equal);
            return new Gson().toJson(line);
        }
    }

    /** A version with that of Java. */
    static String version(String of) {
        return of + ", Java " + Runtime.version().feature();
    }

    private byte[] read(String name) throws IOException {
        return Files.readAllBytes(folder.resolve(name));
    }

    /** Megabytes of documents a second that push takes, by the median of ten. */
    private double megabytes() throws IOException {
        byte[] begin = read("begin.safetensors");
        byte[] push = read("push.safetensors");
        byte[] expected = read("push.part");
        double[] seconds = new double[10];
        for (int i = 0; i < seconds.length; i++) {
            instance.call(Operation.BEGIN, begin);
            long t = System.nanoTime();
            instance.call(Operation.PUSH, push);
            seconds[i] = (System.nanoTime() - t) / 1e9;
            equal &= Arrays.equals(instance.call(Operation.FINISH, NOTHING), expected);
        }
        return push.length / 1e6 / percentile(seconds, 0.5);
    }

    private Map<String, Double> selects(String name) throws IOException {
        byte[] select = read(name);
        byte[] expected = read("select.part");
        double[] milliseconds = new double[200];
        for (int i = -20; i < milliseconds.length; i++) {
            long t = System.nanoTime();
            byte[] part = instance.call(Operation.SELECT, select);
            if (i >= 0) {
                milliseconds[i] = (System.nanoTime() - t) / 1e6;
            }
            equal &= Arrays.equals(part, expected);
        }
        return summary(milliseconds);
    }

    static Map<String, Double> summary(double[] milliseconds) {
        Map<String, Double> line = new LinkedHashMap<>();
        line.put("median", round(percentile(milliseconds, 0.5)));
        line.put("p99", round(percentile(milliseconds, 0.99)));
        return line;
    }

    private static double percentile(double[] values, double p) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[(int) Math.ceil(p * sorted.length) - 1];
    }

    private static double round(double x) {
        return Math.round(x * 1000) / 1000.0;
    }
}
