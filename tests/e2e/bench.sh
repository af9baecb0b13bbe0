#!/bin/bash
# tests/e2e/bench.sh KILN MODEL - kiln bench: rows, columns, forms, what is refused; of models and of kernels.
set -u
kiln=$1 model=$2 command=bench limit=200
. "$(dirname "$0")/check.sh"

# holds NAME CONDITION: a Python expression over `rows`, the JSON lines or the rows of the document just printed
holds() {
    if python3 -c '
import json, sys
text = open(sys.argv[1]).read()
rows = json.loads(text)["rows"] if sys.argv[3] == "json" else [json.loads(line) for line in text.splitlines()]
assert eval(sys.argv[2]), rows' "$dir/out" "$2" "$3" 2>"$dir/why"; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    echo "FAILED: $1"; tail -1 "$dir/why"
}

check "rows come in llama-bench's order, with its names" 0 out '^\| kiln-tiny F16 ' "$model" -p 32,16 -n 4 -pg 8,2 -d 0,32 -ub 32 -r 2 \
    --svg "$dir/roof.svg"
names=$(sed -nE 's/^\| kiln.*\| ((pp|tg)[^|]*[^ |]) +\|.*±.*/\1/p' "$dir/out" | paste -sd';')
[ "$names" = "pp32;pp16;tg4;pp8+tg2;pp32 @ d32;pp16 @ d32;tg4 @ d32;pp8+tg2 @ d32" ] || { echo "FAILED: rows are $names"; failed=$((failed + 1)); }
head -1 "$dir/out" | grep -qE 'model.*size.*params.*device.*threads.*test.*t/s.*of ceiling.*ttft ms.*kv.*activations.*peak rss' ||
    { echo "FAILED: columns: $(head -1 "$dir/out")"; failed=$((failed + 1)); }
grep -qE '^kiln .*read [0-9.]+ to [0-9.]+ GB/s, f32 [0-9.]+ GFLOP/s, bf16 .*int8 ' "$dir/out" || { echo "FAILED: no ceilings below the table"; failed=$((failed + 1)); }
python3 -c 'import sys, xml.dom.minidom as m; d = m.parse(sys.argv[1]); assert len(d.getElementsByTagName("circle")) == 8' "$dir/roof.svg" ||
    { echo "FAILED: the roofline is no picture of eight points"; failed=$((failed + 1)); }
check "json lines have samples and memory" 0 out 'kiln.bench/1' "$model" -p 0 -n 6 -t 1,2 -ctk f32,int8 -r 3 -o jsonl
holds "every combination is a row" '[r["type_k"] for r in rows] == ["f32", "int8"] * 2 and rows[1]["n_threads"] == 1' jsonl
holds "each repetition is there, and took time" 'all(len(r["samples_ns"]) == 3 and min(r["samples_ns"]) > 0 and r["avg_ts"] > 0 for r in rows)' jsonl
holds "memory is counted, ceilings are measured" 'all(r["kv_bytes"] > 0 and r["peak_rss_bytes"] > r["weight_bytes"] > 0 and r["read_gb_per_s"] > 0 and r["of_ceiling"] > 0 for r in rows)' jsonl
holds "the same ids with one thread and two" 'rows[0]["ids"] == rows[2]["ids"] != ""' jsonl
holds "int8 takes less cache" 'rows[1]["kv_bytes"] < rows[0]["kv_bytes"]' jsonl
check "json is one document" 0 out '"schema": "kiln.bench/1", "rows"' "$model" -p 8 -n 4 -np 3 -r 1 --json
holds "several sequences at once" '[r["test"] for r in rows] == ["pp8 x3", "tg4 x3"] and all(r["ttft_ms"] > 0 for r in rows)' json
check "ranges are lists" 0 out "pp8" "$model" -p 8-16+8,4-8*2 -n 0 -r 1 --no-warmup -o jsonl
holds "a sum, then a product" '[r["n_prompt"] for r in rows] == [8, 16, 4, 8]' jsonl
check "csv has a header" 0 out '^test,model_filename,' "$model" -p 8 -n 0 -r 1 -o csv
[ "$(wc -l <"$dir/out")" = 2 ] || { echo "FAILED: csv has a line per row"; failed=$((failed + 1)); }
check "a device that checks has no peak, and says so" 0 out '"no_peak": "a device that checks' "$model" -p 0 -n 1 -r 1 --no-warmup --device interp -o jsonl
check "unequal cache types are left out, loudly" 0 err 'note: 1 pair of -ctk and -ctv' "$model" -p 0 -n 1 -r 1 -ctk f32 -ctv f32,int8

