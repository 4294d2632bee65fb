# SPDX-License-Identifier: Apache-2.0
"""Completions for bash, zsh and fish, from the tables of options.

What can be completed is said in one way for all three: a list of words, of which those that begin
with `@` are for the shell to look up: @file, @directory, @layer, @ref, @stage, @workspace,
@cache, @variable. How that is done is in completion/, which has a line for each place that is filled in here.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent / "completion"

# What stands for the word in capitals. (Nothing: it is the user's to think of.)
METAVARS = {
    "DIR": ["@directory"],
    "FILE": ["@file"],
    "K": ["@variable"],
    "LAYER": ["@layer"],
    "REF": ["@ref"],
    "ROOT": ["@layer"],
    "NEW": ["@layer"],
    "OLD": ["@layer"],
    "RWSRC": ["@directory"],
    "SOURCE": ["@file"],
    "SRC": ["@file"],
    "VAR": ["@variable"],
    "WORKDIR": ["@directory"],
    **dict.fromkeys("BYTES CMD DEST DST EPOCH FD GID ID LABEL N NAME OCTAL PATH SECONDS SIZE TIME UID VALUE X".split(), []),
}

# Options whose NAME is of something in the store.
KEPT = {"workspace": ["@workspace"], "cache": ["@cache"]}


def unique(words):
    return list(dict.fromkeys(words))


def alternatives(text):
    """Splits at the bars outside of brackets: DIR|tmpfs[:SIZE] -> DIR, tmpfs."""
    return [re.split(r"[\[:=]", part)[0] for part in re.split(r"\|(?![^\[]*\])", text)]


def actions(metavar, capabilities):
    """`none|host` -> none host; `build|none|FILE` -> build none @file."""
    words = []
    for part in alternatives(metavar):
        if part == "CAP":
            words += capabilities
        elif part.isupper():
            if part not in METAVARS:
                raise KeyError(f"{part}: say in tools/docs/completion.py what completes it")
            words += METAVARS[part]
        else:
            words.append(part)
    return unique(words)


class Option:
    def __init__(self, names, values, text, repeatable):
        self.names = names  # ["-n", "--name"]
        self.values = values  # [(metavar, actions)]
        self.help = text
        self.repeatable = repeatable


class Command:
    """What follows a program's name, or that of one of its commands."""

    def __init__(self, name, summary, options, operands):
        self.name, self.summary, self.options, self.operands = name, summary, options, operands


def operands_of(usage, capabilities):
    """[(metavar, actions)]; behind one that may be repeated, the last, all that follow it may stand."""
    before = re.split(r"\[?-- ", re.sub(r"\[(OPTIONS|--?[a-z][^\]]*)\](\.\.\.)?", "", usage))[0]
    found = []
    for word in before.split():
        plain = re.sub(r"[\[\]]|\.\.\.", "", word)
        if found and found[-1][2]:
            metavar, words, _ = found[-1]
            found[-1] = (metavar, unique(words + actions(plain, capabilities)), True)
        else:
            found.append((plain, actions(plain, capabilities), "..." in word))
    return found


def strata_commands(tables):
    for command in tables["strata"]:
        options = []
        for spec in command["options"]:
            names = ([f"-{spec['short']}"] if spec["short"] else []) + [f"--{spec['name']}"]
            metavar = spec["metavar"]
            words = KEPT.get(spec["name"]) or (actions(metavar, tables["capabilities"]) if metavar else [])
            values = [(metavar, words)] if metavar else []
            options.append(Option(names, values, spec["help"], spec["repeatable"]))
        operands = operands_of(command["usage"], tables["capabilities"])
        if command["name"] == "unstage":
            operands = [("DIR", ["@stage", "@directory"], False)]
        yield Command(command["name"], command["summary"], options, operands)


def split_form(form):
    """ "--uid, --gid ID" -> (["--uid", "--gid"], ["ID"])"""
    names = re.findall(r"--[\w-]+", form)
    return names, form.split(names[-1], 1)[1].split()


def bwrap_command(tables):
    options = []
    for row in tables["strata-bwrap"]["options"]:
        names, metavars = split_form(row["form"])
        values = [(metavar, actions(metavar, tables["capabilities"])) for metavar in metavars]
        # One each: bubblewrap takes nearly all of them more than once.
        options += [Option([name], values, row["help"], True) for name in names]
    return Command("strata-bwrap", "", options, [])


# --- bash --------------------------------------------------------------------------------------------


def bash_case(command):
    names = " ".join(name for option in command.options for name in option.names)
    lines = [f"    {command.name})", f"      options='{names}'"]
    values = [
        f"[{name}]='{';'.join(' '.join(words) or '@nothing' for _, words in option.values)}'"
        for option in command.options if option.values for name in option.names
    ]
    if values:
        lines.append(f"      values=({' '.join(values)})")
    if command.operands:
        lines.append("      operands=(" + " ".join(f"'{' '.join(words)}'" for _, words, _ in command.operands) + ")")
        lines.append(f"      repeated={int(command.operands[-1][2])}")
    return "\n".join([*lines, "      ;;"])


