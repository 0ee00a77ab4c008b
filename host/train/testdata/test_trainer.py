"""Tests the trainer's parts on a tiny model: python test_trainer.py MODEL."""

import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import numpy
import torch
import transformers
from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

import quarry_train
from texts import first_relevant, mrr_at_10, ranked
from trainees import Batch, BiEncoder, CrossEncoderTrainee, triplet_loss

MODEL = os.path.abspath(sys.argv.pop(1))
QUERIES = {"q1": "ask1 ask2", "q2": "ask3 ask4", "q3": "ask5"}
DOCUMENTS = {"d1": "doc1 doc2", "d2": "doc3 doc4", "d3": "doc5", "d4": "doc7 doc8", "d5": "doc9"}
RELEVANT = {"q1": ["d1"], "q2": ["d2"], "q3": ["d3", "d1"]}
TRAIN = [{"query": "q1", "positive": "d1", "negatives": ["d4", "d5"]}, {"query": "q2", "positive": "d2", "negatives": ["d5"]},
         {"query": "q3", "positive": "d3", "negatives": ["d4"]}]
FIRST = [p["negatives"][:1] for p in TRAIN]


def job(folder, **changes):
    for name, texts in (("documents", DOCUMENTS), ("queries", QUERIES)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": i, "text": t}) + "\n" for i, t in texts.items())
    part = {"candidates": {q: list(DOCUMENTS) for q in QUERIES}, "all_documents": False}
    return {"kind": "train", "id": "x", "name": "test", "trainee": "bi-encoder", "model": MODEL, "documents": os.path.join(folder, "documents"),
            "queries": os.path.join(folder, "queries"), "train": TRAIN, "relevant": RELEVANT, "validation": part, "test": part, "margin": 0, "slack": 0.1,
            "in_batch": False, "epochs": 2, "batch": 2, "negatives_per_step": 1, "dynamic": 0, "half": False, "layers": 0, "max_tokens": 16, "validations_per_epoch": 4, "learning_rate": 1e-3, "warmup_share": 0.1,
            "seed": 1, "run": os.path.join(folder, "run"), "result": os.path.join(folder, "result"), **changes}


def batch(trainee, pairs=TRAIN, negatives=FIRST):
    return Batch(pairs, RELEVANT, (trainee.tokens.of(QUERIES), trainee.tokens.of(DOCUMENTS)), negatives)


def texts_of(pairs, negatives):
    return [[QUERIES[p["query"]] for p in pairs], [DOCUMENTS[p["positive"]] for p in pairs], [DOCUMENTS[n[0]] for n in negatives]]


class Features(unittest.TestCase):
    """What the model reads is what sentence-transformers would give it."""

    def check(self, trainee, ours, theirs):
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            self.assertEqual(ours[name].tolist(), theirs[name].tolist(), name)

    def test_one_text(self):
        trainee = BiEncoder(MODEL, "cpu", 8)
        trainee.model.max_seq_length = 8
        texts = ["ask1", "doc1 doc2 doc3 ask4 ask5 ask6 ask7", "doc1 doc2 doc3 ask4 ask5 ask6 ask7 doc8", ""]
        rows = list(trainee.tokens.of(dict(enumerate(texts))).values())
        self.check(trainee, trainee.tokens.features(rows, device="cpu"), trainee.model.preprocess(texts))

    def test_a_query_and_a_document(self):
        trainee = CrossEncoderTrainee(MODEL, "cpu", 9)
        pairs = [("ask1", "doc1"), ("ask1 ask2", "doc1 doc2 doc3 doc4 doc5 doc6 doc7"), ("", "doc1 doc2")]
        queries, documents = ([trainee.tokens.of({0: text})[0] for text in side] for side in zip(*pairs))
        self.check(trainee, trainee.tokens.features(queries, documents, device="cpu"), trainee.model.preprocess(pairs))
        long = trainee.tokens.of({0: "ask1 ask2 ask3 ask4 ask5 ask6"})[0]
        cut = trainee.tokens.features([long], [long], device="cpu")["token_type_ids"]
        self.assertEqual((cut.shape[1], cut.sum().item()), (9, 4), "a long query takes half of the room")


class Losses(unittest.TestCase):
    def test_eq7_with_eq8_is_sentence_transformers_triplet_loss(self):
        trainee = BiEncoder(MODEL, "cpu", 16)
        peer = TripletLoss(trainee.model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=0.3)
        with torch.no_grad():
            theirs = peer([trainee.model.preprocess(texts) for texts in texts_of(TRAIN, FIRST)], None)
            ours = triplet_loss(trainee, batch(trainee), 0.3, False)
        self.assertGreater(theirs.item(), 0)
        self.assertAlmostEqual(ours.item(), theirs.item(), places=6)

    def test_eq7_with_eq9(self):
        trainee = CrossEncoderTrainee(MODEL, "cpu", 16)
        trainee.model.eval()
        score = lambda q, d: trainee.model.predict([(q, d)], activation_fn=torch.nn.Identity(), show_progress_bar=False)[0]
        want = numpy.mean([max(0, 0.5 - score(q, p) + score(q, n)) for q, p, n in zip(*texts_of(TRAIN, FIRST))])
        with torch.no_grad():
            self.assertAlmostEqual(triplet_loss(trainee, batch(trainee), 0.5, False).item(), float(want), places=5)

    def test_half_precision_gives_nearly_the_same_and_scores_are_not_rounded(self):
        for kind in (BiEncoder, CrossEncoderTrainee):
            losses = []
            for half in (False, True):
                torch.manual_seed(3)
                trainee = kind(MODEL, "cpu", 16, half)
                trainee.model.eval()
                with torch.no_grad():
                    losses.append(triplet_loss(trainee, batch(trainee), 0.7, False).item())
            self.assertNotEqual(*losses)
            self.assertAlmostEqual(*losses, delta=0.02)
        with torch.no_grad():
            scores = trainee.run_all("scores", *([side[0]] for side in (batch(trainee).queries, batch(trainee).positives)))
        self.assertNotEqual(scores.item(), scores.bfloat16().item())

    def test_layers_that_are_not_trained_are_computed_once(self):
        torch.manual_seed(4)
        config = transformers.BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, max_position_embeddings=32)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(MODEL, folder, dirs_exist_ok=True)
            transformers.BertModel(config).save_pretrained(folder)
            for kind in (BiEncoder, CrossEncoderTrainee):
                losses, gradients = [], []
                for layers in (0, 1):
                    torch.manual_seed(3)
                    trainee = kind(folder, "cpu", 16, layers=layers)
                    trainee.model.eval()
                    some = batch(trainee)
                    for _ in range(2):  # the second time from what is kept
                        trainee.model.zero_grad()
                        loss = triplet_loss(trainee, some, 0.7, True)
                        loss.backward()
                        losses.append(loss.item())
                    gradients.append({name: p.grad for name, p in trainee.model.named_parameters() if p.grad is not None})
                self.assertTrue(numpy.allclose(losses, losses[0], atol=1e-5), losses)
                self.assertLess(len(gradients[1]), len(gradients[0]) / 2)
                last = [next(g for name, g in of.items() if name.endswith(f"layer.{i}.output.dense.weight")) for of, i in zip(gradients, (2, 0 if kind is BiEncoder else 2))]
                self.assertTrue(torch.allclose(*last, atol=1e-5))

    def test_every_negative_of_a_pair_is_a_term(self):
        for kind in (BiEncoder, CrossEncoderTrainee):
            trainee = kind(MODEL, "cpu", 16)
            trainee.model.eval()
            with torch.no_grad():
                _, (both,) = trainee.gaps(batch(trainee, TRAIN[:1], [["d4", "d5"]]), False)
                each = [trainee.gaps(batch(trainee, TRAIN[:1], [[n]]), False)[1][0].item() for n in ("d4", "d5")]
            self.assertTrue(numpy.allclose(both.tolist(), each, atol=1e-5), (both, each))

    def test_a_relevant_document_is_no_in_batch_negative(self):
        trainee = BiEncoder(MODEL, "cpu", 16)
        without = batch(trainee, negatives=[[], [], []])
        self.assertEqual(without.other, [[False, True, True], [True, False, True], [False, True, False]])
        with torch.no_grad():
            q, p = trainee.embed(without.queries), trainee.embed(without.positives)
            cosines = (q @ p.T).tolist()
            terms = [max(0, 0.9 - cosines[i][i] + cosines[i][j]) for i in range(3) for j in range(3) if without.other[i][j]]
            self.assertAlmostEqual(triplet_loss(trainee, without, 0.9, True).item(), float(numpy.mean(terms)), places=5)


