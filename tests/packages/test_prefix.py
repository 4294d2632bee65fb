# SPDX-License-Identifier: Apache-2.0
"""Installed without packages: below a prefix of one's own, and into DESTDIR. Last, when the packages are gone."""

import pytest


@pytest.fixture(params=["prefix", "destdir/usr/local"])
def prefix(request, workshop):
    """Where it is installed; nothing of the packages is on the machine."""
    assert workshop.run("test -e /usr/include/strata.h").returncode != 0
    return f"/packages/{request.param}"


def test_pkg_config_finds_it(prefix, workshop):
    script = f"""
        export PKG_CONFIG_PATH=$(dirname $(find {prefix} -name strata.pc))
        rm -rf there && cp -r {prefix}/share/doc/libstrata-dev/examples/c there && make -C there
        export LD_LIBRARY_PATH=$(pkg-config --variable=libdir strata)
        there/cook /packages/bare.tar sources true
        """
    workshop.run(script, user="user").ok()


def test_cmake_finds_it(prefix, workshop):
    script = f"""
        rm -rf there && cp -r {prefix}/share/doc/libstrata-dev/examples/cpp there
        cmake -S there -B there/build -D CMAKE_PREFIX_PATH={prefix}
        cmake --build there/build
        there/build/refs
        """
    workshop.run(script, user="user").ok()


def test_python_finds_the_library_of_its_prefix(prefix, workshop):
    used = 'import strata; strata.version(); print(*{line.split()[-1] for line in open("/proc/self/maps") if "libstrata" in line})'
    script = f"PYTHONPATH={prefix}/share/strata/python python3 -c '{used}'"
    assert workshop.run(script, user="user").ok().out.startswith(f"{prefix}/lib")


def test_executables_work_from_there(prefix, workshop):
    script = f"""
        {prefix}/bin/strata import -q --name bare /packages/bare.tar >/dev/null
        {prefix}/bin/strata run bare -- echo strata
        {prefix}/bin/strata-bwrap --layer bare --tmp-overlay / echo bwrap
        """
    assert workshop.run(script, user="user").ok().out == "strata\nbwrap"
