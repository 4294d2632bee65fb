# SPDX-License-Identifier: Apache-2.0
# Completion of strata-bst in bash. What it offers is BuildStream's own: commands, options, and the elements of the project.

_strata_bst() {
  local IFS=$'\n'
  # shellcheck disable=SC2207
  COMPREPLY=($(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _BST_COMPLETION=complete "$1" 2>/dev/null))
}

complete -o nospace -F _strata_bst strata-bst
