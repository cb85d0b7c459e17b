"""One measurement of a peer, or of the machine, in a process of its own; prints a JSON object."""

import argparse
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".models")
MINILM = os.path.join(MODELS, "all-MiniLM-L6-v2")


def best(function, seconds=1.5):
    function()
    result, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        function()
        result = min(result, time.perf_counter() - start)
    return result


def limits(arguments):
    """The machine's own: bytes read a second, multiply-adds a second. The best seen, for a limit."""
    import torch

    torch.set_num_threads(arguments.threads)
    data = torch.ones(1 << 27)
    result = {"read_gb_s": data.numel() * 4 / best(lambda: data.sum()) / 1e9}
    for dtype in ("float32", "bfloat16"):
        a, b = (torch.ones(1024, 1024, dtype=getattr(torch, dtype)) for _ in range(2))
        result[f"gemm_{dtype}_gflop_s"] = 2 * 1024**3 / best(lambda: torch.mm(a, b)) / 1e9
    return result


def batches(arguments):
    with open(arguments.file) as file:
        lines = [line.rstrip("\n") for line in file]
    lines.sort(key=len, reverse=True)
    return [lines[i : i + arguments.batch] for i in range(0, len(lines), arguments.batch)]


def mean_pool(hidden, mask):
    mask = mask[..., None]
    return (hidden * mask).sum(1) / mask.sum(1)


def time_embedding(arguments, embed):
    work = batches(arguments)
    embed(work[0])
    start = time.perf_counter()
    for batch in work:
        embed(batch)
    return {"sentences_s": sum(map(len, work)) / (time.perf_counter() - start)}


def embed_transformers(arguments):
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(arguments.threads)
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    model = AutoModel.from_pretrained(MINILM).eval()

    @torch.inference_mode()
    def embed(texts):
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return mean_pool(model(**inputs).last_hidden_state, inputs["attention_mask"])

    return time_embedding(arguments, embed)


def embed_onnxruntime(arguments):
    import onnxruntime
    from tokenizers import Tokenizer
    import numpy

    tokenizer = Tokenizer.from_file(os.path.join(MINILM, "tokenizer.json"))
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(os.path.join(MODELS, "bench", "minilm.onnx"), options)

    def embed(texts):
        encoded = tokenizer.encode_batch(texts)
        ids, mask, types = (
            numpy.array([getattr(e, name) for e in encoded], numpy.int64) for name in ("ids", "attention_mask", "type_ids")
        )
        (hidden,) = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
        return mean_pool(hidden, mask)

    return time_embedding(arguments, embed)


def sentence_flops(arguments):
    """Multiply-adds x 2 of the encoder for the mean sentence of the file, without padding."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    config = AutoConfig.from_pretrained(MINILM)
    lengths = [len(tokenizer(line)["input_ids"]) for batch in batches(arguments) for line in batch]
    hidden, inner = config.hidden_size, config.intermediate_size
    flops = [config.num_hidden_layers * n * 2 * (4 * hidden**2 + 2 * hidden * inner + 2 * n * hidden) for n in lengths]
    return {"flops": sum(flops) / len(flops), "tokens": sum(lengths) / len(lengths), "sentences": len(lengths)}


def causal_lm(arguments):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    folder = os.path.join(MODELS, "bench", "smollm2", arguments.dtype)
    return torch, AutoModelForCausalLM.from_pretrained(folder, torch_dtype=arguments.dtype).eval()


def generate_transformers(arguments):
    start = time.perf_counter()
    torch, model = causal_lm(arguments)
    loaded = time.perf_counter() - start
    ids = torch.randint(100, 40000, (1, arguments.prompt_tokens), generator=torch.Generator().manual_seed(1))

    def seconds(tokens):
        start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens)
        return time.perf_counter() - start

    seconds(2)
    first = min(seconds(1) for _ in range(2))
    whole = seconds(arguments.new_tokens + 1)
    return {
        "load_s": loaded,
        "prefill_tok_s": arguments.prompt_tokens / first,
        "decode_tok_s": arguments.new_tokens / (whole - first),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def first_embedding(arguments):
    """From nothing to the first embedding, as a script would; the caller takes the time of the process."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(arguments.threads)
    inputs = AutoTokenizer.from_pretrained(MINILM)("a first sentence", return_tensors="pt")
    with torch.inference_mode():
        AutoModel.from_pretrained(MINILM)(**inputs)
    return {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def first_token(arguments):
    torch, model = causal_lm(arguments)
    model.generate(torch.tensor([[1, 504, 3575, 282]]), attention_mask=torch.ones(1, 4), do_sample=False, max_new_tokens=1)
    return {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


MEASUREMENTS = (limits, sentence_flops, embed_transformers, embed_onnxruntime, generate_transformers, first_embedding, first_token)

parser = argparse.ArgumentParser()
parser.add_argument("measurement", choices=[function.__name__ for function in MEASUREMENTS])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--file", default=os.path.join(MODELS, "bench", "sentences.txt"))
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--dtype", default="float32")
parser.add_argument("--prompt-tokens", type=int, default=128)
parser.add_argument("--new-tokens", type=int, default=32)
arguments = parser.parse_args()
measure = next(function for function in MEASUREMENTS if function.__name__ == arguments.measurement)
sys.stdout.write(json.dumps(measure(arguments)) + "\n")
