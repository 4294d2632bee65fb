# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, on a bare Debian 12: they install, work, are upgraded and go away again."""

from machines import package_names, packages


def test_apt_installs_them_and_strata_works_for_an_ordinary_user(installed):
    said = installed.run("strata doctor", user="user").ok()
    assert said.out.endswith("strata run can work here."), said
    installed.run("strata import -q --name bare /packages/bare.tar", user="user").ok()
    # In a compose of two layers, by a build that writes: all that a build needs.
    installed.run("strata run --capture made bare -- sh -c 'echo made > /etc/made'", user="user").ok()
    installed.run("strata compose --name both bare made", user="user").ok()
    assert installed.run("strata run both -- cat /etc/made", user="user").ok().out == "made"
    assert installed.run("strata stage both ~/r -- cat r/etc/made", user="user").ok().out == "made"
    assert installed.run("strata-bwrap --layer bare --layer made --tmp-overlay / cat /etc/made", user="user").ok().out == "made"


def test_files_belong_to_root_and_to_their_package(installed, prepared):
    for name in package_names(prepared):
        installed.run(f"dpkg --verify {name}").ok()
        files = installed.run(f"dpkg -L {name}").ok().out.splitlines()
        assert f"/usr/share/doc/{name}/copyright" in files
        assert f"/usr/share/doc/{name}/changelog.Debian.gz" in files
        wrong = installed.run(f"dpkg -L {name} | xargs -d '\\n' -I@ find @ -maxdepth 0 ! -type l "
                              "\\( ! -user root -o ! -group root -o -perm /7022 \\)").ok()  # fmt: skip
        assert wrong.out == ""


def test_every_program_has_a_page_and_completions_where_debian_looks(installed, prepared):
    files = set(installed.run("dpkg -L " + " ".join(package_names(prepared))).ok().out.splitlines())
    programs = {path.removeprefix("/usr/bin/") for path in files if path.startswith("/usr/bin/")}
    assert "strata" in programs and "strata-bwrap" in programs
    wanted = {f"/usr/share/man/man1/{name}.1.gz" for name in programs}
    wanted.add("/usr/share/bash-completion/completions/strata-bst")  # bst has one for bash only, which this asks
    for name in programs - {"strata-bst"}:
        wanted |= {f"/usr/share/bash-completion/completions/{name}", f"/usr/share/zsh/vendor-completions/_{name}",
                   f"/usr/share/fish/vendor_completions.d/{name}.fish"}  # fmt: skip
    pages = "man1/strata-run.1", "man3/strata.h.3", "man3/strata_run.3", "man5/strata-store.5"
    wanted |= {f"/usr/share/man/{page}.gz" for page in pages}
    assert wanted - files == set()


def test_debians_python_finds_the_module_and_what_it_compiles_does_not_stay(installed):
    # By root, whose python3 writes beside the module; the last test sees that it is gone.
    version = installed.run("python3 -c 'import strata; print(strata.version())'").ok().out
    assert installed.run("strata --version").ok().out.endswith(version)


def test_strata_bst_without_buildstream_says_what_it_lacks(installed):
    said = installed.run("strata-bst build x.bst", user="user")
    assert said.returncode != 0
    assert "strata-bst: BuildStream 1.6.8 is needed" in said.stderr


def test_an_upgrade_keeps_stores_and_what_is_in_them(installed, prepared):
    installed.run("strata import -q --name kept /packages/bare.tar", user="user").ok()
    installed.run("apt-get install -q -y " + " ".join(packages(prepared, "new"))).ok()
    names = " ".join(package_names(prepared))
    versions = installed.run(f"dpkg-query -W -f '${{Version}}\\n' {names}").ok().out.split()
    assert {version.rpartition("-")[2] for version in versions} == {"2"}
    assert installed.run("strata run kept -- cat /etc/debian_version", user="user").ok().out.startswith("12")


def test_removed_and_purged_they_leave_nothing_but_the_stores_of_users(installed, prepared, bare_files):
    installed.run("apt-get purge -q -y " + " ".join(package_names(prepared))).ok()
    left = {path for path in installed.files() - bare_files if "strata" in path}
    assert left == set()
    installed.run("test -d ~/.local/share/strata/layers", user="user").ok()
