@STORE@

# Prints what the word in hand is: option, value and what it can become, or command and how many words
# are before it. With an argument: whether it is that.
function __strata_bwrap_state
    set -l words (commandline -opc)
    set -l at 2
    set -l state option
    while test $at -le (count $words)
        set -l values
        switch $words[$at]
@CASES@
            case --
                set state command $at
                break
            case '-?*'
            case '*'
                set state command (math $at - 1)
                break
        end
        set -l place (math (count $words) - $at + 1)
        if test $place -le (count $values)
            set state value $values[$place]
            break
        end
        set at (math $at + 1 + (count $values))
    end
    if set -q argv[1]
        test $state[1] = $argv[1]
    else
        printf '%s\n' $state
    end
end

function __strata_bwrap_words
    set -l state (__strata_bwrap_state)
    switch $state[1]
        case value
            __strata_offer (string split ' ' -- $state[2])
        case command
            __strata_command_line $state[2]
        case option
            __fish_complete_command
    end
end

complete -c strata-bwrap -e
complete -c strata-bwrap -f -a '(__strata_bwrap_words)'
@OPTIONS@
