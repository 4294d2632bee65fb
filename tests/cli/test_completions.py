"""What bash, zsh and fish offer when strata and strata-bwrap are typed; each is asked by its own means."""

import json
import os
import re
import shlex
import subprocess
import time

import pytest
from terminals import Terminal

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="session")
def docs(strata_binary):
    directory = strata_binary.parent / "docs"
    assert (directory / "docs.stamp").exists(), "build the target `docs` first"
    return directory


@pytest.fixture(scope="session")
def tables(docs):
    """The tables that the parsers have."""
    return json.loads((docs / "tables.json").read_text())


class Asker:
    """ask(line): the words that a shell offers at the end of the line, in any order."""

    def __init__(self, strata, docs):
        self.strata, self.completions = strata, docs / "completions"
        strata.env["PATH"] = f"{strata.binary.parent}:{strata.env['PATH']}"

    def close(self):
        pass


class Bash(Asker):
    # Readline's own: what is before the last of these in a word is not replaced.
    BREAKS = "=:"

    def ask(self, line):
        words = []
        for word in re.split(r"\s+", line):
            words += [part for part in re.split(f"([{self.BREAKS}]+)", word) if part] or [""]
        name = words[0]
        script = f"""
            . /usr/share/bash-completion/bash_completion
            . {shlex.quote(str(self.completions / 'bash' / name))}
            COMP_LINE={shlex.quote(line)} COMP_WORDS=({' '.join(map(shlex.quote, words))})
            COMP_POINT=${{#COMP_LINE}} COMP_CWORD={len(words) - 1} COMPREPLY=()
            function_of() {{ while [[ $# -gt 0 && $1 != -F ]]; do shift; done; echo "${{2:?}}"; }}
            $(function_of $(complete -p {name})) {name}
            ((${{#COMPREPLY[@]}})) && printf '%s\\n' "${{COMPREPLY[@]}}"
            true"""
        done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                              env=self.strata.environment(), cwd=self.strata.home, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), done
        kept = "" if words[-1].strip(self.BREAKS) else words[-1]
        before = re.split(r"\s", line)[-1].removesuffix(words[-1]) + kept
        return [before + word for word in done.stdout.splitlines()]


class Fish(Asker):
    def ask(self, line):
        script = "".join(f"source {path}\n" for path in sorted((self.completions / "fish").iterdir()))
        script += f"complete -C {shlex.quote(line)}"
        done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True,
                              env=self.strata.environment(), cwd=self.strata.home, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), done
        return [offer.split("\t")[0].removesuffix("/") for offer in done.stdout.splitlines()]


class Zsh(Asker):
    """One shell at a terminal, whose compadd writes down what it is given."""

    SETUP = r"""
        PS1='ready> '
        unsetopt prompt_cr prompt_sp
        fpath=($COMPLETIONS/zsh $fpath)
        autoload -Uz compinit; compinit -D -u
        zstyle ':completion:*' menu no
        compadd() {
          if [[ " ${@[1,(i)--]} " != *' -'(O|A|D)* ]]; then
            local -a hits
            builtin compadd -A hits "$@"
            (($#hits)) && print -rl -- $IPREFIX${^hits} >>$OFFERED
          fi
          builtin compadd "$@"
        }
        zle -C offer complete-word offer
        offer() { _main_complete; compstate[insert]= compstate[list]=; print -r -- '(end)' >>$OFFERED }
        bindkey "^T" offer
    """

    def __init__(self, strata, docs):
        super().__init__(strata, docs)
        (strata.home / ".zshrc").write_text(self.SETUP)
        self.offered = strata.home / ".offered"
        strata.env.update(ZDOTDIR=str(strata.home), COMPLETIONS=str(self.completions), OFFERED=str(self.offered))
        self.terminal = Terminal(strata, ["zsh", "-d", "-i"])
        self.terminal.expect("ready> ")

    def ask(self, line):
        self.offered.write_text("")
        self.terminal.type("\x15" + line + "\x14")
        end = time.monotonic() + 30
        while not self.offered.read_text().endswith("(end)\n"):
            assert time.monotonic() < end, (line, self.offered.read_text(), self.terminal.seen)
            time.sleep(0.005)
        return self.offered.read_text().splitlines()[:-1]

    def close(self):
        self.terminal.close()


@pytest.fixture(params=SHELLS)
def shell(request, strata, docs):
    asker = {"bash": Bash, "zsh": Zsh, "fish": Fish}[request.param](strata, docs)
    yield asker
    asker.close()


def offers(shell, line, *words):
    """Asserts that exactly these words are offered."""
    assert sorted(set(shell.ask(line))) == sorted(words), line


