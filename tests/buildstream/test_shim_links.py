# SPDX-License-Identifier: Apache-2.0
"""Which file is linked where an overlay shows one, and what counts as untouched."""

import os
from types import SimpleNamespace

import pytest
from shim import links, session


@pytest.fixture
def place(tmp_path):
    """A root that shows what its upper and its two layers have (merged here by hand)."""
    names = ("root", "upper", "below", "above")
    for name in names:
        (tmp_path / name / "d").mkdir(parents=True)
    for name, files in (("below", ("a", "d/b", "d/c")), ("above", ("d/b",)), ("upper", ("d/c", "d/e")), ("root", ("a", "d/b", "d/c", "d/e"))):
        for file in files:
            (tmp_path / name / file).write_text(name)
    os.symlink("d", tmp_path / "root" / "link")
    links._directory.cache_clear()
    return SimpleNamespace(
        root=str(tmp_path / "root"),
        upper=str(tmp_path / "upper"),
        lowers=[str(tmp_path / "below"), str(tmp_path / "above")],
        plain_path=lambda path: None,
    )


def shown(place, path):
    found = links.shown_file(place, os.path.join(place.root, path))
    return found and os.path.relpath(found, os.path.dirname(place.root))


def test_the_topmost_file_is_linked(place):
    assert shown(place, "a") == "below/a"
    assert shown(place, "d/b") == "above/d/b"
    assert shown(place, "d/c") == "upper/d/c"
    assert shown(place, "d/e") == "upper/d/e"


def test_links_on_the_way_are_followed_where_the_root_has_them(place):
    assert shown(place, "link/b") == "above/d/b"


def test_a_file_that_was_copied_up_is_copied(place):
    os.setxattr(os.path.join(place.upper, "d/c"), "user.overlay.origin", b"x")
    assert shown(place, "d/c") is None


def test_what_is_no_regular_file_is_left_alone(place):
    os.symlink("a", os.path.join(place.upper, "s"))
    assert shown(place, "s") is None
    assert shown(place, "missing") is None
    assert shown(place, "../outside") is None


def test_looking_up_a_directory_once_finds_the_same(place, tmp_path):
    paths = ("a", "d/b", "d/c", "d/e", "link/b", "missing", "../outside")
    one_by_one = [shown(place, path) for path in paths]
    with links._remembering(place, str(tmp_path / "elsewhere")):
        assert [shown(place, path) for path in paths] == one_by_one
        assert set(links._remembered) >= {place.root, f"{place.root}/d"}
    assert links._remembered is None


def test_only_what_linking_would_not_change_becomes_the_artifact_itself(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").write_text("x")
    (tmp_path / "a/b/link").symlink_to("../../nowhere")
    assert links._is_as_linked(tmp_path)
    (tmp_path / "a/b/absolute").symlink_to("/etc")
    assert not links._is_as_linked(tmp_path)
    (tmp_path / "a/b/absolute").unlink()
    os.mkfifo(tmp_path / "a/fifo")
    assert not links._is_as_linked(tmp_path)
    assert not links._is_as_linked(None)


def test_directories_alone_leave_a_root_untouched(tmp_path):
    assert session.directories_only(tmp_path) == []
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    assert sorted(session.directories_only(tmp_path)) == ["a", "a/b", "c"]
    assert session.directories_only(tmp_path, most=2) is None
    (tmp_path / "a/b/file").write_text("")
    assert session.directories_only(tmp_path) is None
