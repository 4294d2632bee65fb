"""Fixtures for the tests of the command line.

The binary under test is $STRATA (tools/test sets it; by hand: STRATA=build/dev/tools/strata pytest).
Every test has a store, a home and a temporary directory of its own, and is checked for what it
leaves behind: processes, mounts, temporary files.
"""

import contextlib
import ctypes
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from terminals import Terminal

PR_SET_CHILD_SUBREAPER = 36
BUSYBOX = "/bin/busybox"
# What the shell scripts in tests may use. A link for each, as in any root that has busybox.
APPLETS = (
    "sh true false ls cat cp mv rm ln mkdir rmdir chmod chown touch echo printf env id pwd sleep stat "
    "find grep sed head tail wc sort tee test mkfifo mknod mount umount hostname kill ps readlink "
    "realpath sha256sum tar dd seq ip nc setsid stty sync truncate uname unshare xargs"
).split()
# Of every entry that the fixtures make, so that the same tree has the same layer id in every run.
MTIME = 1_600_000_000
# Set on a test that has failed: its files are kept for whoever looks into it.
FAILED = pytest.StashKey[bool]()
# Directories of a store that are empty when no strata runs, clean scratches (mode 1700) apart
# (cache/format.md).
TRANSIENT = ("stages", "tmp", "trash")


# They mount disks and drop caches: an ordinary user has test_new_boot.py and test_faults.py.
collect_ignore = (
    ["test_full_disk.py", "test_power_loss.py", "test_benchmark_suites.py"] if os.geteuid() != 0 else []
)


# --- skips -------------------------------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With STRATA_TESTS_MUST_RUN=1 (continuous integration) a test that cannot run has failed."""
    report = (yield).get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("STRATA_TESTS_MUST_RUN") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\n(a skip is a failure because STRATA_TESTS_MUST_RUN=1)"
    if report.failed:
        item.stash[FAILED] = True


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "leaves_files: the test kills strata or keeps a failed stage, so $TMPDIR and the transient "
        "directories of the store need not be empty after it",
    )
    config.addinivalue_line("markers", "stress: many rounds of the same thing; minutes, not seconds")
    # Whatever a test leaves running becomes a child of this process, and is found by the leak check,
    # also when strata was killed or the process was made in another pid namespace.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def executable(variable, program):
    """The absolute path of the executable that the environment names; without it nothing is tested."""
    name = os.environ.get(variable)
    if not name:
        pytest.exit(f"{variable} is not set: it must name the {program} to test", returncode=3)
    path = Path(name).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{variable}={name} is not an executable file", returncode=3)
    return path


@pytest.fixture(scope="session")
def strata_binary():
    """The absolute path of the executable under test."""
    return executable("STRATA", "strata executable")


# --- running strata ----------------------------------------------------------------------------------


class Result(subprocess.CompletedProcess):
    """A finished strata, with the assertions that nearly every test needs."""

    def ok(self):
        assert self.returncode == 0, self._told()
        return self

    def fails(self, status=None, *texts):
        """Asserts that it failed (with `status`, if given) and that stderr has each of `texts`."""
        assert self.returncode != 0, self._told()
        if status is not None:
            assert self.returncode == status, self._told()
        for text in texts:
            assert text in self.stderr, f"{text!r} is not in stderr: {self._told()}"
        return self

    @property
    def out(self):
        """stdout without the last newline."""
        return self.stdout[:-1] if self.stdout.endswith("\n") else self.stdout

    def json(self):
        self.ok()
        return json.loads(self.stdout)

    def _told(self):
        return (
            f"exit status {self.returncode} of: {' '.join(map(str, self.args))}\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )


class Strata:
    """Calls the executable in an environment that has only what the test gives it."""

    def __init__(self, binary, store, home, tmp):
        self.binary = binary
        self.store = store
        self.home = home
        self.tmp = tmp
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LANG": "C.UTF-8",
            "STRATA_STORE": str(store),
        }
        # Sanitizer options reach an instrumented build this way.
        self.env.update((k, v) for k, v in os.environ.items() if k.endswith("SAN_OPTIONS"))

    def command(self, *args):
        return [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in (self.binary, *args)]

    def environment(self, env=None):
        """The environment of a call; a value of None in `env` takes the name away."""
        merged = {**self.env, **(env or {})}
        return {name: str(value) for name, value in merged.items() if value is not None}

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=120, **popen):
        """Runs `strata ARGS...` to its end. `input` is text or bytes; none means an empty stdin."""
        if input is None:
            popen.setdefault("stdin", subprocess.DEVNULL)
        else:
            popen["input"] = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
        done = subprocess.run(
            self.command(*args),
            stdout=popen.pop("stdout", subprocess.PIPE),
            stderr=popen.pop("stderr", subprocess.PIPE),
            env=self.environment(env),
            cwd=cwd or self.home,
            timeout=timeout,
            **popen,
        )
        return Result(done.args, done.returncode, _text(done.stdout), _text(done.stderr))

    def start(self, *args, env=None, cwd=None, **popen):
        """Starts `strata ARGS...` and returns the Popen: for tests that signal or kill it."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            self.command(*args), env=self.environment(env), cwd=cwd or self.home, **popen
        )

    def sh(self, script, *layers, options=(), **kwargs):
        """`strata run OPTIONS LAYERS -- /bin/sh -c SCRIPT`; the layers default to `base`."""
        return self("run", *options, *(layers or ("base",)), "--", "/bin/sh", "-c", script, **kwargs)


def _text(data):
    # Paths in the output may be any bytes; they come back as os.fsdecode would give them.
    return (data or b"").decode("utf-8", "surrogateescape")


@pytest.fixture
def store(tmp_path):
    """The path of the test's own store. It does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def strata(strata_binary, store, tmp_path):
    """`strata("list", "--json")` runs the executable and returns a Result; see class Strata."""
    home, tmp = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    tmp.mkdir()
    return Strata(strata_binary, store, home, tmp)


