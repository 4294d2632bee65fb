/* SPDX-License-Identifier: Apache-2.0
 *
 * libstrata: stage build dependencies as immutable layers, from any language that can call C.
 *
 *     strata_error *error = NULL;
 *     strata_store *store = NULL;
 *     strata_set *set = NULL;
 *     strata_root *root = NULL;
 *     strata_store_open(NULL, &store, &error);
 *     strata_set_new(store, &set, &error);
 *     strata_set_add(set, "base", &error);
 *     strata_set_add(set, "dir:/var/artifacts/zlib@sha256-77ab", &error);
 *     strata_compose(set, NULL, &root, &error);  // from the cache, or made
 *     strata_run_options options = {.size = sizeof options, .argv = argv};
 *     strata_run(root, &options, &result, &error);  // in a sandbox, or:
 *     strata_stage_open(root, NULL, &stage, &error);  // mounted by you
 *     strata_stage_mount(stage, &mount_fd, &error);
 *
 * CALLS. What can fail returns 0, or a negative strata_code, and then puts an error object at
 * *error, unless `error` is NULL; it belongs to the caller (strata_error_free). On success *error
 * is left alone. After a failure what the call would have returned is NULL (-1 for a descriptor),
 * and nothing was left behind. A NULL where a handle or a text is needed is STRATA_E_INVALID.
 * Nothing is printed, no call exits the process, and no exception leaves the library.
 *
 * HANDLES are opaque, and each has one owner: whoever received it frees it with the function named
 * beside it. Freeing NULL does nothing; free never fails. A handle keeps alive what it was made of:
 * the store may be freed before the root. Strings that an accessor returns belong to the handle and
 * live as long as it does. Texts are NUL-terminated bytes; paths are bytes of any encoding but NUL.
 *
 * OPTION STRUCTS start with their own size, `options.size = sizeof options`, and all else zero
 * means: as the command line without that option. NULL in place of the struct means the same. A
 * newer library takes the smaller struct of an older client; an older library takes a larger one if
 * what it does not know is zero, and refuses it otherwise (STRATA_E_UNSUPPORTED).
 *
 * THREADS. The library has no global state. Any number of threads, and of processes, may work at
 * one store at the same time. A strata_store, a strata_layer and a strata_root are immutable and
 * may be shared by threads; a strata_set, a strata_stage and a strata_result are for one thread at
 * a time. Signal dispositions, signal masks, the working directory and the umask of the process are
 * not touched, and no child is reaped but the library's own. Do not reap children that are not
 * yours (waitpid(-1)) while a call runs.
 *
 * FORK. Descriptors are close-on-exec. In a child of fork(2) a strata_store can be used; of every
 * other handle the child has a copy of the descriptors: freeing it closes those, removes nothing,
 * and ends no lease of the parent's.
 *
 * CALLBACKS (strata_events) are called by the calling thread or by one of the library's, never two
 * at a time, and none after the call that they were given to has returned. They must not call the
 * library with the same handle, nor longjmp or throw.
 *
 * LEASES. A strata_layer and a strata_root are leases: as long as one exists, in any process, no gc
 * and no rm takes away what it needs. A name (strata_tag) keeps it without one.
 *
 * VERSIONS. Symbols have a version (STRATA_0.1); functions and fields are added, not changed.
 * Linux 5.11, rootless where unprivileged user namespaces are allowed. `strata doctor` tells what a
 * machine can do.
 */
#ifndef STRATA_H
#define STRATA_H

#include <stddef.h>
#include <stdint.h>

#if defined(STRATA_BUILDING_LIBRARY)
#define STRATA_API __attribute__((visibility("default")))
#else
#define STRATA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": of the library that is running. */
STRATA_API const char* strata_version(void);

/* ---- Errors */

