/* SPDX-License-Identifier: Apache-2.0
 *
 * A client in plain C11, which uses every function of strata.h. Exits with 0 if all went as it
 * should. Usage: client DIRECTORY, an empty one, which is filled.
 */
#include "strata.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[4096];

static const char* at(const char* name) {
  static char path[4][sizeof directory + 64];
  static unsigned next;
  char* chosen = path[next++ % 4];
  snprintf(chosen, sizeof path[0], "%s/%s", directory, name);
  return chosen;
}

static void check(int good, const char* what, int line) {
  if (good) return;
  fprintf(stderr, "client.c:%d: %s\n", line, what);
  exit(1);
}
#define CHECK(condition) check((condition) != 0, #condition, __LINE__)

static void call(int result, strata_error** error, const char* what, int line) {
  if (result >= 0) return;
  fprintf(stderr, "client.c:%d: %s: %s (code %d, errno %d)\n%s\n", line, what,
          strata_error_message(*error), (int)strata_error_code(*error), strata_error_errno(*error),
          strata_error_hint(*error));
  strata_error_free(*error);
  exit(1);
}
#define CALL(expression) call(expression, &error, #expression, __LINE__)

static void write_file(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int count_ref(void* user, const char* ref, const strata_target* target) {
  CHECK(ref[0] != '\0' && target->size == sizeof *target);
  ++*(int*)user;
  return 0;
}

static int count_overlap(void* user, const strata_overlap* overlap) {
  CHECK(strcmp(overlap->path, "/file") == 0 && overlap->member_count == 2 && !overlap->conflict);
  ++*(int*)user;
  return 0;
}

static int count_file(void* user, const strata_entry* entry) {
  CHECK(strcmp(entry->path, "/file") == 0 && entry->type == STRATA_ENTRY_FILE && entry->bytes == 4);
  ++*(int*)user;
  return 0;
}

static void count_message(void* user, strata_message_kind kind, const char* text) {
  CHECK(kind >= STRATA_MESSAGE_WARNING && text != NULL);
  ++*(int*)user;
}

static strata_layer* import_layers(strata_store* store) {
  strata_error* error = NULL;
  strata_import_options options = {.size = sizeof options, .ref = "base"};
  strata_layer* base = NULL;
  CHECK(mkdir(at("tree"), 0755) == 0 && mkdir(at("other"), 0755) == 0);
  write_file(at("tree/file"), "base");
  write_file(at("other/file"), "other");
  CALL(strata_import(store, at("tree"), &options, &base, &error));
  CHECK(strlen(strata_layer_id(base)) == 64 && !strata_layer_existed(base));
  CHECK(strata_layer_entries(base) == 1 && strata_layer_bytes(base) == 4);
  int files = 0;
  CALL(strata_list_files(base, count_file, &files, &error));
  CHECK(files == 1);

  strata_layer* other = NULL;
  int fd = open(at("other"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(fd >= 0);
  CALL(strata_import_fd(store, fd, NULL, &other, &error));
  close(fd);
  CALL(strata_tag(store, strata_layer_id(other), "other", &error));
  strata_layer_free(other);
  CALL(strata_layer_open(store, "other", &other, &error));
  strata_layer_free(other);
  return base;
}

static strata_root* compose_root(strata_store* store) {
  strata_error* error = NULL;
  strata_set* set = NULL;
  strata_root* root = NULL;
  int overlaps = 0;
  CALL(strata_set_new(store, &set, &error));
  CALL(strata_set_add(set, "base", &error));
  CALL(strata_set_add_directory(set, at("other"), "1", NULL, &error));
  CALL(strata_set_on_conflict(set, STRATA_CONFLICT_REPLACE, &error));
  CHECK(strata_set_count(set) == 2);
  CALL(strata_list_overlaps(set, count_overlap, &overlaps, &error));
  CHECK(overlaps == 1);
  CALL(strata_compose(set, NULL, &root, &error));
  CHECK(!strata_root_hit(root) && strlen(strata_root_key(root)) == 32);
  CHECK(strata_root_depth(root) == 2 && strata_root_lower(root, 0)[0] == '/');
  CHECK(strata_root_lower(root, 2) == NULL);
  CALL(strata_set_integrate(set, "true", &error));
  strata_set_free(set);

  strata_root* again = NULL;
  int lease = -1;
  size_t count = 0;
  CALL(strata_root_open(store, strata_root_key(root), &again, &error));
  CALL(strata_root_lease(again, &lease, 1, &count, &error));
  CHECK(count == 1 && close(lease) == 0);
  strata_root_free(again);
  return root;
}

/* In namespaces of our own, where an ordinary user may mount. */
static void stage(const strata_root* root) {
  strata_error* error = NULL;
  strata_stage* staged = NULL;
  strata_layer* layer = NULL;
  int mount_fd = -1;
  int messages = 0;
  strata_events events = {.size = sizeof events, .user = &messages, .message = count_message};
  strata_capture_options capture = {.size = sizeof capture, .ref = "captured", .events = &events};
  strata_stage_options read_only = {.size = sizeof read_only, .upper = STRATA_UPPER_NONE};
  CHECK(mkdir(at("mnt"), 0755) == 0);

  CALL(strata_stage_open(root, &read_only, &staged, &error));
  CALL(strata_stage_mount(staged, &mount_fd, &error));
  CHECK(faccessat(mount_fd, "file", R_OK, 0) == 0);
  close(mount_fd);
  strata_stage_free(staged);

  CALL(strata_stage_open(root, NULL, &staged, &error));
  CALL(strata_stage_mount_at(staged, at("mnt"), &error));
  write_file(at("mnt/new"), "new");
  CHECK(umount2(at("mnt"), 0) == 0);
  CALL(strata_stage_capture(staged, &capture, &layer, &error));
  CHECK(strata_layer_entries(layer) == 1 && messages == 0);
  strata_layer_free(layer);
  strata_stage_free(staged);
}

static void stage_at(strata_store* store) {
  strata_error* error = NULL;
  strata_set* set = NULL;
  strata_root* root = NULL;
  CALL(strata_set_new(store, &set, &error));
  CALL(strata_set_add(set, "other", &error));
  CALL(strata_compose(set, NULL, &root, &error));
  strata_set_free(set);
  strata_stage_at_options options = {.size = sizeof options, .method = STRATA_METHOD_COPY};
  strata_method used = STRATA_METHOD_AUTO;
  CALL(strata_stage_at(root, at("there"), &options, &used, &error));
  strata_root_free(root);
  CHECK(used == STRATA_METHOD_COPY && access(at("there/file"), R_OK) == 0);
  CALL(strata_unstage(store, at("there"), &error));
  CHECK(access(at("there"), F_OK) != 0);
}

static void copy_file(const char* from, const char* to) {
  static char buffer[1 << 16];
  ssize_t size;
  int in = open(from, O_RDONLY | O_CLOEXEC);
  int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  CHECK(in >= 0 && out >= 0);
  while ((size = read(in, buffer, sizeof buffer)) > 0)
    CHECK(write(out, buffer, (size_t)size) == size);
  CHECK(size == 0 && close(in) == 0 && close(out) == 0);
}

/* In a sandbox, of a root with nothing but a shell. */
static void run(strata_store* store) {
  const char* argv[] = {"/bin/sh", "-c", "echo made > /made", NULL};
  const char* nothing[] = {"/nothing", NULL};
  strata_error* error = NULL;
  strata_layer* shell = NULL;
  strata_set* set = NULL;
  strata_root* root = NULL;
  strata_result* result = NULL;
  strata_run_options options = {.size = sizeof options, .argv = argv, .flags = STRATA_RUN_CAPTURE};
  CHECK(mkdir(at("sh"), 0755) == 0 && mkdir(at("sh/bin"), 0755) == 0);
  copy_file("/bin/busybox", at("sh/bin/sh"));
  CALL(strata_import(store, at("sh"), NULL, &shell, &error));
  CALL(strata_set_new(store, &set, &error));
  CALL(strata_set_add(set, strata_layer_id(shell), &error));
  CALL(strata_compose(set, NULL, &root, &error));
  CALL(strata_run(root, &options, &result, &error));
  CHECK(strata_result_outcome(result) == STRATA_ENDED && strata_result_status(result) == 0);
  CHECK(strata_result_signal(result) == 0 && strata_result_reason(result)[0] == '\0');
  CHECK(strata_layer_entries(strata_result_layer(result)) == 1);
  CHECK(strata_result_json(result)[0] == '{' && strata_result_workspace(result) == NULL);
  strata_result_free(result);
  options.argv = nothing;
  CALL(strata_run(root, &options, &result, &error));
  CHECK(strata_result_outcome(result) == STRATA_NO_COMMAND && strata_result_layer(result) == NULL);
  strata_result_free(result);
  strata_root_free(root);
  strata_set_free(set);
  strata_layer_free(shell);
}

static void enter_namespaces(void) {
  char map[64];
  int uid = (int)geteuid();
  int gid = (int)getegid();
  CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %d 1", uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %d 1", gid);
  write_file("/proc/self/gid_map", map);
}

int main(int argc, char** argv) {
  strata_error* error = NULL;
  strata_store* store = NULL;
  CHECK(argc == 2);
  snprintf(directory, sizeof directory, "%s", argv[1]);
  CHECK(strata_version()[0] != '\0');
  enter_namespaces();
  CALL(strata_store_open(at("store"), &store, &error));
  CHECK(strcmp(strata_store_path(store), at("store")) == 0);

  strata_layer* base = import_layers(store);
  strata_target target = {.size = sizeof target};
  CALL(strata_resolve(store, "base", &target, &error));
  CHECK(target.kind == STRATA_LAYER && strcmp(target.id, strata_layer_id(base)) == 0);
  strata_layer_free(base);

  strata_root* root = compose_root(store);
  stage(root);
  stage_at(store);
  run(store);
  strata_root_free(root);

  int refs = 0;
  CALL(strata_list_refs(store, count_ref, &refs, &error));
  CHECK(refs == 3);
  CALL(strata_untag(store, "captured", &error));
  strata_gc_options gc = {.size = sizeof gc, .all = 1};
  strata_gc_report report = {.size = sizeof report};
  CALL(strata_gc(store, &gc, &report, &error));
  CHECK(report.layers == 3 && report.roots == 3);

  CHECK(strata_resolve(store, "captured", &target, &error) == STRATA_E_NOT_FOUND);
  CHECK(strata_error_code(error) == STRATA_E_NOT_FOUND && strata_error_errno(error) == 0);
  CHECK(strata_error_message(error)[0] != '\0' && strata_error_hint(error) != NULL);
  strata_error_free(error);
  strata_store_free(store);
  return 0;
}