def test_commands_and_options_are_those_of_the_tables(shell, tables):
    names = [command["name"] for command in tables["strata"]]
    # Options come when one is begun.
    offered = set(shell.ask("strata "))
    assert {word for word in offered if not word.startswith("-")} == {*names, "help"}
    assert set(shell.ask("strata help ")) >= set(names)
    for command in tables["strata"]:
        expected = {"--" + option["name"] for option in command["options"]}
        offered = {word.rstrip("=") for word in shell.ask(f"strata {command['name']} --")}
        assert offered == expected, command["name"]


def test_options_of_strata_bwrap_are_those_of_its_table(shell, tables):
    expected = {name for row in tables["strata-bwrap"]["options"] for name in re.findall(r"--[\w-]+", row["form"])}
    assert len(expected) > 60
    assert set(shell.ask("strata-bwrap --")) == expected
    # Behind the arguments of another one.
    assert set(shell.ask("strata-bwrap --bind /etc /etc --unshare-u")) == {
        "--unshare-user", "--unshare-user-try", "--unshare-uts"}


def test_choices_of_options_and_arguments(shell, tables):
    offers(shell, "strata list ", "layers", "refs", "roots", "stages", "workspaces", "caches")
    offers(shell, "strata run --net ", "none", "host")
    offers(shell, "strata run --net=h", "--net=host")
    offers(shell, "strata stage -m re", "reflink")
    offers(shell, "strata import --format=", *(f"--format={each}" for each in ("auto", "dir", "tar", "oci")))
    offers(shell, "strata run --seccomp bu", "build")
    offers(shell, "strata run --cap-add CAP_SYS_AD", "CAP_SYS_ADMIN")
    assert set(shell.ask("strata-bwrap --cap-drop ")) == set(tables["capabilities"])


def test_files_and_directories(shell, strata):
    (strata.home / "src").mkdir()
    (strata.home / "src/inner").mkdir()
    (strata.home / "src.tar").write_text("")
    offers(shell, "strata import s", "src", "src.tar")
    offers(shell, "strata export -o s", "src", "src.tar")
    offers(shell, "strata run --layers-from s", "src", "src.tar")
    offers(shell, "strata run --scratch s", "src")
    offers(shell, "strata stage s", "src")
    offers(shell, "strata unstage s", "src")
    offers(shell, "strata run dir:s", "dir:src")
    offers(shell, "strata-bwrap --ro-bind s", "src", "src.tar")
    offers(shell, "strata-bwrap --overlay s", "src")


def test_what_is_in_the_store(shell, strata, layer):
    a = layer("gcc:12", {"a": "1"})
    layer("gcc:13", {"b": "1"})
    layer("app/libfoo", {"c": "1"})
    strata("compose", "--name", "greet", "gcc:12", "app/libfoo").ok()
    refs = ["app/libfoo", "gcc:12", "gcc:13", "greet"]
    for line in ("run ", "shell ", "show ", "tag ", "untag ", "rm gcc:12 ", "diff gcc:12 ", "tag gcc:12 ",
                 "run --quiet gcc:12 ", "import --name ", "run -c ", "run --env X=1 "):
        offers(shell, "strata " + line, *refs)
    offers(shell, "strata run gcc:", "gcc:12", "gcc:13")
    offers(shell, "strata run g", "gcc:12", "gcc:13", "greet")
    offers(shell, "strata run --capture=gcc", "--capture=gcc:12", "--capture=gcc:13")
    offers(shell, "strata-bwrap --tmpfs /tmp --layer app/", "app/libfoo")
    strata("run", "--workspace", "w1", "--cache", "ccache:/c", "gcc:12", "--", "true")  # there is no such command
    for command in ("run", "rm"):
        offers(shell, f"strata {command} --workspace ", "w1")
    offers(shell, "strata rm --cache ", "ccache")
    # Whoever has begun an id may have it ended.
    assert a[:12] in shell.ask(f"strata show {a[:5]}")
    key = strata("list", "--json", "roots").json()[0]["key"]
    assert key[:12] in shell.ask(f"strata run {key[:5]}")


def test_options_of_strata_mount_are_those_of_its_table(shell, tables, strata, layer):
    names = [option["name"] for option in tables["strata-mount"]["options"]]
    assert len(names) > 40
    assert {word.rstrip("=") for word in shell.ask("strata-mount -o ")} == set(names)
    offered = shell.ask("strata-mount -o ro,upper")
    assert [word.removeprefix("ro,").rstrip("=") for word in offered] == ["upperdir"]
    assert {"-f", "-d"} <= set(shell.ask("strata-mount -"))
    (strata.home / "upper").mkdir()
    (strata.home / "file").write_text("")
    offers(shell, "strata-mount -o ro u", "upper")


