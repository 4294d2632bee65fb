# Shared by the scripts in this directory; sourced, never run.
# shellcheck shell=bash

# The physical path: tests and benchmarks compare it with what /proc shows.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck disable=SC2034  # for the scripts that source this
readonly ROOT

# The tests run as two users out of one build tree, so what is built must be readable by both.
umask 022

# useradd and others are not in an ordinary user's PATH, nor in root's after a plain `su`.
PATH=$PATH:/usr/sbin:/sbin

PROGRAM=$(basename "$0")
readonly PROGRAM

say() { printf '\n== %s\n' "$*"; }
warn() { printf '%s: warning: %s\n' "$PROGRAM" "$*" >&2; }
die() {
  printf '%s: %s\n' "$PROGRAM" "$1" >&2
  if [[ $# -gt 1 ]]; then printf '  hint: %s\n' "$2" >&2; fi
  exit 1
}

is_root() { [[ $(id -u) -eq 0 ]]; }

# Microseconds since the epoch. EPOCHREALTIME writes the locale's decimal separator.
now_us() { printf '%s' "${EPOCHREALTIME//[^0-9]/}"; }

jobs() { printf '%s' "${STRATA_JOBS:-$(nproc)}"; }

# configure_and_build PRESET SOURCE_DIR [TARGET]
configure_and_build() {
  local preset=$1 source=$2 target=${3:-all} log
  # Configuring says a lot that matters only when it fails.
  log=$(cd "$source" && cmake --preset "$preset" 2>&1) || {
    printf '%s\n' "$log" >&2
    return 1
  }
  (cd "$source" && cmake --build --preset "$preset" --target "$target" --parallel "$(jobs)")
}

# remove_tree DIR: also where a test or a layer left directories that their owner cannot enter.
remove_tree() {
  [[ -e $1 ]] || return 0
  is_root || find "$1" -xdev -type d ! -perm -700 -exec chmod u+rwx {} + 2>/dev/null || true
  rm -rf --one-file-system "$1"
}