class Negatives(unittest.TestCase):
    def drawn(self, **changes):
        with tempfile.TemporaryDirectory() as folder:
            trainer = quarry_train.Trainer(job(folder, **changes))
            trainer.index()
            taken = []
            quarry_train.Batch = lambda pairs, relevant, tokens, negatives: taken.append(negatives)
            try:
                for epoch in range(3):
                    trainer.batch(TRAIN, epoch)
            finally:
                quarry_train.Batch = Batch
            return taken, trainer

    def test_epochs_take_them_in_turn(self):
        self.assertEqual([n[0] for n in self.drawn()[0]], [["d4"], ["d5"], ["d4"]])
        self.assertEqual([n[:2] for n in self.drawn(negatives_per_step=2)[0]], [[["d4", "d5"], ["d5"]]] * 3)

    def test_dynamic_ones_are_near_to_the_query_and_not_relevant(self):
        taken, trainer = self.drawn(dynamic=2)
        for i, pair in enumerate(TRAIN):
            with torch.no_grad():
                cosines = (trainer.trainee.embed([trainer.queries[pair["query"]]]) @ trainer.vectors.T)[0].tolist()
            near = sorted((d for d in DOCUMENTS if d not in RELEVANT[pair["query"]]), key=lambda d: -cosines[list(DOCUMENTS).index(d)])[:2]
            for of_epoch in taken:
                self.assertIn(of_epoch[i][0], near)
                self.assertEqual(len(of_epoch[i]), 1)


