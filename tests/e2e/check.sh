# tests/e2e/check.sh - sourced by tests of the command line: an empty home in $dir, counts, and check. Wants $kiln; takes $command,
# what every check begins with, and $limit, seconds for one.
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
export HOME=$dir XDG_CACHE_HOME=$dir/cache
failed=0 passed=0

# check NAME EXIT STREAM PATTERN ARGS...: runs kiln with $command and ARGS; the stream (out or err) must match PATTERN
check() {
    local name=$1 want=$2 stream=$3 pattern=$4 code; shift 4
    timeout "${limit:-120}" "$kiln" ${command:-} "$@" >"$dir/out" 2>"$dir/err" </dev/null; code=$?
    if [ $code = "$want" ] && grep -qE -- "$pattern" "$dir/$stream"; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "FAILED: $name: exit $code, expected $want; looking for /$pattern/ in $stream:"; head -5 "$dir/out" "$dir/err"
}
