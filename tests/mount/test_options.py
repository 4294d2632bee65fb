# SPDX-License-Identifier: Apache-2.0
"""The command line, option by option, and what stays behind."""

import os
import re
import subprocess

import pytest
from directories import make_directory
from mounter import ROOT

PLAIN = "lowerdir=top:bottom,upperdir=upper,workdir=work"


@pytest.fixture
def two(directories):
    return directories(top={"d/a": "top"}, bottom={"d/a": "low", "d/b": "b"})


def test_the_first_lower_is_on_top(mount, two):
    assert mount(f"mnt -o {PLAIN} at; cat at/d/a at/d/b; umount at").ok().stdout == "topb"


def test_nothing_stays_behind_but_the_mount(mount, two):
    done = mount(f"mnt -o {PLAIN} at; ps -eo comm | grep strata-mount; ls $TMPDIR; umount at; mountpoint at")
    assert done.stdout == "at is not a mountpoint\n"


def test_what_is_written_goes_to_the_upper(mount, two):
    mount(f"mnt -o {PLAIN} at; echo new >at/n; rm at/d/b; umount at").ok()
    assert (two / "upper/n").read_text() == "new\n"
    assert not os.path.lexists(two / "top/n") and (two / "bottom/d/b").exists()
    assert mount(f"mnt -o {PLAIN} at; find at/d; umount at").ok().stdout == "at/d\nat/d/a\n"


@pytest.mark.parametrize("lowers", ("top", "top:bottom"))
def test_without_an_upper_it_is_read_only(mount, two, lowers):
    done = mount(f"mnt -o lowerdir={lowers},rw at; cat at/d/a; touch at/x; umount at")
    assert done.stdout == "top"
    assert "Read-only file system" in done.stderr


def test_a_directory_given_twice_counts_once(mount, two):
    done = mount("mnt -o lowerdir=top:bottom:./top,upperdir=upper,workdir=work at; cat at/d/a; umount at")
    assert done.ok().stdout == "top"


def test_a_target_may_be_one_of_the_layers(mount, two):
    assert mount("mnt -o lowerdir=top:at at; cat at/d/a; umount at").ok().stdout == "top"


def test_names_with_colons_commas_and_blanks(mount, directories):
    place = directories(**{"a:b,c d\\e": {"x": "odd"}, "plain": {"y": "y"}})
    assert (place / "a:b,c d\\e/x").exists()
    script = r"""mnt -o 'lowerdir=./a\:b\,c d\\e:plain,upperdir=upper,workdir=work' at; cat at/x at/y; umount at"""
    assert mount(script).ok().stdout == "oddy"
    assert mount(script.replace(r"\,", r"\054").replace("c d", r"c\040d")).ok().stdout == "oddy"


def test_links_lead_to_layers_from_the_working_directory(mount, two):
    (two / "l").mkdir()
    (two / "l/TOP").symlink_to("../top")
    (two / "l/BOTTOM").symlink_to("../bottom")
    done = mount("mnt -o lowerdir=l/TOP:l/BOTTOM,upperdir=upper,workdir=work at; cat at/d/a; umount at")
    assert done.ok().stdout == "top"


def test_five_hundred_layers_with_long_names(mount, directories):
    names = [f"{'n' * 120}{number}" for number in range(500)]
    directories(**{name: {f"f{name[120:]}": name[120:]} for name in names})
    lowers = ":".join(f"$PWD/{name}" for name in names)
    done = mount(f'mnt -o "lowerdir={lowers}" at; ls at | wc -l; cat at/f0 at/f499; umount at')
    assert done.ok().stdout == "500\n0499"
    done = mount(f'PATH=/nonexistent mnt -o "lowerdir={lowers}:$PWD" at')
    done.fails(1, "number of layers", "hint: an overlay has at most 500 layers")


