package io.github.quarryhn.plugin;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** A result for ranges of documents. Parts of other ranges are joined with it by {@link Quarry#merge}. */
public final class Part {
    /** A negative: the document's position, s(Q,D) and s(PD,D). */
    public record Negative(long position, double score, double scoreToPositive) {}

    private final byte[] bytes;
    private final long[] offsets;
    private final long[] position;
    private final double[] positiveScore;
    private final double[] score;
    private final double[] scoreToPositive;
    private final ByteBuffer window;

    /** Reads a part, as {@link #bytes} gives it. */
    public Part(byte[] bytes) {
        this.bytes = bytes;
        var message = Message.Received.of(bytes);
        offsets = message.longs("offsets");
        position = message.longs("position");
        positiveScore = message.doubles("s_q_pd");
        score = message.doubles("s_q_d");
        scoreToPositive = message.doubles("s_pd_d");
        window = message.bytes("window");
    }

    /** The part as a safetensors file, to keep or to send. */
    public byte[] bytes() {
        return bytes;
    }

    /** How many pairs it is for. */
    public int pairs() {
        return offsets.length - 1;
    }

    /** s(Q,PD) of a pair, from 0. */
    public double positiveScore(int pair) {
        return positiveScore[pair];
    }

    /** Whether any document that is not excluded lay in the rule's window. */
    public boolean window(int pair) {
        return window.get(pair) != 0;
    }

    /** The negatives of a pair, the nearest to the query first. */
    public List<Negative> negatives(int pair) {
        List<Negative> found = new ArrayList<>();
        for (int i = (int) offsets[pair]; i < offsets[pair + 1]; i++) {
            found.add(new Negative(position[i], score[i], scoreToPositive[i]));
        }
        return found;
    }
}
