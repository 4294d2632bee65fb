# SPDX-License-Identifier: Apache-2.0
# Generated from the sources of strata: edit those.

# A store is asked only if there is one, for strata would make it.
(( $+functions[_strata_list] )) || _strata_list() {
  local store=$STRATA_STORE
  if [[ -z $store ]]; then
    if [[ $XDG_DATA_HOME == /* ]]; then store=$XDG_DATA_HOME/strata; else store=$HOME/.local/share/strata; fi
  fi
  [[ -s $store/format ]] && strata list $1 2>/dev/null </dev/null
}

# The first words of the lines of `strata list WHAT`, without the heading.
(( $+functions[_strata_names] )) || _strata_names() {
  local -a lines
  lines=(${(f)"$(_strata_list $1)"})
  reply=(${${lines[2,-1]}%% *})
}

# _strata_offer ACTION...: adds what the word in hand can become.
(( $+functions[_strata_offer] )) || _strata_offer() {
  local action line
  local -a reply
  for action; do
    case $action in
      @file) _files ;;
      @directory) _files -/ ;;
      @variable) _parameters -g '*export*' ;;
      @ref) _strata_names refs; compadd -a reply ;;
      @workspace) _strata_names workspaces; compadd -a reply ;;
      @cache) _strata_names caches; compadd -a reply ;;
      @stage)
        for line in ${(f)"$(_strata_list stages)"}; do
          if [[ $line == *' '/* ]]; then compadd -f -- /${line#* /}; fi
        done
        ;;
      @layer)
        if compset -P 'dir:'; then
          _files -/
          continue
        fi
        _strata_names refs; compadd -a reply
        # Ids are for those who have begun to type one.
        if [[ $PREFIX == [0-9a-f]## ]]; then
          _strata_names layers; compadd -a reply
          _strata_names roots; compadd -a reply
        fi
        ;;
      *) compadd -- $action ;;
    esac
  done
}
