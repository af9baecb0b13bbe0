#!/bin/sh
# check.sh BUILD SOURCE CC SANITIZE PREFIX - installs, builds docs/example.c with pkg-config, runs it, looks at symbols.
set -eu
build=$1 source=$2 cc=$3 sanitize=$4 prefix=$5
rm -rf "$prefix"
cmake --install "$build" --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name kiln.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
flags="$(pkg-config --define-variable=prefix="$prefix" --cflags --libs kiln)"
libdir=$(pkg-config --define-variable=prefix="$prefix" --variable=libdir kiln)
# shellcheck disable=SC2086
$cc -std=c17 -Wall -Wextra -Werror ${sanitize:+-fsanitize=$sanitize} "$source/docs/example.c" $flags -lm \
    -Wl,-rpath,"$libdir" -o "$prefix/example"
"$prefix/example" >"$prefix/out.txt"
cat "$prefix/out.txt"
grep -q '^softmax: error ' "$prefix/out.txt"
grep -q '^\[K132\] ' "$prefix/out.txt"
model=$source/models/data/kiln-tiny.gguf
if [ -f "$model" ]; then
    "$prefix/example" "$model" "Once upon a time" >"$prefix/out.txt"
    cat "$prefix/out.txt"
    grep -q ' tokens, ' "$prefix/out.txt"
fi
# Every function of the header is in the library, and nothing else is.
nm -D --defined-only "$libdir/libkiln.so" | awk '$2 ~ /[TDBRVW]/ {print $3}' | sed 's/@.*//' | sort >"$prefix/symbols"
if grep -v '^kiln_' "$prefix/symbols"; then
    echo "a symbol above does not begin with kiln_" >&2
    exit 1
fi
sed -n 's/^KILN_API .*[ *]\(kiln_[a-z0-9_]*\)(.*/\1/p' "$source/include/kiln.h" | sort >"$prefix/promised"
comm -23 "$prefix/promised" "$prefix/symbols" >"$prefix/missing"
if [ -s "$prefix/missing" ]; then
    echo "promised, but not in the library:" >&2
    cat "$prefix/missing" >&2
    exit 1
fi
