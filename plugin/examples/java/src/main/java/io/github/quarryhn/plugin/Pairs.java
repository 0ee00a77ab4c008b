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
    private final Map<Integer, TreeSet<Long>> together = new TreeMap<>();

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

    /** Says that the rule must hold for this row of the positives in each pair of that query. */
    public Pairs together(int query, int positive) {
        together.computeIfAbsent(query, q -> new TreeSet<>()).add((long) positive);
        return this;
    }

    Message message(Options options) {
        Message message = new Message().options(options.values());
        queries.addTo(message, "queries");
        positives.addTo(message, "positives");
        message.add("pair_query", pairs.stream().mapToLong(p -> p[0]).toArray());
        message.add("pair_positive", pairs.stream().mapToLong(p -> p[1]).toArray());
        lists(message, "exclude", excluded);
        lists(message, "together", together);
        return message;
    }

    private void lists(Message message, String name, Map<Integer, TreeSet<Long>> lists) {
        if (lists.isEmpty()) {
            return;
        }
        long[] offsets = new long[queries.models().values().iterator().next().length + 1];
        for (int i = 1; i < offsets.length; i++) {
            offsets[i] = offsets[i - 1] + lists.getOrDefault(i - 1, new TreeSet<>()).size();
        }
        message.add(name + "_offsets", offsets);
        message.add(name, lists.values().stream().flatMap(TreeSet::stream).mapToLong(Long::longValue).toArray());
    }
}
