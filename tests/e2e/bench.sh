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
rows = [json.load(open(sys.argv[4]))] if sys.argv[3] == "compare" else json.loads(text)["rows"] if sys.argv[3] == "json" else [json.loads(line) for line in text.splitlines()]
assert eval(sys.argv[2]), rows' "$dir/out" "$2" "$3" "$dir/table.json" 2>"$dir/why"; then passed=$((passed + 1)); return; fi
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

# The comparison, with a peer that says 10 tokens/s with flash attention and 8 without, and has kiln's own logits.
cat >"$dir/llama-bench" <<'P'
#!/bin/sh
echo '{"build_commit": "0ff1ce", "build_number": 7, "avg_ts": 12.5}'
P
cat >"$dir/llama-peer" <<'P'
#!/usr/bin/env python3
import array, json, os, subprocess, sys
args, text, rate = sys.argv[1:], "Once upon a time a girl", 8 if "0" in sys.argv else 10
if "rows" in args:
    print(json.dumps({"llama": "0.0"}))
    for test in args[args.index("rows") + 1:]:
        print(json.dumps({"test": test.replace("@", " @ d"), "ts": rate}))
    sys.exit()
dump = sys.argv[0] + ".npy"
command = [os.environ["KILN"], "run", args[0], "-p", text, "-n", "16", "--temp", "0", "--ignore-eos", "-q", "--json", "-ctk", "f16", "--dump-logits", dump]
answer = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
if "run" in args:
    print(json.dumps({"prompt": answer["prompt_tokens"]}))
    sys.exit()
raw, n = open(dump, "rb").read(), len(answer["prompt_tokens"])
logits = array.array("f", raw[10 + int.from_bytes(raw[8:10], "little"):])
vocab = len(logits) // n
if os.environ.get("WRONG"):
    logits.reverse()
for token in answer["tokens"][1:] + [0]:
    logits.extend([0.0] * token + [9.0] + [0.0] * (vocab - token - 1))
open(args[args.index("logits") + 1], "wb").write(logits.tobytes())
P
chmod +x "$dir/llama-bench" "$dir/llama-peer"
beside() { # beside WANTED [ARGUMENT...]: the comparison's exit code
    local wanted=$1; shift
    KILN=$kiln "$(dirname "$0")/../../bench/compare-llamacpp" --llama-bench "$dir/llama-bench" --llama-peer "$dir/llama-peer" --kiln "$kiln" \
        --others 9 -p 8 -n 2 -d 16 --results "$dir/table.json" -o "$dir/table.md" "$model" "$@" >"$dir/out" 2>"$dir/err"
    [ $? = "$wanted" ]
}
row() { # row NAME PATTERN: the table has such a line
    if grep -qE "$2" "$dir/out"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; head -40 "$dir/out"; tail -5 "$dir/err"; fi
}
beside 0 --rounds 1 && cmp -s "$dir/out" "$dir/table.md"
row "kiln and llama.cpp are beside each other"        '^\| kiln-tiny / tg2 @ d16 \| 10\.0 \| -fa 1 \| 12\.5 \| [0-9.]+ \| .*\*\*[0-9.]+\*\* .*% \| 1 \|'
row "the peer and its build are named"                'llama\.cpp 0\.0 build 7 \(0ff1ce\)'
row "outputs are checked"                             '^\| kiln-tiny \| 0\.00 % \| 16 \| 16 \| 0\.00 x .* agree \|'
beside 0 --rounds 2
row "a later call adds rounds, with the better setting alone" '^\| kiln-tiny / pp8 \| 10\.0 .* \| 2 \|'
holds "a slow setting is left out"                    '[r["round"] for r in rows[0]["runs"] if r["side"] == "peer -fa 0"] == [0, 0]' compare
WRONG=1 beside 4 --rounds 1 --redo
row "other logits are noticed"                        'DISAGREE'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
