"""Writes a tiny BERT of random weights that knows the words ask0..., doc0...: python tiny_model.py FOLDER WORDS."""

import os
import sys

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

folder, words = sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
os.makedirs(folder + ".bert", exist_ok=True)
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [kind + str(i) for kind in ("ask", "doc") for i in range(words)]
with open(folder + ".bert/vocab.txt", "w", encoding="utf-8") as file:
    file.write("\n".join(vocabulary) + "\n")
BertTokenizerFast(folder + ".bert/vocab.txt").save_pretrained(folder + ".bert")
config = BertConfig(vocab_size=len(vocabulary), hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=128,
                    max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2)
BertModel(config).save_pretrained(folder + ".bert")
bert = Transformer(folder + ".bert")
SentenceTransformer(modules=[bert, Pooling(64)], device="cpu").save(folder)
