#!/usr/bin/env bash
# The main job on two real models: sentence embeddings with their similarities, and a chat answer as it is generated.
set -euo pipefail
cd "$(dirname "$0")/.."
backplane=build/bin/backplane
minilm=.models/all-MiniLM-L6-v2
smollm=.models/SmolLM2-135M-Instruct
export HF_HUB_OFFLINE=1

heading() { printf '\n\033[1m%s\033[0m\n' "$1"; }
show() {
  printf '$ %s\n' "$(printf '%q ' "$@" | sed 's/ $//')"
  "$@"
}

heading "1. The plugins that are installed; none is opened yet"
show "$backplane" plugins list

heading "2. Sentence embeddings: all-MiniLM-L6-v2, through the plugin for model_type bert"
sentences=(
  "The cat sleeps on the warm windowsill."
  "A kitten is dozing in the sun by the window."
  "The central bank raised interest rates again."
  "Borrowing money became more expensive this month."
)
file=$(mktemp)
trap 'rm -f "$file"' EXIT
printf '%s\n' "${sentences[@]}" >"$file"
start=$(date +%s.%N)
show "$backplane" embed "$minilm" --file "$file" --pooling mean --normalize --json --verbose |
  awk '
    /^\$/ { print; next }
    {
      text = $0; sub(/.*"text": ?"/, "", text); sub(/", ?".*/, "", text)
      numbers = $0; sub(/.*"embedding": ?\[/, "", numbers); sub(/\].*/, "", numbers)
      n++; texts[n] = text; size = split(numbers, values, ",")
      for (i = 1; i <= size; i++) vector[n, i] = values[i]
      printf "  [%d] %-52s %d numbers: %+.4f %+.4f %+.4f …\n", n, text, size, values[1], values[2], values[3]
    }
    END {
      printf "\n  cosine similarity\n       "
      for (b = 1; b <= n; b++) printf "   [%d] ", b
      printf "\n"
      for (a = 1; a <= n; a++) {
        printf "   [%d] ", a
        for (b = 1; b <= n; b++) {
          dot = 0
          for (i = 1; i <= size; i++) dot += vector[a, i] * vector[b, i]
          printf "%6.3f ", dot
        }
        printf "\n"
      }
    }'
awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "  %.2f s from start to finish\n", b - a }'

heading "3. A chat: SmolLM2-135M-Instruct, through the plugin for model_type llama"
start=$(date +%s.%N)
show "$backplane" chat "$smollm" "Explain in three sentences why the sky is blue." --greedy --max-new-tokens 96 --verbose
awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "\n  %.2f s from start to finish\n", b - a }'
