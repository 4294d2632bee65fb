# SPDX-License-Identifier: Apache-2.0
"""lowerdir=REF:REF: layers of the store, and what keeps them in it while they are mounted."""

import json
import os

import pytest
from archives import Symlink
from directories import make_directory

WRITABLE = "upperdir=upper,workdir=work"


@pytest.fixture
def two(layer, directories):
    directories()
    return layer("base", {"d": None, "d/a": "low", "d/b": "b"}), layer("gcc:12", {"d": None, "d/a": "top"})


def tools(strata):
    """Lines that let a script call strata as `strata`."""
    return f'strata() {{ {strata.binary} "$@"; }}\n'


def test_refs_the_first_on_top(mount, two):
    assert mount(rf"mnt -o lowerdir=gcc\\:12:base,{WRITABLE} at; cat at/d/a at/d/b; umount at").ok().stdout == "topb"
    assert mount(rf"mnt -o lowerdir=base:gcc\\:12,{WRITABLE} at; cat at/d/a; umount at").ok().stdout == "low"


def test_what_is_written_goes_to_the_upper(mount, two, tmp_path):
    mount(rf"mnt -o lowerdir=gcc\\:12:base,{WRITABLE} at; echo n >at/n; rm at/d/b; umount at").ok()
    assert (tmp_path / "upper/n").read_text() == "n\n"
    assert mount(rf"mnt -o lowerdir=gcc\\:12:base,{WRITABLE} at; ls at at/d; umount at").ok().stdout == "at:\nd\nn\n\nat/d:\na\n"


def test_ids_roots_views_and_a_single_read_only_layer(mount, strata, two, tmp_path):
    root = strata("compose", "base", "gcc:12").ok().out
    make_directory(tmp_path / "plain", {"p": "plain"})
    for lowers, shown in (
        (f"{two[1][:12]}:{two[0]}", "topb"),
        (root, "topb"),
        ("base", "lowb"),
        (r"gcc\\:12:at=/:base", "topb"),
        ("base:only=d/**", "lowb"),
        (f"dir:{tmp_path}/plain@k1:base", "lowb"),
    ):
        assert mount(f"mnt -o lowerdir={lowers} at && cat at/d/a at/d/b && umount at").ok().stdout == shown, lowers


def test_without_home_the_store_is_in_the_home_of_passwd(mount, strata, two):
    """mount(8) calls its helpers so."""
    script = f"""mount -t tmpfs none /etc && echo "root:x:$(id -u):0::$PWD/home:/bin/sh" >/etc/passwd
    mkdir -p home/.local/share && mv store home/.local/share/strata
    env -u HOME -u STRATA_STORE "$PROGRAM" -o lowerdir=base at && cat at/d/a && umount at
    mv home/.local/share/strata store"""
    assert mount(script).ok().stdout == "low"


def test_links_are_written_through_as_staging_defines_it(mount, layer, directories):
    directories()
    layer("usr", {"usr": None, "usr/lib": None, "lib": Symlink("usr/lib")})
    layer("app", {"lib": None, "lib/x": "x"})
    assert mount("mnt -o lowerdir=app:usr at; cat at/usr/lib/x; readlink at/lib; umount at").ok().stdout == "xusr/lib\n"


def test_a_mounted_layer_is_not_collected(mount, strata, two):
    script = tools(strata) + rf"""mnt -o lowerdir=gcc\\:12:base,{WRITABLE} at
    strata untag gcc:12; strata gc --all >/dev/null; cat at/d/a; strata list stages --json; umount at
    strata list stages --json; strata gc --all >/dev/null; strata list layers --json"""
    told = mount(script).ok().stdout
    assert told.startswith("top")
    stages, left, layers = _documents(told[3:])
    assert [stage["directory"] for stage in _list(stages)] == [str(mount.cwd / "at")]
    assert _list(left) == []
    assert [entry["id"] for entry in _list(layers)] == [two[0]]


def _documents(text):
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def _list(document):
    return document if isinstance(document, list) else next(iter(document.values()))


def test_strata_unstage_takes_it_away(mount, strata, two):
    script = tools(strata) + f"mnt -o lowerdir=base at && strata unstage at && mountpoint at; strata list stages"
    assert mount(script).stdout == "at is not a mountpoint\n"


def test_a_namespace_that_is_gone_holds_nothing(mount, strata, two):
    mount(rf"mnt -o lowerdir=gcc\\:12:base,{WRITABLE} at; strata untag gcc:12; cat at/d/a").ok()
    strata("untag", "gcc:12").ok()
    strata("gc", "--all").ok()
    assert [entry["id"] for entry in _list(strata("list", "layers", "--json").json())] == [two[0]]


def test_a_name_that_is_both_is_not_guessed(mount, two, tmp_path):
    make_directory(tmp_path / "base", {"x": "directory"})
    mount("mnt -o lowerdir=base at").fails(1, "base is a directory here, and a layer of the store", "hint: write ./base")
    assert mount("mnt -o lowerdir=./base at; cat at/x; umount at").ok().stdout == "directory"
    make_directory(tmp_path / "other", {"x": "other"})
    assert mount("mnt -o lowerdir=other at; cat at/x; umount at").ok().stdout == "other"


@pytest.mark.parametrize(
    "lowers, texts",
    (
        ("bas", ("bas", "hint:")),
        ("base:/usr", ("are not mixed", "hint: dir:PATH@KEY")),
        ("./at:base", ("are not mixed",)),
        ("base:dir:./plain", ("needs a key",)),
    ),
)
def test_what_is_no_layer_is_told_so(mount, two, tmp_path, lowers, texts):
    make_directory(tmp_path / "plain", {"x": "x"})
    mount(f"mnt -o lowerdir={lowers} at").fails(1, *texts)


def test_directories_need_no_store(mount, directories, store):
    directories(other={"x": "x"})
    assert mount("mnt -o lowerdir=other at; cat at/x; umount at").ok().stdout == "x"
    assert not store.exists()


def test_the_store_may_be_an_option(mount, two, store):
    script = f"unset STRATA_STORE; mnt -o store={store},lowerdir=base at; cat at/d/a; umount at"
    assert mount(script).ok().stdout == "low"


def test_fuse_overlayfs_is_not_asked_for_layers(mount, two):
    mount("mnt -o lowerdir=base,squash_to_root at").fails(1, "-o squash_to_root: no overlay of the kernel does this")


def test_nothing_is_left_in_the_store_when_it_fails(mount, strata, two, store):
    mount("mnt -o lowerdir=base nowhere").fails(1)
    mount(f"mnt -o lowerdir=base,upperdir=/proc,workdir=/proc at").fails(1)
    assert not os.listdir(store / "stages-at")


def test_many_layers(mount, layer, directories, strata):
    directories()
    for number in range(40):
        layer(f"l{number}", {f"f{number}": str(number), "same": str(number)})
    lowers = ":".join(f"l{number}" for number in range(40))
    assert mount(f"mnt -o lowerdir={lowers} at; ls at | wc -l; cat at/same; umount at").ok().stdout == "41\n0"


