package io.github.quarryhn.plugin;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;

/** A message to the plugin or from it: a safetensors file in memory, with tensors and options. */
final class Message {
    private static final Gson GSON = new Gson();

    private record Tensor(String dtype, long[] shape, int bytes, Consumer<ByteBuffer> write) {}

    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    private final Map<String, String> options = new TreeMap<>();

    Message options(Map<String, String> more) {
        options.putAll(more);
        return this;
    }

    /** Adds rows of equal length, F32. The rows are read when the message is encoded. */
    Message add(String name, float[][] rows) {
        int width = rows.length == 0 ? 0 : rows[0].length;
        for (int i = 0; i < rows.length; i++) {
            if (rows[i].length != width) {
                throw new IllegalArgumentException(name + ": row " + i + " has " + rows[i].length + " values, and row 0 has " + width);
            }
        }
        return add(name, "F32", new long[] {rows.length, width}, 4L * rows.length * width, to -> {
            for (float[] row : rows) {
                to.asFloatBuffer().put(row);
                to.position(to.position() + 4 * row.length);
            }
        });
    }

    /** Adds a list of numbers, I64. */
    Message add(String name, long[] values) {
        return add(name, "I64", new long[] {values.length}, 8L * values.length, to -> {
            to.asLongBuffer().put(values);
            to.position(to.position() + 8 * values.length);
        });
    }

    /** Adds a list of bytes, U8. */
    Message add(String name, byte[] values) {
        return add(name, "U8", new long[] {values.length}, values.length, to -> to.put(values));
    }

    private Message add(String name, String dtype, long[] shape, long bytes, Consumer<ByteBuffer> write) {
        tensors.put(name, new Tensor(dtype, shape, Math.toIntExact(bytes), write));
        return this;
    }

    byte[] encode() {
        // Large elements come first, so that each tensor is aligned.
        var order = tensors.entrySet().stream().sorted(Comparator.comparing(e -> switch (e.getValue().dtype) {
            case "I64" -> 0;
            case "F32" -> 1;
            default -> 2;
        })).toList();
        JsonObject header = new JsonObject();
        header.add("__metadata__", GSON.toJsonTree(options));
        int end = 0;
        for (var e : order) {
            Tensor tensor = e.getValue();
            int begin = end;
            end = Math.addExact(begin, tensor.bytes);
            header.add(e.getKey(), GSON.toJsonTree(
                    Map.of("dtype", tensor.dtype, "shape", tensor.shape, "data_offsets", new int[] {begin, end})));
        }
        byte[] json = header.toString().getBytes(StandardCharsets.UTF_8);
        int padded = (json.length + 7) / 8 * 8;
        ByteBuffer out = ByteBuffer.allocate(Math.addExact(8 + padded, end)).order(ByteOrder.LITTLE_ENDIAN);
        out.putLong(padded).put(json).put(" ".repeat(padded - json.length).getBytes(StandardCharsets.UTF_8));
        order.forEach(e -> e.getValue().write.accept(out));
        return out.array();
    }

    /** A message as it came: the header, and the bytes behind it. */
    record Received(JsonObject header, ByteBuffer data) {
        static Received of(byte[] message) {
            ByteBuffer all = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
            int length = Math.toIntExact(all.getLong());
            String json = new String(message, 8, length, StandardCharsets.UTF_8);
            return new Received(GSON.fromJson(json, JsonObject.class), all.position(8 + length).slice().order(ByteOrder.LITTLE_ENDIAN));
        }

        String metadata(String key) {
            JsonElement value = header.getAsJsonObject("__metadata__").get(key);
            return value == null ? null : value.getAsString();
        }

        ByteBuffer bytes(String name) {
            var offsets = tensor(name, "data_offsets");
            return data.slice((int) offsets[0], (int) (offsets[1] - offsets[0])).order(ByteOrder.LITTLE_ENDIAN);
        }

        long[] longs(String name) {
            ByteBuffer from = bytes(name);
            long[] values = new long[from.remaining() / 8];
            from.asLongBuffer().get(values);
            return values;
        }

        double[] doubles(String name) {
            ByteBuffer from = bytes(name);
            double[] values = new double[from.remaining() / 8];
            from.asDoubleBuffer().get(values);
            return values;
        }

        float[][] rows(String name) {
            long[] shape = tensor(name, "shape");
            var from = bytes(name).asFloatBuffer();
            float[][] rows = new float[(int) shape[0]][(int) shape[1]];
            for (float[] row : rows) {
                from.get(row);
            }
            return rows;
        }

        private long[] tensor(String name, String key) {
            return GSON.fromJson(header.getAsJsonObject(name).get(key), long[].class);
        }
    }
}
