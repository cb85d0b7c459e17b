"""Records what transformers 4.53.3 answers on the two models of `make demo`: data/minilm.json and data/smollm2.json.

Run with the environment that `make bench` makes, after it: .deps/bench-venv/bin/python tests/product/make_data.py
The tokenizer of SmolLM2 is built from the GGUF's vocabulary, since transformers' own GGUF reader takes it for Llama's.
"""

import glob
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "../../.models")

TEXTS = [
    "The cat sleeps on the warm windowsill.",
    "A kitten is dozing in the sun by the window.",
    "Die Zentralbank hat die Zinsen erneut erhöht – um 0,25 Prozentpunkte!",
    "x = [i**2 for i in range(10)]  # squares",
    "",
    "日本語の短い文と emoji 🙂 in one line",
]
PROMPTS = [
    "Once upon a time",
    "The capital of France is",
    "def fibonacci(n):\n",
    "Water boils at 100 degrees because",
    "Dear Sir or Madam,",
    "1, 1, 2, 3, 5, 8, 13,",
    "The three primary colours are",
    "In the year 1969, people",
    "A recipe for pancakes:\n\n1.",
    "Der Unterschied zwischen einem See und dem Meer",
]


@torch.inference_mode()
def minilm():
    folder = os.path.join(MODELS, "all-MiniLM-L6-v2")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt")
        vector = model(**inputs).last_hidden_state.mean(1)[0]
        yield {"text": text, "ids": inputs["input_ids"][0].tolist(), "embedding": [float(f"{x:.8g}") for x in vector.tolist()]}


@torch.inference_mode()
def smollm2():
    (path,) = glob.glob(os.path.join(MODELS, "SmolLM2-135M-Instruct/*.gguf"))
    fields = gguf.GGUFReader(path).fields
    vocabulary = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"].contents())}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    model = AutoModelForCausalLM.from_pretrained(os.path.join(MODELS, "bench/smollm2/float32"))
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        inputs = torch.tensor([ids])
        output = model.generate(inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=64)[0, len(ids) :].tolist()
        yield {"prompt": prompt, "prompt_ids": ids, "ids": output, "text": tokenizer.decode(output)}


for name, cases in (("minilm", minilm()), ("smollm2", smollm2())):
    with open(os.path.join(HERE, "data", name + ".json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