def test_values_of_options_of_strata_mount(shell, strata, layer):
    layer("base", {"a": "1"})
    layer("gcc:12", {"b": "1"})
    (strata.home / "upper").mkdir()
    (strata.home / "file").write_text("")

    def last(line):
        return sorted(re.split("[=:]", word)[-1] for word in set(shell.ask(line)))

    # A name with a colon would need a backslash.
    assert last("strata-mount -o lowerdir=") == ["base", "upper"]
    assert last("strata-mount -o ro,lowerdir=base:u") == ["upper"]
    assert last("strata-mount -o lowerdir=base,upperdir=") == ["upper"]
    assert last("strata-mount -o fsync=") == ["0", "1"]


def test_what_is_staged_can_be_unstaged(shell, strata, base):
    place = strata.home / "staged here"
    strata("stage", "--method", "copy", "base", place).ok()
    offered = shell.ask("strata unstage ")
    assert str(place) in [word.replace("\\", "") for word in offered]
    strata("unstage", place).ok()


def test_a_command_line_behind_dashes_is_no_business_of_strata(shell, base):
    for line in ("strata run base -- shuf", "strata stage base x -- shuf", "strata-bwrap --proc /proc shuf",
                 "strata-bwrap --proc /proc -- shuf"):
        offers(shell, line, "shuf")
    if isinstance(shell, Fish):  # started without its configuration, it knows no other program
        return
    for line in ("strata run base -- chown --refer", "strata run gcc:12 base -- chown --refer",
                 "strata-bwrap --layer gcc:12 chown --refer"):
        assert [word.rstrip("=") for word in shell.ask(line)] == ["--reference"], line


def test_a_store_that_is_not_there_is_not_made(shell, strata, store):
    for variable, path in (("STRATA_STORE", store), ("XDG_DATA_HOME", store), ("HOME", strata.home)):
        environment = {name: value for name, value in strata.env.items() if name not in ("STRATA_STORE", "XDG_DATA_HOME")}
        strata.env = {**environment, variable: str(path)}
        if isinstance(shell, Zsh):
            shell.terminal.type(f"\x15unset STRATA_STORE XDG_DATA_HOME; export {variable}={path}\n")
            shell.terminal.expect("ready> ")
        offers(shell, "strata show ")
        # fish keeps things of its own in XDG_DATA_HOME.
        for made in (store / "format", store / "strata", strata.home / ".local/share/strata"):
            assert not made.exists()


def test_the_default_place_of_a_store_is_found(shell, strata, base, store):
    data = store.parent / "data"
    data.mkdir()
    (data / "strata").symlink_to(store)
    del strata.env["STRATA_STORE"]
    strata.env["XDG_DATA_HOME"] = str(data)
    if isinstance(shell, Zsh):
        shell.terminal.type(f"\x15unset STRATA_STORE; export XDG_DATA_HOME={data}\n")
        shell.terminal.expect("ready> ")
    offers(shell, "strata show ", "base")


def test_readline_itself_puts_the_word_in_its_place(strata, docs, layer):
    """As typed at a terminal: words with = and : in them are ended where they are."""
    layer("gcc:12", {"a": "1"})
    strata.env["PATH"] = f"{strata.binary.parent}:{strata.env['PATH']}"
    terminal = Terminal(strata, ["bash", "--norc", "--noprofile", "-i"])
    try:
        terminal.type("PS1='ready> '; bind 'set enable-bracketed-paste off'\n")
        terminal.type(f". {docs}/completions/bash/strata\n")
        for typed, done in (("strata run gc\t", "strata run gcc:12"), ("strata run gcc:\t", "strata run gcc:12"),
                            ("strata run --ne\t", "strata run --ne"), ("strata run --net=h\t", "strata run --net=host"),
                            ("strata run --capture=gcc:\t", "strata run --capture=gcc:12"),
                            ("strata run --captu\t", "strata run --capture"), ("strata unst\t", "strata unstage")):
            # To the beginning of the line, and from there a command that prints it.
            terminal.type(typed + "\x01printf '<%s>' \r")
            terminal.expect("\n" + re.escape("".join(f"<{word}>" for word in done.split())))
    finally:
        terminal.close()


@pytest.mark.parametrize("name", ["bash/strata", "zsh/_strata", "fish/strata.fish"])
def test_shells_find_nothing_wrong_with_the_files(docs, name):
    for path in (docs / "completions" / name).parent.iterdir():
        done = subprocess.run([name.split("/")[0], "-n", path], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert os.path.exists(docs / "completions" / name)
