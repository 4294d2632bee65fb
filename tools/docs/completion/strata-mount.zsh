#compdef strata-mount
@STORE@

# What stands in lowerdir=; a colon separates.
(( $+functions[_strata_lower] )) || _strata_lower() {
  local -a reply
  compset -P '*:'
  _strata_names refs
  reply=(${reply:#*:*})
  compadd -q -S '' -a reply
  _files -/
}

(( $+functions[_strata_mount_options] )) || _strata_mount_options() {
  _values -s , option \
@VALUES@
}

_strata-mount() {
  setopt local_options extended_glob
  _arguments -s \
@SWITCHES@
    '*-o+[options of the mount]: :_strata_mount_options' '*: :_files -/'
}

_strata-mount "$@"