/* What a program may want to branch on. The message says the rest. */
typedef enum strata_code {
  STRATA_OK = 0,
  STRATA_E_SYSTEM = -1,      /* a system call failed: strata_error_errno */
  STRATA_E_INVALID = -2,     /* an argument makes no sense */
  STRATA_E_NOT_FOUND = -3,   /* no such layer, ref, root, stage ... */
  STRATA_E_AMBIGUOUS = -4,   /* a prefix that fits several ids */
  STRATA_E_EXISTS = -5,      /* the name is taken, or something needs what was to be removed */
  STRATA_E_BUSY = -6,        /* in use by another process */
  STRATA_E_CORRUPT = -7,     /* data that cannot be what it claims to be */
  STRATA_E_HOSTILE = -8,     /* an import that tries what no honest tree contains */
  STRATA_E_UNSUPPORTED = -9, /* this machine, file system or version of the library cannot do it */
  STRATA_E_NO_MEMORY = -10
} strata_code;

typedef struct strata_error strata_error;

STRATA_API strata_code strata_error_code(const strata_error* error);
/* The errno of the system call that failed; 0 where none did. */
STRATA_API int strata_error_errno(const strata_error* error);
/* "import base.tar: openat base.tar: No such file or directory": one line, as `strata` prints it.
 */
STRATA_API const char* strata_error_message(const strata_error* error);
/* What can be done about it; "" where nothing is known. */
STRATA_API const char* strata_error_hint(const strata_error* error);
STRATA_API void strata_error_free(strata_error* error);

/* ---- Progress and messages */

/* Of an import, a compose or a capture. A total of 0 is not known. */
typedef struct strata_progress {
  size_t size;
  uint64_t bytes;
  uint64_t total_bytes;
  uint64_t entries;
  uint64_t total_entries;
} strata_progress;

typedef enum strata_message_kind {
  STRATA_MESSAGE_WARNING = 1, /* something was left out, or done otherwise than asked for */
  STRATA_MESSAGE_COMMAND = 2, /* an integration command is about to run: its text */
  STRATA_MESSAGE_OUTPUT = 3   /* a line that an integration command wrote */
} strata_message_kind;

typedef struct strata_events {
  size_t size;
  void* user; /* handed to the callbacks */
  /* About ten times a second, while there is something new to tell, and at the end of what took
   * longer than that. May be NULL. */
  void (*progress)(void* user, const strata_progress* progress);
  /* `text` has no newline at its end. May be NULL. */
  void (*message)(void* user, strata_message_kind kind, const char* text);
} strata_events;

/* ---- The store */

typedef struct strata_store strata_store;

/* Opens the store at `path`, and makes one where there is none. NULL: $STRATA_STORE, else
 * $XDG_DATA_HOME/strata, else ~/.local/share/strata. */
STRATA_API int strata_store_open(const char* path, strata_store** store, strata_error** error);
STRATA_API const char* strata_store_path(const strata_store* store);
STRATA_API void strata_store_free(strata_store* store);

typedef enum strata_kind { STRATA_LAYER = 1, STRATA_ROOT = 2 } strata_kind;

/* What a name stands for. */
typedef struct strata_target {
  size_t size;
  strata_kind kind;
  char id[65]; /* of a layer 64 hex digits, of a root (its key) 32; NUL-terminated */
} strata_target;

/* A ref, an id, a root's key, or a prefix of four or more digits. Set target->size before.
 * STRATA_E_NOT_FOUND (near names are the hint), STRATA_E_AMBIGUOUS. */
STRATA_API int strata_resolve(const strata_store* store, const char* name, strata_target* target,
                              strata_error** error);
/* Gives the layer or root `name` (anything that strata_resolve takes) the name `ref`, which moves
 * there if it exists. */
STRATA_API int strata_tag(const strata_store* store, const char* name, const char* ref,
                          strata_error** error);
STRATA_API int strata_untag(const strata_store* store, const char* ref, strata_error** error);
/* Calls `each` for every ref, sorted by name; more than 0 ends it, and is returned. */
STRATA_API int strata_list_refs(const strata_store* store,
                                int (*each)(void* user, const char* ref,
                                            const strata_target* target),
                                void* user, strata_error** error);

