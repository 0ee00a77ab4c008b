"""The models that are trained: how they score a query and a document, and the losses of Eq. 7 with Eq. 8 and Eq. 9."""

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch.nn.functional import logsigmoid, normalize, relu

from layers import LowerLayers
from texts import ranked
from tokens import Tokens

RANKED = {"cpu": 64, "cuda": 512}  # texts that are embedded or scored at once
QUERIES = 256  # queries that are ranked at once


class Batch:
    """Some pairs: Text of queries and positives, that of negatives with the number of the pair, and ids to tell what is relevant."""

    def __init__(self, pairs, relevant, tokens, negatives):
        queries, documents = tokens
        self.queries = [queries[p["query"]] for p in pairs]
        self.positives = [documents[p["positive"]] for p in pairs]
        self.negatives = [(i, documents[n]) for i, of_pair in enumerate(negatives) for n in of_pair]
        # other[i][j]: the positive of pair j is no judged positive of query i.
        self.other = [[o["positive"] not in relevant[p["query"]] for o in pairs] for p in pairs]


def in_single(forward):
    """Returns a layer's forward that computes in single precision."""
    def run(values):
        with torch.autocast(values.device.type, enabled=False):
            return forward(values.float())
    return run


class Trainee:
    """A model that scores.

    half: it computes in bfloat16, but for a cross-encoder's last layer, since scores of like size decide. layers: how many of the last
    layers are trained; 0 means all, and the embeddings.
    """

    keeps_lower = False  # what lower layers give of a text does not depend on another text

    def __init__(self, model, max_tokens, half, layers):
        self.model, self.device, self.half = model, model.device, half
        self.tokens = Tokens(model, max_tokens)
        for layer in model.modules():
            if half and isinstance(layer, torch.nn.Linear) and layer.out_features == 1:
                layer.forward = in_single(layer.forward)
        self.lower = LowerLayers(model, layers, self.keeps_lower) if layers else None

    def run(self, output, *sides):
        """Returns an output of the model for n texts, or for n queries with a document each."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            if self.lower and self.keeps_lower:
                if new := list({id(text): text for text in sides[0] if text.lower is None}.values()):
                    self.lower.compute(new, self.tokens.features(new, device=self.device))
                self.lower.give(sides[0])
            return self.model(self.tokens.features(*sides, device=self.device))[output].float()

    def run_all(self, output, *sides):
        """Does so for any number, without a gradient, texts of like length together."""
        order = sorted(range(len(sides[0])), key=lambda i: -sum(len(side[i].ids) for side in sides))
        step = RANKED[self.device.type]
        outputs = torch.cat([self.run(output, *([side[i] for i in order[first:first + step]] for side in sides)) for first in range(0, len(order), step)])
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return outputs[back.to(outputs.device)]


class BiEncoder(Trainee):
    """d(a, b) = 1 - cos(a, b), Eq. 8. An in-batch term is the positive of any other pair of the batch."""

    keeps_lower = True

    def __init__(self, folder, device, max_tokens, half=False, layers=0):
        super().__init__(SentenceTransformer(folder, device=device, local_files_only=True), max_tokens, half, layers)

    def embed(self, texts):
        return normalize(self.run("sentence_embedding", texts), dim=-1)

    def embed_all(self, texts):
        return normalize(self.run_all("sentence_embedding", texts), dim=-1)

    def gaps(self, batch, in_batch):
        """Returns d(Q, PD) of each pair, and d(Q, D) - d(Q, PD) of each pair with each of its negatives."""
        queries, positives = self.embed(batch.queries), self.embed(batch.positives)
        near = (queries * positives).sum(-1)  # cosines
        gaps = []
        if batch.negatives:
            of, negatives = zip(*batch.negatives)
            gaps.append(near[list(of)] - (queries[list(of)] * self.embed(negatives)).sum(-1))
        if in_batch:
            others = torch.tensor(batch.other, device=self.device)
            gaps.append((near[:, None] - queries @ positives.T)[others])
        return 1 - near, gaps

    def positives_loss(self, distances):
        return distances.mean()

    def rank(self, queries, documents, candidates, depth):
        """Yields (query, ranking, scores). queries and documents are {id: Text}; the candidates of all queries are ranked together."""
        names, ids = list(queries), list(documents)
        of_queries, of_documents = self.embed_all(list(queries.values())), self.embed_all(list(documents.values()))
        for first in range(0, len(names), QUERIES):
            cosines = of_queries[first:first + QUERIES] @ of_documents.T
            least = cosines.topk(min(depth, len(ids))).values[:, -1:]
            rows, columns = (cosines >= least).nonzero(as_tuple=True)
            found = {query: {} for query in names[first:first + QUERIES]}
            for row, column, cosine in zip(rows.tolist(), columns.tolist(), cosines[rows, columns].tolist()):
                found[names[first + row]][ids[column]] = cosine
            for query, scores in found.items():
                yield query, ranked(scores, depth), scores


class CrossEncoderTrainee(Trainee):
    """d(a, b) = -score(a, b), Eq. 9, where a score is a logit. The in-batch term is the positive of the next pair of the batch."""

    def __init__(self, folder, device, max_tokens, half=False, layers=0):
        super().__init__(CrossEncoder(folder, num_labels=1, device=device, local_files_only=True, max_length=max_tokens), max_tokens, half, layers)

    def scores(self, queries, documents):
        return self.run("scores", queries, documents).flatten()

    def gaps(self, batch, in_batch):
        n = len(batch.queries)
        pairs, split = list(batch.negatives), len(batch.negatives)
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
        """Yields (query, ranking, scores) of the candidates of each query, which are {query: ids}."""
        pairs = [(q, d) for q in queries for d in candidates[q]]
        if not pairs:
            return
        values = self.run_all("scores", [queries[q] for q, _ in pairs], [documents[d] for _, d in pairs]).flatten()
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
