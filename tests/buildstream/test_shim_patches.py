# SPDX-License-Identifier: Apache-2.0
"""strata-bst replaces what it knows, and nothing else."""

import pytest
from shim import patches


class Known:
    def method(self, one, *, two=None):
        return one, two

    def open(self, *words, **options):
        return words, options


def test_another_version_is_refused():
    with pytest.raises(patches.Mismatch, match="knows BuildStream 1.6.8, and this is 1.6.9"):
        patches.check_version("1.6.9")
    patches.check_version("1.6.8")


def test_what_is_replaced_can_still_be_called():
    class Copy(Known):
        method = Known.method

    patches.replace(Copy, "method", "self one two", lambda original: lambda self, one, *, two=None: original(self, -one, two=two))
    assert Copy().method(1, two=2) == (-1, 2)
    assert Copy.method.__name__ == "method"
    assert Copy.method.original is Known.method


@pytest.mark.parametrize("expected", ["self one", "self one two three", "self two one", "self one two **"])
def test_other_parameters_are_refused(expected):
    before = Known.method
    with pytest.raises(patches.Mismatch, match=r"Known.method of this BuildStream takes \(self one two\), and not"):
        patches.replace(Known, "method", expected, lambda original: None)
    assert Known.method is before


def test_stars_are_parameters():
    assert patches.parameters(Known.open) == ["self", "*", "**"]


def test_a_method_that_is_not_there_is_refused():
    with pytest.raises(patches.Mismatch, match="BuildStream has no Known.other"):
        patches.replace(Known, "other", "self", lambda original: None)
    # Nor is an inherited one the one that is known.
    with pytest.raises(patches.Mismatch, match="has no Heir.method"):
        patches.replace(type("Heir", (Known,), {}), "method", "self one two", lambda original: None)
