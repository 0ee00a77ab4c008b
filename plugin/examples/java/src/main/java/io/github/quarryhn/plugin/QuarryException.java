package io.github.quarryhn.plugin;

import com.google.gson.Gson;
import com.google.gson.JsonParseException;

/** An error of the plugin. docs/ABI.md lists the codes. */
public final class QuarryException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final String code;
    private final String tensor;
    private final Long row;

    QuarryException(String code, String message, String tensor, Long row, Throwable cause) {
        super(message, cause);
        this.code = code;
        this.tensor = tensor;
        this.row = row;
    }

    /** What failed, for a program: {@code zero_vector}, {@code mismatch} … */
    public String code() {
        return code;
    }

    /** The tensor of the message that the error is about, as {@code documents/minilm}; null if it is about none. */
    public String tensor() {
        return tensor;
    }

    /** The row of that tensor, from 0; null if the error is about none. */
    public Long row() {
        return row;
    }

    /** Reads an error as the plugin writes it. Anything else is what the runtime says of a trap. */
    static QuarryException of(String json, Throwable cause) {
        record Fault(String code, String message, String tensor, Long row) {}
        try {
            Fault fault = new Gson().fromJson(json, Fault.class);
            if (fault != null && fault.code != null) {
                return new QuarryException(fault.code, fault.message, fault.tensor, fault.row, cause);
            }
        } catch (JsonParseException e) {
            // not the plugin's
        }
        return new QuarryException("internal", json == null || json.isEmpty() ? String.valueOf(cause) : json, null, null, cause);
    }
}
