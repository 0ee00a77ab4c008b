package io.github.quarryhn.examples;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Term;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.KnnFloatVectorQuery;
import org.apache.lucene.search.MatchAllDocsQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.TermInSetQuery;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.util.BytesRef;

/** An index of projected vectors, as a search platform keeps it. */
final class LuceneIndex implements AutoCloseable {
    private static final String ID = "id";
    private static final String POSITION = "position";
    private static final String VECTOR = "vector";
    private static final String PROJECTION = "projection";

    /** A document that was found. Hits in the order of positions break ties as quarry does. */
    record Hit(String id, int position, float[] vector) {}

    private final Directory directory;
    private final DirectoryReader reader;
    private final IndexSearcher searcher;

    /** Writes an index anew. The projection's fingerprint goes into the commit. */
    static void write(Path folder, List<String> ids, float[][] projected, String fingerprint) throws IOException {
        try (Directory directory = FSDirectory.open(folder);
                IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig().setOpenMode(IndexWriterConfig.OpenMode.CREATE))) {
            for (int i = 0; i < projected.length; i++) {
                Document document = new Document();
                document.add(new StringField(ID, ids.get(i), Field.Store.YES));
                document.add(new StoredField(POSITION, i));
                document.add(new KnnFloatVectorField(VECTOR, projected[i], VectorSimilarityFunction.COSINE));
                writer.addDocument(document);
            }
            writer.setLiveCommitData(Map.of(PROJECTION, fingerprint).entrySet());
            writer.commit();
        }
    }

    LuceneIndex(Path folder, String fingerprint) throws IOException {
        directory = FSDirectory.open(folder);
        reader = DirectoryReader.open(directory);
        searcher = new IndexSearcher(reader);
        if (!fingerprint.equals(reader.getIndexCommit().getUserData().get(PROJECTION))) {
            throw new IOException(folder + ": the vectors of this index were made by another projection; index the documents again");
        }
    }

    int size() {
        return reader.numDocs();
    }

    /** The k documents nearest to a vector, without those excluded, in the order of their positions. */
    List<Hit> nearest(float[] vector, int k, Collection<String> excluded) throws IOException {
        Query others = new BooleanQuery.Builder()
                .add(MatchAllDocsQuery.INSTANCE, Occur.FILTER)
                .add(new TermInSetQuery(ID, excluded.stream().map(BytesRef::new).toList()), Occur.MUST_NOT)
                .build();
        return hits(new KnnFloatVectorQuery(VECTOR, vector, k, others), k);
    }

    Hit document(String id) throws IOException {
        return hits(new TermQuery(new Term(ID, id)), 1).getFirst();
    }

    private List<Hit> hits(Query query, int k) throws IOException {
        ScoreDoc[] found = searcher.search(query, k).scoreDocs;
        List<Hit> hits = new ArrayList<>();
        for (ScoreDoc score : found) {
            LeafReaderContext leaf = reader.leaves().get(ReaderUtil.subIndex(score.doc, reader.leaves()));
            FloatVectorValues values = leaf.reader().getFloatVectorValues(VECTOR);
            var row = values.iterator();
            row.advance(score.doc - leaf.docBase);
            Document document = searcher.storedFields().document(score.doc);
            int position = document.getField(POSITION).numericValue().intValue();
            hits.add(new Hit(document.get(ID), position, values.vectorValue(row.index()).clone())); // Lucene uses the array again
        }
        hits.sort(Comparator.comparingInt(Hit::position));
        return hits;
    }

    @Override
    public void close() throws IOException {
        reader.close();
        directory.close();
    }
}
