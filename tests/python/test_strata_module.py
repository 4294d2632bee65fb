# SPDX-License-Identifier: Apache-2.0
"""tools/python/strata.py: libstrata ($STRATA_LIBRARY) as Python objects."""

import ctypes
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS / "python"))

import strata  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def store(tmp_path):
    with strata.Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def tree(tmp_path):
    """Makes a directory of {path: text}."""

    def make(name, files):
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
        return tmp_path / name

    return make


def test_the_structs_are_those_of_the_header(tmp_path):
    """Sizes and offsets, as the C compiler has them."""
    structs = {f"strata{re.sub(r'([A-Z])', lambda m: '_' + m[1].lower(), name)}": kind
               for name, kind in vars(strata).items()
               if isinstance(kind, type) and issubclass(kind, ctypes.Structure) and hasattr(kind, "_fields_")}  # fmt: skip
    structs = {name.replace("__", "_"): kind for name, kind in structs.items()}
    assert len(structs) == 14
    lines = [f'printf("{name} %zu", sizeof({name}));' + "".join(
        f'printf(" %zu", offsetof({name}, {field[0]}));' for field in kind._fields_) + ' puts("");'
        for name, kind in structs.items()]  # fmt: skip
    source = tmp_path / "layout.c"
    source.write_text('#include "strata.h"\n#include <stdio.h>\nint main(void) {\n' + "\n".join(lines) + "\nreturn 0; }\n")
    subprocess.run(["cc", "-I", TOOLS / "libstrata", "-o", tmp_path / "layout", source], check=True)
    said = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    ours = [" ".join(map(str, [name, ctypes.sizeof(kind), *(getattr(kind, field[0]).offset for field in kind._fields_)]))
            for name, kind in structs.items()]  # fmt: skip
    assert said.splitlines() == ours


def test_every_function_of_the_header_is_called():
    header = (TOOLS / "libstrata/strata.h").read_text()
    module = (TOOLS / "python/strata.py").read_text()
    functions = re.findall(r"\bstrata_(\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S))
    assert len(functions) > 40
    missing = [name for name in functions if not re.search(rf'["_ ]{name}\b|\b{name}[" ]', module)]
    assert missing == []


def test_a_directory_and_an_archive_are_imported(store, tree, tmp_path):
    with store.import_(tree("one", {"etc/x": "1"}), ref="one", mtime=1) as layer:
        assert (len(layer.id), layer.existed, layer.entries, layer.bytes) == (64, False, 2, 1)
        assert store.resolve("one") == strata.Target("layer", layer.id)
        with store.import_(tmp_path / "one", mtime=1) as again:
            assert again.existed and again.id == layer.id
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("from-tar"), io.BytesIO())
    (tmp_path / "archive").write_bytes(stream.getvalue())
    with open(tmp_path / "archive", "rb") as file, store.import_(file.fileno(), ref="tar"):
        assert list(store.refs()) == ["one", "tar"]
    store.untag("tar")
    assert list(store.refs()) == ["one"]


def test_a_layer_lists_its_files(store, tree):
    top = tree("one", {"usr/bin/tool": "content", os.fsdecode(b"odd \xff"): ""})
    (top / "link").symlink_to(os.fsdecode(b"to \xff"))
    os.link(top / "usr/bin/tool", top / "usr/bin/zwei")
    with store.import_(top, mtime=7) as layer:
        listed = {entry.path: entry for entry in layer.files()}
        fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        with store.import_(fd, mtime=7) as again:
            assert again.id == layer.id
        os.close(fd)
    assert list(listed) == ["/link", os.fsdecode(b"/odd \xff"), "/usr", "/usr/bin", "/usr/bin/tool", "/usr/bin/zwei"]
    tool = listed["/usr/bin/tool"]
    assert (tool.type, tool.mode, tool.uid, tool.mtime, tool.bytes) == ("file", 0o644, 0, 7, 7)
    assert (tool.sha256[:8], tool.target, tool.hardlink) == ("ed7002b4", None, None)
    assert listed["/usr/bin/zwei"].hardlink == tool.path
    assert (listed["/link"].type, listed["/link"].target) == ("symlink", os.fsdecode(b"to \xff"))
    assert listed["/usr"].type == "directory" and not listed["/usr"].opaque
    with pytest.raises(ValueError, match="this Layer is closed"):
        layer.files()


def test_errors_are_exceptions(store, tree):
    with pytest.raises(strata.Error, match="no layer") as caught:
        store.resolve("nothing")
    assert caught.value.code == strata.E_NOT_FOUND
    with pytest.raises(strata.Error) as caught:
        store.import_("/nowhere")
    assert (caught.value.code, caught.value.errno) == (strata.E_SYSTEM, 2)
    with pytest.raises(strata.Error, match="policy 'maybe': one of error, replace, skip"):
        store.set().on_conflict("maybe")
    with store.set() as closed:
        pass
    with pytest.raises(ValueError, match="this Set is closed"):
        closed.add("x")


