@STORE@

# Sets options and values to what strata-bwrap takes; the values of one option are separated by `;`.
__strata_bwrap_takes() {
  case $1 in
@CASES@
  esac
}

_strata_bwrap() {
  local -a words=() starts=() of=()
  local -A values=()
  local cword=0 cut='' options='' at=1 place
  COMPREPLY=()
  __strata_words
  __strata_bwrap_takes strata-bwrap
  while ((at < cword)); do
    case ${words[at]} in
      --) ((++at)); break ;;
      -?*) ;;
      *) break ;;
    esac
    IFS=';' read -r -a of <<<"${values[${words[at]}]:-}"
    place=$((cword - at - 1))
    if ((place < ${#of[@]})); then
      # shellcheck disable=SC2086  # a list of words
      __strata_offer "${words[cword]}" ${of[place]}
      COMPREPLY=("${COMPREPLY[@]#"$cut"}")
      return
    fi
    ((at += ${#of[@]} + 1))
  done
  if ((at == cword)) && [[ ${words[cword]} == -* && ${words[cword - 1]} != -- ]]; then
    __strata_offer "${words[cword]}" "$options"
  else
    __strata_command_line "$at"
  fi
}

complete -F _strata_bwrap strata-bwrap
