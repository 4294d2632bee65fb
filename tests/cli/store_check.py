"""Reads a store as cache/format.md describes it, without strata, and says what is wrong with it."""

import hashlib
import os
import stat
import struct
from pathlib import Path

HEADER = struct.Struct("<8sIIIIQQII16x")
ENTRY = struct.Struct("<IIIIIHBBIIIIIIqIIQ32sQ")
DIRECTORY, FILE, SYMLINK, FIFO, WHITEOUT = range(1, 6)
NO_ENTRY = 0xFFFFFFFF


def read_manifest(data):
    """{path: (type, mode, mtime in ns, size, digest, target, hardlink group)}; the root is ""."""
    magic, version, header_size, entry_size, count, _, _, _, _ = HEADER.unpack_from(data)
    assert (magic, version, header_size, entry_size) == (b"STRATAMF", 1, HEADER.size, ENTRY.size)
    strings = data[header_size + count * entry_size:]
    names, found = [], {}
    for index in range(count):
        (parent, _, _, hardlink, name_at, name_size, kind, _, mode, _, _, _, _, nsec, sec, target_at, target_size,
         size, digest, _) = ENTRY.unpack_from(data, header_size + index * entry_size)
        name = os.fsdecode(strings[name_at:name_at + name_size])
        path = f"{names[parent]}/{name}".lstrip("/") if index else ""
        names.append(path)
        target = os.fsdecode(strings[target_at:target_at + target_size])
        found[path] = (kind, mode, sec * 10**9 + nsec, size, digest, target, hardlink)
    return found


def layer_problems(directory):
    """What is wrong with a layer: its id, or anything in its tree."""
    data = (directory / "manifest").read_bytes()
    if hashlib.sha256(data).hexdigest() != directory.name:
        return [f"{directory}: the id is not that of its manifest"]
    wanted = read_manifest(data)
    tree = directory / "tree"
    problems = [f"{directory}: {path} is in the tree alone" for path in _walk(tree) if path not in wanted]
    inodes = {}
    for path, (kind, mode, mtime, size, digest, target, hardlink) in wanted.items():
        try:
            status = (tree / path).lstat()
        except OSError as error:
            problems.append(f"{directory}: {path}: {error}")
            continue
        right = {
            DIRECTORY: stat.S_ISDIR, FILE: stat.S_ISREG, SYMLINK: stat.S_ISLNK, FIFO: stat.S_ISFIFO,
            WHITEOUT: stat.S_ISCHR,
        }[kind](status.st_mode)
        if right and kind not in (SYMLINK, WHITEOUT):
            right = stat.S_IMODE(status.st_mode) == mode & 0o1777
        if right and kind != WHITEOUT:
            right = status.st_mtime_ns == mtime
        if right and kind == FILE:
            right = status.st_size == size and hashlib.sha256((tree / path).read_bytes()).digest() == digest
        if right and kind == SYMLINK:
            right = os.readlink(tree / path) == target
        if right and hardlink != NO_ENTRY:
            right = inodes.setdefault(hardlink, status.st_ino) == status.st_ino
        if not right:
            problems.append(f"{directory}: {path} is not what the manifest says")
    return problems


def _walk(tree):
    for directory, names, files in os.walk(tree):
        for name in names + files:
            yield os.path.relpath(os.path.join(directory, name), tree)


def problems(store):
    """Of all that is visible: layers, refs that lead to them, derived layers."""
    store = Path(store)
    found = []
    for directory in sorted((store / "layers").iterdir()):
        found += layer_problems(directory)
    for ref in sorted((store / "refs").iterdir()):
        word, _, id = ref.read_text().rstrip("\n").partition(" ")
        if "#" in ref.name:
            continue  # the temporary file of a ref that was being written
        leads = {"layer": store / "layers" / id / "tree", "root": store / "roots" / id}.get(word)
        if leads is None or not leads.exists():
            found.append(f"{ref} leads nowhere: {word} {id}")
    for directory in sorted((store / "derived").iterdir()):
        if not (directory / "manifest").is_file() or not (directory / "tree").is_dir():
            found.append(f"{directory} is not whole")
    return found
