#!/usr/bin/env python3
"""Writes docs/supported-models.md: every model type of transformers, what serves it, and how near its numbers are.

    tools/supported_models.py [FIXTURES]     FIXTURES: a folder of goldens (default: tests/data/goldens)

Takes the figures from build/: run `make build` first.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(ROOT)
FIXTURES = sys.argv[1] if len(sys.argv) > 1 else "tests/data/goldens"


def lines(*command):
    out = subprocess.run(command, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def code_lines(folder):
    count = 0
    for path in glob.glob(f"{folder}/*.h") + glob.glob(f"{folder}/*.cpp"):
        for line in open(path):
            count += bool(line.strip()) and not line.strip().startswith("//")
    return count


def compile_seconds():
    """Folder -> seconds of its last compile and link, from ninja's log."""
    seconds = {}
    try:
        log = open("build/.ninja_log").read().splitlines()[1:]
    except OSError:
        return {}
    for line in log:
        start, end, _, output, _ = line.split("\t")
        if match := re.match(r"plugins/([^/]+)/CMakeFiles/.*\.o$", output):
            seconds[output] = (match[1], (int(end) - int(start)) / 1000)
    total = collections.Counter()
    for folder, time in seconds.values():
        total[folder] += time
    return total


known = lines("build/bin/backplane", "plugins", "list", "--known", "--json")
paths = {p["id"]: p["path"] for p in lines("build/bin/backplane", "plugins", "list", "--json") if p["id"]}
results = collections.defaultdict(list)
for result in lines("build/bin/backplane-golden", "--json", "--jobs", str(os.cpu_count()), FIXTURES):
    if "/" in result.get("kind", ""):
        results[result["kind"].split("/")[0]].append(result)
seconds = compile_seconds()

served = [k for k in known if k["provider"]]
classes = sum(len(k["classes"]) for k in known)
all_classes = classes + sum(len(k["missing"]) for k in known)
with open("docs/supported-models.md", "w") as out:
    print("<!-- Made by tools/supported_models.py; do not edit. -->", file=out)
    print("# Model types\n", file=out)
    print(f"{len(served)} of the {len(known)} model types of transformers 4.53.3 are served, with {classes} of {all_classes} classes.", file=out)
    print("A test holds this page to its word: what stands here as served stays served.\n", file=out)
    print("Parity: fixtures of the reference that pass (float32), and the largest difference among them in units of the fixture's own", file=out)
    print("rounding noise, of which 3 are allowed. Lines are those of code in the plugin's folder, seconds those of its compilation", file=out)
    print("on the machine that made this page, alone or not, kB the size of its library, stripped of nothing.\n", file=out)
    print("| model type | plugin | classes | fixtures | noise | lines | s | kB |", file=out)
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", file=out)
    for k in served:
        mine = results[k["model_type"]]
        passed = sum(r["passed"] for r in mine)
        worst = max((r["max_abs_diff"] / r["noise_floor"] for r in mine if r["noise_floor"]), default=0)
        path = paths.get(k["provider"], "")
        size = os.path.getsize(path) // 1024 if path else 0
        took = f"{seconds[k['provider']]:.0f}" if seconds.get(k["provider"]) else ""
        parity = f"{passed}/{len(mine)} | {worst:.1f}" if mine else "- | -"
        print(f"| {k['model_type']} | {k['provider']} | {', '.join(k['classes'])} | {parity} | {code_lines('plugins/' + k['provider'])} | {took} | {size} |", file=out)
    print("\n## Not served yet\n", file=out)
    print(", ".join(f"{k['model_type']} ({len(k['missing'])})" for k in known if not k["provider"]) + ".", file=out)
    partly = [k for k in served if k["missing"]]
    if partly:
        print("\nOf types that are served: " + "; ".join(f"{k['model_type']}: {', '.join(k['missing'])}" for k in partly) + ".", file=out)
