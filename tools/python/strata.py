# SPDX-License-Identifier: Apache-2.0
"""libstrata for Python: strata.h by ctypes, with objects in place of handles.

    import strata

    with strata.Store() as store:
        wanted = store.set("base", "dir:/var/artifacts/zlib@sha256-77ab")
        with wanted.compose() as root:                   # cached: the next time it is found
            print(root.run(["cc", "--version"]).status)  # in a sandbox, or:
            with root.stage() as stage:                  # in namespaces of your own
                stage.mount_at("/mnt")

What fails raises strata.Error, which has the library's `code`, `errno`, message and `hint`. Each handle is a
context manager and is freed by close(), at the latest with the object. Paths may be str, bytes or os.PathLike.
strata.h is the manual of what the calls do, of threads and of fork.

$STRATA_LIBRARY names the shared library; without it, it is the one of the prefix in which this module is installed, else
libstrata.so.0 as the loader finds it.
"""

import collections
import ctypes
import json
import os
import sys

__all__ = [
    "Entry", "Error", "Layer", "Overlap", "Result", "Root", "Set", "Stage", "Store", "Target", "version",
    "E_AMBIGUOUS", "E_BUSY", "E_CORRUPT", "E_EXISTS", "E_HOSTILE", "E_INVALID", "E_NOT_FOUND", "E_NO_MEMORY",
    "E_SYSTEM", "E_UNSUPPORTED",
]  # fmt: skip

E_SYSTEM, E_INVALID, E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS = -1, -2, -3, -4, -5
E_BUSY, E_CORRUPT, E_HOSTILE, E_UNSUPPORTED, E_NO_MEMORY = -6, -7, -8, -9, -10

_CONFLICT = {"error": 0, "replace": 1, "skip": 2}
_UPPER = {"store": 0, "none": 1, "directory": 2}
_FORMAT = {"auto": 0, "dir": 1, "tar": 2, "oci": 3}
_OWNER = {"auto": 0, "keep": 1, "root": 2}
_USERNS = {"auto": 0, "single": 1, "subuid": 2}
_NETWORK = {"none": 0, "host": 1}
_METHODS = ("auto", "overlay", "fuse", "hardlink", "reflink", "copy")
_MOUNTS = {"bind": 0, "bind_ro": 1, "cow": 2, "tmpfs": 3, "cache": 4}
_TYPES = {1: "directory", 2: "file", 3: "symlink", 4: "fifo", 5: "whiteout"}
_OUTCOMES = {1: "ended", 2: "timed-out", 3: "not-executable", 4: "no-command", 5: "cancelled"}
_RUN_FLAGS = {
    "read_only": 1 << 0, "capture": 1 << 1, "capture_failed": 1 << 2, "clear_env": 1 << 3, "nested_userns": 1 << 4,
    "ignore_chown": 1 << 5, "no_seccomp": 1 << 6, "scratch_tmpfs": 1 << 7, "terminal": 1 << 8, "keep_failed": 1 << 9,
}  # fmt: skip

Entry = collections.namedtuple(
    "Entry", "path type mode uid gid mtime mtime_nsec bytes sha256 target hardlink opaque implicit"
)
Overlap = collections.namedtuple("Overlap", "path members conflict")
Target = collections.namedtuple("Target", "kind id")


class Error(Exception):
    """A call that failed: what strata prints, and what a program branches on.

    `code` is one of E_*, `errno` that of the system call that failed or 0, `hint` what can be done or "".
    """

    def __init__(self, code, message, errno=0, hint=""):
        super().__init__(message)
        self.code, self.errno, self.hint = code, errno, hint

    def __str__(self):
        return f"{self.args[0]} (hint: {self.hint})" if self.hint else self.args[0]


# --- structs


class _Options(ctypes.Structure):
    """Begins with its own size."""

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(self), **fields)


_strings = ctypes.POINTER(ctypes.c_char_p)


class _Progress(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t)] + [
        (name, ctypes.c_uint64) for name in ("bytes", "total_bytes", "entries", "total_entries")
    ]


_on_progress = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Progress))
_on_message = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


class _Events(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("user", ctypes.c_void_p), ("progress", _on_progress), ("message", _on_message),
    ]  # fmt: skip


_events = ctypes.POINTER(_Events)


