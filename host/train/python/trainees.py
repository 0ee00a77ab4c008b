"""The models that are trained: how they score a query and a document, and the losses of Eq. 7 with Eq. 8 and Eq. 9."""

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch.nn.functional import logsigmoid, normalize, relu

from texts import ranked


class Batch:
    """Some pairs: texts of queries, positives and negatives, where a negative may be None, and ids to tell what is relevant."""

    def __init__(self, pairs, job, texts, epoch):
        queries, documents = texts
        self.queries = [queries[p["query"]] for p in pairs]
        self.positives = [documents[p["positive"]] for p in pairs]
        # Each epoch takes the next of a pair's negatives, so every rule gives a pair as many steps.
        self.negatives = [documents[p["negatives"][epoch % len(p["negatives"])]] if p["negatives"] else None for p in pairs]
        # other[i][j]: the positive of pair j is no judged positive of query i.
        self.other = [[o["positive"] not in job["relevant"][p["query"]] for o in pairs] for p in pairs]


class BiEncoder:
    """d(a, b) = 1 - cos(a, b), Eq. 8. An in-batch term is the positive of any other pair of the batch."""

    def __init__(self, folder, device, max_tokens):
        self.model = SentenceTransformer(folder, device=device, local_files_only=True)
        self.model.max_seq_length = max_tokens
        self.network = self.model
        self.device = self.model.device

    def embed(self, texts):
        features = self.model.preprocess(texts)
        features = {k: v.to(self.device) if hasattr(v, "to") else v for k, v in features.items()}
        return normalize(self.model(features)["sentence_embedding"], dim=-1)

    def gaps(self, batch, in_batch):
        """Returns d(Q, PD) of each pair, and d(Q, D) - d(Q, PD) of each pair with each of its negatives."""
        queries, positives = self.embed(batch.queries), self.embed(batch.positives)
        near = (queries * positives).sum(-1)  # cosines
        gaps = []
        have = [i for i, text in enumerate(batch.negatives) if text is not None]
        if have:
            negatives = self.embed([batch.negatives[i] for i in have])
            gaps.append(near[have] - (queries[have] * negatives).sum(-1))
        if in_batch:
            others = torch.tensor(batch.other, device=self.device)
            gaps.append((near[:, None] - queries @ positives.T)[others])
        return 1 - near, gaps

    def positives_loss(self, distances):
        return distances.mean()

    def rank(self, queries, documents, candidates, depth):
        """Yields (query, ranking, scores). candidates is {query: ids}, or None for all documents."""
        ids = list(documents)
        encode = lambda texts: self.model.encode(texts, batch_size=64, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)
        of_documents, of_queries = encode(list(documents.values())), encode(list(queries.values()))
        at = {document: i for i, document in enumerate(ids)}
        for query, vector in zip(queries, of_queries):
            cosines = of_documents @ vector
            if candidates is not None:
                rows = torch.tensor([at[d] for d in candidates[query]], device=cosines.device, dtype=torch.long)
            else:
                least = cosines.topk(min(depth, len(ids))).values[-1]
                rows = (cosines >= least).nonzero().flatten()
            scores = dict(zip((ids[i] for i in rows.tolist()), cosines[rows].tolist()))
            yield query, ranked(scores, depth), scores


class CrossEncoderTrainee:
    """d(a, b) = -score(a, b), Eq. 9, where a score is a logit. The in-batch term is the positive of the next pair of the batch."""

    def __init__(self, folder, device, max_tokens):
        self.model = CrossEncoder(folder, num_labels=1, device=device, local_files_only=True, max_length=max_tokens)
        self.network = self.model
        self.device = self.model.device

    def scores(self, queries, documents):
        features = self.model.preprocess(list(zip(queries, documents)))
        features = {k: v.to(self.device) if hasattr(v, "to") else v for k, v in features.items()}
        return self.model(features)["scores"].flatten()

    def gaps(self, batch, in_batch):
        n = len(batch.queries)
        pairs = [(i, batch.negatives[i]) for i in range(n) if batch.negatives[i] is not None]
        split = len(pairs)
        if in_batch:
            pairs += [(i, batch.positives[(i + 1) % n]) for i in range(n) if batch.other[i][(i + 1) % n]]
        scores = self.scores(batch.queries + [batch.queries[i] for i, _ in pairs], batch.positives + [text for _, text in pairs])
        near = scores[:n]
        gaps = near[[i for i, _ in pairs]] - scores[n:]
        return -near, [g for g in (gaps[:split], gaps[split:]) if len(g)]

    def positives_loss(self, distances):
        # -score has no least value, so the logistic loss stands in for it.
        return -logsigmoid(-distances).mean()

    def rank(self, queries, documents, candidates, depth):
        pairs = [(q, d) for q in queries for d in candidates[q]]
        if not pairs:
            return
        values = self.model.predict([(queries[q], documents[d]) for q, d in pairs], batch_size=64, show_progress_bar=False,
                                    activation_fn=torch.nn.Identity())
        scores = {q: {} for q in queries}
        for (query, document), value in zip(pairs, values.tolist()):
            scores[query][document] = value
        for query, of_query in scores.items():
            yield query, ranked(of_query, depth), of_query


def triplet_loss(trainee, batch, margin, in_batch):
    """Eq. 7: the mean of max(0, margin + d(Q, PD) - d(Q, D)), of given negatives and, beside them, of in-batch ones.

    Where there are neither, which is the control with positives only, it is the distance of query and positive.
    """
    distances, gaps = trainee.gaps(batch, in_batch)
    gaps = [g for g in gaps if g.numel()]
    if not gaps:
        return trainee.positives_loss(distances)
    return sum(relu(margin - g).mean() for g in gaps)


TRAINEES = {"bi-encoder": BiEncoder, "cross-encoder": CrossEncoderTrainee}
