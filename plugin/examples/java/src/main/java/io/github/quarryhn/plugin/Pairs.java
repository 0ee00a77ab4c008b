package io.github.quarryhn.plugin;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/** Queries, each with positives, and the documents that are never its negatives. */
public final class Pairs {
    private final Vectors queries;
    private final Vectors positives;
    private final List<long[]> pairs = new ArrayList<>();
    private final Map<Integer, TreeSet<Long>> excluded = new TreeMap<>();

    /** @param queries each query once
     *  @param positives each positive document once */
    public Pairs(Vectors queries, Vectors positives) {
        this.queries = queries;
        this.positives = positives;
    }

    /** Adds a pair: a row of the queries and a row of the positives, from 0. Results are in the order of these calls. */
    public Pairs add(int query, int positive) {
        pairs.add(new long[] {query, positive});
        return this;
    }

    /** Says that the document at a position is never a negative of that query. The positives belong here too. */
    public Pairs exclude(int query, long position) {
        excluded.computeIfAbsent(query, q -> new TreeSet<>()).add(position);
        return this;
    }

    Message message(Options options) {
        Message message = new Message().options(options.values());
        queries.addTo(message, "queries");
        positives.addTo(message, "positives");
        message.add("pair_query", pairs.stream().mapToLong(p -> p[0]).toArray());
        message.add("pair_positive", pairs.stream().mapToLong(p -> p[1]).toArray());
        long[] offsets = new long[queries.rows() + 1];
        for (int i = 1; i < offsets.length; i++) {
            offsets[i] = offsets[i - 1] + excluded.getOrDefault(i - 1, new TreeSet<>()).size();
        }
        message.add("exclude_offsets", offsets);
        message.add("exclude", excluded.values().stream().flatMap(TreeSet::stream).mapToLong(Long::longValue).toArray());
        return message;
    }
}
