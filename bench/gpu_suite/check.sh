#!/bin/sh
# The GPU suite without a GPU: its comparison on the CPU, finding one changed byte, and every stage on the
# recording driver. usage: check.sh PROGRAM FOLDER_OF_FAKES WORK
set -u
program=$1 fakes=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
fail() { echo "FAILED: $1"; tail -30 "$work/out.txt"; exit 1; }

"$program" --device cpu --only correctness --quick --out "$work/cpu" >"$work/out.txt" 2>&1 || fail "a card is wrong on the CPU"
grep -q 'correctness *wrong *0' "$work/out.txt" || fail "no count of wrong cases"
[ "$(sed -n 's/^correctness *cases *\([0-9]*\).*/\1/p' "$work/out.txt")" -ge 200 ] || fail "fewer than 200 cases ran"

"$program" --device cpu --only correctness --quick --flip --out "$work/cpu" >"$work/out.txt" 2>&1
[ $? -eq 1 ] || fail "one changed byte: the exit status is not 1"
[ "$(grep -c '^WRONG' "$work/out.txt")" -eq 1 ] || fail "one changed byte is not one wrong case"
grep -q 'the interpreter says' "$work/out.txt" || fail "the report does not say what differs"

"$program" --device cuda --cuda-lib "$fakes/libcuda.so.1" --cublas-lib "$fakes/libcublasLt.so.12" --no-judge --quick \
    --no-peers --out "$work/fake" >"$work/out.txt" 2>&1 || fail "the suite on the recording driver"
for stage in attention decode gemm paged streaming; do
    grep -q "^$stage .* bf16 " "$work/out.txt" || fail "no measurement of stage $stage"
done
for word in gap_stream gap_graph 'copy .*our kernel' 'skipped .*compute-sanitizer\|none, memcheck'; do
    grep -q "$word" "$work/out.txt" || fail "no line with $word"
done
grep '^missed\|^dead' "$work/out.txt" && fail "a measurement is missing"
python3 - "$work/fake/suite.jsonl" <<'EOF' || fail "a line is no JSON"
import json, sys
for line in open(sys.argv[1]):
    json.loads(line)
EOF
exit 0