typedef struct strata_gc_options {
  size_t size;
  uint64_t max_size; /* bytes; beyond that the least recently used roots go; 0: no bound */
  int all;           /* also what is younger than an hour, and every unused cached root */
  int dry_run;
} strata_gc_options;

typedef struct strata_gc_report {
  size_t size;
  uint64_t roots; /* removed, or with dry_run: would be */
  uint64_t layers;
  uint64_t derived; /* layers that were computed from others */
  uint64_t freed_bytes;
} strata_gc_report;

/* Removes what no name, pin, lease, stage or recently used root needs. `report` may be NULL. */
STRATA_API int strata_gc(const strata_store* store, const strata_gc_options* options,
                         strata_gc_report* report, strata_error** error);

/* ---- Layers: import */

/* A leased layer. */
typedef struct strata_layer strata_layer;

typedef enum strata_format {
  STRATA_FORMAT_AUTO,
  STRATA_FORMAT_DIRECTORY,
  STRATA_FORMAT_TAR,
  STRATA_FORMAT_OCI
} strata_format;
typedef enum strata_owner { STRATA_OWNER_AUTO, STRATA_OWNER_KEEP, STRATA_OWNER_ROOT } strata_owner;

typedef struct strata_import_options {
  size_t size;
  const char* ref; /* a name for the layer */
  strata_format format;
  strata_owner owner; /* auto: keep for archives, root for directories */
  int set_mtime;      /* every mtime becomes `mtime`, in seconds since 1970; else kept */
  int64_t mtime;
  const char* const* integrate; /* commands for every root that has the layer; ends with NULL */
  unsigned jobs;                /* 0: as many threads as there are processors */
  const strata_events* events;
} strata_import_options;

/* A directory, a tar or an OCI layer at `path`. Importing the same content again gives the same
 * layer. */
STRATA_API int strata_import(const strata_store* store, const char* path,
                             const strata_import_options* options, strata_layer** layer,
                             strata_error** error);
/* An archive from a file, pipe or socket, read from where it is; or a directory (O_PATH will do),
 * wherever its path leads to by now. The descriptor stays the caller's. */
STRATA_API int strata_import_fd(const strata_store* store, int fd,
                                const strata_import_options* options, strata_layer** layer,
                                strata_error** error);
/* A lease on a layer that is there: any name that strata_resolve takes. */
STRATA_API int strata_layer_open(const strata_store* store, const char* name, strata_layer** layer,
                                 strata_error** error);
STRATA_API const char* strata_layer_id(const strata_layer* layer); /* 64 hex digits */
/* Whether the store had it before. */
STRATA_API int strata_layer_existed(const strata_layer* layer);
STRATA_API uint64_t strata_layer_entries(const strata_layer* layer);
STRATA_API uint64_t strata_layer_bytes(const strata_layer* layer); /* of file content */
STRATA_API void strata_layer_free(strata_layer* layer);

typedef enum strata_entry_type {
  STRATA_ENTRY_DIRECTORY = 1,
  STRATA_ENTRY_FILE = 2,
  STRATA_ENTRY_SYMLINK = 3,
  STRATA_ENTRY_FIFO = 4,
  STRATA_ENTRY_WHITEOUT = 5 /* takes away what lies below; has a path and nothing else */
} strata_entry_type;

enum {
  STRATA_ENTRY_OPAQUE = 1 << 0,  /* a directory that hides what lies below */
  STRATA_ENTRY_IMPLICIT = 1 << 1 /* a parent that an archive had no entry for */
};

/* One entry of a layer. The texts live until the callback returns. */
typedef struct strata_entry {
  size_t size;
  const char* path; /* "/usr/bin/cc" */
  strata_entry_type type;
  uint32_t flags; /* STRATA_ENTRY_OPAQUE ... */
  uint32_t mode;  /* permission bits, setuid, setgid, sticky */
  uint32_t uid;
  uint32_t gid;
  uint32_t mtime_nsec;
  int64_t mtime;
  uint64_t bytes;       /* of a file's content */
  const char* sha256;   /* of a file's content, 64 hex digits; else NULL */
  const char* target;   /* of a symlink; else NULL */
  const char* hardlink; /* another path that is the same file; NULL for that one itself */
} strata_entry;