check "a bad list is a usage error"         2 err '"5x" is no list' "$model" -p 5x
check "a bad pair is a usage error"         2 err 'no pair' "$model" -pg 5
check "a bad form is a usage error"         2 err 'none of md csv json jsonl' "$model" -o sql
check "no repetitions is a usage error"     2 err 'repetitions' "$model" -r 0
check "a depth within a chunk is refused"   2 err 'multiple of the chunk' "$model" -d 100
check "a bad cache type is a usage error"   2 err 'K404' "$model" -ctk fp3
check "an option of run is refused"         2 err 'does not belong' "$model" --echo
check "a missing argument is a usage error" 2 err 'needs a model or a kernel'
check "a missing model is named"            1 err 'nowhere.gguf' "$dir/nowhere.gguf"
check "a context that cannot fit is refused" 3 err 'K301' "$model" -p 0 -n 1 -d 16000000

cat >"$dir/k.py" <<'P'
import triton
import triton.language as tl

# kiln: twice(x: *fp32:16, y: *fp32:16, n: i32, BLOCK={64,256})[num_warps=4] grid=(cdiv(n, BLOCK),) n={3,1000} x=randn(n) y=zeros(n)
@triton.jit
def twice(x, y, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2.0, mask=i < n)
P
check "a kernel's cards are rows"           0 out '^\| cpu .*twice f32 BLOCK=256 n=1000 ' "$dir/k.py" -r 2
check "a word of a card can be set"         0 out '"twice f32 BLOCK=64 n=50000"' "$dir/k.py:twice" --set n=50000 -r 2 -o jsonl
holds "bytes are those of the buffers"      'len(rows) == 2 and all(r["bytes"] == 400000 and r["gb_per_s"] > 0 for r in rows)' jsonl
check "operations can be said"              0 out '"flops": 2000' "$dir/k.py" --set flops=2*n -r 1 -o jsonl
check "another specialisation"              0 out 'BLOCK=32 n=1000' "$dir/k.py:twice" --sig "x: *fp32, y: *fp32, n: i32" --const BLOCK=32 -r 1
check "a kernel file of the program's own"  0 out 'silu_mul f32' silu_mul.py:silu_mul -r 1
check "a word that no card has is refused"  2 err 'no launch card has this word \(the first has: n x y' "$dir/k.py" --set rows=3
check "a word without a value is refused"   2 err 'no NAME=VALUE' "$dir/k.py" --set n
check "a word that makes no argument"       1 err 'K119' "$dir/k.py" --set "x=segments(n,4)"
check "a missing kernel file is named"      1 err 'nowhere.py' "$dir/nowhere.py"

# The comparison, with a peer that always says the same.
cat >"$dir/llama-bench" <<'P'
#!/bin/sh
case "$*" in *"-fa 0"*) rate=8.0 ;; *) rate=10.0 ;; esac
echo "{\"build_commit\": \"0ff1ce\", \"build_number\": 7, \"avg_ts\": $rate}"
P
chmod +x "$dir/llama-bench"
if "$(dirname "$0")/../../bench/compare-llamacpp" --llama-bench "$dir/llama-bench" --kiln "$kiln" --load 99 -p 8 -n 2 -d 16 --rounds 1 \
    -o "$dir/table.md" "$model" >"$dir/out" 2>"$dir/err" && cmp -s "$dir/out" "$dir/table.md" &&
    grep -qE '^\| tg2 @ d16 \| 10\.0 .*`-fa 1` \| [0-9.]+ .*\*\*[0-9.]+ .*\*\*.* % \| [0-9]+, [0-9]+ \|' "$dir/out" && grep -q '0ff1ce' "$dir/out"
then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: the comparison:"; head -5 "$dir/out" "$dir/err"; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
