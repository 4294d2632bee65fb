@STORE@

function __strata_no_command
    test (count (commandline -opc)) -eq 1
end

# __strata_is COMMAND: its own words are asked for, not those of the command that is behind --.
function __strata_is
    set -l words (commandline -opc)
    test "$words[2]" = $argv[1]; or return 1
    not contains -- -- $words[3..-1]
end

# The options of COMMAND that have a value.
function __strata_with_value
    switch $argv[1]
@VALUES@
    end
end

# Whether the word in hand is operand N (from 0), or with `more` N or a later one.
function __strata_operand
    set -l words (commandline -opc)
    set -l count 0
    set -l skip 0
    for word in $words[3..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-?*' $word
            contains -- $word (__strata_with_value $words[2]); and set skip 1
        else
            set count (math $count + 1)
        end
    end
    test $count -eq $argv[1]; or test "$argv[2]" = more -a $count -gt $argv[1]
end

# Where -- is, if a command line of its own follows it.
function __strata_dashes
    set -l words (commandline -opc)
    contains -- "$words[2]" run stage; and contains -i -- -- $words
end

complete -c strata -e
complete -c strata -f
complete -c strata -n __strata_no_command -s h -l help -d 'show the commands'
complete -c strata -n __strata_no_command -s V -l version -d 'show the version'
@COMMANDS@
complete -c strata -n __strata_no_command -f -a help -d 'Show the commands, or the options of one'
complete -c strata -n '__strata_is help' -f -a '(complete -C "strata " | string match -v "help*")'
complete -c strata -n __strata_dashes -f -a '(__strata_command_line (__strata_dashes))'

@OPTIONS@
