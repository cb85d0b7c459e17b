#!/usr/bin/env bash
# The main job on two real models: sentence embeddings with their similarities, and a chat answer as it is generated.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/build/bin:$PATH HF_HUB_OFFLINE=1

# A folder from the hub, or the one GGUF file of the PyPI package.
smollm=.models/SmolLM2-135M-Instruct
for file in "$smollm"/*.gguf; do
  if [[ -e $file ]]; then smollm=$file; fi
done

heading() { printf '\n\033[1m%s\033[0m\n' "$1"; }

# Shows the command, runs it, and says how long the whole process took.
show() {
  local start=$EPOCHREALTIME
  printf '$'
  printf ' %s' "${@@Q}" | sed -E "s/'([A-Za-z0-9_.\/-]+)'/\1/g"
  printf '\n'
  "$@"
  printf '(%d ms from start to end)\n' $(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 1000))
}

heading "1. The plugins that are installed: their notes are read, none is opened"
show backplane plugins list

heading "2. Sentence embeddings by all-MiniLM-L6-v2, a BERT"
show backplane embed .models/all-MiniLM-L6-v2 --verbose \
  "The cat sleeps on the warm windowsill." \
  "A kitten is dozing in the sun by the window." \
  "The central bank raised interest rates again." \
  "Borrowing money became more expensive this month."

heading "3. A chat with SmolLM2-135M-Instruct, a Llama"
show backplane chat "$smollm" --verbose --greedy --max-new-tokens 96 "Explain in three sentences why the sky is blue."
