# SPDX-License-Identifier: Apache-2.0
"""Replaces functions of BuildStream, those that are known and no others."""

KNOWN_VERSION = "1.6.8"


class Mismatch(Exception):
    """This is not the BuildStream that strata-bst knows."""


def check_version(version):
    if version != KNOWN_VERSION:
        raise Mismatch(f"strata-bst knows BuildStream {KNOWN_VERSION}, and this is {version}")


def parameters(function):
    """The names of a function's parameters, without the cost of the module inspect."""
    function = getattr(function, "__wrapped__", function)  # of a @contextmanager
    code = function.__code__
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    if code.co_flags & 4:
        names.append("*")
    if code.co_flags & 8:
        names.append("**")
    return names


def replace(owner, name, expected, wrap):
    """Puts wrap(original) in the place of owner.name, if that has the `expected` parameters ("self sandbox")."""
    where = f"{owner.__name__}.{name}"
    original = vars(owner).get(name)
    if original is None:
        raise Mismatch(f"BuildStream has no {where}")
    found = " ".join(parameters(original))
    if found != expected:
        raise Mismatch(f"{where} of this BuildStream takes ({found}), and not ({expected})")
    replacement = wrap(original)
    replacement.__name__ = getattr(original, "__name__", name)
    replacement.__doc__ = original.__doc__
    replacement.original = original
    setattr(owner, name, replacement)
