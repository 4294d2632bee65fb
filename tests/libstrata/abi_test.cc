// SPDX-License-Identifier: Apache-2.0
//
// What clients were compiled against stays: sizes and offsets of the structs, values of the enums,
// and the rules for structs of other sizes.
#include <cstddef>
#include <cstring>

#include "tests/libstrata/fixture.h"

namespace libstrata {
namespace {

#define AT(type, field, offset) static_assert(offsetof(type, field) == (offset))

#if defined(__LP64__)
static_assert(sizeof(strata_progress) == 40);
AT(strata_progress, bytes, 8);
AT(strata_progress, total_bytes, 16);
AT(strata_progress, entries, 24);
AT(strata_progress, total_entries, 32);

static_assert(sizeof(strata_events) == 32);
AT(strata_events, user, 8);
AT(strata_events, progress, 16);
AT(strata_events, message, 24);

static_assert(sizeof(strata_target) == 80);
AT(strata_target, kind, 8);
AT(strata_target, id, 12);

static_assert(sizeof(strata_gc_options) == 24);
AT(strata_gc_options, max_size, 8);
AT(strata_gc_options, all, 16);
AT(strata_gc_options, dry_run, 20);

static_assert(sizeof(strata_gc_report) == 40);
AT(strata_gc_report, roots, 8);
AT(strata_gc_report, layers, 16);
AT(strata_gc_report, derived, 24);
AT(strata_gc_report, freed_bytes, 32);

static_assert(sizeof(strata_import_options) == 64);
AT(strata_import_options, ref, 8);
AT(strata_import_options, format, 16);
AT(strata_import_options, owner, 20);
AT(strata_import_options, set_mtime, 24);
AT(strata_import_options, mtime, 32);
AT(strata_import_options, integrate, 40);
AT(strata_import_options, jobs, 48);
AT(strata_import_options, events, 56);

static_assert(sizeof(strata_overlap) == 40);
AT(strata_overlap, path, 8);
AT(strata_overlap, members, 16);
AT(strata_overlap, member_count, 24);
AT(strata_overlap, conflict, 32);

static_assert(sizeof(strata_compose_options) == 40);
AT(strata_compose_options, set_mtime, 8);
AT(strata_compose_options, mtime, 16);
AT(strata_compose_options, jobs, 24);
AT(strata_compose_options, events, 32);

static_assert(sizeof(strata_stage_options) == 32);
AT(strata_stage_options, upper, 8);
AT(strata_stage_options, directory, 16);
AT(strata_stage_options, mount_points, 24);

static_assert(sizeof(strata_capture_options) == 48);
AT(strata_capture_options, ref, 8);
AT(strata_capture_options, set_mtime, 16);
AT(strata_capture_options, mtime, 24);
AT(strata_capture_options, leave_out, 32);
AT(strata_capture_options, events, 40);

static_assert(sizeof(strata_stage_at_options) == 24);
AT(strata_stage_at_options, method, 8);
AT(strata_stage_at_options, read_only, 12);
AT(strata_stage_at_options, events, 16);

static_assert(sizeof(strata_mount) == 48);
AT(strata_mount, source, 8);
AT(strata_mount, target, 16);
AT(strata_mount, bytes, 24);
AT(strata_mount, reserved, 32);

static_assert(sizeof(strata_run_options) == 232);
AT(strata_run_options, argv, 8);
AT(strata_run_options, env, 16);
AT(strata_run_options, flags, 24);
AT(strata_run_options, directory, 32);
AT(strata_run_options, hostname, 40);
AT(strata_run_options, uid, 48);
AT(strata_run_options, gid, 52);
AT(strata_run_options, userns, 56);
AT(strata_run_options, network, 60);
AT(strata_run_options, mounts, 64);
AT(strata_run_options, mount_count, 72);
AT(strata_run_options, stdin_fd, 80);
AT(strata_run_options, stdout_fd, 84);
AT(strata_run_options, stderr_fd, 88);
AT(strata_run_options, control_fd, 92);
AT(strata_run_options, timeout_ms, 96);
AT(strata_run_options, grace_ms, 104);
AT(strata_run_options, memory, 112);
AT(strata_run_options, pids, 120);
AT(strata_run_options, cpu_millis, 128);
AT(strata_run_options, cap_add, 136);
AT(strata_run_options, cap_drop, 144);
AT(strata_run_options, scratch_bytes, 152);
AT(strata_run_options, scratch_directory, 160);
AT(strata_run_options, workspace, 168);
AT(strata_run_options, output, 176);
AT(strata_run_options, output_directory, 184);
AT(strata_run_options, capture_ref, 192);
AT(strata_run_options, set_mtime, 200);
AT(strata_run_options, mtime, 208);
AT(strata_run_options, events, 216);
AT(strata_run_options, seccomp_file, 224);

static_assert(sizeof(strata_entry) == 80);
AT(strata_entry, path, 8);
AT(strata_entry, type, 16);
AT(strata_entry, flags, 20);
AT(strata_entry, mode, 24);
AT(strata_entry, uid, 28);
AT(strata_entry, gid, 32);
AT(strata_entry, mtime_nsec, 36);
AT(strata_entry, mtime, 40);
AT(strata_entry, bytes, 48);
AT(strata_entry, sha256, 56);
AT(strata_entry, target, 64);
AT(strata_entry, hardlink, 72);
#endif

static_assert(STRATA_OK == 0 && STRATA_E_SYSTEM == -1 && STRATA_E_INVALID == -2 &&
              STRATA_E_NOT_FOUND == -3 && STRATA_E_AMBIGUOUS == -4 && STRATA_E_EXISTS == -5 &&
              STRATA_E_BUSY == -6 && STRATA_E_CORRUPT == -7 && STRATA_E_HOSTILE == -8 &&
              STRATA_E_UNSUPPORTED == -9 && STRATA_E_NO_MEMORY == -10);
static_assert(STRATA_MESSAGE_WARNING == 1 && STRATA_MESSAGE_COMMAND == 2 &&
              STRATA_MESSAGE_OUTPUT == 3);
static_assert(STRATA_LAYER == 1 && STRATA_ROOT == 2);
static_assert(STRATA_FORMAT_AUTO == 0 && STRATA_FORMAT_DIRECTORY == 1 && STRATA_FORMAT_TAR == 2 &&
              STRATA_FORMAT_OCI == 3);
static_assert(STRATA_OWNER_AUTO == 0 && STRATA_OWNER_KEEP == 1 && STRATA_OWNER_ROOT == 2);
static_assert(STRATA_CONFLICT_ERROR == 0 && STRATA_CONFLICT_REPLACE == 1 &&
              STRATA_CONFLICT_SKIP == 2);
static_assert(STRATA_UPPER_STORE == 0 && STRATA_UPPER_NONE == 1 && STRATA_UPPER_DIRECTORY == 2);
static_assert(STRATA_METHOD_AUTO == 0 && STRATA_METHOD_OVERLAY == 1 && STRATA_METHOD_FUSE == 2 &&
              STRATA_METHOD_HARDLINK == 3 && STRATA_METHOD_REFLINK == 4 && STRATA_METHOD_COPY == 5);
static_assert(STRATA_MOUNT_BIND == 0 && STRATA_MOUNT_BIND_RO == 1 && STRATA_MOUNT_COW == 2 &&
              STRATA_MOUNT_TMPFS == 3 && STRATA_MOUNT_CACHE == 4);
static_assert(STRATA_USERNS_AUTO == 0 && STRATA_USERNS_SINGLE == 1 && STRATA_USERNS_SUBUID == 2);
static_assert(STRATA_NETWORK_NONE == 0 && STRATA_NETWORK_HOST == 1);
static_assert(STRATA_RUN_READ_ONLY == 1 && STRATA_RUN_CAPTURE == 2 &&
              STRATA_RUN_CAPTURE_FAILED == 4 && STRATA_RUN_CLEAR_ENV == 8 &&
              STRATA_RUN_NESTED_USERNS == 16 && STRATA_RUN_IGNORE_CHOWN == 32 &&
              STRATA_RUN_NO_SECCOMP == 64 && STRATA_RUN_SCRATCH_TMPFS == 128 &&
              STRATA_RUN_TERMINAL == 256 && STRATA_RUN_KEEP_FAILED == 512);
static_assert(STRATA_ENTRY_DIRECTORY == 1 && STRATA_ENTRY_FILE == 2 && STRATA_ENTRY_SYMLINK == 3 &&
              STRATA_ENTRY_FIFO == 4 && STRATA_ENTRY_WHITEOUT == 5 && STRATA_ENTRY_OPAQUE == 1 &&
              STRATA_ENTRY_IMPLICIT == 2);
static_assert(STRATA_ENDED == 1 && STRATA_TIMED_OUT == 2 && STRATA_NOT_EXECUTABLE == 3 &&
              STRATA_NO_COMMAND == 4 && STRATA_CANCELLED == 5);

class LibAbi : public Fixture {
 protected:
  int Gc(const void* options) {
    return strata_gc(store(), static_cast<const strata_gc_options*>(options), nullptr, error());
  }
};

TEST_F(LibAbi, TheShorterStructOfAnOlderClientIsTaken) {
  struct {
    size_t size = sizeof(size_t) + sizeof(uint64_t);
    uint64_t max_size = 1 << 20;
    int all = 99;  // not the struct's any more
    int dry_run = 99;
  } old;
  Import("file", "x");  // young: `all` would take it
  strata_gc_report report{};
  report.size = sizeof report;
  Good(strata_gc(store(), reinterpret_cast<strata_gc_options*>(&old), &report, error()));
  EXPECT_EQ(report.layers, 0U);
  size_t nothing = sizeof(size_t);
  Good(Gc(&nothing));
}

TEST_F(LibAbi, TheLongerStructOfANewerClientIsTakenIfItAsksForNothingNew) {
  struct {
    strata_gc_options known{};
    uint64_t later[4]{};
  } newer;
  newer.known.size = sizeof newer;
  Good(Gc(&newer));
  newer.later[3] = 1;
  Bad(Gc(&newer), STRATA_E_UNSUPPORTED);
  EXPECT_EQ(message(),
            "strata_gc_options: it asks for something that this libstrata does not know");
  EXPECT_NE(hint().find(strata_version()), std::string::npos);
}

TEST_F(LibAbi, AStructWithoutItsSizeIsRefused) {
  strata_gc_options options{};
  Bad(Gc(&options), STRATA_E_INVALID);
  EXPECT_EQ(message(), "strata_gc_options: its size is not set");
  options.size = size_t{1} << 40;  // never initialised, say
  Bad(Gc(&options), STRATA_E_INVALID);
  strata_target target{};
  Bad(strata_resolve(store(), "x", &target, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "strata_target: its size is not set");
}

TEST_F(LibAbi, AResultIsWrittenAsFarAsThereIsRoom) {
  Layer layer = Import("file", "x", "base");
  struct {
    strata_target known;
    uint64_t later;
    uint64_t behind;
  } newer;
  std::memset(&newer, 0xff, sizeof newer);
  newer.known.size = offsetof(decltype(newer), behind);
  Good(strata_resolve(store(), "base", &newer.known, error()));
  EXPECT_EQ(newer.known.size, offsetof(decltype(newer), behind));
  EXPECT_STREQ(newer.known.id, strata_layer_id(layer.get()));
  EXPECT_EQ(newer.later, 0U);
  EXPECT_EQ(newer.behind, ~uint64_t{0});

  std::memset(&newer, 0xff, sizeof newer);
  newer.known.size = offsetof(strata_target, id);
  Good(strata_resolve(store(), "base", &newer.known, error()));
  EXPECT_EQ(newer.known.kind, STRATA_LAYER);
  EXPECT_EQ(newer.known.id[0], '\xff');
}

TEST_F(LibAbi, UnknownValuesOfAnEnumAreRefused) {
  strata_import_options options{};
  options.size = sizeof options;
  options.format = static_cast<strata_format>(9);
  strata_layer* layer = nullptr;
  Bad(strata_import(store(), directory_.c_str(), &options, &layer, error()), STRATA_E_INVALID);
  EXPECT_EQ(message(), "format: there is no value 9");
  Bad(strata_set_on_conflict(NewSet({}).get(), static_cast<strata_conflict>(-1), error()),
      STRATA_E_INVALID);
}

}  // namespace
}  // namespace libstrata
