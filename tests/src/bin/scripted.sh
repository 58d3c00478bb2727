input=$(cat)
file=$(printf %s "$input" | sed 's/.*"file":"\([^"]*\)".*/\1/')
echo $$ >> "$file"
case $input in
    *'"how":"fail"'*)
        echo "no luck today" >&2
        exit 3
        ;;
    *'"how":"kill"'*) kill -9 $$ ;;
    *'"how":"mumble"'*)
        echo hm
        exit 0
        ;;
    *'"how":"hang"'*) exec sleep 1000 ;;
    *'"how":"once"'*) [ "$(wc -l < "$file")" -gt 1 ] || exec sleep 1000 ;;
esac
echo 41
