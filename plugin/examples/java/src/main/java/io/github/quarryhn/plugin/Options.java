package io.github.quarryhn.plugin;

import java.util.Map;
import java.util.TreeMap;

/** Options of {@code begin}, {@code push} and {@code select}, as docs/ABI.md lists them. Each method gives new options. */
public record Options(Map<String, String> values) {
    /** @param rule {@code dual}, {@code topk}, {@code margin}, {@code perc}, {@code capped} or {@code window} */
    public static Options rule(String rule) {
        return new Options(Map.of("rule", rule));
    }

    /** At most so many negatives a pair: 1 to 4,096, by default 5. */
    public Options top(int top) {
        return with("top", Integer.toString(top));
    }

    /** Any other option, as {@code with("perc", "0.9")} or {@code with("zero", "skip")}. */
    public Options with(String option, String value) {
        Map<String, String> more = new TreeMap<>(values);
        more.put(option, value);
        return new Options(more);
    }
}
