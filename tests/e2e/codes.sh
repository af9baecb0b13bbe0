#!/bin/bash
# tests/e2e/codes.sh SOURCES KILN - every code that the sources use is explained by `kiln help`, once, and no other.
set -u
cd "$1" || exit 1
kiln=$2
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
export LC_ALL=C
grep -rhoE '"[EWK][0-9]{3,4}"' --include='*.c' --include='*.h' base ir compiler runtime models cli | tr -d '"' | sort -u >"$dir/used"
"$kiln" help codes | grep -oE '^[EWK][0-9]{3,4} ' | tr -d ' ' | sort >"$dir/listed"
failed=0
[ "$(wc -l <"$dir/used")" -ge 100 ] || { echo "FAILED: only $(wc -l <"$dir/used") codes found in the sources"; failed=1; }
uniq -d "$dir/listed" | sed 's/^/FAILED: two rows for /' | grep . && failed=1
comm -23 "$dir/used" "$dir/listed" | sed 's/^/FAILED: cli\/codes.def has no row for /' | grep . && failed=1
comm -13 "$dir/used" "$dir/listed" | sed 's/^/FAILED: nothing in the sources says /' | grep . && failed=1
echo "$(wc -l <"$dir/used") codes in the sources, $(wc -l <"$dir/listed") rows"
exit $failed