# --- zsh ---------------------------------------------------------------------------------------------


def zsh_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_text(text):
    """Within a specification of _arguments."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def zsh_value(metavar, words):
    # The space keeps _arguments from handing options of its own to the function.
    return f":{zsh_text(metavar)}: " + (f"_strata_offer {' '.join(words)}" if words else "")


def zsh_option(option, equals):
    text = f"[{zsh_text(option.help)}]" + "".join(zsh_value(*value) for value in option.values)
    names = option.names
    if equals and option.values:
        names = [name + ("=" if name.startswith("--") else "+") for name in names]
    before = "*" if option.repeatable else f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    return [zsh_quoted(before + name + text) for name in names]


def zsh_arguments(command, equals):
    specs = [spec for option in command.options for spec in zsh_option(option, equals)]
    for metavar, words, repeated in command.operands:
        place = "*" if repeated else ":"
        specs.append(zsh_quoted(f"{place}{zsh_value(metavar, words)}" if repeated else zsh_value(metavar, words)))
    return specs


def zsh_case(command):
    lines = " \\\n        ".join(zsh_arguments(command, equals=True))
    return f"    {command.name})\n      _arguments -s \\\n        {lines}\n      ;;"


# --- fish --------------------------------------------------------------------------------------------


def fish_quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_option(option, program, condition, with_values):
    line = f"complete -c {program} -n {fish_quoted(condition)}"
    for name in option.names:
        line += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
    if with_values and option.values:
        words = option.values[0][1]
        line += " -r -F" if words == ["@file"] else f" -x -a '(__strata_offer {' '.join(words)})'" if words else " -x"
    return f"{line} -d {fish_quoted(option.help)}"


def fish_with_value(command):
    names = " ".join(name for option in command.options if option.values for name in option.names)
    return f"        case {command.name}\n            string split ' ' -- '{names}'"


def fish_command(command):
    condition = f"__strata_is {command.name}"
    lines = [fish_option(option, "strata", condition, True) for option in command.options]
    for place, (_, words, repeated) in enumerate(command.operands):
        if not words:
            continue
        where = condition
        if len(command.operands) > 1:
            where += f"; and __strata_operand {place} {'more' if repeated else 'one'}"
        lines.append(f"complete -c strata -n {fish_quoted(where)} -a '(__strata_offer {' '.join(words)})'")
    return "\n".join(lines)


# --- files -------------------------------------------------------------------------------------------


def fill(template, **places):
    """Each `@NAME@` that stands alone in a line gives way to its text."""
    text = (HERE / template).read_text(encoding="utf-8")
    for name, content in places.items():
        marker = re.compile(rf"^.*@{name.upper()}@.*\n", re.M)
        if not marker.search(text):
            raise ValueError(f"{template} has no place for {name}")
        text = marker.sub(lambda _, content=content: content + "\n", text)
    return text


def store_parts():
    """What asks the store, for each shell."""
    return {shell: (HERE / f"store.{shell}").read_text(encoding="utf-8").rstrip() for shell in ("bash", "zsh", "fish")}


def files(tables, store):
    """{path below share/: content}."""
    commands = list(strata_commands(tables))
    bwrap = bwrap_command(tables)
    names = " ".join(command.name for command in commands)
    return {
        "bash/strata": fill("strata.bash", store=store["bash"], cases="\n".join(map(bash_case, commands)),
                            commands=f"  local commands='{names}'"),
        "bash/strata-bwrap": fill("strata-bwrap.bash", store=store["bash"], cases=bash_case(bwrap)),
        "zsh/_strata": fill(
            "strata.zsh", store=store["zsh"], cases="\n".join(map(zsh_case, commands)),
            commands="\n".join(f"    {zsh_quoted(f'{each.name}:{each.summary}')}" for each in commands)),
        "zsh/_strata-bwrap": fill("strata-bwrap.zsh", store=store["zsh"],
                                  arguments=" \\\n  ".join(["  _arguments -S", *zsh_arguments(bwrap, equals=False)])
                                  + " \\"),
        "fish/strata.fish": fill(
            "strata.fish", store=store["fish"], values="\n".join(map(fish_with_value, commands)),
            options="\n\n".join(map(fish_command, commands)),
            commands="\n".join(f"complete -c strata -n __strata_no_command -f -a {each.name} -d {fish_quoted(each.summary)}"
                               for each in commands)),
        "fish/strata-bwrap.fish": fill(
            "strata-bwrap.fish", store=store["fish"],
            cases="\n".join(f"        case {' '.join(names)}\n            set values {values}"
                            for names, values in fish_values(bwrap)),
            options="\n".join(fish_option(option, "strata-bwrap", "__strata_bwrap_state option", False)
                              for option in bwrap.options)),
    }


def fish_values(command):
    """[(names, "'@file' '@nothing'")]: the options that have the same values."""
    by_values = {}
    for option in command.options:
        if option.values:
            values = " ".join(f"'{' '.join(words) or '@nothing'}'" for _, words in option.values)
            by_values.setdefault(values, []).extend(option.names)
    return [(names, values) for values, names in by_values.items()]