class _Target(_Options):
    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_int), ("id", ctypes.c_char * 65)]

    def value(self):
        return Target("layer" if self.kind == 1 else "root", self.id.decode())


class _GcOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("max_size", ctypes.c_uint64), ("all", ctypes.c_int), ("dry_run", ctypes.c_int),
    ]  # fmt: skip


class _GcReport(_Options):
    _fields_ = [("size", ctypes.c_size_t)] + [
        (name, ctypes.c_uint64) for name in ("roots", "layers", "derived", "freed_bytes")
    ]


class _ImportOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("ref", ctypes.c_char_p), ("format", ctypes.c_int), ("owner", ctypes.c_int),
        ("set_mtime", ctypes.c_int), ("mtime", ctypes.c_int64), ("integrate", _strings), ("jobs", ctypes.c_uint),
        ("events", _events),
    ]  # fmt: skip


class _Entry(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("type", ctypes.c_int), ("flags", ctypes.c_uint32),
        ("mode", ctypes.c_uint32), ("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32), ("mtime_nsec", ctypes.c_uint32),
        ("mtime", ctypes.c_int64), ("bytes", ctypes.c_uint64), ("sha256", ctypes.c_char_p),
        ("target", ctypes.c_char_p), ("hardlink", ctypes.c_char_p),
    ]  # fmt: skip


class _Overlap(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("members", ctypes.POINTER(ctypes.c_size_t)),
        ("member_count", ctypes.c_size_t), ("conflict", ctypes.c_int),
    ]  # fmt: skip


class _ComposeOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("set_mtime", ctypes.c_int), ("mtime", ctypes.c_int64), ("jobs", ctypes.c_uint),
        ("events", _events),
    ]  # fmt: skip


class _StageOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("upper", ctypes.c_int), ("directory", ctypes.c_char_p), ("mount_points", _strings),
    ]  # fmt: skip


class _CaptureOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("ref", ctypes.c_char_p), ("set_mtime", ctypes.c_int), ("mtime", ctypes.c_int64),
        ("leave_out", _strings), ("events", _events),
    ]  # fmt: skip


class _StageAtOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("method", ctypes.c_int), ("read_only", ctypes.c_int), ("events", _events),
    ]  # fmt: skip


class _Mount(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int), ("source", ctypes.c_char_p), ("target", ctypes.c_char_p), ("bytes", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64 * 2),
    ]  # fmt: skip


class _RunOptions(_Options):
    _fields_ = [
        ("size", ctypes.c_size_t), ("argv", _strings), ("env", _strings), ("flags", ctypes.c_uint32),
        ("directory", ctypes.c_char_p), ("hostname", ctypes.c_char_p), ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32), ("userns", ctypes.c_int), ("network", ctypes.c_int),
        ("mounts", ctypes.POINTER(_Mount)), ("mount_count", ctypes.c_size_t), ("stdin_fd", ctypes.c_int),
        ("stdout_fd", ctypes.c_int), ("stderr_fd", ctypes.c_int), ("control_fd", ctypes.c_int),
        ("timeout_ms", ctypes.c_uint64), ("grace_ms", ctypes.c_uint64), ("memory", ctypes.c_uint64),
        ("pids", ctypes.c_uint64), ("cpu_millis", ctypes.c_uint64), ("cap_add", ctypes.c_uint64),
        ("cap_drop", ctypes.c_uint64), ("scratch_bytes", ctypes.c_uint64), ("scratch_directory", ctypes.c_char_p),
        ("workspace", ctypes.c_char_p), ("output", ctypes.c_char_p), ("output_directory", ctypes.c_char_p),
        ("capture_ref", ctypes.c_char_p), ("set_mtime", ctypes.c_int), ("mtime", ctypes.c_int64), ("events", _events),
        ("seccomp_file", ctypes.c_char_p),
    ]  # fmt: skip


_each_ref = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Target))
_each_entry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Entry))
_each_overlap = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Overlap))

# --- the library

_loaded = None
# What returns something else than an int. The others take what they are given: pointers, ints and bytes.
_RETURNS = {
    **dict.fromkeys(
        "version error_message error_hint store_path layer_id root_key root_lower result_reason result_json result_workspace".split(),
        ctypes.c_char_p,
    ),
    "layer_entries": ctypes.c_uint64, "layer_bytes": ctypes.c_uint64,
    "set_count": ctypes.c_size_t, "root_depth": ctypes.c_size_t, "result_layer": ctypes.c_void_p,
}  # fmt: skip


