"""Lower layers that are not trained: what they give of a text stays the same, so a bi-encoder computes it once."""

import torch


class Given(torch.nn.Module):
    """Stands for embeddings and lower layers: it gives what was computed before."""

    def forward(self, *_, **__):
        return self.hidden


class LowerLayers:
    """All of a model below its last layers. keeps: the model takes what they give from here, by text; else they are only left untrained."""

    def __init__(self, model, trained, keeps):
        base = model[0].auto_model
        base = getattr(base, base.base_model_prefix, base)
        layers = getattr(getattr(base, "encoder", None), "layer", None)
        if layers is None or not hasattr(base, "embeddings") or trained >= len(layers):
            raise SystemExit(f"the model has no embeddings with more than {trained} layers upon them, as BERT has; leave out --layers")
        self.base, self.embeddings, self.layers = base, base.embeddings, layers[:-trained]
        for module in (self.embeddings, self.layers):
            module.requires_grad_(False)
        if keeps:
            self.upper, self.given = layers[-trained:], Given()
            base.embeddings, base.encoder.layer = self.given, self.upper

    def compute(self, texts, features):
        """Keeps what the layers give of texts. features are those of the same texts."""
        training = self.base.training
        self.base.eval()
        self.base.embeddings, self.base.encoder.layer = self.embeddings, self.layers
        with torch.no_grad():
            hidden = self.base(**{name: value for name, value in features.items() if torch.is_tensor(value)}).last_hidden_state
        self.base.embeddings, self.base.encoder.layer = self.given, self.upper
        self.base.train(training)
        for text, rows, length in zip(texts, hidden, features["attention_mask"].sum(-1).tolist()):
            text.lower = rows[:length].clone()

    def give(self, texts):
        """Lets the model's next run go on from what is kept of texts."""
        self.given.hidden = torch.nn.utils.rnn.pad_sequence([text.lower for text in texts], batch_first=True)