/* What the layer provides: calls `each` for every entry but "/", directories before what is in
 * them, names sorted. From the manifest alone, as `strata files`; no file is opened. More than 0
 * from `each` ends it, and is returned. STRATA_E_CORRUPT: the manifest is damaged. */
STRATA_API int strata_list_files(const strata_layer* layer,
                                 int (*each)(void* user, const strata_entry* entry), void* user,
                                 strata_error** error);

/* ---- Dependency sets and roots */

/* An ordered list of layers, bottom first, with integration commands and options. */
typedef struct strata_set strata_set;

STRATA_API int strata_set_new(const strata_store* store, strata_set** set, strata_error** error);
/* Puts one more on top: what stands for LAYER on the command line: a ref, an id prefix, a root,
 * dir:PATH[@KEY], with :at=/PREFIX or :only=GLOB behind it. */
STRATA_API int strata_set_add(strata_set* set, const char* layer, strata_error** error);
/* The same for an unmanaged directory, its path and key taken as they are. It must not change while
 * it is staged; with a key the content must be the same for ever under that key (1 to 200 bytes),
 * so that its analysis and the roots made of it are cached. `key` and `view`
 * ("at=/opt:only=usr/include/x") may be NULL. */
STRATA_API int strata_set_add_directory(strata_set* set, const char* path, const char* key,
                                        const char* view, strata_error** error);
/* A shell command that runs once for such a root, in a sandbox without network: ldconfig. */
STRATA_API int strata_set_integrate(strata_set* set, const char* command, strata_error** error);

typedef enum strata_conflict {
  STRATA_CONFLICT_ERROR,
  STRATA_CONFLICT_REPLACE,
  STRATA_CONFLICT_SKIP
} strata_conflict;
/* What to do with a file of a layer where a directory of others is. */
STRATA_API int strata_set_on_conflict(strata_set* set, strata_conflict policy,
                                      strata_error** error);
STRATA_API size_t
strata_set_count(const strata_set* set); /* of layers; one added twice counts once, on top */
STRATA_API void strata_set_free(strata_set* set);

/* Paths that several members provide, sorted; found from manifests, nothing is made. `members`:
 * indexes in the set (as strata_set_count counts), bottom first; the last one wins. `conflict`: see
 * strata_set_on_conflict. More than 0 from `each` ends it, and is returned. */
typedef struct strata_overlap {
  size_t size;
  const char* path;
  const size_t* members;
  size_t member_count;
  int conflict;
} strata_overlap;
STRATA_API int strata_list_overlaps(const strata_set* set,
                                    int (*each)(void* user, const strata_overlap* overlap),
                                    void* user, strata_error** error);

typedef struct strata_compose_options {
  size_t size;
  int set_mtime; /* of all that integration commands change; else kept */
  int64_t mtime;
  unsigned jobs;
  const strata_events* events;
} strata_compose_options;

/* A composed root, leased: ready to be mounted, in the cache unless a directory without a key is in
 * the set. */
typedef struct strata_root strata_root;

/* The root of the set: the cached one, else made now. Conflicts are STRATA_E_INVALID. */
STRATA_API int strata_compose(const strata_set* set, const strata_compose_options* options,
                              strata_root** root, strata_error** error);
/* One that is in the cache, by its key or ref. */
STRATA_API int strata_root_open(const strata_store* store, const char* name, strata_root** root,
                                strata_error** error);
STRATA_API const char* strata_root_key(const strata_root* root); /* 32 hex digits */
STRATA_API int strata_root_hit(const strata_root* root);         /* it was in the cache */
/* What overlayfs is to stack, bottom first: absolute paths. For those who mount it by themselves
 * (userxattr!). The directories must not be written to. */
STRATA_API size_t strata_root_depth(const strata_root* root);
STRATA_API const char* strata_root_lower(const strata_root* root,
                                         size_t index); /* NULL: no such index */