def _find_library():
    given = os.environ.get("STRATA_LIBRARY")
    if given:
        return given
    prefix = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", ".."))
    for directory in (f"lib/{getattr(sys.implementation, '_multiarch', '')}", "lib64", "lib"):
        beside = os.path.join(prefix, directory, "libstrata.so.0")
        if os.path.exists(beside):
            return beside
    return "libstrata.so.0"


def _library():
    global _loaded
    if _loaded is None:
        path = _find_library()
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            raise OSError(f"{error} ($STRATA_LIBRARY can name the file)") from error
        for name, kind in _RETURNS.items():
            if hasattr(library, f"strata_{name}"):
                getattr(library, f"strata_{name}").restype = kind
        _loaded = library
    return _loaded


def version():
    """The version of the library that is running."""
    return _library().strata_version().decode()


def _call(name, *arguments):
    """Calls strata_NAME with an error pointer behind the arguments; what it returns, if that is no failure."""
    library = _library()
    error = ctypes.c_void_p()
    status = getattr(library, f"strata_{name}")(*arguments, ctypes.byref(error))
    if status >= 0:
        return status
    if not error:
        raise Error(status, f"strata_{name} failed")
    try:
        raise Error(
            library.strata_error_code(error),
            os.fsdecode(library.strata_error_message(error)),
            library.strata_error_errno(error),
            os.fsdecode(library.strata_error_hint(error)),
        )
    finally:
        library.strata_error_free(error)


def _text(text):
    text = os.fsencode(text)
    if b"\0" in text:  # C would see what is before it
        raise ValueError(f"a NUL byte in {text!r}")
    return text


def _bytes(path):
    return None if path is None else _text(path)


def _array(texts):
    """A NULL-terminated array; NULL for None."""
    if texts is None:
        return None
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{texts!r}: a list of texts is needed, not one")
    texts = [_text(text) for text in texts]
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


def _choice(table, value, what):
    try:
        return table[value]
    except KeyError:
        raise Error(E_INVALID, f"{what} {value!r}: one of {', '.join(table)}") from None


def _mtime(mtime):
    return {} if mtime is None else {"set_mtime": 1, "mtime": mtime}


def _collect(name, handle, kind, make):
    """[make(...)] of what strata_NAME calls back with. What `make` raises ends it, and is raised here."""
    found, raised = [], []

    def each(_user, *arguments):
        try:
            found.append(make(*arguments))
        except BaseException as problem:  # pylint: disable=broad-except
            raised.append(problem)
        return len(raised)

    _call(name, handle, kind(each), None)
    if raised:
        raise raised[0]
    return found



class _Callbacks:
    """Python functions as strata_events. What they raise is raised again by the call that called them."""

    _KINDS = {1: "warning", 2: "command", 3: "output"}

    def __init__(self, progress=None, message=None):
        self._raised = None
        on_progress = on_message = None
        if progress:
            on_progress = self._guard(lambda event: progress(*(getattr(event[0], name) for name, _ in _Progress._fields_[1:])))
        if message:
            on_message = self._guard(lambda kind, text: message(self._KINDS.get(kind, "?"), os.fsdecode(text)))
        self._kept = (on_progress and _on_progress(on_progress), on_message and _on_message(on_message))
        self._events = _Events(progress=self._kept[0] or _on_progress(), message=self._kept[1] or _on_message())
        self.pointer = ctypes.pointer(self._events) if progress or message else None

    def _guard(self, function):
        def call(_user, *arguments):
            try:
                function(*arguments)
            except BaseException as problem:  # pylint: disable=broad-except
                self._raised = self._raised or problem

        return call

    def call(self, name, *arguments):
        status = _call(name, *arguments)
        if self._raised:
            raise self._raised
        return status


# --- the objects