@pytest.mark.parametrize(
    "option, there, not_there",
    (
        ("rw", "rw nodev noatime", "nosuid noexec"),
        ("ro", "ro nodev noatime", ""),
        ("nosuid,noexec", "nosuid noexec nodev", ""),
        ("dev", "noatime", "nodev"),
        ("atime", "relatime", "noatime"),
        ("strictatime", "", "noatime relatime"),
        ("nodiratime", "nodiratime", ""),
        ("nosuid,suid,noexec,exec,nodev,dev", "", "nosuid noexec nodev"),
    ),
)
def test_attributes_of_the_mount(mount, two, option, there, not_there):
    flags = mount.flags(f"{PLAIN},{option}")
    if not ROOT and "dev" in option.split(","):
        return  # whether or not: devices of a user's mount never work
    assert set(there.split()) <= flags and not set(not_there.split()) & flags


@pytest.mark.parametrize("option", ("volatile", "fsync=0"))
def test_volatile_syncs_nothing_and_can_be_mounted_again(mount, two, option):
    script = f"mnt -o {PLAIN},{option} at; tail -n 1 /proc/self/mountinfo; echo 1 >>at/n; umount at\n"
    done = mount(script * 2 + f"mnt -o {PLAIN} at; tail -n 1 /proc/self/mountinfo; cat at/n; umount at").ok()
    assert len(re.findall(r",(?:fsync=)?volatile\b", done.stdout)) == 2
    assert done.stdout.endswith("1\n1\n")


def test_a_volatile_upper_of_an_earlier_boot_is_refused(mount, two):
    mark = two / "work/work/incompat/volatile"
    mark.mkdir(parents=True)
    os.utime(mark, (1, 1))
    done = mount(f"mnt -o {PLAIN} at")
    done.fails(1, "may be incomplete", f"hint: to use it all the same: rm -r {mark}")


def test_a_link_in_the_work_directory_leads_to_nothing_that_is_removed(mount, two, tmp_path):
    kept = tmp_path / "elsewhere/incompat/volatile/kept"
    kept.mkdir(parents=True)
    (two / "work/work").symlink_to(tmp_path / "elsewhere")
    mount(f"mnt -o {PLAIN} at && umount at")
    assert kept.is_dir()


def test_unknown_options_are_named_and_ignored(mount, two):
    done = mount(f"mnt --odd -o {PLAIN},strange=1 at; cat at/d/a; umount at").ok()
    assert done.stdout == "top"
    assert "unknown argument ignored: --odd\nunknown argument ignored: strange=1\n" in done.stderr


def test_user_attributes_are_used_by_root_too_when_asked(mount, two):
    script = "rm -r at/d; mkdir at/d; umount at; getfattr -m - -d upper/d 2>/dev/null || python3 -c 'import os; print(os.listxattr(\"upper/d\"))'"
    assert "user.overlay.opaque" in mount(f"mnt -o {PLAIN},userxattr at; {script}").ok().stdout


@pytest.mark.parametrize("option", ("fsname=mine", None))
def test_the_source_is_what_was_said(mount, two, option):
    options = PLAIN + (f",{option}" if option else "")
    told = mount(f"mnt -o {options} {'' if option else 'else'} at; tail -n 1 /proc/self/mountinfo; umount at").ok().stdout
    assert f"- overlay {'mine' if option else 'else'} " in told


def test_debug_says_what_is_mounted(mount, two):
    done = mount(f"mnt -d -o {PLAIN} at & sleep 0.3; umount at; wait $!").ok()
    assert "lowerdir=top\nlowerdir=bottom\nupperdir=" in done.stderr


def test_foreground_stays_until_it_is_unmounted(mount, two):
    done = mount(f"mnt -f -o {PLAIN} at & sleep 0.3; cat at/d/a; kill -0 $! && umount at; wait $!; echo = $?")
    assert done.ok().stdout == "top= 0\n"


