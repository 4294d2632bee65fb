@STORE@

# Prints what an option of -o, the last of the list in hand, can become: each with the others before.
function __strata_mount_option
    set -l list (commandline -ct | string replace -r -- '^-o' '')
    set -l option (string replace -r '^.*,' '' -- $list)
    if not string match -q '*=*' -- $option
        set -l head (string replace -r '[^,]*$' '' -- $list)
        printf "$head%s\n" \
@NAMES@
        return
    end
    set -l part (string replace -r '^[^=]*=' '' -- $option)
    string match -q 'lowerdir=*' -- $option; and set part (string replace -r '^.*:' '' -- $part)
    set -l head (string sub -l (math (string length -- $list) - (string length -- $part)) -- $list)
    set -l values
    switch (string replace -r '=.*' '' -- $option)
        case lowerdir
            set values (__strata_names refs | string match -v '*:*') (__fish_complete_directories $part '')
@VALUES@
    end
    printf "$head%s\n" $values
end

complete -c strata-mount -e
complete -c strata-mount -f -a '(__fish_complete_directories (commandline -ct) "")'
complete -c strata-mount -s o -x -a '(__strata_mount_option)' -d 'options of the mount'
@SWITCHES@