/* New close-on-exec descriptors, the caller's, that hold the lease for as long as one copy of them
 * is open: for a process that outlives this one. Writes at most `capacity`, and how many there are
 * to *count; where `capacity` is too small, none are opened (STRATA_E_INVALID). One is enough for a
 * root that is in the cache. */
STRATA_API int strata_root_lease(const strata_root* root, int* fds, size_t capacity, size_t* count,
                                 strata_error** error);
STRATA_API void strata_root_free(strata_root* root);

/* ---- Stages in the caller's own namespaces */

typedef enum strata_upper {
  STRATA_UPPER_STORE,    /* scratch in the store: what is written goes with the stage */
  STRATA_UPPER_NONE,     /* read-only */
  STRATA_UPPER_DIRECTORY /* scratch in `directory` */
} strata_upper;

typedef struct strata_stage_options {
  size_t size;
  strata_upper upper;
  const char* directory; /* for STRATA_UPPER_DIRECTORY */
  /* Directories that the root is to have as mount points ("/proc"), in a layer of their own, so
   * that no capture contains them. Ends with NULL; NULL: none. */
  const char* const* mount_points;
} strata_stage_options;

/* One live root: an upper, a work directory, and leases. Files of root, where it has a range of
 * ids, have the owners that the layers say, and are captured with those that they have in the end;
 * with one id, all belong to the caller, and are captured as root's or as what they were. Open,
 * mount and capture in the same user namespace. */
typedef struct strata_stage strata_stage;

STRATA_API int strata_stage_open(const strata_root* root, const strata_stage_options* options,
                                 strata_stage** stage, strata_error** error);
/* A detached overlay mount, as fsmount(2) returns it, for move_mount(2) to wherever the caller
 * wants it; closed unused, it is gone. Made in the namespaces of the calling thread, which needs
 * CAP_SYS_ADMIN in them (root, or after unshare(CLONE_NEWUSER | CLONE_NEWNS)). Once for each stage.
 * The descriptor is the caller's. For one that can be written to, the store takes an inotify
 * instance (fs.inotify.max_user_instances), one for all its stages. */
STRATA_API int strata_stage_mount(strata_stage* stage, int* mount_fd, strata_error** error);
/* The same, attached at `path`, an existing directory. The caller unmounts it (umount2). */
STRATA_API int strata_stage_mount_at(strata_stage* stage, const char* path, strata_error** error);

typedef struct strata_capture_options {
  size_t size;
  const char* ref; /* a name for the layer */
  int set_mtime;
  int64_t mtime;
  const char* const* leave_out; /* paths in the root that are not captured; ends with NULL */
  const strata_events* events;
} strata_capture_options;

/* What was written becomes a layer, without copying a file. A layer never changes, so nothing may
 * be left that could write to it: STRATA_E_BUSY as long as the mount is attached anywhere, or
 * anything else holds it (a descriptor of it, a file in it that is open or mapped, a process, a
 * copy in another mount namespace), which the kernel tells. It waits a second for that. Then close
 * it, and capture again. After a success the stage can only be freed. */
STRATA_API int strata_stage_capture(strata_stage* stage, const strata_capture_options* options,
                                    strata_layer** layer, strata_error** error);
/* Ends the lease and removes the scratch. Unmount before: what is still mounted keeps working,
 * unprotected. */
STRATA_API void strata_stage_free(strata_stage* stage);

/* ---- A root at a directory, left in place */

typedef enum strata_method {
  STRATA_METHOD_AUTO, /* overlay where the caller may mount, else fuse, reflink, copy */
  STRATA_METHOD_OVERLAY,
  STRATA_METHOD_FUSE,
  STRATA_METHOD_HARDLINK,
  STRATA_METHOD_REFLINK,
  STRATA_METHOD_COPY
} strata_method;

typedef struct strata_stage_at_options {
  size_t size;
  strata_method method;
  int read_only;
  const strata_events* events;
} strata_stage_at_options;

/* As `strata stage LAYER... DIR`: shows the root at `path`, which must be empty or missing. It
 * outlives the process; a record in the store keeps the root from gc. `used` receives the method,
 * and may be NULL. */
