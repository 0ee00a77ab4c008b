"""Tests the trainer's parts on a tiny model: python test_trainer.py MODEL."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import numpy
import torch
from sentence_transformers.losses import TripletDistanceMetric, TripletLoss

import quarry_train
from texts import first_relevant, mrr_at_10, ranked
from trainees import Batch, BiEncoder, CrossEncoderTrainee, triplet_loss

MODEL = os.path.abspath(sys.argv.pop(1))
QUERIES = {"q1": "ask1 ask2", "q2": "ask3 ask4", "q3": "ask5"}
DOCUMENTS = {"d1": "doc1 doc2", "d2": "doc3 doc4", "d3": "doc5", "d4": "doc7 doc8", "d5": "doc9"}
RELEVANT = {"q1": ["d1"], "q2": ["d2"], "q3": ["d3", "d1"]}
TRAIN = [{"query": "q1", "positive": "d1", "negatives": ["d4", "d5"]}, {"query": "q2", "positive": "d2", "negatives": ["d5"]},
         {"query": "q3", "positive": "d3", "negatives": ["d4"]}]
BATCH = Batch(TRAIN, {"relevant": RELEVANT}, (QUERIES, DOCUMENTS), 0)


def job(folder, **changes):
    for name, texts in (("documents", DOCUMENTS), ("queries", QUERIES)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": i, "text": t}) + "\n" for i, t in texts.items())
    part = {"candidates": {q: list(DOCUMENTS) for q in QUERIES}, "all_documents": False}
    return {"kind": "train", "id": "x", "name": "test", "trainee": "bi-encoder", "model": MODEL, "documents": os.path.join(folder, "documents"),
            "queries": os.path.join(folder, "queries"), "train": TRAIN, "relevant": RELEVANT, "validation": part, "test": part, "margin": 0, "slack": 0.1,
            "in_batch": False, "epochs": 2, "batch": 2, "max_tokens": 16, "validations_per_epoch": 4, "learning_rate": 1e-3, "warmup_share": 0.1,
            "seed": 1, "run": os.path.join(folder, "run"), "result": os.path.join(folder, "result"), **changes}


class Losses(unittest.TestCase):
    def test_eq7_with_eq8_is_sentence_transformers_triplet_loss(self):
        trainee = BiEncoder(MODEL, "cpu", 16)
        peer = TripletLoss(trainee.model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=0.3)
        with torch.no_grad():
            theirs = peer([trainee.model.preprocess(texts) for texts in (BATCH.queries, BATCH.positives, BATCH.negatives)], None)
            ours = triplet_loss(trainee, BATCH, 0.3, False)
        self.assertGreater(theirs.item(), 0)
        self.assertAlmostEqual(ours.item(), theirs.item(), places=6)

    def test_eq7_with_eq9(self):
        trainee = CrossEncoderTrainee(MODEL, "cpu", 16)
        trainee.network.eval()
        score = lambda q, d: trainee.model.predict([(q, d)], activation_fn=torch.nn.Identity(), show_progress_bar=False)[0]
        want = numpy.mean([max(0, 0.5 - score(q, p) + score(q, n)) for q, p, n in zip(BATCH.queries, BATCH.positives, BATCH.negatives)])
        with torch.no_grad():
            self.assertAlmostEqual(triplet_loss(trainee, BATCH, 0.5, False).item(), float(want), places=5)

    def test_a_relevant_document_is_no_in_batch_negative(self):
        self.assertEqual(BATCH.other, [[False, True, True], [True, False, True], [False, True, False]])
        trainee = BiEncoder(MODEL, "cpu", 16)
        with torch.no_grad():
            q, p = trainee.embed(BATCH.queries), trainee.embed(BATCH.positives)
            cosines = (q @ p.T).tolist()
            terms = [max(0, 0.9 - cosines[i][i] + cosines[i][j]) for i in range(3) for j in range(3) if BATCH.other[i][j]]
            without = Batch([{**pair, "negatives": []} for pair in TRAIN], {"relevant": RELEVANT}, (QUERIES, DOCUMENTS), 0)
            self.assertAlmostEqual(triplet_loss(trainee, without, 0.9, True).item(), float(numpy.mean(terms)), places=5)

    def test_epochs_take_the_negatives_in_turn(self):
        self.assertEqual([Batch(TRAIN[:1], {"relevant": RELEVANT}, (QUERIES, DOCUMENTS), e).negatives[0] for e in range(3)], ["doc7 doc8", "doc9", "doc7 doc8"])


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
            self.assertGreaterEqual(trainer.active, quarry_train.GAP_QUANTILE - 0.35)
            far = quarry_train.Trainer(job(folder, margin=1e-9))
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
            quarry_train.warm_up({"model": MODEL, "max_tokens": 16, "pairs": pairs, "count": 12, "batch": 4, "learning_rate": 1e-3, "seed": 1, "output": made})
            again = quarry_train.train(job(folder, trainee="cross-encoder", model=made))
            self.assertEqual(set(again["ranks"]), set(QUERIES))


if __name__ == "__main__":
    unittest.main()
