"""The manual pages: they say what --help says, formatters have nothing against them, examples are true."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from archives import File, base_entries, write_tar

SOURCE = Path(__file__).resolve().parents[2]
WIDEST = 999  # columns that mandoc can fill
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}


@pytest.fixture(scope="session")
def docs(strata_binary):
    """The directory of all that is generated."""
    directory = strata_binary.parent / "docs"
    assert (directory / "docs.stamp").exists(), "build the target `docs` first"
    return directory


@pytest.fixture(scope="session")
def man_pages(docs):
    """{"strata-run.1": its path}; not those that only lead to another."""
    pages = sorted((docs / "man").glob("man*/*"))
    return {page.name: page for page in pages if not page.read_text().startswith(".so ")}


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, **options)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def rendered(page, width=78):
    """The page as text, without bold and underlined letters."""
    return re.sub(".\b", "", output("mandoc", "-Tutf8", "-O", f"width={width}", str(page)))


def section(page, heading):
    """The lines of a section, or none."""
    lines = rendered(page, 200).splitlines()
    if heading not in lines:
        return []
    start = lines.index(heading) + 1
    end = next(i for i, line in enumerate(lines[start:] + ["END"], start) if re.match(r"\S", line))
    return lines[start:end]


def commands(strata):
    """{name: summary} of `strata help`, which names itself too."""
    listed = strata("help").ok().out.split("Commands:\n")[1].split("\n\n")[0]
    found = dict(line.split(None, 1) for line in listed.splitlines())
    del found["help"]
    return found


# --- what they say -----------------------------------------------------------------------------------


def test_every_command_has_a_page_and_every_page_a_command(strata, man_pages):
    named = {name[len("strata-") : -2] for name in man_pages if name.startswith("strata-") and name.endswith(".1")}
    others = {"bwrap", "mount", "bst"}
    assert named - others == set(commands(strata))


def test_the_name_of_a_page_is_the_summary_of_its_command(strata, man_pages):
    for name, summary in commands(strata).items():
        line = " ".join(" ".join(section(man_pages[f"strata-{name}.1"], "NAME")).split())
        assert line == f"strata-{name} \u2013 {summary[0].lower()}{summary[1:]}".replace("\u2013", "-"), line


def test_the_first_page_lists_all_commands(strata, man_pages):
    listed = re.findall(r"^ +strata-(\w+)\(1\)$", "\n".join(section(man_pages["strata.1"], "COMMANDS")), re.M)
    assert listed == list(commands(strata))


def options_of_help(text):
    return [tuple(found) for found in re.findall(r"^ {2,6}(?:-(\w), )?--([\w-]+)(?: (\S+))?(?:  +.*)?$", text, re.M)]


def option_tags(page):
    """The first line of each entry of OPTIONS, without fonts. (Formatted, a short one has text beside it.)"""
    options = page.read_text().split(".SH \"OPTIONS\"\n")[1].split("\n.SH ")[0]
    return [re.sub(r"\\f[BIR]", "", tag).replace("\\-", "-") for tag in re.findall(r"^\.TP\n(.*)$", options, re.M)]


def options_of_page(page):
    found = [re.fullmatch(r"(?:-(\w), )?--([\w-]+)(?: (\S+))?", tag) for tag in option_tags(page)]
    return [(match[1] or "", match[2], match[3] or "") for match in found]


def test_options_of_help_and_of_pages_are_the_same(strata, man_pages):
    for name in commands(strata):
        of_help = options_of_help(strata(name, "--help").ok().out)
        assert of_help, name
        assert options_of_page(man_pages[f"strata-{name}.1"]) == of_help, name


def test_what_help_says_of_the_exit_status_has_a_section_of_its_own(strata, man_pages):
    for name in commands(strata):
        page = man_pages[f"strata-{name}.1"]
        assert section(page, "EXIT STATUS"), name
        assert not re.search("exit status|exits with", " ".join(section(page, "DESCRIPTION")), re.I), name


def bwrap_options(lines):
    """[("--bind-try", 2), ...]: each option of a list, and how many arguments it has."""
    found = []
    for line in lines:
        match = re.match(r"((?:--[\w-]+, )*--[\w-]+)((?: [A-Z]+)*)(?:  .*)?$", line.removeprefix("  "))
        if match:
            found += [(name, len(match[2].split())) for name in match[1].split(", ")]
    return found


def test_options_of_strata_bwrap_are_in_its_parser_its_help_and_its_page(strata_binary, man_pages):
    parser = (SOURCE / "tools/strata-bwrap/options.cc").read_text()
    parsed = {(name, int(words)) for name, words in re.findall(r'^    \{"(--[\w-]+)", (\d),', parser, re.M)}
    assert len(parsed) > 60
    said = output(str(strata_binary.parent / "strata-bwrap"), "--help")
    of_help = bwrap_options(said.splitlines())
    of_page = bwrap_options(option_tags(man_pages["strata-bwrap.1"]))
    assert of_page == of_help
    # These three are looked at before the table.
    assert set(of_help) == parsed | {("--help", 0), ("--version", 0), ("--args", 1)}
    assert len(of_help) == len(set(of_help))


def test_all_that_stats_reports_is_explained(strata, base, man_pages, tmp_path):
    explained = " ".join(section(man_pages["strata-run.1"], "THE REPORT OF --STATS"))
    for options, command in ((["--capture", "x"], "true"), (["--bind", "/missing:/x"], "true")):
        strata("run", "--stats", tmp_path / "stats.json", *options, "base", "--", command)
        stats = json.loads((tmp_path / "stats.json").read_text())
        names = set(stats)
        for inner in ("rusage", "limits", "memory", "pids", "captured"):
            names |= set(stats.get(inner) or {})
        assert [name for name in names if not re.search(rf"\b{name}\b", explained)] == []
    assert stats["outcome"] == "setup-failed"


def test_options_of_strata_mount_are_in_its_help_and_its_page(strata_binary, man_pages):
    said = output(str(strata_binary.parent / "strata-mount"), "--help")
    of_help = re.findall(r"^ {4}([a-z_]\w*)(=\S+)? ", said, re.M)
    switches = [line.split("  ")[0].strip() for line in re.findall(r"^ {4}(-\w.*)", said, re.M)]
    assert len(of_help) > 40 and "-f" in switches
    tags = option_tags(man_pages["strata-mount.1"])
    assert [tag for tag in tags if not tag.startswith("-")] == [name + value for name, value in of_help]
    assert [tag.split(",")[0] for tag in tags if tag.startswith("-")][:-1] == switches


def test_the_format_of_the_store_is_in_its_page(man_pages):
    text = (SOURCE / "cache/format.md").read_text()
    lines = rendered(man_pages["strata-store.5"]).splitlines()
    for heading in re.findall(r"^## (.*)", text, re.M):
        assert heading.upper() in lines
    words = " ".join(rendered(man_pages["strata-store.5"], WIDEST).split())
    for sentence in re.findall(r"(?<=\. )[A-Z][\w ,]{30,}\.", text):
        assert sentence in words, sentence


def exported_functions():
    header = (SOURCE / "tools/libstrata/strata.h").read_text()
    return re.findall(r"^STRATA_API [\w\s*]*?(\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S), re.M)


def test_every_function_of_the_library_is_in_the_page_of_its_header(docs, man_pages):
    functions = exported_functions()
    assert len(functions) > 50
    text = rendered(man_pages["strata.h.3"], WIDEST)
    for name in functions:
        assert re.search(rf"^ {{7}}[\w ]+\*? ?{name}\([^)]", text, re.M), name
    aliases = {page.stem for page in (docs / "man/man3").iterdir()} - {"strata.h"}
    assert aliases == set(functions)
    assert "strata_run_options" in output("man", "-M", str(docs / "man"), functions[0])
    assert "STRATA-MOUNT(1)" in output("man", "-M", str(docs / "man"), "mount.strata")


def test_what_the_header_says_of_a_member_is_beside_its_name(man_pages):
    """Comments above several members, behind one, and both in a row."""
    text = rendered(man_pages["strata.h.3"], WIDEST)
    for member, said in (
        ("stdin_fd, stdout_fd, stderr_fd", "What becomes its standard streams: "),
        ("timeout_ms", "0: none."),
        ("control_fd", "A pipe or socket through which the caller ends it"),
        ("STRATA_E_BUSY", "In use by another process."),
        ("reserved", "Zero."),
        ("message", "text has no newline at its end."),
    ):
        assert re.search(rf"^ +{member}\n +{re.escape(said)}|^ +{member} +{re.escape(said)}", text, re.M), member


def test_pages_refer_to_pages_that_exist(man_pages):
    for page in man_pages.values():
        for name, number in re.findall(r"\b(strata[\w.-]*)\((\d)\)", rendered(page, WIDEST)):
            assert f"{name}.{number}" in man_pages, (page.name, name, number)


# --- how they are written ----------------------------------------------------------------------------


def test_formatters_have_nothing_against_a_page(man_pages):
    for page in man_pages.values():
        # A page has no date: the same source gives the same bytes.
        said = subprocess.run(["mandoc", "-Tlint", page], capture_output=True, text=True, env=ENVIRONMENT)
        assert [line for line in said.stdout.splitlines() if "missing date" not in line] == []
        for command in (["groff", "-man", "-Tutf8", "-ww", "-z", page], ["man", "--warnings", "-l", page]):
            done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
            assert (done.returncode, done.stderr) == (0, ""), command


def test_nothing_is_wider_than_80_columns(man_pages):
    for page in man_pages.values():
        for text in (rendered(page), output("man", "-l", str(page))):
            for line in text.splitlines():
                assert len(line) <= 80, (page.name, line)


def test_apropos_can_read_the_names(man_pages):
    for page in man_pages.values():
        assert f'"{page.stem} - ' in output("lexgrog", str(page)), page.name


def test_generating_again_gives_the_same_bytes(docs, tmp_path):
    version = re.search(r"project\(strata VERSION ([\d.]+)", (SOURCE / "CMakeLists.txt").read_text())[1]
    for directory in ("one", "two"):
        subprocess.run(
            [sys.executable, "-B", SOURCE / "tools/docs/generate.py", "--tables", docs / "tables.json",
             "--version", version, "--output", tmp_path / directory],
            check=True, env={**ENVIRONMENT, "PYTHONHASHSEED": str(len(directory) * 7)},
        )
    for generated in (tmp_path / "two").rglob("*"):
        if generated.is_file():
            path = generated.relative_to(tmp_path / "two")
            assert generated.read_bytes() == (tmp_path / "one" / path).read_bytes()
            assert generated.read_bytes() == (docs / path).read_bytes(), f"{path}: build the target `docs`"


# --- examples ----------------------------------------------------------------------------------------

GCC = '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf \'#!/bin/sh\\necho hello\\n\' >"$2"; chmod +x "$2"\n'


@pytest.fixture(scope="session")
def example_files(tmp_path_factory):
    """What the examples name: a root with tools that only look like those, archives, sources."""
    directory = tmp_path_factory.mktemp("examples")
    root = base_entries()
    root["bin/gcc"] = File(GCC, mode=0o755)
    root["bin/make"] = File("#!/bin/sh\necho nothing to be done\n", mode=0o755)
    root["sbin"] = None
    root["sbin/ldconfig"] = File("#!/bin/sh\nls /usr/lib >/etc/ld.so.cache\n", mode=0o755)
    write_tar(directory / "rootfs.tar", root)
    for name, mode in (("libgreet.tar.gz", "w:gz"), ("libgreet-2.tar", "w")):
        write_tar(directory / name, {"usr": None, "usr/lib": None, "usr/lib/libgreet.so.1": name}, mode=mode)
    write_tar(directory / "hello.tar", {"hello": File("#!/bin/sh\necho hello\n", mode=0o755)})
    (directory / "include").mkdir()
    (directory / "include/greet.h").write_text("void greet(void);\n")
    (directory / "src").mkdir()
    (directory / "src/hello.c").write_text("int main(void) { return 0; }\n")
    (directory / "deps.txt").write_text("base\nlibgreet\n")
    (directory / "commands.sh").write_text("ls /\n")
    return directory


@pytest.fixture
def examples(strata, example_files, tmp_path):
    """Runs a script where the files are and the store has base, libgreet and hello."""
    place = tmp_path / "place"
    shutil.copytree(example_files, place)
    for ref, archive in (("base", "rootfs.tar"), ("libgreet", "libgreet.tar.gz"), ("hello", "hello.tar")):
        strata("import", "--name", ref, place / archive).ok()

    def run(script):
        path = f"{strata.binary.parent}:{strata.env['PATH']}"
        return subprocess.run(["sh", "-eux", "-c", script], cwd=place, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=strata.environment({"PATH": path}), timeout=300)

    return run


def example_of(page):
    """The indented lines of EXAMPLES."""
    return [line.strip() for line in section(page, "EXAMPLES") if re.match(r" {9}", line)]


def pages_with_examples():
    for path in sorted((SOURCE / "tools/docs/pages").iterdir()):
        # strata-bst needs BuildStream and projects, and is tested with them.
        if "## EXAMPLES" in path.read_text() and not path.name.startswith("strata-bst"):
            yield path.name.removesuffix(".md")


@pytest.mark.parametrize("name", pages_with_examples())
def test_examples_can_be_done(man_pages, examples, name):
    lines = example_of(man_pages[name])
    assert lines
    done = examples("\n".join(lines))
    assert done.returncode == 0, done.stderr


def test_every_page_of_a_command_has_examples(man_pages):
    assert [name for name, page in man_pages.items() if name.endswith(".1") and not example_of(page)] == []