class _Handle:
    """Owns one handle of the library."""

    _free = None  # the name of the function that frees it

    def __init__(self, handle):
        self._handle = handle

    @property
    def handle(self):
        if not self._handle:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle

    def close(self):
        """Frees the handle; what this object is for cannot be done any more. May be called again."""
        handle, self._handle = self._handle, None
        if handle:
            getattr(_library(), f"strata_{self._free}")(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()

    def _text(self, name, *arguments):
        text = getattr(_library(), f"strata_{name}")(self.handle, *arguments)
        return None if text is None else os.fsdecode(text)

    def _number(self, name):
        return getattr(_library(), f"strata_{name}")(self.handle)


class Store(_Handle):
    """A store, made where there is none. Without `path`: $STRATA_STORE, else that of the command line."""

    _free = "store_free"

    def __init__(self, path=None):
        super().__init__(None)
        handle = ctypes.c_void_p()
        _call("store_open", _bytes(path), ctypes.byref(handle))
        self._handle = handle

    @property
    def path(self):
        return self._text("store_path")

    def resolve(self, name):
        """What a ref, an id or a prefix of one stands for: Target(kind, id), kind "layer" or "root"."""
        target = _Target()
        _call("resolve", self.handle, _bytes(name), ctypes.byref(target))
        return target.value()

    def tag(self, name, ref):
        """Gives what `name` stands for the name `ref`, which moves there if it exists."""
        _call("tag", self.handle, _bytes(name), _bytes(ref))

    def untag(self, ref):
        _call("untag", self.handle, _bytes(ref))

    def refs(self):
        """{ref: Target(kind, id)}, sorted by name."""
        return dict(_collect("list_refs", self.handle, _each_ref, lambda ref, target: (os.fsdecode(ref), target[0].value())))

    def gc(self, max_size=0, everything=False, dry_run=False):
        """Removes what nothing needs; {"roots", "layers", "derived", "freed_bytes"}: how much that was."""
        options = _GcOptions(max_size=max_size, all=everything, dry_run=dry_run)
        report = _GcReport()
        _call("gc", self.handle, ctypes.byref(options), ctypes.byref(report))
        return {name: getattr(report, name) for name, _ in _GcReport._fields_[1:]}

    def import_(self, source, ref=None, format="auto", owner="auto", mtime=None, integrate=None, jobs=0,
                progress=None, message=None):  # fmt: skip  # pylint: disable=redefined-builtin
        """Makes a Layer of a directory or an archive: a path, or a descriptor of one."""
        events = _Callbacks(progress, message)
        options = _ImportOptions(
            ref=_bytes(ref), format=_choice(_FORMAT, format, "format"), owner=_choice(_OWNER, owner, "owner"),
            integrate=_array(integrate), jobs=jobs, events=events.pointer, **_mtime(mtime),
        )  # fmt: skip
        layer = ctypes.c_void_p()
        name, what = ("import_fd", source) if isinstance(source, int) else ("import", _bytes(source))
        events.call(name, self.handle, what, ctypes.byref(options), ctypes.byref(layer))
        return Layer(layer)

    def layer(self, name):
        """A lease on a layer that is there."""
        layer = ctypes.c_void_p()
        _call("layer_open", self.handle, _bytes(name), ctypes.byref(layer))
        return Layer(layer)

    def root(self, name):
        """A composed root that is in the cache, by its key or ref."""
        root = ctypes.c_void_p()
        _call("root_open", self.handle, _bytes(name), ctypes.byref(root))
        return Root(root)

    def set(self, *layers):
        """A Set of these layers, bottom first, as LAYER on the command line."""
        result = ctypes.c_void_p()
        _call("set_new", self.handle, ctypes.byref(result))
        made = Set(result)
        for layer in layers:
            made.add(layer)
        return made

    def unstage(self, path):
        """Takes away what Root.stage_at put there."""
        _call("unstage", self.handle, _bytes(path))


class Layer(_Handle):
    """A lease on a layer."""

    _free = "layer_free"

    @property
    def id(self):
        return self._text("layer_id")

    @property
    def existed(self):
        """Whether the store had it before the import."""
        return bool(self._number("layer_existed"))

    @property
    def entries(self):
        return self._number("layer_entries")

    @property
    def bytes(self):
        return self._number("layer_bytes")

    def files(self):
        """[Entry(path, type, ...)]: what the layer provides, directories first, names sorted; from its manifest alone.

        `type`: "directory", "file", "symlink", "fifo" or "whiteout", which takes away what lies below. `sha256` is of
        files, `target` of symlinks, `hardlink` another path that is the same file; None of others.
        """

        def entry_of(entry):
            one = entry[0]
            texts = (None if text is None else os.fsdecode(text) for text in (one.sha256, one.target, one.hardlink))
            return Entry(
                os.fsdecode(one.path), _TYPES[one.type], one.mode, one.uid, one.gid, one.mtime, one.mtime_nsec,
                one.bytes, *texts, bool(one.flags & 1), bool(one.flags & 2),
            )  # fmt: skip

        return _collect("list_files", self.handle, _each_entry, entry_of)


class Set(_Handle):
    """An ordered list of layers, bottom first, with integration commands. The methods return the Set."""

    _free = "set_free"

    def add(self, layer):
        """Puts what LAYER stands for on top: "base", "dir:/some/where@KEY", "gcc:at=/opt"; or a Layer."""
        _call("set_add", self.handle, _bytes(layer.id if isinstance(layer, Layer) else layer))
        return self

    def add_directory(self, path, key=None, view=None):
        """The same for a directory that the store does not manage; with `key` the content is the same for ever."""
        _call("set_add_directory", self.handle, _bytes(path), _bytes(key), _bytes(view))
        return self

    def integrate(self, command):
        _call("set_integrate", self.handle, _bytes(command))
        return self

    def on_conflict(self, policy):
        """"error", "replace" or "skip": a file of one layer where another has a directory."""
        _call("set_on_conflict", self.handle, _choice(_CONFLICT, policy, "policy"))
        return self

    def __len__(self):
        return self._number("set_count")

    def overlaps(self):
        """[Overlap(path, members, conflict)]: what several members provide; members by index, the last one wins."""

        def overlap_of(overlap):
            one = overlap[0]
            return Overlap(os.fsdecode(one.path), tuple(one.members[: one.member_count]), bool(one.conflict))

        return _collect("list_overlaps", self.handle, _each_overlap, overlap_of)

    def compose(self, mtime=None, jobs=0, progress=None, message=None):
        """The Root of the set: the cached one, else made now."""
        events = _Callbacks(progress, message)
        options = _ComposeOptions(jobs=jobs, events=events.pointer, **_mtime(mtime))
        root = ctypes.c_void_p()
        events.call("compose", self.handle, ctypes.byref(options), ctypes.byref(root))
        return Root(root)


class Root(_Handle):
    """A composed root, leased."""

    _free = "root_free"

    @property
    def key(self):
        return self._text("root_key")

    @property
    def hit(self):
        """Whether it was in the cache."""
        return bool(self._number("root_hit"))

    @property
    def lowers(self):
        """What overlayfs is to stack, bottom first."""
        return [self._text("root_lower", ctypes.c_size_t(at)) for at in range(self._number("root_depth"))]

    def lease(self):
        """Descriptors that hold the lease as long as a copy of one is open, for a process that outlives this one."""
        count = ctypes.c_size_t()
        capacity = max(1, self._number("root_depth"))
        fds = (ctypes.c_int * capacity)()
        _call("root_lease", self.handle, fds, ctypes.c_size_t(capacity), ctypes.byref(count))
        return list(fds[: count.value])

    def stage(self, upper="store", directory=None, mount_points=None):
        """A Stage: this root with something to write to; upper "store", "none" or (with `directory`) "directory"."""
        options = _StageOptions(
            upper=_choice(_UPPER, upper, "upper"), directory=_bytes(directory), mount_points=_array(mount_points)
        )
        stage = ctypes.c_void_p()
        _call("stage_open", self.handle, ctypes.byref(options), ctypes.byref(stage))
        return Stage(stage)

    def stage_at(self, path, method="auto", read_only=False, progress=None, message=None):
        """Shows the root at `path` until Store.unstage; the method that was used."""
        events = _Callbacks(progress, message)
        options = _StageAtOptions(
            method=_choice({name: at for at, name in enumerate(_METHODS)}, method, "method"),
            read_only=read_only, events=events.pointer,
        )  # fmt: skip
        used = ctypes.c_int()
        events.call("stage_at", self.handle, _bytes(path), ctypes.byref(options), ctypes.byref(used))
        return _METHODS[used.value]

    def run(self, argv, *, env=None, flags=(), mounts=(), userns="auto", network="none", stdin=0, stdout=0, stderr=0,
            control_fd=0, directory=None, hostname=None, uid=0, gid=0, timeout_ms=0, grace_ms=0, memory=0, pids=0,
            cpu_millis=0, cap_add=0, cap_drop=0, scratch_bytes=0, scratch_directory=None, workspace=None, output=None,
            output_directory=None, capture_ref=None, mtime=None, seccomp_file=None, progress=None, message=None):  # fmt: skip
        """Runs a command in a sandbox, waits for it, and returns a Result.

        `env`: a dict, added to the default variables. `flags`: names of STRATA_RUN_*, ["read_only"]. `mounts`:
        (kind, source, target[, bytes]) with kind "bind", "bind_ro", "cow", "tmpfs", "cache". The standard streams
        are descriptors: 0 for the own one, -1 for /dev/null. All else is as in strata_run_options of strata.h, and
        what is left out as with `strata run` without that option.
        """
        events = _Callbacks(progress, message)
        table = (_Mount * len(mounts))()
        for at, (kind, source, target, *size) in enumerate(mounts):
            table[at].kind = _choice(_MOUNTS, kind, "mount")
            table[at].source, table[at].target = _bytes(source), _bytes(target)
            table[at].bytes = size[0] if size else 0
        flags = {flags} if isinstance(flags, str) else set(flags)
        options = _RunOptions(
            argv=_array(argv), env=_array(None if env is None else [f"{key}={value}" for key, value in env.items()]),
            flags=sum(_choice(_RUN_FLAGS, flag, "flag") for flag in flags),
            userns=_choice(_USERNS, userns, "userns"), network=_choice(_NETWORK, network, "network"),
            mounts=table, mount_count=len(mounts), stdin_fd=stdin, stdout_fd=stdout, stderr_fd=stderr,
            control_fd=control_fd, directory=_bytes(directory), hostname=_bytes(hostname), uid=uid, gid=gid,
            timeout_ms=timeout_ms, grace_ms=grace_ms, memory=memory, pids=pids, cpu_millis=cpu_millis, cap_add=cap_add,
            cap_drop=cap_drop, scratch_bytes=scratch_bytes, scratch_directory=_bytes(scratch_directory),
            workspace=_bytes(workspace), output=_bytes(output), output_directory=_bytes(output_directory),
            capture_ref=_bytes(capture_ref), events=events.pointer, seccomp_file=_bytes(seccomp_file), **_mtime(mtime),
        )  # fmt: skip
        result = ctypes.c_void_p()
        events.call("run", self.handle, ctypes.byref(options), ctypes.byref(result))
        return Result(result)


class Stage(_Handle):
    """One live root. Unmount before close(), which removes what was written."""

    _free = "stage_free"

    def mount(self):
        """A descriptor of the detached mount, for move_mount(2). Once for each Stage."""
        fd = ctypes.c_int(-1)
        _call("stage_mount", self.handle, ctypes.byref(fd))
        return fd.value

    def mount_at(self, path):
        """The same, attached at an existing directory."""
        _call("stage_mount_at", self.handle, _bytes(path))

    def capture(self, ref=None, mtime=None, leave_out=None, progress=None, message=None):
        """What was written, as a Layer. E_BUSY while the mount, or anything that could write to it, is there."""
        events = _Callbacks(progress, message)
        options = _CaptureOptions(
            ref=_bytes(ref), leave_out=_array(leave_out), events=events.pointer, **_mtime(mtime)
        )
        layer = ctypes.c_void_p()
        events.call("stage_capture", self.handle, ctypes.byref(options), ctypes.byref(layer))
        return Layer(layer)


class Result(_Handle):
    """How a command in a sandbox ended."""

    _free = "result_free"

    @property
    def outcome(self):
        """"ended", "timed-out", "not-executable", "no-command" or "cancelled"."""
        return _OUTCOMES[self._number("result_outcome")]

    @property
    def status(self):
        """As `strata run` exits."""
        return self._number("result_status")

    @property
    def signal(self):
        return self._number("result_signal")

    @property
    def reason(self):
        """Why nothing ran, or why it was killed; "" where there is nothing to tell."""
        return self._text("result_reason")

    @property
    def layer_id(self):
        """Of the captured layer; None where none was captured."""
        layer = _library().strata_result_layer(self.handle)
        return os.fsdecode(_library().strata_layer_id(ctypes.c_void_p(layer))) if layer else None

    @property
    def workspace(self):
        """With the flag "keep_failed": the workspace that has what a command that failed wrote; else None."""
        return self._text("result_workspace")

    @property
    def stats(self):
        """What `strata run --stats` writes, as a dict."""
        return json.loads(self._text("result_json"))
