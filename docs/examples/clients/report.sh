#!/bin/sh
# Report usage from the product with curl: each batch counts once, whatever happens on the way.
#
#   report.sh [URL [SECONDS]] < batches    # a line is a batch: a JSON array of events, each with its own id
#   URL is http://HOST:PORT or unix:/PATH
#
# exit: 0 everything counts, 65 refused, 69 not known to be kept: send it again with the same ids
set -u
url=${1:-http://127.0.0.1:8485}
seconds=${2:-600}
socket=
case $url in unix:*) socket=${url#unix:} url=http://localhost ;; esac
work=$(mktemp -d) || exit 69
trap 'rm -rf "$work"' EXIT

# The token goes through a pipe: other processes of the machine see a command line.
options() {
    [ -z "${SIDECAR_API_TOKEN_FILE:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$(cat "$SIDECAR_API_TOKEN_FILE")"
}

post() {
    options | curl --config - --silent --show-error --noproxy '*' --max-time 10 --header 'Content-Type: application/json' \
        --data-binary "@$work/batch" --dump-header "$work/head" --output "$work/answer" --write-out '%{http_code}' \
        ${socket:+--unix-socket "$socket"} "$url/v1/usage" 2>"$work/error"
}

# An event without an id of its own would count twice when it is sent again. Walks through the batch: a key of an object
# in the array is at depth 2.
identified() {
    LC_ALL=C awk '
        { text = text $0 "\n" }
        END {
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                if (quoted && c == "\\") i++
                else if (c == "\"") {
                    if (quoted) word = substr(text, start, i - start)
                    start = i + 1
                    quoted = !quoted
                } else if (quoted) continue
                else if (c == ":" && depth == 2 && word == "id") {
                    value = substr(text, i + 1, 80)
                    has_id = value !~ /^[ \t]*null/
                } else if (c == "[" || c == "{") {
                    if (++depth == 1 && c == "{") exit 1
                    if (depth == 2) has_id = 0
                } else if ((c == "]" || c == "}") && depth-- == 2 && !has_id) exit 1
            }
        }' "$work/batch"
}

# A random pause up to $2 seconds, behind the $1 seconds that the sidecar asks for.
pause() {
    awk -v after="${1:-0}" -v most="$2" -v seed="$(od -An -N4 -tu4 /dev/urandom)" \
        'BEGIN { srand(seed); printf "%.3f", after + rand() * most }'
}

send() {
    tenths=1
    ends=$(($(date +%s) + seconds))
    while :; do
        : >"$work/head"
        : >"$work/answer"
        status=$(post) || status=lost # perhaps kept: the ids make sure that it counts once
        case $status in
        2??)
            cat "$work/answer"
            echo
            return 0
            ;;
        lost | 429 | 5??) ;;
        *)
            echo "refused: $(cat "$work/answer")" >&2
            return 65
            ;;
        esac
        after=$(tr 'A-Z' 'a-z' <"$work/head" | sed -n 's/^retry-after: *\([0-9]\{1,\}\).*/\1/p')
        if [ $(($(date +%s) + ${after:-0})) -ge "$ends" ]; then
            echo "not known to be kept: $(cat "$work/answer" "$work/error")" >&2
            return 69
        fi
        sleep "$(pause "$after" "$((tenths / 10)).$((tenths % 10))")"
        [ $((tenths *= 2)) -le 100 ] || tenths=100
    done
}

while IFS= read -r batch || [ -n "$batch" ]; do # the last line, too, where no line break ends it
    printf '%s' "$batch" >"$work/batch"
    identified || {
        echo "refused: a batch is an array of events, each with an id; without one it could count twice" >&2
        exit 65
    }
    send || exit
done
