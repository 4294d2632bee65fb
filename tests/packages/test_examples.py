# SPDX-License-Identifier: Apache-2.0
"""Programs outside the tree: the examples that libstrata-dev brings, built and run by an ordinary user."""

import pytest

EXAMPLES = "/usr/share/doc/libstrata-dev/examples"


def build_c(machine):
    machine.run(f"rm -rf c; cp -r {EXAMPLES}/c . && make -C c CFLAGS='-O2 -Wall -Wextra -Werror -std=c11 -D_GNU_SOURCE'",
                user="user").ok()  # fmt: skip
    return "c/cook"


def no_build(_machine):
    return f"python3 {EXAMPLES}/python/cook.py"


@pytest.fixture(params=[build_c, no_build], ids=["c", "python"])
def cook(request, workshop):
    """The command, and how to run it as the user."""
    command = request.param(workshop)
    return lambda arguments: workshop.run(f"{command} {arguments}", user="user")


def test_cook_imports_runs_captures_and_stages(cook, workshop):
    done = cook("-n dough -d left /packages/bare.tar sources sh -c 'cat flour flour >/out/dough'").ok()
    said = workshop.run("strata files dough; strata show --json dough; cat left/dough; strata unstage left", user="user").ok()
    assert said.stdout.startswith("dough\n") and done.out in said.stdout
    assert said.out.endswith("flour\nflour")


def test_cook_exits_as_the_command_did(cook):
    assert cook("/packages/bare.tar sources sh -c 'exit 7'").returncode == 7
    assert cook("/packages/bare.tar sources no-such-command").returncode == 127


def test_cook_says_what_failed(cook):
    said = cook("/packages/none.tar sources true")
    assert said.returncode != 0
    assert "/packages/none.tar: No such file or directory" in said.stderr


def test_cmake_finds_the_package_for_a_cpp_program(workshop):
    workshop.run(f"cp -r {EXAMPLES}/cpp . && cmake -S cpp -B cpp/build && cmake --build cpp/build", user="user").ok()
    workshop.run("strata import -q --name sources sources", user="user").ok()
    printed = workshop.run("cpp/build/refs", user="user").ok().out.splitlines()
    shown = workshop.run("strata list refs", user="user").ok().out
    assert [line for line in printed if line.startswith("sources layer ")], printed
    assert len(printed) == len(shown.splitlines()) - 1, shown
