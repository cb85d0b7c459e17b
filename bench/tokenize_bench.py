#!/usr/bin/env python3
"""Tokenizing speed of Backplane beside Rust tokenizers, in one run on one thread: MB/s, and milliseconds to load.

    pip install tokenizers==0.21.4
    tokenize_bench.py --bench build/bin/bench-tokenize --tokenizer DIR/tokenizer.json ... --text FILE ...

Both get the same texts in pieces of --chunk bytes; ids are counted and compared. The figures are CPU time, the best of --rounds.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def best(rounds, call):
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", required=True, help="the binary bench-tokenize")
    parser.add_argument("--tokenizer", action="append", required=True)
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--chunk", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    from tokenizers import Tokenizer

    for path in args.tokenizer:
        load = best(1, lambda: Tokenizer.from_file(path))
        rust = Tokenizer.from_file(path)
        rust.no_truncation()
        rust.no_padding()
        for text_path in args.text:
            with open(text_path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            pieces = [text[i : i + args.chunk] for i in range(0, len(text), args.chunk)]
            size = sum(len(piece.encode()) for piece in pieces)
            counts = []
            seconds = best(args.rounds, lambda: counts.append([len(rust.encode(piece).ids) for piece in pieces]))
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
                json.dump(pieces, file)
                file.flush()
                out = subprocess.run([args.bench, path, file.name, str(args.rounds)], capture_output=True, text=True, check=True)
            mine = json.loads(out.stdout)
            print(
                f"{path} {os.path.basename(text_path)}: backplane {mine['mb_s']:.1f} MB/s, tokenizers {size / seconds / 1e6:.2f} MB/s, "
                f"{mine['mb_s'] * seconds * 1e6 / size:.1f}x; load {mine['load_ms']:.0f} ms, {load * 1e3:.0f} ms; "
                f"same number of ids: {mine['counts'] == counts[-1]}"
            )


if __name__ == "__main__":
    main()