def test_foreground_unmounts_when_told_to_end(mount, two):
    done = mount(f'"$PROGRAM" -f -o {PLAIN} at & sleep 0.3; cat at/d/a; kill $!; wait $!; echo = $?; mountpoint at')
    assert done.stdout == "top= 0\nat is not a mountpoint\n"


def test_the_same_overlay_twice_at_one_place(mount, two):
    """containers/storage does so with a mount program that is not FUSE, to compare a running container."""
    twice = f"mnt -o {PLAIN} at; echo 1 >at/n; mnt -o {PLAIN} at; cat at/n; echo 2 >>at/n; grep -c ' /.*/at ' /proc/self/mountinfo"
    done = mount(twice + "; umount at; cat at/n; umount at; mountpoint at")
    assert done.stdout == "1\n2\n1\n2\nat is not a mountpoint\n"
    done = mount(f"mnt -o {PLAIN} at; mnt -o lowerdir=upper:top:bottom at; cat at/d/a; touch at/x; umount at; umount at")
    assert done.stdout == "top" and "Read-only" in done.stderr
    done = mount(f"mnt -o {PLAIN} at; mnt -o lowerdir=bottom,upperdir=upper,workdir=work at; umount at; mountpoint at")
    assert "the upperdir is in use" in done.stderr and done.stdout == "at is not a mountpoint\n"


def test_version_and_help(mount):
    assert re.fullmatch(r"strata-mount: version \d+\.\d+\.\d+\n", mount("mnt --version").ok().stdout)
    assert mount("mnt -V").ok().stdout == mount("mnt --version").stdout
    told = mount("mnt --help").ok().stdout
    assert mount("mnt -h").ok().stdout == told
    for option in ("lowerdir=", "upperdir=", "volatile", "squash_to_uid=UID", "gidmapping="):
        assert option in told


@pytest.mark.parametrize(
    "option", ("uidmapping=0:1:2", "squash_to_root", "squash_to_gid=7", "xattr_permissions=2", "noxattrs=1", "plugins=x")
)
def test_what_only_fuse_overlayfs_does_is_refused_without_it(mount, two, option):
    done = mount(f"PATH=/nonexistent mnt -o {PLAIN},{option} at")
    done.fails(1, f"-o {option}: no overlay of the kernel does this", "hint: install fuse-overlayfs")


def test_it_is_not_its_own_fuse_overlayfs(mount, mount_binary, two):
    (two / "bin").mkdir()
    (two / "bin/fuse-overlayfs").symlink_to(mount_binary)
    done = mount(f"bin/fuse-overlayfs -o {PLAIN} at && cat at/d/a && umount at").ok()
    assert done.stdout == "top"
    done = mount(f"PATH={two}/bin; bin/fuse-overlayfs -o {PLAIN},squash_to_root at")
    done.fails(1, "no overlay of the kernel does this")


