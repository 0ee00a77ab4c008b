package io.github.quarryhn.plugin;

import java.util.Map;

/** Rows of vectors: raw, those of each model under its name; or projected, one vector a row, under no name. */
public record Vectors(Map<String, float[][]> models) {
    /** Vectors as the models made them. The plugin fuses and projects them, which is most of the work of a call. */
    public static Vectors raw(Map<String, float[][]> models) {
        return new Vectors(models);
    }

    /** Vectors as {@link Quarry#transform} gives them. */
    public static Vectors projected(float[]... rows) {
        return new Vectors(Map.of("", rows));
    }

    int rows() {
        return models.values().stream().mapToInt(rows -> rows.length).max().orElse(0);
    }

    void addTo(Message message, String kind) {
        models.forEach((model, rows) -> message.add(model.isEmpty() ? kind : kind + "/" + model, rows));
    }
}