# --- at a terminal ----------------------------------------------------------------------------------


@pytest.fixture
def open_terminal(strata):
    """open_terminal(command) starts it at a terminal; what still runs in the end is killed."""
    opened = []

    def start(command, **popen):
        opened.append(Terminal(strata, command, **popen))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def shell(strata, base, open_terminal):
    """`strata shell base` with its first prompt read."""
    terminal = open_terminal(strata.command("shell", "base"))
    terminal.expect(r"# ")
    return terminal


# --- trees and archives ------------------------------------------------------------------------------


class Dir:
    """A directory, where its mode or owner matters. (A directory may also be written as None.)"""

    def __init__(self, mode=0o755, uid=0, gid=0):
        self.mode, self.uid, self.gid = mode, uid, gid


class File:
    def __init__(self, content=b"", mode=0o644, uid=0, gid=0, xattrs=None):
        self.content = content.encode() if isinstance(content, str) else content
        self.mode, self.uid, self.gid, self.xattrs = mode, uid, gid, xattrs or {}


class Symlink:
    def __init__(self, target):
        self.target = target


class Hardlink:
    """To another entry of the same archive, by its path there."""

    def __init__(self, target):
        self.target = target


class Special:
    """A fifo (tarfile.FIFOTYPE) or a device (CHRTYPE, BLKTYPE)."""

    def __init__(self, kind, major=0, minor=0, mode=0o644):
        self.kind, self.major, self.minor, self.mode = kind, major, minor, mode


def tar_info(name, entry, mtime=MTIME):
    """The tar header of one entry, and the content that follows it (None where there is none)."""
    info = tarfile.TarInfo(name)
    info.mtime = mtime
    info.mode = getattr(entry, "mode", 0o777 if isinstance(entry, Symlink) else 0o644)
    info.uid, info.gid = getattr(entry, "uid", 0), getattr(entry, "gid", 0)
    if isinstance(entry, Dir):
        info.type = tarfile.DIRTYPE
    elif isinstance(entry, Symlink):
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
    elif isinstance(entry, Hardlink):
        info.type, info.linkname = tarfile.LNKTYPE, entry.target
    elif isinstance(entry, Special):
        info.type, info.devmajor, info.devminor = entry.kind, entry.major, entry.minor
    else:
        info.size = len(entry.content)
        info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in entry.xattrs.items()}
        return info, io.BytesIO(entry.content)
    return info, None


def write_tar(path, entries, mtime=MTIME, mode="w"):
    """Writes the archive `path` (mode "w:gz" compresses) of `entries`: name -> what it is.

    A str or bytes is a plain file, None a directory, and the classes above are the rest. Nothing is
    added: a parent that is not named has no entry. Names and order are taken as they are, so that
    hostile archives can be made too.
    """
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, entry in entries.items():
            if entry is None:
                entry = Dir()
            elif isinstance(entry, (str, bytes)):
                entry = File(entry)
            archive.addfile(*tar_info(name, entry, mtime))
    return Path(path)


@pytest.fixture
def make_tar(tmp_path):
    """make_tar("app.tar", {"usr": None, "usr/hello": "hi\\n"}) -> the path of the archive."""

    def make(name, entries, **options):
        return write_tar(tmp_path / name, entries, **options)

    return make


