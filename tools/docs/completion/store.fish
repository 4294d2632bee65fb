# SPDX-License-Identifier: Apache-2.0
# Generated from the sources of strata: edit those.

# A store is asked only if there is one, for strata would make it.
function __strata_list
    set -l store $STRATA_STORE
    if test -z "$store"
        set store $HOME/.local/share/strata
        string match -q '/*' -- "$XDG_DATA_HOME"; and set store $XDG_DATA_HOME/strata
    end
    test -s "$store/format"; and command strata list $argv[1] 2>/dev/null </dev/null
end

# The first words of the lines of `strata list WHAT`, without the heading.
function __strata_names
    __strata_list $argv[1] | string replace -r ' .*' '' | tail -n +2
end

# __strata_offer ACTION...: prints what the word in hand can become.
function __strata_offer
    set -l word (commandline -ct | string replace -r -- '^--[^=]*=' '')
    for action in $argv
        switch $action
            case @nothing
            case @file
                __fish_complete_path $word
            case @directory
                __fish_complete_directories $word ''
            case @variable
                set -xn
            case @ref
                __strata_names refs
            case @workspace
                __strata_names workspaces
            case @cache
                __strata_names caches
            case @stage
                __strata_list stages | string match -r '/.*'
            case @layer
                if string match -q 'dir:*' -- $word
                    printf 'dir:%s\n' (__fish_complete_directories (string replace dir: '' -- $word) '')
                    continue
                end
                __strata_names refs
                # Ids are for those who have begun to type one.
                if string match -qr '^[0-9a-f]+$' -- $word
                    __strata_names layers
                    __strata_names roots
                end
            case '*'
                printf '%s\n' $action
        end
    end
end

# Completes what follows the first N words as a command line of its own.
function __strata_command_line
    set -l words (commandline -opc)
    set -l rest
    set -q words[(math $argv[1] + 1)]; and set rest (string escape -- $words[(math $argv[1] + 1)..-1])
    complete -C (string join ' ' -- $rest (commandline -ct))
end
