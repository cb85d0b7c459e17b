#!/usr/bin/env bash
# Installs what the build needs and is missing: the Debian packages of tools/debian-packages.txt, and libtorch into .deps/libtorch.
# Run again it changes nothing. `setup.sh lint` adds what `make lint` needs.
#   TORCH_ROOT=FOLDER   an unpacked libtorch 2.13 to use instead
#   TORCH_WHEEL=FILE    a wheel of torch 2.13 that is already here
set -euo pipefail
cd "$(dirname "$0")/.."

readonly torch_minor=13
readonly torch_version=2.$torch_minor.0
readonly libtorch=.deps/libtorch

say() { echo "setup: $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}

installed() { [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

# Installs those of the packages named that are missing, `a|b` meaning a unless b is there.
install_packages() {
  local alternatives name found missing=()
  for alternatives in "$@"; do
    found=
    for name in ${alternatives//|/ }; do
      if installed "$name"; then found=yes; fi
    done
    if [[ -z $found ]]; then missing+=("${alternatives%%|*}"); fi
  done
  if [[ ${#missing[@]} == 0 ]]; then return; fi

  local command="apt-get install --no-install-recommends ${missing[*]}"
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    fail "packages are missing and this is neither root nor a machine with sudo; as root, run: $command"
  fi
  say "installing Debian packages (about a minute): ${missing[*]}"
  local log
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! { as_root apt-get update -q && as_root apt-get install -y -q --no-install-recommends --no-remove "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail "apt-get failed (whole log: $log); is there a network? to do it by hand: $command"
  fi
  rm -f "$log"
}

packages() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: tools/debian-packages.txt lists the libraries to install with this system's own package manager"
    return
  fi
  local names
  mapfile -t names < <(sed -E '/^#/d; /^ *$/d; s/ .*//' tools/debian-packages.txt)
  install_packages "${names[@]}"
}

is_libtorch() { grep -qs "TORCH_VERSION_MINOR $torch_minor\$" "$1/include/torch/headeronly/version.h" && [[ -e $1/lib/libtorch_cpu.so ]]; }

# The libtorch that is there already, if any: TORCH_ROOT, a folder of CMAKE_PREFIX_PATH, or an earlier run's.
present_libtorch() {
  local folder folders
  IFS=':;' read -ra folders <<<"${TORCH_ROOT:-}:${CMAKE_PREFIX_PATH:-}:$libtorch"
  for folder in "${folders[@]}"; do
    if [[ -n $folder ]] && is_libtorch "$folder"; then
      echo "$folder"
      return
    fi
  done
}

pip_download() {
  python3 -m pip download -qq --disable-pip-version-check --no-deps --only-binary=:all: -d "$@"
}

# Unpacks from the wheels in folder $1 what compiling and linking need; Python's own parts stay out.
unpack() {
  python3 - "$1" "$2" <<'PYTHON'
import glob, os, shutil, sys, zipfile

source, target = sys.argv[1:]
libraries = {"libtorch_cpu.so", "libtorch.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}
for wheel in glob.glob(os.path.join(source, "*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = os.path.basename(member.filename)
            if member.filename.startswith(("torch/include/", "torch/share/")) and name:
                path = os.path.join(target, member.filename.removeprefix("torch/"))
            elif name in libraries and "/lib/" in member.filename:
                path = os.path.join(target, "lib", name)
            else:
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as data, open(path, "wb") as out:
                shutil.copyfileobj(data, out, 1 << 20)
PYTHON
}

torch() {
  local found
  if [[ -n ${TORCH_ROOT:-} ]] && ! is_libtorch "$TORCH_ROOT"; then
    fail "TORCH_ROOT is $TORCH_ROOT, which holds no libtorch ${torch_version%.*} (include/torch/headeronly/version.h, lib/libtorch_cpu.so)"
  fi
  found=$(present_libtorch)
  if [[ -n $found ]]; then
    say "libtorch ${torch_version%.*}: $found"
    return
  fi

  command -v python3 >/dev/null || fail "python3 is needed once, to fetch libtorch's wheel; install it, or set TORCH_ROOT"
  local wheels
  mkdir -p .deps
  wheels=$(mktemp -d .deps/wheels.XXXXXX)
  trap "rm -rf '$wheels' '$libtorch.new'" EXIT
  if [[ -n ${TORCH_WHEEL:-} ]]; then
    [[ -e $TORCH_WHEEL ]] || fail "TORCH_WHEEL: no such file: $TORCH_WHEEL"
    say "unpacking $TORCH_WHEEL into $libtorch"
    ln -s "$(realpath "$TORCH_WHEEL")" "$wheels/"
  else
    if ! python3 -m pip --version >/dev/null 2>&1; then
      install_packages python3-pip
    fi
    say "downloading libtorch $torch_version, the C++ part of PyTorch's wheel (200 to 550 MB), into $libtorch"
    pip_download "$wheels" "torch==$torch_version+cpu" 2>/dev/null || pip_download "$wheels" "torch==$torch_version" ||
      fail "pip could not download torch $torch_version; with no network, copy its wheel here and set TORCH_WHEEL, or set TORCH_ROOT to an unpacked libtorch"
  fi
  rm -rf "$libtorch.new"
  unpack "$wheels" "$libtorch.new"
  # A wheel built for CUDA works without a GPU, but links two small libraries of the CUDA runtime.
  if [[ $(readelf -d "$libtorch.new/lib/libtorch_cpu.so") == *libcupti.so.13* ]]; then
    say "it is a CUDA build; fetching the two runtime libraries that it links (13 MB)"
    pip_download "$wheels" 'nvidia-cuda-runtime~=13.0.0' 'nvidia-cuda-cupti~=13.0.0' || fail "pip could not download the CUDA runtime"
    unpack "$wheels" "$libtorch.new"
  fi
  is_libtorch "$libtorch.new" || fail "the wheel holds no libtorch ${torch_version%.*}"
  rm -rf "$libtorch"
  mv "$libtorch.new" "$libtorch"
  say "libtorch $torch_version: $libtorch ($(du -sh "$libtorch" | cut -f1))"
}

if [[ ${1:-} == lint ]]; then
  install_packages clang-format-14 clang-tidy-14
  exit
fi
start=$SECONDS
packages
torch
if ((SECONDS - start > 2)); then say "done in $((SECONDS - start)) s"; fi
