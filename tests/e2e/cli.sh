#!/bin/bash
# tests/e2e/cli.sh KILN MODEL - the command line: streams, exit codes, messages, and what the cache saves.
set -u
kiln=$1 model=$2
. "$(dirname "$0")/check.sh"

check "no command shows usage"              2 out 'usage' 
check "help names every command"            0 out 'kiln doctor' help
check "help of a command lists its options" 0 out '--target' help compile
check "exit codes are documented"           0 out '^130' help exit-codes
check "a code is explained"                 0 out '^K201 +not a GGUF file' help K201
check "a code is explained in lower case"   0 out '^E0503 +two shapes' help e0503
check "all codes are listed"                0 out '^W0804 ' help codes
check "an unknown code names the nearest"   2 err 'no message has the code K219 \(did you mean K220' help K219
check "a version is printed"                0 out '^kiln [0-9]' --version
check "an unknown command suggests one"     2 err 'did you mean run' runn
check "an unknown option suggests one"      2 err 'unknown option --temprature \(did you mean --temp' run "$model" -p x --temprature 1
check "a bad number is a usage error"       2 err 'needs a number' run "$model" -p x -n many
check "an option of another command is refused" 2 err 'does not belong' run "$model" -p x --emit tile
check "a missing prompt is a usage error"   2 err 'no prompt' run "$model"
check "a missing file is named"             1 err 'nowhere.gguf' run "$dir/nowhere.gguf" -p x
printf 'GGUF' >"$dir/cut.gguf"
check "a truncated model is named"          1 err 'cut.gguf.*\[K2' run "$dir/cut.gguf" -p x
printf '<!doctype html>' >"$dir/page.gguf"
check "a web page is no model"              1 err 'not a GGUF file.*\[K201\]' run "$dir/page.gguf" -p x
check "an unknown device is refused"        1 err 'K302' run "$model" -p x --device abacus
check "text streams to stdout only"         0 out '.' run "$model" -p "Once upon a time" -n 24 --temp 0 -q
[ -s "$dir/err" ] && { echo "FAILED: -q leaves stderr empty"; failed=$((failed + 1)); }
cp "$dir/out" "$dir/first"
check "the same prompt gives the same text" 0 out '.' run "$model" -p "Once upon a time" -n 24 --temp 0 -q
cmp -s "$dir/out" "$dir/first" || { echo "FAILED: greedy text differs between runs"; failed=$((failed + 1)); }
check "from a warm cache nothing is compiled" 0 out '"compiled": 0' run "$model" -p "Once upon a time" -n 8 --temp 0 --json
check "json has ids, text and timings"      0 out '"prompt_tokens": \[[0-9, ]+\], "tokens": \[[0-9, ]+\], "text".*"timings".*"kv_bytes"' run "$model" -p "Once" -n 4 --json
check "a seed decides the sampled text"     0 out '"seed": 5' run "$model" -p "Once upon a time" -n 16 --seed 5 --json
grep -o '"tokens": \[[^]]*\]' "$dir/out" >"$dir/seed5"
check "a seed decides the sampled text (2)" 0 out '"seed": 5' run "$model" -p "Once upon a time" -n 16 --seed 5 --json
grep -o '"tokens": \[[^]]*\]' "$dir/out" | cmp -s - "$dir/seed5" || { echo "FAILED: one seed, two texts"; failed=$((failed + 1)); }
printf '{"prompt": "Once upon a time"}\n\n{"prompt": "One day"}\n{"prompt": "The"}\n' >"$dir/p.jsonl"
check "a batch answers in order"            0 out '"prompt": "Once upon a time"' run "$model" --prompts-file "$dir/p.jsonl" -n 12 --temp 0 -q
[ "$(wc -l <"$dir/out")" = 3 ] && sed -n 3p "$dir/out" | grep -q '"prompt": "The"' || { echo "FAILED: three prompts, three lines in order"; failed=$((failed + 1)); }
printf '{"prompt": 3}\n' >"$dir/bad.jsonl"
check "a bad prompt line is named"          1 err 'bad.jsonl line 1' run "$model" --prompts-file "$dir/bad.jsonl"
check "a prompt longer than the context is refused" 3 err 'K401' run "$model" -p "$(printf 'word %.0s' $(seq 400))" -c 64
check "logits are dumped as npy"            0 out '.' run "$model" -p "Once upon a time" -n 1 --temp 0 -q --dump-logits "$dir/l.npy"
head -c 6 "$dir/l.npy" | grep -q NUMPY || { echo "FAILED: no npy file"; failed=$((failed + 1)); }
check "info describes the model"            0 out 'llama' info "$model"
check "info plans memory"                   0 out 'kv cache' info "$model" --plan -c 4k
check "info lists the launches"             0 out 'attend' info "$model" --graph
check "info lists the tensors"              0 out 'blk.0.attn_q.weight' info "$model" --tensors
check "info lists targets"                  0 out 'sm_90a' info --targets
check "doctor finds something that runs"    0 out '^ok +self-test' doctor
check "doctor speaks JSON"                  0 out '"schema": "kiln.doctor/1"' doctor --json
cat >"$dir/k.py" <<'P'
import triton
import triton.language as tl

# kiln: twice(x: *fp32:16, n: i32, BLOCK=64)[num_warps=2] grid=(cdiv(n, BLOCK),)
@triton.jit
def twice(x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) * 2.0, mask=i < n)
P
check "compile prints a table"              0 out 'twice.*sm_90a' compile "$dir/k.py"
check "compile shows tile IR"               0 out 'arange' compile "$dir/k.py" --target cpu --emit tile
check "compile shows the IR after a pass"     0 out 'arange' compile "$dir/k.py" --target cpu --emit tile-after:licm
check "an unknown pass names the known ones"  2 err 'passes fold cse' compile "$dir/k.py" --emit tile-after:inline
check "compile shows PTX"                   0 out '\.visible \.entry' compile "$dir/k.py" --target sm_80 --emit ptx
check "compile takes a signature"           0 out 'cpu:avx2' compile "$dir/k.py:twice" --sig "*fp32,i32" --const BLOCK=128 --target cpu:avx2
check "compile speaks JSON"                 0 out '"schema": "kiln.compile/1"' compile "$dir/k.py" --json
sed 's/\* 2.0/+ nothing/' "$dir/k.py" >"$dir/wrong.py"
check "a kernel's mistake has a place and a caret" 1 err 'wrong.py:8:[0-9]+: error\[E0201\]' compile "$dir/wrong.py" --target cpu
grep -q '\^' "$dir/err" || { echo "FAILED: no caret"; failed=$((failed + 1)); }
sed '/# kiln/d' "$dir/k.py" >"$dir/nocard.py"
check "a kernel without a card says how to write one" 1 err '# kiln:' compile "$dir/nocard.py"
check "an unreadable kernel file is named"  1 err 'nowhere.py' compile "$dir/nowhere.py"
check "a target that is none is refused"    1 err 'sm_12' compile "$dir/k.py" --target sm_12

echo "$passed passed, $failed failed"
[ $failed = 0 ]
