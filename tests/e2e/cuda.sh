#!/bin/bash
# tests/e2e/cuda.sh KILN MODEL FAKE_DIR - --device cuda from outside: no driver, the fake one, and each way it can fail.
set -u
kiln=$1 model=$2 fake=$3
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
export HOME=$dir XDG_CACHE_HOME=$dir/cache FAKE_CUDA_LOG=$dir/log
unset KILN_CUDA_LIB KILN_CUBLAS_LIB KILN_DEVICE FAKE_CUDA CUDA_VISIBLE_DEVICES
failed=0 passed=0
wrong() { failed=$((failed + 1)); echo "FAILED: $*"; }

# check NAME EXIT STREAM PATTERN SETTINGS ARGS...: runs kiln on the fake driver with FAKE_CUDA=SETTINGS; "none": no
# driver at all; "old", "broken": that library. The stream must match PATTERN, and the driver must not object.
check() {
    local name=$1 want=$2 stream=$3 pattern=$4 settings=$5 lib=$fake/libcuda.so.1 code; shift 5
    case $settings in
    none) lib=$dir/libcuda.so.1 ;;
    old | broken) lib=$fake/$settings/libcuda.so.1 settings= ;;
    esac
    rm -f "$dir/log"
    FAKE_CUDA=$settings timeout 120 "$kiln" "$@" --cuda-lib "$lib" >"$dir/out" 2>"$dir/err" </dev/null; code=$?
    if [ $code != "$want" ] || ! grep -qE -- "$pattern" "$dir/$stream"; then
        wrong "$name: exit $code, expected $want; looking for /$pattern/ in $stream:"; head -5 "$dir/out" "$dir/err"
        return
    fi
    [ "$want" = 0 ] || [ "$1" = doctor ] || [ "$(grep -c '^kiln: error' "$dir/err")" = 1 ] || { wrong "$name: not one line of error"; head "$dir/err"; return; }
    if [ -e "$dir/log" ] && [ "$(sed -n '/^OBJECTIONS$/,$p' "$dir/log" | wc -l)" != 2 ]; then
        wrong "$name: the driver objects:"; sed -n '/^OBJECTIONS$/,$p' "$dir/log" | head; return
    fi
    passed=$((passed + 1))
}
called() { grep -cE "^$1( |\$)" "$dir/log"; }
run=(run "$model" -p "Once upon a time" -n 6 --temp 0 --ignore-eos -q --device)

