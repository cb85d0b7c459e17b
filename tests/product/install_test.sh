#!/usr/bin/env bash
# install_test.sh SOURCE BUILD: installs, moves the installed folder away, and uses it there: the command line, a program and a plugin that are
# built against it, and one plugin less.
set -euo pipefail
source_folder=$1
build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 XDG_CACHE_HOME=$work/cache XDG_CONFIG_HOME=$work/config

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

cmake --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; fail "cmake --install"; }
mv "$work/first" "$work/moved"
backplane=$work/moved/bin/backplane

echo "- no path of the build is left in the libraries"
while read -r file; do
  if readelf -d "$file" 2>/dev/null | grep -E 'R(UN)?PATH' | grep -qF -e "$build" -e "$source_folder"; then
    fail "$file: $(readelf -d "$file" | grep -E 'R(UN)?PATH')"
  fi
done < <(find "$work/moved" -type f \( -name '*.so*' -o -path '*/bin/*' \))

echo "- the installed command line finds its plugins"
"$backplane" plugins list --json >"$work/plugins"
for plugin in bert llama; do
  grep -q "$work/moved/lib.*/lib$plugin\.so" "$work/plugins" || fail "plugins list: no $plugin: $(cat "$work/plugins")"
done

echo "- a program builds against the installed package and runs"
cmake -S "$source_folder/examples/embeddings" -B "$work/program" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" 2>&1 &&
  cmake --build "$work/program" >>"$work/log" 2>&1 || { cat "$work/log"; fail "examples/embeddings"; }
minilm=$source_folder/.models/all-MiniLM-L6-v2
if [[ -e $minilm ]]; then
  "$work/program/embeddings" "$minilm" "a cat" "a kitten" "a bank" | tee "$work/out"
  [[ $(grep -c . "$work/out") == 3 ]] || fail "examples/embeddings printed something else"
fi

if [[ -e $source_folder/examples/out_of_tree_plugin ]]; then
  echo "- a plugin builds against the installed package and is found"
  cmake -S "$source_folder/examples/out_of_tree_plugin" -B "$work/plugin" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" 2>&1 &&
    cmake --build "$work/plugin" >>"$work/log" 2>&1 || { cat "$work/log"; fail "examples/out_of_tree_plugin"; }
  BACKPLANE_PLUGIN_PATH=$work/plugin/plugins "$backplane" plugins list --json | grep -F "$work/plugin/plugins" | grep -F '"available"' ||
    fail "the out-of-tree plugin is not available"
fi

echo "- a project made by 'plugins new' builds, passes its check and serves its type"
for like in "" "--like llama"; do
  rm -rf "$work/foo"
  "$backplane" plugins new org.me.foo --folder "$work/foo" $like >/dev/null
  cmake -S "$work/foo" -B "$work/foo/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" 2>&1 &&
    cmake --build "$work/foo/build" >>"$work/log" 2>&1 || { cat "$work/log"; fail "plugins new $like"; }
  "$backplane" plugins check "$work/foo/build/plugins/libfoo.so" >"$work/out" || { cat "$work/out"; fail "plugins check $like"; }
  tail -1 "$work/out"
  BACKPLANE_PLUGIN_PATH=$work/foo/build/plugins "$backplane" plugins why foo | grep -q -- '-> org.me.foo' || fail "plugins why foo $like"
done

echo "- every built-in plugin passes its check"
for library in "$work"/moved/lib*/backplane/plugins/*.so; do
  "$backplane" plugins check "$library" >"$work/out" || { cat "$work/out"; fail "plugins check $library"; }
done

echo "- without a plugin its models fail with one sentence, the others work"
rm "$work"/moved/lib*/backplane/plugins/libllama.so
mkdir "$work/llama"
echo '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}' >"$work/llama/config.json"
if "$backplane" run "$work/llama" hello >"$work/out" 2>"$work/err"; then fail "a model of a removed plugin ran"; fi
grep -q "model type 'llama' is provided by plugin 'llama' (not installed)" "$work/err" || fail "the error does not name the model type: $(cat "$work/err")"
[[ $(grep -c . "$work/err") == 1 ]] || fail "the error is not one line: $(cat "$work/err")"
cat "$work/err"
if [[ -e $minilm ]]; then "$backplane" embed "$minilm" "still works" >/dev/null; fi
echo "passed"
