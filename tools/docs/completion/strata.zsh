#compdef strata
@STORE@

(( $+functions[_strata_commands] )) || _strata_commands() {
  local -a commands
  commands=(
@COMMANDS@
    'help:Show the commands, or the options of one'
  )
  _describe -t commands command commands
}

_strata() {
  setopt local_options extended_glob
  local curcontext=$curcontext state
  local -a line
  local -A opt_args
  _arguments -C '(- :)'{-h,--help}'[show the commands]' '(- :)'{-V,--version}'[show the version]' \
    ':command:_strata_commands' '*::argument:->argument' && return
  [[ $state == argument ]] || return
  curcontext="${curcontext%:*}-$words[1]:"

  # What follows -- is a command line of its own.
  local -i dashes=${words[(i)--]}
  if [[ $words[1] == (run|stage) ]] && (( dashes < CURRENT )); then
    shift $dashes words
    (( CURRENT -= dashes ))
    _normal
    return
  fi

  case $words[1] in
    help) _arguments ':command:_strata_commands' ;;
@CASES@
  esac
}

_strata "$@"