check "no driver is one line and code 3"       3 err 'libcuda.so.1 was not found \(no NVIDIA driver on this machine\) \[K302\]' none "${run[@]}" cuda
check "doctor says why CUDA is off"            0 out '^note +cuda +CUDA is off: .*libcuda.so.1 was not found' none doctor
check "without a driver the CPU runs"          0 out '.' none "${run[@]}" cpu
check "doctor lists the GPUs"                  0 out '^ok +cuda:1 +Fake GPU 1, compute capability 8.0, 108 SMs, 8.00 GiB; kernels for sm_80' devices=2 doctor
check "a GPU that computes nothing fails doctor's test" 3 out '^problem +self-test +a kernel failed on cuda:0' "" doctor --device cuda
check "the library for products is named"      3 out '^ok +libraries +cuBLASLt 12\.4\.5' "" doctor --device cuda --cublas-lib "$fake/libcublasLt.so.12"
check "doctor names a GPU that is too old"     0 out '^note +cuda:0 .*7\.0 is below 7\.5' major=7 doctor
check "an old driver has its numbers"          3 err 'driver is too old: found CUDA 11\.4, expected 12\.0 or newer \[K302\]' driver=11040 "${run[@]}" cuda
check "doctor has them too"                    0 out '^note +cuda +CUDA is off: the driver is too old: found CUDA 11\.4' driver=11040 doctor
check "no GPU is told apart"                   3 err 'error 100: no NVIDIA GPU is there.* \[K302\]' devices=0 "${run[@]}" cuda
check "error 999 has a hint"                   3 err 'error 999: unknown error \[K302\]' fail=cuInit:1:999 "${run[@]}" cuda
check "a missing function is named"            3 err 'has no cuLinkCreate_v2 \[K302\]' broken "${run[@]}" cuda
check "a GPU that is not there"                3 err 'device cuda:2: there is 1 GPU \[K302\]' "" "${run[@]}" cuda:2
check "a name that is no GPU"                  1 err 'device cuda:x: no such device \[K302\]' "" "${run[@]}" cuda:x
check "a GPU that is too old"                  3 err 'compute capability 7\.0 \(expected 7\.5 or newer\) \[K302\]' major=7 "${run[@]}" cuda
check "a model runs"                           0 out '^' "" "${run[@]}" cuda
[ "$(called cuGraphLaunch)" = 6 ] || wrong "a prompt and five tokens are six graph launches, not $(called cuGraphLaunch)"
[ "$(called cuLinkComplete)" -ge 10 ] || wrong "the first start assembles, $(called cuLinkComplete) times"
check "a second start assembles nothing"       0 out '"compiled": 0' "" "${run[@]}" cuda --json
[ "$(called cuLinkComplete)" = 0 ] || wrong "the second start assembles $(called cuLinkComplete) times"
[ "$(called cuModuleLoadDataEx)" -ge 10 ] || wrong "the second start loads"
check "another GPU of several"                 0 out '"device": "cuda:1"' "devices=2" "${run[@]}" cuda:1 --json
check "launch by launch"                       0 out '^' "" "${run[@]}" cuda --no-cuda-graph
[ "$(called cuGraphLaunch)" = 0 ] || wrong "--no-cuda-graph launches graphs"
check "a driver without graphs and pool"       0 out '^' old "${run[@]}" cuda
[ "$(called cuLaunchKernel)" -ge 100 ] || wrong "an old driver launches one by one"
check "info says it is one graph"              0 out 'graph decode 1: .*one CUDA graph' "" info "$model" --graph --device cuda
check "too little memory has numbers"          3 err 'need .* GiB.*on cuda:0.*\[K301\]' memory=2500000 "${run[@]}" cuda
check "an allocation that fails has numbers"   3 err 'MiB could not be had on cuda:0 \(.* in use, .* of 8192\.0 MiB free\) \[K301\]' "fail=cuMemAllocAsync:3:2 fail=cuMemAllocAsync:3:2" "${run[@]}" cuda
check "PTX that is too new names both"         3 err 'too old for this PTX: version 8\.[0-9] needs CUDA 12\.[0-9], found .*222.*\[K305\]' ptx=78 "${run[@]}" cuda --no-cache
check "no assembler in the driver"             3 err 'kiln_embed cannot be assembled: PTX JIT compiler library not found.*\[K303\]' fail=cuLinkComplete:1:221 "${run[@]}" cuda --no-cache
check "a fault names its graph"                3 err 'graph decode 1 .*illegal memory access.*700\) \[K304\]' fail=run/kiln_sample:3:700 "${run[@]}" cuda
check "a fault names its kernel"               3 err 'kernel kiln_attend brought .*700\) \[K304\]' fail=run/kiln_attend:3:700 "${run[@]}" cuda --no-cuda-graph
check "a launch that is refused"               3 err 'cuda:0: cuGraphLaunch failed: too many resources.*701\) \[K303\]' fail=cuGraphLaunch:2:701 "${run[@]}" cuda
KILN_CUDA_LIB=$fake/libcuda.so.1 KILN_DEVICE=cuda timeout 60 "$kiln" "${run[@]:0:9}" >"$dir/out" 2>"$dir/err" || wrong "the environment names driver and device: $(cat "$dir/err")"
grep -q '^cuGraphLaunch' "$dir/log" || wrong "the environment's device was used"
LD_LIBRARY_PATH=$fake timeout 60 "$kiln" "${run[@]}" cuda >"$dir/out" 2>"$dir/err" || wrong "a driver on the library path is found: $(cat "$dir/err")"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