def test_a_command_runs_in_a_sandbox(store, tree, tmp_path):
    root = tree("busybox", {"bin/.keep": ""})
    shutil.copy("/bin/busybox", root / "bin/sh")
    with store.import_(root) as busybox, store.set(busybox).compose() as composed:
        with open(tmp_path / "out", "w", encoding="ascii") as out:
            with composed.run(["sh", "-c", "echo $WHO; exit 3"], env={"WHO": "me"}, stdout=out.fileno()) as result:
                assert (result.outcome, result.status, result.signal, result.layer_id) == ("ended", 3, 0, None)
                assert result.stats["exit_code"] == 3
        assert (tmp_path / "out").read_text() == "me\n"
        source = tree("source", {"x": "1"})
        with composed.run(
            ["sh", "-c", "busybox cp /src/x /made || cat </src/x >/made"], flags="capture", capture_ref="made",
            stderr=-1, mounts=[("bind_ro", source, "/src")],
        ) as result:  # fmt: skip
            assert result.layer_id == store.resolve("made").id
        with composed.run(["sh", "-c", "echo x >/made; exit 4"], flags="keep_failed") as result:
            assert (result.status, result.workspace[:7]) == (4, "failed-")
        with composed.run(["sh", "-c", "exit 0"], flags="keep_failed") as result:
            assert result.workspace is None
        allow = tmp_path / "allow"
        allow.write_bytes(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW
        with composed.run(["sh", "-c", "exit 5"], seccomp_file=allow) as result:
            assert result.status == 5
        with pytest.raises(TypeError, match="'true': a list of texts is needed"):
            composed.run("true")
        for hostile in ({"argv": ["sh", "a\0b"]}, {"hostname": "a\0b"}, {"env": {"K": "a\0b"}}):
            with pytest.raises(ValueError, match="a NUL byte in b'.*a.x00b'"):
                composed.run(**{"argv": ["sh"], **hostile})
        with pytest.raises(strata.Error, match="stdin_fd is no terminal"):
            composed.run(["sh"], stdin=-1, flags="terminal")
        with composed.run(["sh", "-c", "while :; do :; done"], timeout_ms=100, grace_ms=1) as result:
            assert (result.outcome, result.status) == ("timed-out", 124)
        with pytest.raises(TypeError, match="timeout"):
            composed.run(["sh"], timeout=1)
        with pytest.raises(strata.Error, match="flag 'read-only': one of read_only"):
            composed.run(["sh"], flags=["read-only"])


def test_what_a_callback_raises_is_raised(store, tree):
    store.import_(tree("sockets", {"x": ""}), ref="x").close()

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    import socket

    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tree("sockets", {}) / "socket"))
    with pytest.raises(Stop):
        store.import_(tree("sockets", {}), message=stop)


def test_overlaps_name_members_by_index(store, tree):
    layers = [tree(name, files) for name, files in (("a", {"x": "", "d/f": ""}), ("b", {"x": "1"}), ("c", {"d": "", "x": "2"}))]
    wanted = store.set()
    for number, path in enumerate(layers):
        wanted.add_directory(path, f"key {number}")
    assert len(wanted) == 3
    found = {overlap.path.lstrip("/"): overlap for overlap in wanted.overlaps()}
    assert found["x"].members == (0, 1, 2) and not found["x"].conflict
    assert found["d"].members == (0, 2) and found["d"].conflict


def test_a_root_is_found_again(store, tree):
    layer = tree("a", {"x": "1"})
    with store.set(f"dir:{layer}@k").compose() as root:
        assert not root.hit and root.lowers[-1].endswith("/a")
        with store.set().add_directory(layer, "k").compose() as again:
            assert again.hit and again.key == root.key
        with store.root(root.key) as opened:
            assert opened.lowers == root.lowers
        leases = root.lease()
        assert leases and not any(map(os.get_inheritable, leases))
        for lease in leases:
            os.close(lease)
    # Nothing holds it any more.
    assert store.gc(everything=True, dry_run=True)["roots"] == 1


# Of one thread; an ordinary user in a user namespace of its own.
STAGE = """
import os, sys
sys.path[:0] = sys.argv[1:3]
import strata
from strata_bst import namespace
namespace.enter()
store = strata.Store(sys.argv[3] + "/store")
mount = sys.argv[3] + "/mount"
os.mkdir(mount)
with store.set().add_directory(sys.argv[3] + "/a", "k").compose() as root:
    with root.stage() as stage:
        with namespace.privileged():
            stage.mount_at(mount)
        assert open(mount + "/x").read() == "1"
        open(mount + "/x", "w").write("2")
        os.makedirs(mount + "/made/empty")
        namespace.unmount(mount)
        with stage.capture(ref="captured", leave_out=["/made/empty"], mtime=7) as layer:
            print(layer.entries, layer.bytes)
    with root.stage(upper="none", mount_points=["/proc"]) as stage:
        with namespace.privileged():
            fd = stage.mount()
        print(sorted(os.listdir(f"/proc/self/fd/{fd}")))
print(open(sys.argv[3] + "/a/x").read())
"""


def test_a_stage_is_mounted_and_captured(tree, tmp_path):
    tree("a", {"x": "1"})
    words = [sys.executable, "-c", STAGE, TOOLS / "python", TOOLS / "buildstream", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["2 1", "['proc', 'x']", "1"], "")
    with strata.Store(tmp_path / "store") as store:
        assert store.resolve("captured").kind == "layer"


def test_what_is_raised_while_a_list_is_made_reaches_the_caller(tmp_path, monkeypatch):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    with strata.Store(tmp_path / "store") as store, store.import_(tmp_path / "tree") as layer:
        monkeypatch.setattr(strata, "_TYPES", {})
        with pytest.raises(KeyError):
            layer.files()
