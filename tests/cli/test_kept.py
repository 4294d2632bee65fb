"""Workspaces and caches: listed, measured, removed when told to, and by nothing else."""

from subprocess import PIPE

import pytest
import waiting

KINDS = {"workspace": ("workspaces", "/usr/a", "w"), "cache": ("caches", "/c/a", "w:/c")}


@pytest.fixture(params=KINDS)
def kept(request, strata, base):
    """The word, the word of the list; one named `w` with a file of 100,000 bytes in it."""
    word, (words, path, value) = request.param, KINDS[request.param]
    strata.sh(f"head -c 100000 /dev/zero > {path}", options=(f"--{word}", value)).ok()
    return word, words, path, value


def test_they_are_listed_with_their_size(strata, kept):
    word, words, _, value = kept
    strata.sh("true", options=(f"--{word}", value.replace("w", "another"))).ok()
    header, first, second = strata("list", words).ok().out.split("\n")
    assert header.split() == [word.upper(), "SIZE", "CHANGED"]
    assert (first.split()[0], second.split()[0]) == ("another", "w")
    another, w = strata("list", "--json", words).json()
    assert (another["name"], w["name"]) == ("another", "w") and w["bytes"] >= 100000 > another["bytes"]
    assert w["changed"] > 0
    assert strata("du", "--json").json()[words]["count"] == 2
    other = ({"workspaces", "caches"} - {words}).pop()
    assert strata("list", other).ok().stdout == ""


def test_rm_removes_one_and_gc_none(strata, kept, store):
    word, words, path, value = kept
    strata("gc", "--all", "--max-size", "0", "-q").ok()
    assert strata.sh(f"wc -c < {path}", options=(f"--{word}", value)).ok().out == "100000"
    assert strata("rm", f"--{word}", "w").ok().out == f"removed {word} w"
    assert list((store / words).iterdir()) == [] and list((store / "trash").iterdir()) == []
    strata.sh(f"cat {path}", options=(f"--{word}", value)).fails(1, "No such file")
    assert strata("rm", "--json", f"--{word}", "w").json()[words] == ["w"]


def test_one_in_use_stays(strata, kept):
    word, words, path, value = kept
    running = strata.start("run", f"--{word}", value, "base", "--", "sh", "-c", f"echo up; cat; wc -c < {path}", stdin=PIPE)
    waiting.read_until(running, b"up")
    strata("rm", f"--{word}", "w").fails(1, f"{word} w is in use by a running stage")
    assert strata("list", "--json", words).json()[0]["name"] == "w"
    status, out, _ = waiting.finish(running)
    assert (status, out.strip()) == (0, b"100000")
    strata("rm", f"--{word}", "w").ok()


@pytest.mark.parametrize("name", ["v", "a/b", "..", ".", "", "-x"])
def test_one_that_is_not_there_changes_nothing(strata, kept, name):
    word, words, _, _ = kept
    strata("rm", f"--{word}", "w", f"--{word}={name}", "base").fails(None, word)
    assert len(strata("list", "--json", words).json()) == 1 and len(strata("list", "--json").json()) == 1


def test_several_things_go_at_once(strata, base):
    strata.sh("true", options=("--workspace", "w", "--cache", "c:/c", "--cache", "d:/d")).ok()
    done = strata("rm", "--workspace", "w", "--cache", "c", "--cache", "d", "base", "--json").json()
    assert (done["untagged"], done["workspaces"], done["caches"]) == (["base"], ["w"], ["c", "d"])
    strata("rm").fails(2, "rm: an argument is missing", "hint: usage: strata rm")
