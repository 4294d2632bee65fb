# SPDX-License-Identifier: Apache-2.0
"""The machine on which the packages are installed, and the packages.

Root enters that root by itself, with all that root has. An ordinary user enters it by strata, in a
sandbox with a range of ids in which namespaces may be made, and so strata runs within strata.
"""

import shutil
import subprocess

from calling import Result

AS_USER = "setpriv --reuid user --regid user --clear-groups --inh-caps=-all --reset-env"


class Machine:
    """A bare Debian 12 with an ordinary user, `user`. What is done to it stays until the tests end.

    The directory of tests/packages/prepare is /packages.
    """

    def run(self, script, user="root"):
        """Runs a shell script (it ends where a command fails) as `root` or as `user`, in their home."""
        told = [f"{user}:", script]
        if user != "root":
            script = f"exec {AS_USER} sh -euc 'cd; {quoted(script)}'"
        done = subprocess.run(
            self.command("sh", "-euc", script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=300, text=True, errors="replace", env=self.environment,
        )  # fmt: skip
        return Result(told, done.returncode, done.stdout, done.stderr)

    def files(self):
        """Everything that is there, apart from what a package manager remembers and what users have."""
        places = ("/proc", "/sys", "/dev", "/tmp", "/home", "/packages", "/var/lib/dpkg", "/var/lib/apt", "/var/cache",
                  "/var/log")  # fmt: skip
        prune = " -o ".join(f"-path {place}" for place in places)
        return set(self.run(f"find / \\( {prune} \\) -prune -o -print").ok().out.splitlines())


class RootMachine(Machine):
    """As root: unpacked, and entered with namespaces for mounts and processes."""

    def __init__(self, directory, prepared):
        self.root = directory / "root"
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "--exclude=./dev/*", "-xf", prepared / "bare.tar"], check=True)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "packages").mkdir()
        self.prepared = prepared
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

    def command(self, *command):
        # By pivot_root: in a chroot no user namespace can be made.
        enter = """
            mount --bind "$1" "$1"
            mount --rbind /dev "$1/dev"
            mount --rbind /sys "$1/sys"
            mount --bind "$2" "$1/packages"
            mount -t proc proc "$1/proc"
            cd "$1"
            pivot_root . mnt
            cd /
            umount -l /mnt
            shift 2
            exec "$@"
            """
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", enter, "sh", self.root,
                self.prepared, *command]  # fmt: skip

    def remove(self):
        shutil.rmtree(self.root)


class SandboxMachine(Machine):
    """As an ordinary user: a workspace of strata, with a range of ids."""

    def __init__(self, directory, prepared, strata):
        self.strata = strata
        self.prepared = prepared
        self.store = directory / "store"
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory), "TMPDIR": str(directory),
            "LANG": "C.UTF-8", "STRATA_STORE": str(self.store),
        }  # fmt: skip
        subprocess.run(
            [strata, "import", "-q", "--name", "bare", prepared / "bare.tar"], check=True, env=self.environment,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def command(self, *command):
        # What users have is on a plain file system, as it is on a real machine.
        return [self.strata, "run", "-q", "--userns=subuid", "--nested-userns", "--net=host", "--workspace=machine",
                "--cache=home:/home", "--bind", f"{self.prepared}:/packages:ro", "bare", "--", *command]  # fmt: skip

    def remove(self):
        # Its files belong to many ids.
        subprocess.run(
            ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system", self.store], check=True
        )


def quoted(script):
    """The script, for within single quotes."""
    return script.replace("'", "'\\''")


def packages(prepared, which, *names):
    """The paths on the machine of the packages with these names; all of them, if none are given."""
    found = {path.name.partition("_")[0]: f"/packages/{which}/{path.name}" for path in (prepared / which).glob("*.deb")}
    return [found[name] for name in (names or sorted(found))]


def package_names(prepared):
    return sorted(path.name.partition("_")[0] for path in (prepared / "old").glob("*.deb"))
