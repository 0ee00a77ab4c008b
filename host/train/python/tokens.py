"""Texts as token ids, made once for all jobs of a process: a text is trained on and ranked many times."""

import numpy
import torch


class Text:
    """Token ids of a text, without special tokens; and what lower layers that are not trained give of it, once that is known."""

    def __init__(self, ids):
        self.ids, self.lower = ids, None


class Tokens:
    """What a model reads of texts: their token ids, with its special tokens around one text, or around a query and a document.

    Where both are too long together, the document is cut; a query takes no more than half.
    """

    def __init__(self, model, max_tokens):
        self.tokenizer, self.max_tokens = model.tokenizer, max_tokens
        self.pad = self.tokenizer.pad_token_id or 0
        self.templates = {1: self.template("a"), 2: self.template("a", "b")}
        features = model.preprocess(["a"])
        self.has_types = "token_type_ids" in features
        self.rest = {name: value for name, value in features.items() if not torch.is_tensor(value)}

    def template(self, *texts):
        """Returns the special tokens before, between and after texts, and the token type of the last text."""
        whole = self.tokenizer(*texts, return_token_type_ids=True)
        ids, special, at = whole["input_ids"], [], 0
        for text in texts:
            token = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            start = next((i for i in range(at, len(ids)) if token and ids[i:i + len(token)] == token), None)
            if start is None:
                raise SystemExit("the model's tokenizer does more than put special tokens around texts; name another model with --model")
            special.append(ids[at:start])
            at = start + len(token)
        return special + [ids[at:]], whole["token_type_ids"][start]

    def of(self, texts):
        """Returns {id: Text} of {id: text}."""
        if not texts:
            return {}
        rows = self.tokenizer(list(texts.values()), add_special_tokens=False, truncation=True, max_length=self.max_tokens)["input_ids"]
        return {i: Text(numpy.array(row, dtype=numpy.int64)) for i, row in zip(texts, rows)}

    def features(self, *sides, device):
        """Returns what the model reads of n texts, or of n queries and n documents, each a list of Text."""
        special, kind = self.templates[len(sides)]
        room = self.max_tokens - sum(map(len, special))
        rows, starts = [], []
        for texts in zip(*([text.ids for text in side] for side in sides)):
            if len(texts) == 2:
                query = texts[0][: room // 2]
                texts = (query, texts[1][: room - len(query)])
            row = [part for pair in zip(special, (*texts[:-1], texts[-1][:room])) for part in pair] + [special[-1]]
            rows.append(numpy.concatenate(row).astype(numpy.int64))
            starts.append(sum(map(len, row[:-2])))
        shape = len(rows), max(map(len, rows))
        ids, mask, kinds = numpy.full(shape, self.pad), numpy.zeros(shape, dtype=numpy.int64), numpy.zeros(shape, dtype=numpy.int64)
        for i, (row, start) in enumerate(zip(rows, starts)):
            ids[i, :len(row)], mask[i, :len(row)], kinds[i, start:len(row)] = row, 1, kind
        arrays = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": kinds} if self.has_types else {})
        return self.rest | {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
