"""dir:PATH[@KEY]: directories that the store does not manage."""

import json
import os
import socket

import pytest


@pytest.fixture
def art(tmp_path, base):
    directory = tmp_path / "art"
    (directory / "tool").mkdir(parents=True)
    (directory / "tool/name").write_text("one")
    return directory


def test_a_directory_is_staged_where_it_is(strata, art):
    assert strata.sh("cat /tool/name", "base", f"dir:{art}").ok().stdout == "one"
    assert strata.sh("cat /tool/name", "base", "dir:art", cwd=art.parent).ok().stdout == "one"


def test_a_build_writes_beside_it(strata, art):
    strata.sh("echo two > /tool/name; echo new > /tool/new; rm /tool/name", "base", f"dir:{art}").ok()
    assert (art / "tool/name").read_text() == "one"
    assert sorted(p.name for p in (art / "tool").iterdir()) == ["name"]


def test_without_a_key_it_is_looked_at_each_time(strata, art, store):
    strata.sh("true", "base", f"dir:{art}").ok()
    (art / "tool/more").write_text("more")
    assert strata.sh("cat /tool/more", "base", f"dir:{art}").ok().stdout == "more"
    assert not any((store / "roots").iterdir())
    os.mkfifo(art / "tool/fifo")
    strata.sh("test -p /tool/fifo", "base", f"dir:{art}").ok()


def test_with_a_key_its_root_is_cached(strata, art, store, tmp_path):
    stats = tmp_path / "stats"
    for hit in (False, True):
        strata.sh("true", "base", f"dir:{art}@v1", options=("--stats", stats)).ok()
        assert json.loads(stats.read_text())["cache"] == ("hit" if hit else "miss")
    assert len(list((store / "roots").iterdir())) == 1
    assert len([p for p in (store / "derived").iterdir() if p.name.startswith("dir-")]) == 1
    assert strata("compose", "base", f"dir:{art}@v1").ok().out != strata(
        "compose", "base", f"dir:{art}@v2"
    ).ok().out


def test_a_keyed_directory_has_views(strata, art):
    assert strata.sh("cat /opt/tool/name", "base", f"dir:{art}@v1:at=/opt").ok().stdout == "one"
    strata.sh("true", "base", f"dir:{art}:at=/opt").fails(125, "needs a key", "@KEY")


def test_long_chains_of_directories_and_layers(strata, art, layer):
    layers = []
    for i in range(12):
        (art.parent / f"d{i}").mkdir()
        (art.parent / f"d{i}/f{i}").write_text(str(i))
        layers.append(f"dir:{art.parent}/d{i}" + ("@k" if i % 2 else ""))
        layers.append(layer(f"l{i}", {f"g{i}": str(i).encode()}) and f"l{i}")
    done = strata.sh("cat /f* /g* | wc -c", "base", *layers).ok()
    assert done.stdout.strip() == str(2 * (10 + 2 * 2))


def test_what_cannot_be_staged_as_it_is_is_refused(strata, art):
    run = lambda: strata.sh("true", "base", f"dir:{art}")
    os.setxattr(art / "tool", "user.overlay.opaque", b"y")
    run().fails(125, f"dir:{art}: tool: the attribute user.overlay.opaque is overlayfs's own")
    os.removexattr(art / "tool", "user.overlay.opaque")
    os.mknod(art / "gone", 0o600 | 0o020000, os.makedev(0, 0))
    run().fails(125, "gone: a 0:0 device would act as a whiteout")
    (art / "gone").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(art)
        server.bind("s")
        os.chdir(here)
    run().fails(125, "s: a socket, which no layer can have")
    (art / "s").unlink()
    run().ok()


def test_files_of_others_are_refused(strata, base):
    """/usr is root's; for root, a file of somebody else is made."""
    if os.geteuid() != 0:
        strata.sh("true", "base", "dir:/usr/bin").fails(125, "it belongs to 0:0", "import the directory")


def test_files_of_others_are_refused_for_root_too(strata, art):
    if os.geteuid() == 0:
        os.chown(art / "tool/name", 1234, 0)
        strata.sh("true", "base", f"dir:{art}").fails(125, "tool/name: it belongs to 1234:0")


def test_neither_the_store_nor_what_holds_it_is_staged(strata, art, store, tmp_path):
    strata.sh("true", "base", f"dir:{tmp_path}").fails(125, "the store itself is in there")
    strata.sh("true", "base", f"dir:{store}/layers").fails(125, "it is in the store")
    strata.sh("true", "base", f"dir:{art}/tool/name").fails(125, "not a directory")
    strata.sh("true", "base", f"dir:{art}/missing").fails(125, "No such file or directory")