STRATA_API int strata_stage_at(const strata_root* root, const char* path,
                               const strata_stage_at_options* options, strata_method* used,
                               strata_error** error);
/* Takes away what strata_stage_at put at `path`, and nothing else. STRATA_E_BUSY while it is in
 * use. */
STRATA_API int strata_unstage(const strata_store* store, const char* path, strata_error** error);

/* ---- Running a command in a sandbox */

typedef enum strata_mount_kind {
  STRATA_MOUNT_BIND,    /* `source`, a path of the host, at `target` */
  STRATA_MOUNT_BIND_RO, /* the same, read-only */
  STRATA_MOUNT_COW,     /* the same; writes go to the scratch */
  STRATA_MOUNT_TMPFS,   /* an empty directory in memory; `bytes` 0: a quarter of memory */
  STRATA_MOUNT_CACHE /* `source` names a directory that is kept between runs, for one run at a time
                      */
} strata_mount_kind;

typedef struct strata_mount {
  strata_mount_kind kind;
  const char* source;
  const char* target;
  uint64_t bytes;
  uint64_t reserved[2]; /* zero */
} strata_mount;

typedef enum strata_userns {
  STRATA_USERNS_AUTO,
  STRATA_USERNS_SINGLE,
  STRATA_USERNS_SUBUID
} strata_userns;
typedef enum strata_network { STRATA_NETWORK_NONE, STRATA_NETWORK_HOST } strata_network;

enum {
  STRATA_RUN_READ_ONLY = 1 << 0,      /* a root that cannot be written to */
  STRATA_RUN_CAPTURE = 1 << 1,        /* what it wrote becomes a layer: strata_result_layer */
  STRATA_RUN_CAPTURE_FAILED = 1 << 2, /* also when it fails */
  STRATA_RUN_CLEAR_ENV = 1 << 3,      /* leave out the default variables too */
  STRATA_RUN_NESTED_USERNS = 1 << 4,  /* allow namespaces and mounts inside */
  STRATA_RUN_IGNORE_CHOWN = 1 << 5,   /* with one id: changing an owner succeeds and does nothing */
  STRATA_RUN_NO_SECCOMP = 1 << 6,     /* no filter of system calls */
  STRATA_RUN_SCRATCH_TMPFS = 1 << 7,  /* what is written is kept in memory meanwhile */
  /* stdin_fd is the slave of a pseudoterminal of the caller's (posix_openpt), and becomes the
   * command's controlling terminal: job control, Ctrl-C and Ctrl-Z work. Keep the master, relay
   * what is typed and shown (put your own terminal into raw mode), set the size by TIOCSWINSZ;
   * closing the master hangs up. The controlling terminal of any session, as your own, is refused.
   */
  STRATA_RUN_TERMINAL = 1 << 8,
  STRATA_RUN_KEEP_FAILED = 1 << 9 /* of a command that failed: strata_result_workspace */
};

