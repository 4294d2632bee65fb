/* SPDX-License-Identifier: Apache-2.0
 *
 * cook: a build tool that fits on two pages, by libstrata. It imports a root file system, runs a
 * command on it with some sources in a sandbox, keeps what the command made as a layer, and shows
 * where that went:
 *
 *     cook [-v] [-n NAME] [-d DIR] ROOT SOURCES COMMAND...
 *
 *     ROOT     a tar or a directory with a root file system; imported once
 *     SOURCES  a directory, read-only at /src, where COMMAND starts
 *     -n NAME  the name of the layer that has what COMMAND put into /out
 *     -d DIR   in the end, leave ROOT with that layer on top at DIR (`strata unstage DIR` takes it
 * away) -v       say what happens
 *
 * It exits as the command did, and with 125 when something else failed.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <strata.h>

static int verbose;

/* Ends the program if `result`, of a call of the library, says that it failed. */
static void check(int result, strata_error** error) {
  if (result >= 0) return;
  fprintf(stderr, "cook: %s\n", strata_error_message(*error));
  if (*strata_error_hint(*error) != '\0') fprintf(stderr, "hint: %s\n", strata_error_hint(*error));
  strata_error_free(*error);
  exit(125);
}

static void on_progress(void* user, const strata_progress* progress) {
  if (!verbose) return;
  fprintf(stderr, "cook: %s: %llu entries, %llu bytes\n", (const char*)user,
          (unsigned long long)progress->entries, (unsigned long long)progress->bytes);
}

static void on_message(void* user, strata_message_kind kind, const char* text) {
  fprintf(stderr, "cook: %s: %s%s\n", (const char*)user,
          kind == STRATA_MESSAGE_WARNING ? "warning: " : "", text);
}

/* The root of these layers. The caller frees it. */
static strata_root* compose(const strata_store* store, const char* base, const char* above) {
  strata_error* error = NULL;
  strata_set* set = NULL;
  strata_root* root = NULL;
  check(strata_set_new(store, &set, &error), &error);
  check(strata_set_add(set, base, &error), &error);
  if (above != NULL) check(strata_set_add(set, above, &error), &error);
  check(strata_compose(set, NULL, &root, &error), &error);
  strata_set_free(set);
  if (verbose) {
    fprintf(stderr, "cook: root %s, %s\n", strata_root_key(root),
            strata_root_hit(root) ? "cached" : "new");
  }
  return root;
}

/* Runs the command on the root. What it put into /out becomes a layer with that name. */
static strata_result* run(const strata_root* root, const char* sources, const char* name,
                          char** argv) {
  strata_error* error = NULL;
  strata_result* result = NULL;
  const strata_events events = {.size = sizeof events, .user = "run", .message = on_message};
  const strata_mount mounts[] = {
      {.kind = STRATA_MOUNT_BIND_RO, .source = sources, .target = "/src"}};
  const strata_run_options options = {
      .size = sizeof options,
      .argv = (const char* const*)argv,
      .directory = "/src",
      .mounts = mounts,
      .mount_count = 1,
      .flags = STRATA_RUN_CAPTURE,
      .output = "/out",
      .capture_ref = name,
      .events = &events,
  };
  check(strata_run(root, &options, &result, &error), &error);
  if (*strata_result_reason(result) != '\0') {
    fprintf(stderr, "cook: %s: %s\n", argv[0], strata_result_reason(result));
  }
  return result;
}

static int usage(void) {
  fputs("usage: cook [-v] [-n NAME] [-d DIR] ROOT SOURCES COMMAND...\n", stderr);
  return 125;
}

int main(int argc, char** argv) {
  const char* name = NULL;
  const char* directory = NULL;
  for (int option; (option = getopt(argc, argv, "+vn:d:")) != -1;) {
    if (option == 'v') {
      verbose = 1;
    } else if (option == 'n') {
      name = optarg;
    } else if (option == 'd') {
      directory = optarg;
    } else {
      return usage();
    }
  }
  if (argc - optind < 3) return usage();

  strata_error* error = NULL;
  strata_store* store = NULL;
  check(strata_store_open(NULL, &store, &error), &error);

  /* Importing the same content again finds the layer that is there. The handle is a lease: nobody
   * removes the layer. */
  strata_layer* base = NULL;
  const strata_events events = {
      .size = sizeof events, .user = "import", .progress = on_progress, .message = on_message};
  const strata_import_options import = {.size = sizeof import, .events = &events};
  check(strata_import(store, argv[optind], &import, &base, &error), &error);

  char sources[PATH_MAX];
  if (realpath(argv[optind + 1], sources) == NULL) {
    perror(argv[optind + 1]);
    return 125;
  }
  strata_root* root = compose(store, strata_layer_id(base), NULL);
  strata_result* result = run(root, sources, name, argv + optind + 2);
  strata_root_free(root);

  const strata_layer* made = strata_result_layer(result);
  if (made != NULL) {
    printf("%s\n", strata_layer_id(made));
    if (directory != NULL) {
      root = compose(store, strata_layer_id(base), strata_layer_id(made));
      check(strata_stage_at(root, directory, NULL, NULL, &error), &error);
      strata_root_free(root);
    }
  }
  const int status = strata_result_status(result);
  strata_result_free(result);
  strata_layer_free(base);
  strata_store_free(store);
  return status;
}
