# SPDX-License-Identifier: Apache-2.0
"""strata-mount: its page and its completions, from its help text and the table of its -o options."""

import re

import completion
import man
import roff


class Help:
    """`strata-mount --help`, taken apart."""

    def __init__(self, text):
        first, *rest = text.rstrip("\n").split("\n\n")
        self.usage = first.removeprefix("usage: strata-mount ").replace("[options]", "[OPTIONS]")
        self.paragraphs = []
        self.switches = []  # [(["-h", "--help"], "print help")]
        self.headings = {}  # of the option that comes first below it
        for block in rest:
            if block.startswith("    -"):
                for line in block.splitlines():
                    names, text = re.fullmatch(r" +((?:-\S+ +)+)(.*)", line).groups()
                    self.switches.append((names.split(), text))
            elif match := re.match(r"(.*):\n    ([\w]+)", block):
                self.headings[match[2]] = match[1]
            else:
                self.paragraphs.append(block)


def page(table, extra):
    text = Help(table["help"])
    metavars = {"LAYER", "DIR", "SOURCE", "TARGET", "A", "B", "U", "W"}
    made = man.Page("strata-mount", 1, "mount an overlay, with the command line of fuse-overlayfs", metavars)
    made.add("SYNOPSIS", man.synopsis("strata-mount", text.usage, metavars))
    for paragraph in text.paragraphs:
        made.add_markup("DESCRIPTION", paragraph)
    tags = [roff.tagged(", ".join(map(roff.bold, names)), man.sentence(said), metavars) for names, said in text.switches]
    tags.append(roff.tagged(f"{roff.bold('-o')} {roff.italic('OPTION')}[,{roff.italic('OPTION')}...]",
                            "Options of the mount, as below.", metavars))
    made.add("OPTIONS", "\n".join(tags))
    tags = []
    for option in table["options"]:
        if option["name"] in text.headings:
            tags.append(f".SS {roff.quoted(text.headings[option['name']])}")
        tag = roff.bold(option["name"])
        if option["metavar"]:
            tag += roff.bold("=") + man.value(option["metavar"])
        tags.append(roff.tagged(tag, man.sentence(option["help"]), metavars))
    made.add("OPTIONS", "\n".join(tags))
    made.add_file(extra)
    return made


def values_of(option):
    """What completes the value; lowerdir has a way of its own."""
    if option["name"] == "lowerdir":
        return ["@ref", "@directory"]
    return completion.actions(option["metavar"].removesuffix("..."), [])


def with_equals(option):
    return option["name"] + ("=" if option["metavar"] else "")


def completions(table, store):
    """{path below share/: content}."""
    text = Help(table["help"])
    options = table["options"]
    valued = [option for option in options if option["metavar"]]
    switches = [name for names, _ in text.switches for name in names] + ["-o"]
    zsh_values = []
    for option in options:
        spec = f"{option['name']}[{completion.zsh_text(option['help'])}]"
        if option["name"] == "lowerdir":
            spec += ":layers: _strata_lower"
        elif option["metavar"]:
            spec += completion.zsh_value(option["metavar"], values_of(option))
        zsh_values.append("    " + completion.zsh_quoted(spec))
    return {
        "bash/strata-mount": completion.fill(
            "strata-mount.bash", store=store["bash"],
            values="  local names='" + " ".join(map(with_equals, options)) + "'\n  values=(" + " ".join(
                f"[{option['name']}]='{' '.join(values_of(option))}'" for option in valued) + ")",
            switches=f"    __strata_offer \"$word\" '{' '.join(switches)}'"),
        "zsh/_strata-mount": completion.fill(
            "strata-mount.zsh", store=store["zsh"], values=" \\\n".join(zsh_values),
            switches="\n".join(f"    {completion.zsh_quoted(f'({chr(32).join(names)})' + name + f'[{completion.zsh_text(said)}]')} \\"
                               for names, said in text.switches for name in names)),
        "fish/strata-mount.fish": completion.fill(
            "strata-mount.fish", store=store["fish"],
            names=" \\\n".join(f"            {completion.fish_quoted(with_equals(option) + chr(9) + option['help'])}"
                               for option in options),
            values="\n".join(f"        case {option['name']}\n            set values (__strata_offer {' '.join(values_of(option))})"
                             for option in valued if option["name"] != "lowerdir" and values_of(option)),
            switches="\n".join(fish_switch(names, said) for names, said in text.switches)),
    }


def fish_switch(names, said):
    line = "complete -c strata-mount"
    for name in names:
        line += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
    return f"{line} -d {completion.fish_quoted(said)}"
