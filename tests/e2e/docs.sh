#!/bin/bash
# tests/e2e/docs.sh SOURCES KILN - what the documentation says exists, exists.
set -u
cd "$1" || exit 1
kiln=$2
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
export HOME=$dir XDG_CACHE_HOME=$dir/cache LC_ALL=C
failed=0
wrong() { echo "FAILED: $*"; failed=1; }

# Every function of the language is in its reference.
functions=$(sed -nE 's/^BUILTIN\((tl|libdevice), *([A-Za-z_0-9]+).*/\2/p' compiler/builtin.def | sort -u)
[ "$(wc -w <<<"$functions")" -ge 100 ] || wrong "only $(wc -w <<<"$functions") functions found in compiler/builtin.def"
for name in $functions; do
    case $name in rand4x|randint4x|randn4x|_unwrap_if_constexpr) continue ;; esac
    grep -qE "(^|[^A-Za-z0-9_])$name([^A-Za-z0-9_]|\$)" docs/language.md || wrong "docs/language.md does not name $name"
done
for name in $(sed -nE 's/^BUILTIN\(tl, *([A-Za-z_0-9]+),.* unfinished,.*/\1/p' compiler/builtin.def); do
    case $name in rand4x|randint4x|randn4x) continue ;; esac
    sed -n '/^## 12/,/^## 13/p' docs/language.md | grep -qE "(^|[^a-z_])$name([^a-z_0-9]|\$)" || wrong "docs/language.md, section 12, does not list $name"
done

# The codes it names are explained, and the files it points to are there.
for code in $(grep -ohE '\b[EWK][0-9]{3,4}\b' docs/*.md | sort -u); do
    "$kiln" help "$code" >/dev/null 2>&1 || wrong "docs name $code, which kiln help does not know"
done
for file in $(grep -oE '`[A-Za-z0-9_./-]+\.(md|c|h|def|sh|py)`' docs/README.md | tr -d '`'); do
    [ -e "docs/$file" ] || [ -e "$file" ] || wrong "docs/README.md points to $file"
done
for op in $(sed -nE 's/^(OP|ELEM)\([A-Z0-9_]+, *"([a-z0-9_]+)".*/\2/p' ir/op.def ir/elem.def | sort -u); do
    [ "$op" = elem ] || grep -qE "(^|[^a-z0-9_])$op([^a-z0-9_]|\$)" docs/tile-ir.md || wrong "docs/tile-ir.md does not name $op"
done

# The launch card of the reference compiles as it stands.
{ printf 'import triton\nimport triton.language as tl\n\n'; sed -n '/^# kiln: scale/,/^```/p' docs/language.md | grep -v '^```'; } >"$dir/scale.py"
[ "$("$kiln" compile "$dir/scale.py" --target interp --no-cache | grep -c '^scale(')" = 4 ] || wrong "the card of docs/language.md does not give four kernels"

[ $failed = 0 ] && echo "all there"
exit $failed
