# SPDX-License-Identifier: Apache-2.0
# Generated from the sources of strata: edit those.

# A store is asked only if there is one, for strata would make it.
__strata_list() {
  local store=${STRATA_STORE:-}
  if [[ -z $store ]]; then
    if [[ ${XDG_DATA_HOME:-} == /* ]]; then store=$XDG_DATA_HOME/strata; else store=$HOME/.local/share/strata; fi
  fi
  [[ -s $store/format ]] && strata list "$1" 2>/dev/null </dev/null
}

# The first words of the lines of `strata list WHAT`, without the heading.
__strata_names() {
  local name heading=1
  while read -r name _; do
    if [[ -z $heading ]]; then printf '%s\n' "$name"; fi
    heading=
  done < <(__strata_list "$1")
}

# Directories where roots were left in place.
__strata_stages() {
  local method directory
  while read -r _ _ _ method directory; do
    if [[ $method != - && $directory == /* ]]; then printf '%s\n' "$directory"; fi
  done < <(__strata_list stages)
}

# __strata_offer WORD ACTION...: appends to COMPREPLY what WORD can become.
__strata_offer() {
  local word=$1 action
  local -a found=()
  shift
  for action; do
    case $action in
      @nothing) ;;
      @file)
        compopt -o filenames 2>/dev/null
        mapfile -t -O ${#found[@]} found < <(compgen -f -- "$word")
        ;;
      @directory)
        compopt -o filenames 2>/dev/null
        mapfile -t -O ${#found[@]} found < <(compgen -d -- "$word")
        ;;
      @variable) mapfile -t -O ${#found[@]} found < <(compgen -e -- "$word") ;;
      @ref) mapfile -t -O ${#found[@]} found < <(compgen -W "$(__strata_names refs)" -- "$word") ;;
      @workspace) mapfile -t -O ${#found[@]} found < <(compgen -W "$(__strata_names workspaces)" -- "$word") ;;
      @cache) mapfile -t -O ${#found[@]} found < <(compgen -W "$(__strata_names caches)" -- "$word") ;;
      @stage) mapfile -t -O ${#found[@]} found < <(__strata_stages | grep -F -- "$word") ;;
      @layer)
        if [[ $word == dir:* ]]; then
          compopt -o filenames 2>/dev/null
          mapfile -t -O ${#found[@]} found < <(compgen -d -P dir: -- "${word#dir:}")
          continue
        fi
        mapfile -t -O ${#found[@]} found < <(compgen -W "$(__strata_names refs)" -- "$word")
        # Ids are for those who have begun to type one.
        if [[ $word =~ ^[0-9a-f]+$ ]]; then
          mapfile -t -O ${#found[@]} found < <(
            compgen -W "$(__strata_names layers; __strata_names roots)" -- "$word")
        fi
        ;;
      *) mapfile -t -O ${#found[@]} found < <(compgen -W "$action" -- "$word") ;;
    esac
  done
  COMPREPLY+=("${found[@]}")
}

# Sets words and cword to what was typed: readline cuts words at the = and : in them. Sets starts to where
# each begins in COMP_WORDS, and cut to what of the word in hand readline leaves alone.
__strata_words() {
  local i piece before rest=$COMP_LINE
  words=() starts=()
  for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
    piece=${COMP_WORDS[i]}
    before=${rest%%"$piece"*}
    if [[ -z $piece ]]; then before=${rest%%[![:space:]]*}; fi
    rest=${rest#"$before"}
    rest=${rest#"$piece"}
    if ((i > 0)) && [[ -z $before && ($piece == [=:]* || ${words[-1]} == *[=:]) ]]; then
      words[-1]+=$piece
    else
      words+=("$piece")
      starts+=("$i")
    fi
    if ((i == COMP_CWORD)); then
      cword=$((${#words[@]} - 1))
      cut=${words[-1]}
      if [[ $piece != [=:]* ]]; then cut=${cut%"$piece"}; fi
    fi
  done
}

# A command line of its own from word FIRST on.
__strata_command_line() {
  local first=$1
  if ((cword == first)); then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -c -- "${words[cword]}")
  elif declare -F _command_offset >/dev/null; then
    _command_offset "${starts[first]}"
  else
    __strata_offer "${words[cword]}" @file
  fi
}
