# SPDX-License-Identifier: Apache-2.0
"""The same project with bst and with strata-bst, each in directories of its own, and what came of it.

Before two sides are compared, what no BuildStream repeats is taken out: times, process ids, the names of temporary
directories, the size of the cache, and where a side lies.
"""

import concurrent.futures
import difflib
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

from buildstream._protos.build.bazel.remote.execution.v2 import remote_execution_pb2

PATIENCE = 120  # seconds for one call; a dozen elements take 5

VOLATILE = (
    (re.compile(r"\d\d:\d\d:\d\d|--:--:--"), "TIME"),
    (re.compile(r"(?<=-build\.)\d+(?=\.log)"), "PID"),
    (re.compile(r"(/build/[^/\s']*?-)[a-z0-9_]{8}(?=[/\s']|$)"), r"\1TEMP"),
    (re.compile(r"(?<=Session Start: ).*"), "DATE"),
    (re.compile(r"[0-9.]+[BKMGT] / infinity"), "SIZE / infinity"),
    (re.compile(r"(?<=cached size )\d+"), "SIZE"),
)

# What only strata-bst says: this list of dependencies is staged as bst does it, and why.
NOT_AN_OVERLAY = re.compile(r"\[TIME\](?:\[[^\]]*\]){0,2} LOG +([^\n]*): Not staged as an overlay\n\n +([^\n]*)\n")

# Of what has an open workspace, the key depends on where that is.
KEYS = re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{56})?\b")


class Ended:
    """A call of one side that is over."""

    def __init__(self, side, words, status, out, err):
        self.side, self.words, self.status, self.err = side, words, status, side.normal(err)
        self.raw_out, self.out = out, side.normal(out)

    def messages(self):
        """What it said of each element, in the order in which it did; of several at once, that order is no claim."""
        found = {}
        key = ""
        for line in self.err.splitlines():
            head = re.match(r"\[TIME\]\[(.{0,8})\]\[([^\]]*)\] (.*)", line)
            if head:
                key = head[2].strip()
                line = head[3]
            if "Cache usage recomputed" not in line:
                found.setdefault(key, []).append(line.rstrip())
        return found

    def __repr__(self):
        return f"{self.side.name}: bst {' '.join(map(str, self.words))} -> {self.status}\n{self.out}\n{self.err}"