def test_who_may_not_mount_is_told_how(mount_binary, two, mount):
    drop = ("/usr/bin/setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin") if ROOT else ()
    done = subprocess.run((*drop, mount_binary, "-o", PLAIN, "at"), capture_output=True, text=True,
                          cwd=two, env={**mount.env, "PATH": "/nonexistent"}, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr and "hint: only root may mount" in done.stderr


# --- as mount(8) calls it ----------------------------------------------------------------------------


@pytest.fixture
def helper(mount_binary, tmp_path):
    """A script's start, after which mount(8) finds the program as mount.strata and as strata-mount."""
    make_directory(tmp_path / "helpers", {})
    for name in ("mount.strata", "strata-mount"):
        (tmp_path / "helpers" / name).symlink_to(mount_binary)
    return "mnt -o lowerdir=$PWD/helpers:/usr/sbin /usr/sbin || exit\n"


def test_mount_calls_it_as_a_helper(mount, two, helper):
    options = "ro,nosuid," + PLAIN.replace("=", "=./").replace(":", ":./")
    done = mount(helper + f"mount -t strata any at -o {options}; cat at/d/a; tail -n 1 /proc/self/mountinfo; umount at").ok()
    assert done.stdout.startswith("top")
    assert re.search(r" ro,nosuid,\S* - overlay any ", done.stdout)
    # -f: nothing is mounted.
    done = mount(helper + f"mount -f -v -n -s -t strata any at -o {options}; ls at").ok()
    assert done.stdout == ""


def test_mount_says_that_it_failed(mount, two, helper):
    done = mount(helper + "mount -t strata any at -o lowerdir=/nonexistent; echo $?")
    assert done.stdout == "32\n" and "cannot read lower dirs: open /nonexistent" in done.stderr


def test_mount_fuse3_calls_it_by_its_name(mount, two, helper):
    done = mount(helper + f"mount -t fuse.strata-mount any at -o {PLAIN},nodev; cat at/d/a; umount at").ok()
    assert done.stdout == "top"


def test_fusermount_or_umount_takes_it_away(mount, two):
    """As containers/storage does: the one, and if that fails the other."""
    done = mount(f"mnt -o {PLAIN} at; fusermount3 -u $PWD/at || umount -l at; mountpoint at")
    assert "at is not a mountpoint" in done.stdout


def test_many_at_once(mount, two):
    """Each has its own, and none leaves anything."""
    script = """for i in 1 2 3 4 5 6 7 8; do mkdir u$i w$i at$i; done
    for i in 1 2 3 4 5 6 7 8; do mnt -o lowerdir=marked:bottom,upperdir=u$i,workdir=w$i at$i & done; wait
    cat at*/d/b; ls at*/d | grep -c wh; umount at*; ls $TMPDIR"""
    make_directory(two / "marked", {"d/.wh.a": "", "s/.wh..wh..opq": ""})
    assert mount(script).ok().stdout == "bbbbbbbb0\n"


def test_killed_at_any_time_it_leaves_no_half_of_a_mount(mount, two):
    make_directory(two / "marked", {f"d{n}/.wh.a": "" for n in range(200)})
    script = """i=0; while [ $i -lt 15 ]; do i=$((i + 1))
    timeout -s KILL 0.00$i $PROGRAM -o lowerdir=marked:bottom,upperdir=upper,workdir=work at 2>/dev/null
    if mountpoint -q at; then cat at/d/b; ls at/d0; umount at; fi; done; 
    for left in $TMPDIR/*; do umount $left; rmdir $left; done 2>/dev/null"""
    assert set(mount(script).ok().stdout) <= {"b"}


def test_what_is_known_of_a_layer_of_containers_storage_is_kept(mount, two):
    make_directory(two / "ID", {"diff/d/.wh.a": "", "link": "XXXX"})
    (two / "l").mkdir()
    (two / "l/XXXX").symlink_to("../ID/diff")
    script = "mnt -o lowerdir=$PWD/l/XXXX:$PWD/bottom,upperdir=upper,workdir=work at; find at; umount at"
    first = mount(script).ok().stdout
    kept = two / "ID/strata-mount.diff"
    assert "at/d/b\n" in first and "at/d/a" not in first and kept.exists()
    assert mount(script).ok().stdout == first
    for damage in (b"", b"rubbish", kept.read_bytes()[:-4], kept.read_bytes().replace(b"d/a", b"../")):
        kept.write_bytes(damage)
        assert mount(script).ok().stdout == first
    # Of another directory, it is not believed.
    (two / "ID/diff").rename(two / "ID/gone")
    make_directory(two / "ID/diff", {"d/.wh.b": ""})
    assert mount(script).ok().stdout == first.replace("at/d/b", "at/d/a")


def test_what_may_still_change_is_looked_at_each_time(mount, two):
    make_directory(two / "ID", {"diff/x": "x", "link": "XXXX"})
    script = "mnt -o lowerdir=$PWD/ID/diff:$PWD/bottom at; ls at/d; umount at"
    assert mount(script).ok().stdout == "a\nb\n"
    assert not (two / "ID/strata-mount.diff").exists()
