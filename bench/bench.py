"""Runs every contender of every figure in turn, A B A B …, and writes the medians to docs/measurements.md.

Each figure of ours comes from `backplane bench … --json`, each of a peer from bench/peer.py, each in a process of its own.
"""

import datetime
import glob
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PYTHON = sys.argv[1]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BACKPLANE = os.path.join(ROOT, "build/bin/backplane")
MINILM = os.path.join(ROOT, ".models/all-MiniLM-L6-v2")
SMOLLM = os.path.join(ROOT, ".models/SmolLM2-135M-Instruct")
SMOLLM = next(iter(glob.glob(os.path.join(SMOLLM, "*.gguf"))), SMOLLM)  # a folder from the hub, or the PyPI package's one file
SENTENCES = os.path.join(ROOT, ".models/bench/sentences.txt")
PROMPT_TOKENS, NEW_TOKENS, BATCH = 128, 32, 32
REPORT = []


def say(text=""):
    print(text, flush=True)
    REPORT.append(text)


def run(command, **environment):
    """The command's JSON, with `wall_s` and `rss_mb` as the operating system saw them."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        text = out.read().decode()
        if process.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} failed:\n{text[-2000:]}{err.read().decode()[-2000:]}")
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return {**(json.loads(lines[-1]) if lines else {}), "wall_s": wall, "rss_mb": usage.ru_maxrss / 1024}


def ours(*arguments, **environment):
    return lambda: run([BACKPLANE, *map(str, arguments)], **environment)


def peer(*arguments):
    return lambda: run([PYTHON, os.path.join(ROOT, "bench/peer.py"), *map(str, arguments)])


def interleaved(contenders):
    """name -> key -> the median over the rounds."""
    results = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, measure in contenders.items():
            results[name].append(measure())
    return {
        name: {key: statistics.median(r[key] for r in runs) for key, value in runs[0].items() if isinstance(value, (int, float))}
        for name, runs in results.items()
    }


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    say("| " + " | ".join(head) + " |")
    say("|" + " --- |" * len(head))
    for row in rows:
        say("| " + " | ".join(row) + " |")
    say()


def rate_row(title, unit, medians, key, limit):
    """One figure: ours, each peer with the ratio ours/peer, the physical limit and our share of it."""
    own = medians["backplane"][key]
    cells = [f"{name} {number(m[key])} ({own / m[key]:.2f}x)" for name, m in medians.items() if name != "backplane"]
    return [title, f"**{number(own)}** {unit}", ", ".join(cells), f"{number(limit)} ({100 * own / limit:.0f} %)"]


def speed():
    limits = {threads: run([PYTHON, "bench/peer.py", "limits", "--threads", str(threads)]) for threads in (1, 2)}
    flops = run([PYTHON, "bench/peer.py", "sentence_flops"])
    weights = {"float32": 538.1e6, "bfloat16": 269.1e6}  # bytes read for each token: every parameter once
    prefill_flops = 2 * (134.5e6 - 49152 * 576)  # for each token: every parameter but the embedding, multiply and add
    rows = []
    for threads in (1, 2):
        medians = interleaved(
            {
                "backplane": ours("bench", "embed", MINILM, "--file", SENTENCES, "--batch", BATCH, "--threads", threads, "--json"),
                "transformers": peer("embed_transformers", "--threads", threads, "--batch", BATCH),
                "onnxruntime": peer("embed_onnxruntime", "--threads", threads, "--batch", BATCH),
            }
        )
        limit = limits[threads]["gemm_float32_gflop_s"] * 1e9 / flops["flops"]
        rows.append(rate_row(f"embeddings, float32, {threads} thread(s)", "sentences/s", medians, "sentences_s", limit))
    for dtype in ("float32", "bfloat16"):
        for threads in (1, 2):
            common = ["--dtype", dtype, "--prompt-tokens", PROMPT_TOKENS, "--new-tokens", NEW_TOKENS, "--threads", threads]
            medians = interleaved(
                {
                    "backplane": ours("bench", SMOLLM, *common, "--batch", 1, "--json"),
                    "transformers": peer("generate_transformers", *common),
                }
            )
            limit = limits[threads][f"gemm_{dtype}_gflop_s"] * 1e9 / prefill_flops
            rows.append(rate_row(f"prefill, {dtype}, {threads} thread(s)", "tokens/s", medians, "prefill_tok_s", limit))
            limit = limits[threads]["read_gb_s"] * 1e9 / weights[dtype]
            rows.append(rate_row(f"decode, {dtype}, {threads} thread(s)", "tokens/s", medians, "decode_tok_s", limit))

    say("## Speed")
    say(
        f"MiniLM: {flops['sentences']} sentences of {os.path.getsize(SENTENCES) // flops['sentences']} bytes and {flops['tokens']:.0f} tokens"
        f" in the mean, batches of {BATCH}. SmolLM2-135M: {PROMPT_TOKENS} tokens of prompt, {NEW_TOKENS} new ones. In brackets: ours divided by the peer's, and"
        " our share of the limit. The limits were measured in the same run with PyTorch: for decoding, the memory read rate divided by"
        " the bytes of the weights; else the best matrix product's rate divided by the multiplications and additions needed."
    )
    say()
    table(["figure", "backplane", "peers (ours / theirs)", "physical limit (our share)"], rows)
    table(
        ["machine's limit", "1 thread", "2 threads"],
        [[name] + [f"{limits[t][key]:.1f} {unit}" for t in (1, 2)] for name, key, unit in (
            ("memory read", "read_gb_s", "GB/s"), ("float32 product", "gemm_float32_gflop_s", "GFLOP/s"), ("bfloat16 product", "gemm_bfloat16_gflop_s", "GFLOP/s"))],
    )


def cold_start():
    rows = []
    for title, own, other in (
        ("to the first embedding", ours("embed", MINILM, "a first sentence", "--json", "--threads", 1), "first_embedding"),
        ("to the first token, float32", ours("run", SMOLLM, "Once upon a time", "--greedy", "--max-new-tokens", 1, "--dtype", "float32", "--threads", 1, "--json"), "first_token"),
    ):
        medians = interleaved({"backplane": own, "transformers": peer(other)})
        mine, theirs = medians["backplane"], medians["transformers"]
        rows.append([title, f"**{mine['wall_s']:.2f} s**, {mine['rss_mb']:.0f} MB",
                     f"{theirs['wall_s']:.2f} s, {theirs['rss_mb']:.0f} MB", f"{theirs['wall_s'] / mine['wall_s']:.1f}x, {theirs['rss_mb'] / mine['rss_mb']:.1f}x"])
    say("## Cold start")
    say("A whole process, from its start to its end, with files in the page cache: wall time and peak memory. SmolLM2 is read from the"
        " Q4_1 GGUF by backplane, and from safetensors, which need no dequantising, by transformers.")
    say()
    table(["", "backplane", "transformers", "times less"], rows)


def start_up():
    rows = []

    def add(title, command, **environment):
        runs = [run([BACKPLANE, *command], **environment) for _ in range(2 * ROUNDS + 1)]
        rows.append([title, f"{1000 * statistics.median(r['wall_s'] for r in runs):.0f} ms", f"{statistics.median(r['rss_mb'] for r in runs):.0f} MB"])

    plugin = os.path.join(ROOT, "build/plugins/libbert.so")
    with tempfile.TemporaryDirectory() as folder:
        for i in range(400):
            shutil.copyfile(plugin, os.path.join(folder, f"copy{i}.so"))
        os.chmod(folder, 0o755)
        add("`backplane --version`", ["--version"])
        add("`backplane tokenize`", ["tokenize", MINILM, "a first sentence", "--json"])
        add("`backplane inspect`", ["inspect", MINILM, "--json"])
        add("`backplane plugins list`", ["plugins", "list", "--json"])
        add("`backplane plugins list`, 400 plugins more, index known", ["plugins", "list", "--json"], BACKPLANE_PLUGIN_PATH=folder)
        with tempfile.TemporaryDirectory() as cache:
            runs = []
            for i in range(ROUNDS):
                runs.append(run([BACKPLANE, "plugins", "list", "--json"], BACKPLANE_PLUGIN_PATH=folder, XDG_CACHE_HOME=os.path.join(cache, str(i))))
            rows.append(["the same, index unknown", f"{1000 * statistics.median(r['wall_s'] for r in runs):.0f} ms", f"{statistics.median(r['rss_mb'] for r in runs):.0f} MB"])
    say("## Start-up")
    say("Verbs that need no tensor do not load libtorch; reading a folder of plugins opens none of them.")
    say()
    table(["command", "wall", "peak memory"], rows)


def plugin_build():
    """Compiles and links one plugin without the compiler cache, the shared precompiled header being there."""
    rows = []
    for name in ("bert", "llama"):
        library = os.path.join(ROOT, f"build/plugins/lib{name}.so")
        sources = glob.glob(os.path.join(ROOT, f"build/plugins/{name}/CMakeFiles/backplane-plugin-{name}.dir/**/*.cpp.o"), recursive=True)
        for path in [*sources, library]:
            os.remove(path)
        log = os.path.join(ROOT, "build/.ninja_log")
        size = os.path.getsize(log)
        run(["ninja", "-C", os.path.join(ROOT, "build"), "-j1", f"plugins/lib{name}.so"], CCACHE_DISABLE="1")
        with open(log) as file:
            file.seek(size)
            steps = {}
            for line in file:
                begin, end, _, target, _ = line.rstrip("\n").split("\t")
                steps[target] = (int(end) - int(begin)) / 1000
        compiled = sum(seconds for target, seconds in steps.items() if target.endswith(".o"))
        linked = sum(seconds for target, seconds in steps.items() if target.endswith(".so"))
        rows.append([name, f"{compiled:.1f} s ({len(sources)} files)", f"{linked:.2f} s", f"{os.path.getsize(library) / 1024:.0f} KB"])
    say("## A plugin's build")
    say("Without the compiler cache, with the precompiled header that all plugins share; linking includes writing the manifest.")
    say()
    table(["plugin", "compile", "link", "size"], rows)
    sizes = {name: os.path.getsize(os.path.realpath(path)) / 1024 for name in ("core", "registry", "tensor", "host")
             for path in glob.glob(os.path.join(ROOT, f"build/lib/libbackplane-{name}.so"))}
    say("Sizes of the libraries: " + ", ".join(f"{name} {size:.0f} KB" for name, size in sizes.items()) + f"; `backplane` {os.path.getsize(BACKPLANE) / 1024:.0f} KB.")
    say()


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.processor())
    versions = subprocess.run([PYTHON, "-c", "import importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in ('torch', 'transformers', 'onnxruntime')))"],
                              capture_output=True, text=True).stdout.strip()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    say("<!-- generated by `make bench`; performance.md beside it says why the figures are what they are -->")
    say("# Measurements")
    say(f"{datetime.date.today()}, commit {commit}, {model}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start. Peers: {versions}."
        f" Medians of {ROUNDS} interleaved runs.")
    say()


machine()
speed()
cold_start()
start_up()
plugin_build()
with open(os.path.join(ROOT, "docs/measurements.md"), "w") as file:
    file.write("\n".join(REPORT).rstrip() + "\n")