@pytest.fixture
def layer(strata, make_tar):
    """layer("app", {"opt/x": "1"}, *import_options) imports such a tree as the ref, and returns its id."""

    def make(ref, entries, *options):
        archive = make_tar(f"{ref.replace('/', '_')}.layer.tar", entries)
        return strata("import", "--name", ref, *options, archive).ok().out

    return make


def base_entries():
    """A root that is one static busybox: enough for a shell, and imported in milliseconds."""
    if not os.access(BUSYBOX, os.X_OK):
        pytest.exit(f"{BUSYBOX} is missing: tools/setup installs it (busybox-static)", returncode=3)
    entries = {
        "bin": None,
        "bin/busybox": File(Path(BUSYBOX).read_bytes(), mode=0o755),
        "etc": None,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "root": Dir(0o700),
        "usr": None,
        "usr/share": None,
        "usr/share/greeting": "hello\n",
        "var": None,
        "var/tmp": Dir(0o1777),
    }
    entries.update((f"bin/{applet}", Symlink("busybox")) for applet in APPLETS)
    return entries


@pytest.fixture(scope="session")
def base_tar(tmp_path_factory):
    """The archive behind `base`, made once."""
    return write_tar(tmp_path_factory.mktemp("base") / "base.tar", base_entries())


@pytest.fixture
def base(strata, base_tar):
    """The busybox root, imported into the test's store under the ref `base`; the fixture is its id."""
    return strata("import", "--name", "base", base_tar).ok().out


def tree(root):
    """What is in a directory: {relative path: (kind, mode, content or target)}, for comparing trees."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            value = ("link", None, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            value = ("file", mode, path.read_bytes())
        elif stat.S_ISDIR(status.st_mode):
            value = ("dir", mode, None)
        else:
            value = ("special", mode, os.major(status.st_rdev) * 256 + os.minor(status.st_rdev))
        found[str(path.relative_to(root))] = value
    return found


# --- what a test may not leave behind ----------------------------------------------------------------


def _children():
    """{pid: command line} of the processes below this one, dead ones that nobody waits for taken away."""
    found = {}
    me = os.getpid()
    for entry in Path(f"/proc/{me}/task").iterdir():
        try:
            pids = (entry / "children").read_text().split()
        except OSError:
            continue  # a thread that has ended; its children are now another one's
        for pid in map(int, pids):
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    continue
            except ChildProcessError:
                continue
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[pid] = line.strip()
    return found


def _wait_for_children(known, seconds):
    """The children that are not in `known` after they have had `seconds` to end."""
    until = time.monotonic() + seconds
    while True:
        left = {pid: line for pid, line in _children().items() if pid not in known}
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.01)


def mounts_under(path):
    """The lines of this process's mountinfo that mention `path`."""
    # mountinfo writes white space as octal escapes.
    needle = str(path).replace("\\", "\\134").replace(" ", "\\040")
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return [line for line in lines if needle in line]


def remove_tree(path):
    """Removes a tree with directories that even their owner may not enter, as layers can have."""
    for directory, names, _ in os.walk(path, topdown=True):
        for name in names:
            child = os.path.join(directory, name)
            with contextlib.suppress(PermissionError):
                if not os.path.islink(child) and os.stat(child).st_mode & 0o700 != 0o700:
                    os.chmod(child, 0o700)
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):  # what the subordinate ids of --userns=subuid own
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", path], check=False)


@pytest.fixture(autouse=True)
def no_leaks(request, tmp_path):
    """After each test: no process, no mount of its store, nothing in $TMPDIR, nothing half-made."""
    known = _children()
    yield
    leaks = []
    # Killing one hands its children to this process: they are the next round.
    while left := _wait_for_children(known, seconds=10):
        for pid, line in left.items():
            leaks.append(f"process {pid}: {line}")
            os.kill(pid, signal.SIGKILL)
    leaks += [f"mount: {line}" for line in mounts_under(tmp_path)]
    if not request.node.get_closest_marker("leaves_files"):
        # Without listing the whole of what was left: one line for each entry at the top.
        for place in (tmp_path / "tmp", *(tmp_path / "store" / name for name in TRANSIENT)):
            if place.is_dir():
                leaks += [
                    f"file: {path}"
                    for path in sorted(place.iterdir())
                    if place.name != "stages" or path.stat().st_mode & 0o7777 != 0o1700
                ]
    if not leaks and FAILED not in request.node.stash:
        remove_tree(tmp_path)
    if leaks:
        pytest.fail("the test left behind\n  " + "\n  ".join(leaks), pytrace=False)
