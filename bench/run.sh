#!/usr/bin/env bash
# Measures backplane against transformers and onnxruntime in one run, and writes docs/measurements.md.
#   BENCH_ROUNDS (5)  rounds, in each of which every contender runs once
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.deps/bench-venv
packages=(torch==2.13.0 transformers==4.53.3 onnxruntime onnx onnxscript gguf accelerate)
if [[ ! -e $venv/complete ]]; then
  echo "bench: installing the peers into $venv (1.3 GB, about a minute): ${packages[*]}"
  python3 -m venv "$venv" || { echo "bench: python3 -m venv failed; install python3-venv" >&2; exit 1; }
  "$venv/bin/pip" install -qq --disable-pip-version-check "${packages[@]}" || { echo "bench: pip failed; is there a network?" >&2; exit 1; }
  touch "$venv/complete"
fi
echo "bench: preparing models and sentences in .models/bench"
"$venv/bin/python" bench/prepare.py 2>/dev/null
exec python3 bench/bench.py "$venv/bin/python"
