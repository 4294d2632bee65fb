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

# --- a Debian root -----------------------------------------------------------------------------------

# The line for sources.list by which this machine itself gets Debian's main, so that its mirror is
# used. Empty if apt has none: mmdebstrap then takes its default mirror.
own_source() {
  apt-get indextargets --format "\$(RELEASE)|\$(COMPONENT)|\$(ORIGIN)|\$(REPO_URI)" \
    'Created-By: Packages' 2>/dev/null |
    awk -F'|' -v suite="$1" '
      # Without downloaded lists apt does not know the origin and leaves the variable as it is.
      $1 == suite && $2 == "main" && ($3 == "Debian" || $3 ~ /^\$/) { print $4; exit }'
}

# proxy_options: this machine's proxies for apt, which mmdebstrap does not look up by itself.
proxy_options() {
  local scheme proxy
  for scheme in http https; do
    proxy=$(apt-config dump --format '%v' "Acquire::$scheme::Proxy" 2>/dev/null) || continue
    if [[ -n $proxy ]]; then printf '%s\n' "--aptopt=Acquire::$scheme::Proxy \"$proxy\";"; fi
  done
}

# make_debian_root VARIANT FILE: a tar of such a Debian root as mmdebstrap makes, from this machine's own
# apt sources.
make_debian_root() {
  local variant=$1 file=$2 suite mirror mode
  local -a options modes
  # shellcheck disable=SC1091
  suite=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-bookworm}")
  mirror=$(own_source "$suite")
  mapfile -t options < <(proxy_options)
  if is_root; then
    modes=(root)
  else
    modes=(fakechroot)
    # With a subordinate range the root is made as it is on a real system.
    if grep -q -e "^$(id -un):" -e "^$(id -u):" /etc/subuid 2>/dev/null; then
      modes=(unshare fakechroot)
    else
      warn "no range for $(id -un) in /etc/subuid: the base is made with fakechroot"
    fi
  fi
  for mode in "${modes[@]}"; do
    echo "mmdebstrap --mode=$mode --variant=$variant $suite ${mirror:-(default mirror)}"
    # Into stdout, because in mode unshare another user would have to write into our directory; and
    # from /, which that user can enter.
    if (cd / && mmdebstrap --mode="$mode" --variant="$variant" --components=main --format=tar --quiet \
      "${options[@]}" "$suite" - ${mirror:+"$mirror"} </dev/null >"$file.part"); then
      mv "$file.part" "$file"
      return
    fi
    rm -f "$file.part"
    warn "mmdebstrap --mode=$mode failed"
  done
  return 1
}
