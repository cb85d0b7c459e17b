#!/usr/bin/env python3
"""Cross-check of the hub cache with Python's huggingface_hub, over fake-hub on loopback.

usage: check_hub_cache.py FAKE_HUB BACKPLANE

Either side fills a cache that the other then reads offline; both continue what the other left half done.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

FAKE_HUB, BACKPLANE = sys.argv[1:3]


def run(*arguments, env):
    done = subprocess.run([BACKPLANE, *arguments, "--json"], env=env, stdout=subprocess.PIPE, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def python(code, env):
    """Runs code in a new interpreter: huggingface_hub reads the environment once."""
    done = subprocess.run([sys.executable, "-c", "import json, huggingface_hub as h\n" + code], env=env, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, code
    return json.loads(done.stdout)


SCAN = """
info = h.scan_cache_dir()
print(json.dumps({"warnings": [str(w) for w in info.warnings],
                  "repos": {r.repo_id: {v.commit_hash: [sorted(v.refs), sorted(f.file_name for f in v.files)] for v in r.revisions} for r in info.repos}}))
"""
SNAPSHOT = "print(json.dumps(h.snapshot_download('org/name')))"
EXISTS = "print(json.dumps(h.try_to_load_from_cache('org/name', 'absent.json') is h.file_download._CACHED_NO_EXIST))"


def tree(folder):
    """What lies under the repositories' folders: path -> link target, or the file's bytes."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and not name.startswith(".locks"):
            found[name] = path.read_bytes()
    return found


with tempfile.TemporaryDirectory() as top:
    repo = pathlib.Path(top, "root", "org", "name")
    (repo / "sub" / "deeper").mkdir(parents=True)
    generator = random.Random(5)
    contents = {"config.json": b"{}", "model.safetensors": generator.randbytes(3_000_000), "sub/deeper/vocab.txt": b"a\nb\n", "sub/w.bin": b"w"}
    for name, data in contents.items():
        (repo / name).write_bytes(data)
    hub = subprocess.Popen([FAKE_HUB, str(repo.parents[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    base = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    base.update(HF_ENDPOINT=hub.stdout.readline().strip(), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1")

    def env(name, **more):
        return {**base, "HF_HOME": os.path.join(top, name), **more}

    code, (ours,) = run("download", "org/name", env=env("ours"))
    assert code == 0, ours
    run("download", "org/name", "absent.json", env=env("ours"))
    scan = python(SCAN, env("ours"))
    assert scan["warnings"] == [], scan
    assert scan["repos"] == {"org/name": {ours["commit"]: [["main"], ["config.json", "model.safetensors", "vocab.txt", "w.bin"]]}}, scan
    assert python(SNAPSHOT, env("ours", HF_HUB_OFFLINE="1")) == ours["path"]
    assert python(EXISTS, env("ours", HF_HUB_OFFLINE="1")) is True
    print("ok: huggingface_hub reads our cache")

    theirs = python(SNAPSHOT, env("theirs"))
    python("try:\n  h.hf_hub_download('org/name', 'absent.json')\nexcept h.errors.EntryNotFoundError: print(json.dumps(1))", env("theirs"))
    code, (offline,) = run("download", "org/name", "--local-files-only", env=env("theirs"))
    assert code == 0 and offline["path"] == theirs and offline["files"] == sorted(contents), offline
    code, (error,) = run("download", "org/name", "absent.json", "--local-files-only", env=env("theirs"))
    assert code == 1 and error["error"]["code"] == "file_not_found", error
    code, checks = run("cache", "verify", env=env("theirs"))
    assert code == 0 and {c["status"] for c in checks} == {"ok"}, checks
    print("ok: we read huggingface_hub's cache")

    assert tree(os.path.join(top, "ours", "hub")) == tree(os.path.join(top, "theirs", "hub"))
    print("ok: both caches are the same, byte for byte and link for link")

    blob = os.path.basename(os.readlink(os.path.join(ours["path"], "model.safetensors")))
    for name, finish in (("half1", lambda e: run("download", "org/name", env=e)[1][0]["path"]), ("half2", lambda e: python(SNAPSHOT, e))):
        blobs = pathlib.Path(top, name, "hub", "models--org--name", "blobs")
        blobs.mkdir(parents=True)
        (blobs / (blob + ".incomplete")).write_bytes(contents["model.safetensors"][:1_234_567])
        path = finish(env(name))
        assert all(pathlib.Path(path, f).read_bytes() == data for f, data in contents.items())
        assert not list(blobs.glob("*.incomplete"))
    print("ok: either finishes a partial file")

    # One after the other and at the same time in one cache.
    mixed = env("mixed")
    both = [subprocess.Popen([BACKPLANE, "download", "org/name"], env=mixed, stdout=subprocess.DEVNULL),
            subprocess.Popen([sys.executable, "-c", "import huggingface_hub as h; h.snapshot_download('org/name')"], env=mixed)]
    assert [p.wait() for p in both] == [0, 0]
    assert python(SCAN, mixed)["warnings"] == [] and tree(os.path.join(top, "mixed", "hub")) == {k: v for k, v in tree(os.path.join(top, "theirs", "hub")).items() if ".no_exist" not in k}
    code, (removed,) = run("cache", "remove", "org/name", env=mixed)
    assert code == 0 and python(SCAN, mixed)["repos"] == {}
    print("ok: both at once in one cache, and its removal")
    hub.stdin.close()
    hub.wait()
