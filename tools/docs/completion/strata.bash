@STORE@

# Sets options, values, operands and repeated to what COMMAND takes.
__strata_takes() {
  options='' values=() operands=() repeated=0
  case $1 in
@CASES@
  esac
}

_strata() {
  local -a words=() starts=() operands=()
  local -A values=()
  local cword=0 cut='' options='' repeated=0
@COMMANDS@
  COMPREPLY=()
  __strata_words
  local word=${words[cword]} command=${words[1]:-}

  if ((cword == 1)); then
    __strata_offer "$word" "$commands help --help --version"
    return
  fi
  if [[ $command == help ]]; then
    if ((cword == 2)); then __strata_offer "$word" "$commands"; fi
    return
  fi
  __strata_takes "$command"

  local at=2 count=0 only_operands=''
  while ((at < cword)); do
    if [[ -z $only_operands && ${words[at]} == -- ]]; then
      case $command in
        run | stage) __strata_command_line $((at + 1)); return ;;
        *) only_operands=1 ;;
      esac
    elif [[ -z $only_operands && -n ${values[${words[at]}]:-} ]]; then
      ((++at))
      if ((at == cword)); then
        # shellcheck disable=SC2086  # a list of words
        __strata_offer "$word" ${values[${words[at - 1]}]}
        COMPREPLY=("${COMPREPLY[@]#"$cut"}")
        return
      fi
    elif [[ -n $only_operands || ${words[at]} != -?* ]]; then
      ((++count))
    fi
    ((++at))
  done

  if [[ -z $only_operands && $word == --*=* ]]; then
    local value=${word#*=}
    # shellcheck disable=SC2086
    __strata_offer "$value" ${values[${word%%=*}]:-}
    cut=${cut#"${word%%=*}="}
  elif [[ -z $only_operands && $word == -* ]]; then
    __strata_offer "$word" "$options"
  else
    if ((repeated && count >= ${#operands[@]})); then count=$((${#operands[@]} - 1)); fi
    # shellcheck disable=SC2086
    __strata_offer "$word" ${operands[count]:-}
  fi
  COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}

complete -F _strata strata
