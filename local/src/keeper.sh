# Outlives the platform by a moment and ends what it started. Told on standard input which process groups run; at its
# end, however the platform ended, kills them, then whatever else carries the platform's mark in its environment
# (descendants that left their group, a process that was just being started) or as a label, and removes the platform's files.
# $1: the platform's folder; $2: its mark; $3: the container engine, if it has one.
trap '' HUP INT TERM QUIT
groups=' '
clean=
while read -r word group; do
    case $word in
    add) groups="$groups$group " ;;
    remove) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
    clean) clean=yes ;;
    esac
done
for group in $groups; do
    kill -KILL -- "-$group"
done
sweep() {
    grep -lsF -e "$2" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
        kill -KILL "$pid"
    done
}
containers() {
    tries=100
    # One that somebody else removes is refused, and is there for another moment.
    while [ "$tries" -gt 0 ] && left=$("$3" ps --all --quiet --filter "label=$2") && [ -n "$left" ]; do
        # shellcheck disable=SC2086 # one word each
        "$3" rm --force $left || sleep 0.1
        tries=$((tries - 1))
    done
}
sweep "$@"
[ -z "$3" ] || containers "$@"
if [ -z "$clean" ] || [ -n "$3" ]; then
    # A container may have been on its way into the engine.
    sleep 0.1
    sweep "$@"
    [ -z "$3" ] || containers "$@"
fi
rm -rf -- "$1"
