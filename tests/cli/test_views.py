"""LAYER:at=/prefix and LAYER:only=GLOB."""

import pytest
from archives import Hardlink


@pytest.fixture
def tool(layer, base):
    return layer(
        "tool",
        {
            "usr/bin/cc": b"cc",
            "usr/bin/gcc": Hardlink("usr/bin/cc"),
            "usr/include/stdio.h": b"stdio",
            "usr/include/sys/stat.h": b"stat",
            "etc/tool.conf": b"conf",
        },
    )


def files(strata, *layers):
    """The paths of files that the layers add to base's."""
    done = strata.sh("find /usr /etc /opt -type f 2>/dev/null | sort", "base", *layers).ok()
    return done.stdout.split()


def test_at_moves_the_root_of_a_layer(strata, tool):
    found = files(strata, "tool:at=/opt/cross")
    assert "/opt/cross/usr/bin/cc" in found and "/opt/cross/etc/tool.conf" in found
    assert "/usr/bin/cc" not in found


def test_only_keeps_what_a_glob_matches(strata, tool):
    found = files(strata, "tool:only=**/*.h")
    assert "/usr/include/stdio.h" in found and "/usr/include/sys/stat.h" in found
    assert "/usr/bin/cc" not in found and "/etc/tool.conf" not in found
    assert "/usr/include/sys/stat.h" not in files(strata, "tool:only=usr/include/*.h")


def test_several_globs_are_a_union_and_at_comes_last(strata, tool):
    found = files(strata, "tool:only=usr/include/sys:only=etc/*:at=/opt")
    assert "/opt/usr/include/sys/stat.h" in found and "/opt/etc/tool.conf" in found
    assert "/opt/usr/include/stdio.h" not in found


def test_names_of_one_file_stay_hard_links(strata, tool):
    done = strata.sh("stat -c %i /opt/usr/bin/cc /opt/usr/bin/gcc", "base", "tool:at=/opt").ok()
    assert len(set(done.stdout.split())) == 1


def test_a_view_and_the_layer_itself_go_together(strata, tool):
    found = files(strata, "tool", "tool:at=/opt")
    assert "/usr/bin/cc" in found and "/opt/usr/bin/cc" in found


def test_a_build_cannot_write_through_a_view(strata, tool, store):
    strata.sh("echo changed > /opt/usr/bin/cc", "base", "tool:at=/opt").ok()
    assert (store / "layers" / tool / "tree/usr/bin/cc").read_bytes() == b"cc"


def test_what_is_no_view_is_refused(strata, tool):
    run = lambda view: strata("run", "base", f"tool:{view}", "--", "true")
    run("at=opt").fails(125, "tool:at=opt: at=opt: not an absolute path", "hint: at=/opt")
    run("at=/../x").fails(125, "at=/../x")
    run("only=[").fails(125, "a '[' without its ']'")
    run("only=usr/inlcude").fails(125, "no path matches", "strata files")


def test_views_are_made_once(strata, tool, store):
    strata.sh("true", "base", "tool:at=/opt").ok()
    made = {p.name: p.stat().st_ino for p in (store / "derived").iterdir() if p.name.startswith("view-")}
    strata.sh("true", "base", "tool:at=/opt", "tool").ok()
    again = {p.name: p.stat().st_ino for p in (store / "derived").iterdir() if p.name.startswith("view-")}
    assert len(made) == 1 and made == again