typedef struct strata_run_options {
  size_t size;
  const char* const* argv; /* ends with NULL; looked up in the root's PATH unless it has a '/' */
  const char* const* env;  /* K=V, added to the default variables; ends with NULL */
  uint32_t flags;          /* STRATA_RUN_* */
  const char* directory;   /* to start in; NULL: "/" */
  const char* hostname;    /* NULL: "strata" */
  uint32_t uid;            /* what the command is in the sandbox */
  uint32_t gid;
  strata_userns userns;
  strata_network network;
  const strata_mount* mounts; /* in this order */
  size_t mount_count;
  /* What becomes its standard streams: a descriptor; 0: the caller's own of that number; -1, or
   * where that is closed: /dev/null. They stay the caller's. Directories, block devices and O_PATH
   * descriptors are refused. */
  int stdin_fd;
  int stdout_fd;
  int stderr_fd;
  /* A pipe or socket through which the caller ends it or sends it signals, 0: none. Each byte that
   * is read is the number of a signal for the command: TERM, HUP, USR1, USR2, WINCH; INT and QUIT,
   * which go to its process group; TSTP (or STOP) and CONT, which stop and continue all that runs;
   * KILL, which ends it. Others are dropped. At the end of the file, SIGTERM goes to everything,
   * and SIGKILL after the grace. So closing the other end cancels. */
  int control_fd;
  uint64_t timeout_ms; /* 0: none */
  uint64_t grace_ms;   /* between SIGTERM and SIGKILL; 0: 10,000 */
  uint64_t memory;     /* bytes, 0: no limit; see `strata run --help` on all three */
  uint64_t pids;       /* 0: 32,768 */
  uint64_t cpu_millis; /* 1500 is one and a half processors */
  uint64_t cap_add;    /* capabilities to allow, to deny: masks of 1 << CAP_* */
  uint64_t cap_drop;
  uint64_t scratch_bytes;        /* for STRATA_RUN_SCRATCH_TMPFS; 0: half of memory */
  const char* scratch_directory; /* where what is written is kept meanwhile; NULL: in the store */
  const char* workspace;         /* keep the changes for the next run with this name */
  const char* output; /* an empty directory there, whose content the captured layer is, or ... */
  const char* output_directory; /* ... which this directory of the host receives */
  const char* capture_ref;      /* a name for the captured layer */
  int set_mtime;                /* of what is captured; else kept */
  int64_t mtime;
  const strata_events* events;
  /* A filter of system calls in place of the default one: an array of struct sock_filter, as
   * seccomp_export_bpf() writes it; read to its end before anything runs. */
  const char* seccomp_file;
} strata_run_options;

typedef enum strata_outcome {
  STRATA_ENDED = 1, /* exited, or killed by a signal */
  STRATA_TIMED_OUT = 2,
  STRATA_NOT_EXECUTABLE = 3, /* nothing ran */
  STRATA_NO_COMMAND = 4,     /* no such command; nothing ran */
  STRATA_CANCELLED = 5       /* by the end of control_fd */
} strata_outcome;

typedef struct strata_result strata_result;

/* Runs a command in the root, in a sandbox with the defaults of `strata run`, and returns when
 * every process and mount of it is gone. A failure means that nothing ran, or that what it wrote
 * could not be kept.
 *
 * Any number of threads may do so at the same time, with one root. The sandbox dies with the
 * calling thread, to which the kernel ties it, and so with the process; pthread_cancel waits for
 * its end. The caller may block, ignore or handle any signal: the command starts with all of them
 * at their defaults. It sends no SIGCHLD, and waitpid(-1) does not find it (other helpers of this
 * library, newuidmap for instance, are ordinary children). */
STRATA_API int strata_run(const strata_root* root, const strata_run_options* options,
                          strata_result** result, strata_error** error);
STRATA_API strata_outcome strata_result_outcome(const strata_result* result);
/* As `strata run` exits: the command's own status; 128 + N for signal N; 124 timed out, 126 not
 * executable, 127 no such command; 143 cancelled. */
STRATA_API int strata_result_status(const strata_result* result);
STRATA_API int strata_result_signal(
    const strata_result* result); /* that killed the command; 0: none */
/* Why nothing ran, or why it was killed, where there is something to say; else "". */
STRATA_API const char* strata_result_reason(const strata_result* result);
/* The captured layer; NULL where none was captured. Belongs to the result. */
STRATA_API const strata_layer* strata_result_layer(const strata_result* result);
/* With STRATA_RUN_KEEP_FAILED: the workspace that has what a command that failed wrote, to look
 * around in (strata_run_options.workspace, `strata shell --workspace`). NULL where nothing is kept:
 * it succeeded, or had nowhere to write but memory, an output or a scratch directory. */
STRATA_API const char* strata_result_workspace(const strata_result* result);
/* What `strata run --stats` writes: times of each step, resources, cache hit or miss ... */
STRATA_API const char* strata_result_json(const strata_result* result);
STRATA_API void strata_result_free(strata_result* result);

#ifdef __cplusplus
}
#endif

#endif /* STRATA_H */
