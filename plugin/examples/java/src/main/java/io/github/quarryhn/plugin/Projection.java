package io.github.quarryhn.plugin;

import com.google.gson.Gson;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * What a projection file says of itself.
 *
 * @param models the models whose vectors it takes
 * @param fingerprint the SHA-256 of the file; vectors that another projection made are not to be compared with those of this one
 */
public record Projection(List<Model> models, String fingerprint) {
    /** A model: the width of its vectors, and its weight. */
    public record Model(String name, int width, double weight) {}

    Projection(byte[] file) {
        this(List.of(new Gson().fromJson(Message.Received.of(file).metadata("models"), Model[].class)), sha256(file));
    }

    private static String sha256(byte[] file) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(file));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every Java has it
        }
    }
}
