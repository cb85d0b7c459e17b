#!/usr/bin/env bash
# The style (clang-format-14), the direction of includes, and clang-tidy's findings on the sources named, or on those that
# changed against main; LINT_ALL=1 takes all. LINT_SECONDS (600) bounds clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files '*.h' '*.cpp')
echo "lint: clang-format, ${#sources[@]} files"
clang-format-14 --dry-run --Werror "${sources[@]}"

echo "lint: the direction of includes"
build/bin/test-product "includes never point upward,the areas of core that need no tensor include nothing of libtorch"

if [[ $# == 0 ]]; then
  if [[ -n ${LINT_ALL:-} ]]; then
    set -- "${sources[@]}"
  else
    mapfile -t changed < <(git diff --name-only --diff-filter=d "$(git merge-base HEAD origin/main)" -- '*.cpp')
    set -- "${changed[@]}"
  fi
fi
deadline=$((SECONDS + ${LINT_SECONDS:-600}))
failed=0
left=0
for file in "$@"; do
  if [[ $file != *.cpp || $file == fuzz/* ]]; then continue; fi
  if ((SECONDS >= deadline)); then
    left=$((left + 1))
    continue
  fi
  echo "lint: clang-tidy $file"
  clang-tidy-14 -p build --quiet "$file" 2>/dev/null || failed=$((failed + 1))
done
if ((left)); then echo "lint: out of time, $left files not looked at; raise LINT_SECONDS"; fi
if ((failed)); then
  echo "lint: $failed files have findings" >&2
  exit 1
fi
echo "lint: fine"
