# SPDX-License-Identifier: Apache-2.0
"""Roots whose maker wants out: links where the options put something (the class of CVE-2026-87766).

Whatever the options do, the directory outside stays as it was. bubblewrap follows such links in
versions before 0.12; 0.12 refuses those that are the last part of a destination, and we lead all of
them to where they point inside the root.
"""

import ctypes
import os
import stat
import threading

import pytest

AT_FDCWD, RENAME_EXCHANGE = -100, 2


def snapshot(path):
    """All of a tree that a write through a link could change."""
    found = {}
    for entry in [path, *sorted(path.rglob("*"))]:
        status = entry.lstat()
        content = entry.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(entry)] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return found


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("outside\n")
    (path / "file").chmod(0o644)
    (path / "sub/below").write_text("outside\n")
    return path


@pytest.fixture
def lead(root, outside):
    """lead("in", "sub") makes ROOT/in a link to outside/sub, in one of the ways of HOW."""

    def make(how, name, target="", fd=None):
        path = outside / target if target else outside
        to = {
            "absolute": str(path),
            "relative": "../" * 40 + str(path)[1:],
            "old root": f"/oldroot{path}",
            "old root, relative": f"../oldroot{path}",
            "proc root": f"/proc/self/root{path}",
            "proc of the caller": f"/proc/{os.getpid()}/root{path}",
            "new root": f"/newroot/../oldroot{path}",
            "proc cwd": f"/proc/self/cwd/{path.name}",
            "descriptor": f"/proc/self/fd/{fd}/{target}".rstrip("/"),
        }[how]
        (root / name).symlink_to(to)

    return make


HOW = [
    "absolute", "relative", "old root", "old root, relative", "proc root", "proc of the caller", "new root",
    "proc cwd", "descriptor",
]  # fmt: skip


def operations(bwrap, tree, tmp_path, where):
    """One line of options for each that puts something at a path; `where` is that path."""
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir(exist_ok=True), work.mkdir(exist_ok=True)
    return {
        "bind": ("--bind", tree, where),
        "bind file": ("--bind", tree / "file", where),
        "ro-bind": ("--ro-bind", tree, where),
        "dev-bind": ("--dev-bind", "/dev/null", where),
        "bind-fd": ("--bind-fd", bwrap.open(tree, os.O_PATH), where),
        "dir": ("--dir", where),
        "file": ("--file", bwrap.data(b"in\n"), where),
        "bind-data": ("--bind-data", bwrap.data(b"in\n"), where),
        "ro-bind-data": ("--ro-bind-data", bwrap.data(b"in\n"), where),
        "symlink": ("--symlink", "/target", where),
        "tmpfs": ("--tmpfs", where),
        "proc": ("--proc", where),
        "dev": ("--dev", where),
        "mqueue": ("--unshare-ipc", "--mqueue", where),
        "overlay": ("--overlay-src", tree, "--overlay", upper, work, where),
        "tmp-overlay": ("--overlay-src", tree, "--tmp-overlay", where),
        "ro-overlay": ("--overlay-src", tree / "sub", "--overlay-src", "/usr/share/misc", "--ro-overlay", where),
        "chmod": ("--chmod", "0777", where),
        "remount-ro": ("--remount-ro", where),
    }


OPERATIONS = (
    "bind,bind file,ro-bind,dev-bind,bind-fd,dir,file,bind-data,ro-bind-data,symlink,tmpfs,proc,dev,mqueue,overlay,"
    "tmp-overlay,ro-overlay,chmod,remount-ro"
).split(",")


