@STORE@

# Appends to COMPREPLY what an option of -o, the last of LIST, can become: each with the others before.
__strata_mount_option() {
  local list=$1
  local option=${list##*,} head part
  local -A values=()
@VALUES@
  compopt -o nospace 2>/dev/null
  if [[ $option != *=* ]]; then
    head=${list%"$option"}
    __strata_offer "$option" "$names"
  else
    part=${option#*=}
    if [[ $option == lowerdir=* ]]; then part=${part##*:}; fi
    head=${list%"$part"}
    # shellcheck disable=SC2086  # a list of words
    __strata_offer "$part" ${values[${option%%=*}]:-}
    # A colon separates them.
    if [[ $option == lowerdir=* ]]; then mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep -v :); fi
  fi
  if ((${#COMPREPLY[@]})); then COMPREPLY=("${COMPREPLY[@]/#/"$head"}"); fi
}

_strata_mount() {
  local -a words=() starts=()
  local cword=0 cut=''
  COMPREPLY=()
  __strata_words
  local word=${words[cword]}
  if [[ ${words[cword - 1]} == -o ]]; then
    __strata_mount_option "$word"
  elif [[ $word == -* ]]; then
@SWITCHES@
  else
    __strata_offer "$word" @directory
  fi
  COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}

complete -F _strata_mount strata-mount