class Side:
    """One of the two: its program, its project and its caches."""

    def __init__(self, name, program, place, environment=()):
        self.name, self.program, self.home = name, program, Path(place) / name
        self.project = self.home / "project"
        self.tmp = self.home / "tmp"
        for path in (self.project, self.tmp):
            path.mkdir(parents=True)
        (self.home / "bst.conf").write_text("build:\n  max-jobs: 2\n")
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.tmp), "LANG": "C.UTF-8"}
        for kind, path in (("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data"), ("STATE", "state")):
            self.env[f"XDG_{kind}_HOME"] = str(self.home / path)
        self.env.update(environment)
        self.cache = self.home / "cache" / "buildstream"
        self.hide_keys = False
        self.not_overlays = set()  # of those whose logs were looked at: (element, why)

    def words(self, *words):
        options = ("--config", self.home / "bst.conf", "--no-interactive", "--no-colors", "-C", self.project)
        return [str(word) for word in (self.program, *options, *words)]

    def environment(self, more):
        return self.env | more

    def start(self, *words, **popen):
        """A call that the test will stop, in a session of its own as a shell with job control gives it."""
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
        return subprocess.Popen(self.words(*words), env=self.env, cwd=self.home, process_group=0, **popen)

    def bst(self, *words, stdin=None, environment=()):
        process = self.start(*words, stdin=subprocess.PIPE) if stdin else None
        if not process:
            process = subprocess.Popen(
                self.words(*words), env=self.env | dict(environment), cwd=self.home, process_group=0,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        return self.end(process, words, stdin)

    def end(self, process, words=(), stdin=None):
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            text = (out + err).decode(errors="replace")[-2000:]
            raise AssertionError(f"{self.name}: bst {words} did not end in {PATIENCE} s:\n{text}") from None
        return Ended(self, words, process.returncode, out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape"))

    def normal(self, text):
        text = text.replace(str(self.home), "HOME")
        for pattern, standing in VOLATILE:
            text = pattern.sub(standing, text)
        return KEYS.sub("KEY", text) if self.hide_keys else text

    # --- what came of it

    def refs(self):
        """The names under which artifacts are kept: project/element/key."""
        heads = self.cache / "artifacts/cas/refs/heads"
        return {str(path.relative_to(heads)): path for path in sorted(heads.rglob("*")) if path.is_file()}

    def newest(self, element):
        """The ref of an element's newest artifact."""
        return max((ref for ref in self.refs() if ref.split("/")[1] == element), key=lambda ref: self.refs()[ref].stat().st_mtime_ns)

    def artifact(self, ref, *parts):
        """Of an artifact as it is stored, the subdirectories `files` and `meta`: {path: what is there}."""
        digest = remote_execution_pb2.Digest.FromString(self.refs()[ref].read_bytes())
        found = {}
        for part in parts or ("files", "meta"):
            self._walk(self._subdirectory(digest, part), part, found)
        return found

    def _object(self, digest):
        return self.cache / "artifacts/cas/objects" / digest.hash[:2] / digest.hash[2:]

    def _directory(self, digest):
        return remote_execution_pb2.Directory.FromString(self._object(digest).read_bytes())

    def _subdirectory(self, digest, name):
        return next(node.digest for node in self._directory(digest).directories if node.name == name)

    def _walk(self, digest, path, found):
        found[path] = "directory"
        directory = self._directory(digest)
        for node in directory.files:
            found[f"{path}/{node.name}"] = ("file", node.is_executable, node.digest.hash, node.digest.size_bytes)
        for node in directory.symlinks:
            found[f"{path}/{node.name}"] = ("link", node.target)
        for node in directory.directories:
            self._walk(node.digest, f"{path}/{node.name}", found)

    def content(self, ref, path):
        """The bytes of one file of an artifact."""
        digest = remote_execution_pb2.Digest.FromString(self.refs()[ref].read_bytes())
        *above, name = path.split("/")
        for part in above:
            digest = self._subdirectory(digest, part)
        node = next(node for node in self._directory(digest).files if node.name == name)
        return self._object(node.digest).read_bytes()

    def logs(self):
        """What is in the log of each job, without what differs from one run to the next: {element/key-kind: [text]}."""
        found = {}
        top = self.cache / "logs"
        for path in sorted(top.rglob("*-*.log"), key=lambda path: path.stat().st_mtime_ns):
            if path.parent != top:
                name = self.normal(str(path.relative_to(top)))
                text = self.normal(path.read_text(errors="surrogateescape"))
                self.not_overlays.update(NOT_AN_OVERLAY.findall(text))
                found.setdefault(name, []).append(NOT_AN_OVERLAY.sub("", text))
        return found


class Pair:
    """Both sides, called alike, at the same time."""

    def __init__(self, plain, strata):
        self.plain, self.strata = plain, strata
        self.sides = (plain, strata)

    def each(self, work):
        """work(side) for both at once: two results, or the first one's exception."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return [future.result() for future in [pool.submit(work, side) for side in self.sides]]

    def bst(self, *words, status=None, **options):
        """A call of both, whose exit statuses are the same, and `status` if that is given."""
        plain, strata = self.each(lambda side: side.bst(*(word(side) if callable(word) else word for word in words), **options))
        assert plain.status == strata.status, f"{plain!r}\n{strata!r}"
        if status is not None:
            assert plain.status == status, f"{plain!r}\n{strata!r}"
        return plain, strata

    def write(self, write):
        """write(directory) makes the project, the same on both sides."""
        for side in self.sides:
            write(side.project)

    def same_messages(self, plain, strata):
        same(plain.messages(), strata.messages())
        same(plain.out.splitlines(), strata.out.splitlines())

    def same_artifacts(self, *parts):
        """All artifacts: under the same keys, the same content."""
        plain, strata = (side.refs() for side in self.sides)
        same(list(plain), list(strata))
        assert plain, "there is no artifact"
        for ref in plain:
            same(self.plain.artifact(ref, *parts), self.strata.artifact(ref, *parts), ref)

    def same_logs(self):
        same(*(side.logs() for side in self.sides))


def same(plain, strata, what=""):
    """Equality that says where it ends."""
    if plain == strata:
        return
    if isinstance(plain, dict) and isinstance(strata, dict):
        only = [f"only {who}: {key}: {a[key]!r}" for who, a, b in (("bst", plain, strata), ("strata-bst", strata, plain))
                for key in a if key not in b]  # fmt: skip
        for key in plain:
            if key in strata:
                try:
                    same(plain[key], strata[key], key)
                except AssertionError as error:
                    only.append(str(error))
        text = "\n".join(only[:20])
    elif isinstance(plain, str) and isinstance(strata, str) and "\n" in plain + strata:
        same(plain.splitlines(), strata.splitlines(), what)
        text = f"bst {plain!r}\nstrata-bst {strata!r}"
    elif isinstance(plain, list) and isinstance(strata, list):
        lines = ["\n".join(map(str, side)).splitlines() for side in (plain, strata)]
        text = "\n".join(difflib.unified_diff(*lines, "bst", "strata-bst", lineterm="", n=2))
    else:
        text = f"bst {plain!r}\nstrata-bst {strata!r}"
    raise AssertionError(f"{what} differs:\n{text[:6000]}")


def tree(root):
    """A checkout: {relative path: (kind, mode, content or target)}."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            found[str(path.relative_to(root))] = ("link", os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            found[str(path.relative_to(root))] = ("file", oct(mode), path.read_bytes())
        else:
            found[str(path.relative_to(root))] = ("directory" if stat.S_ISDIR(status.st_mode) else "other", oct(mode))
    return found
