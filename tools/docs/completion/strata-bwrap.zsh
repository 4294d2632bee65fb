#compdef strata-bwrap
@STORE@

_strata-bwrap() {
  setopt local_options extended_glob
@ARGUMENTS@
    '(-):command: _command_names -e' '*::argument: _normal'
}

_strata-bwrap "$@"