class Rankings(unittest.TestCase):
    def test_ties_are_broken_as_trec_eval_does(self):
        self.assertEqual(ranked({"a": 1.0, "c": 1.0, "b": 2.0}, 10), ["b", "c", "a"])
        self.assertEqual(first_relevant(["b", "c", "a"], {"a", "c"}), 2)
        self.assertEqual(mrr_at_10({"q1": 2, "q2": 0, "q3": 11, "q4": 1}), 1.5 / 4)


class Jobs(unittest.TestCase):
    def test_a_margin_below_the_gap_has_no_loss(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(quarry_train.train(job(folder, margin=1e-9, train=[{**TRAIN[0], "negatives": ["d1"]}]))["active_share"], 1)
            trainer = quarry_train.Trainer(job(folder))
            trainer.measure_gap()
            self.assertGreater(trainer.margin, trainer.gap)
            self.assertGreaterEqual(trainer.active, quarry_train.GAP_QUANTILE)
            far = quarry_train.Trainer(job(folder, margin=1e-9))
            far.trainee = quarry_train.load(far.job)  # jobs share the other one
            far.trainee.gaps = lambda batch, in_batch: (torch.ones(1), [torch.ones(2)])
            far.measure_gap()
            self.assertEqual(far.active, 0)

    def test_a_job_with_a_result_is_not_run_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "job")
            j = job(folder)
            for name, content in ((path, json.dumps(j)), (j["result"], "kept")):
                with open(name, "w", encoding="utf-8") as file:
                    file.write(content)
            quarry_train.main([path])
            with open(j["result"], encoding="utf-8") as file:
                self.assertEqual(file.read(), "kept")

    def test_the_same_job_gives_the_same_ranks(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = quarry_train.train(job(folder)), quarry_train.train(job(folder))
            self.assertEqual((first["ranks"], first["history"]), (second["ranks"], second["history"]))

    def test_a_cross_encoder_is_made_of_titles(self):
        with tempfile.TemporaryDirectory() as folder:
            pairs = os.path.join(folder, "titles")
            with open(pairs, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"title": f"ask{i}", "text": f"doc{i}"}) + "\n" for i in range(12))
            made = os.path.join(folder, "made")
            quarry_train.warm_up({"trainee": "cross-encoder", "half": False, "layers": 0, "model": MODEL, "max_tokens": 16, "pairs": pairs, "count": 12, "batch": 4, "learning_rate": 1e-3, "seed": 1, "output": made})
            again = quarry_train.train(job(folder, trainee="cross-encoder", model=made))
            self.assertEqual(set(again["ranks"]), set(QUERIES))


if __name__ == "__main__":
    unittest.main()