@pytest.mark.since("0.12.0")
@pytest.mark.parametrize("where", ["/in", "/in/new", "/in/sub", "/in/new/er", "/in/file"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_link_in_the_way_leads_nowhere_outside(bwrap, root, outside, tree, lead, tmp_path, operation, where):
    before = snapshot(outside)
    handle = bwrap.open(outside, os.O_PATH)
    for how in HOW:
        name = f"in{HOW.index(how)}"
        lead(how, name, fd=int(handle))
        there = where.replace("/in", f"/{name}", 1)
        options = operations(bwrap, tree, tmp_path, there)[operation]
        said = bwrap("--bind", root, "/", *options, "true", cwd=outside.parent, pass_fds=[handle])
        assert said.returncode in (0, 1), said._told()
        assert snapshot(outside) == before, f"{how}: {said._told()}"


@pytest.mark.since("0.12.0")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_link_that_is_the_destination_leads_nowhere_outside(bwrap, outside, root, tree, lead, tmp_path, operation):
    before = snapshot(outside)
    handle = bwrap.open(outside, os.O_PATH)
    for how in HOW:
        for number, target in enumerate(("file", "sub", "new")):
            name = f"in{HOW.index(how)}-{number}"
            lead(how, name, target, fd=int(handle))
            options = operations(bwrap, tree, tmp_path, f"/{name}")[operation]
            said = bwrap("--bind", root, "/", *options, "true", cwd=outside.parent, pass_fds=[handle])
            assert said.returncode in (0, 1), said._told()
            assert snapshot(outside) == before, f"{how}: {said._told()}"


@pytest.mark.since("0.12.0")
@pytest.mark.parametrize("name", ["proc", "dev", "tmp", "dev/shm", "etc/resolv.conf"])
def test_usual_line_on_a_root_of_links(bwrap, root, outside, tree, name):
    before = snapshot(outside)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).symlink_to(outside / "file" if "resolv" in name else outside)
    options = ("--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/dev/shm/x")
    said = bwrap(*options, "--ro-bind", tree / "file", "/etc/resolv.conf", "true")
    assert said.returncode in (0, 1), said._told()
    assert snapshot(outside) == before


@pytest.mark.strata
@pytest.mark.parametrize("link", ["/real", "real", "../../real", "/./real/../real"])
def test_links_lead_inside_the_root(bwrap, root, tree, link):
    (root / "real").mkdir()
    (root / "in").symlink_to(link)
    said = bwrap("--bind", root, "/", "--bind", tree, "/in/a", "--bind", tree, "/in", "sh", "-c", "cat /real/file")
    assert said.ok().stdout == "content\n"
    assert (root / "in").is_symlink() and os.listdir(root / "real") == ["a"]


@pytest.mark.strata
def test_absolute_link_is_absolute_in_the_root(bwrap, root, outside, tree):
    (root / "in").symlink_to(outside)
    inside = root / str(outside)[1:]
    inside.mkdir(parents=True)
    bwrap("--bind", root, "/", "--file", bwrap.data(b"in\n"), "/in/file", "true").ok()
    assert (inside / "file").read_text() == "in\n"
    assert (outside / "file").read_text() == "outside\n"


def test_loop_of_links_is_an_error(bwrap, root, tree):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    said = bwrap("--bind", root, "/", "--bind", tree, "/a/x", "true")
    assert said.returncode == 1 and said.stderr.startswith("bwrap: Can't ")


def test_dots_stay_in_the_root(bwrap, root, outside, tree):
    before = snapshot(outside)
    where = "/" + "../" * 30 + str(outside)[1:]
    for options in (("--dir", f"{where}/new"), ("--file", bwrap.data(b"x"), f"{where}/file"), ("--bind", tree, where)):
        bwrap("--bind", root, "/", *options, "true")
    assert snapshot(outside) == before


def test_chdir_and_lock_files_are_paths_of_the_root(bwrap, root, outside):
    (root / "in").symlink_to(outside)
    said = bwrap("--bind", root, "/", "--chdir", "/in", "true")
    assert said.fails(1).stderr == "bwrap: Can't chdir to /in: No such file or directory\n"
    bwrap("--bind", root, "/", "--lock-file", "/in/file", "true").fails(1, "bwrap: Unable to open lock file /in/file: ")


@pytest.mark.since("0.12.0")
def test_link_that_comes_and_goes_leads_nowhere_outside(bwrap, root, outside):
    # Another process of the same user, in the root: a directory that is a link at the worst moment.
    before = snapshot(outside)
    (root / "a").mkdir()
    (root / "b").symlink_to(outside)
    stop = threading.Event()
    renameat2 = ctypes.CDLL(None).renameat2
    paths = [os.fsencode(root / name) for name in ("a", "b")]

    def swap():
        while not stop.is_set():
            renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(40):
            options = ("--dir", f"/a/d{number}", "--file", bwrap.data(b"x"), f"/a/f{number}", "--tmpfs", "/a/sub")
            bwrap("--bind", root, "/", *options, "--symlink", "x", f"/a/l{number}", "true")
    finally:
        stop.set()
        thread.join()
    assert snapshot(outside) == before
