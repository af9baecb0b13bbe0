"""gpu_peers.py   the same shapes by Triton (our own kernel files), PyTorch, cuBLAS and cuDNN, as JSON lines

    python3 gpu_peers.py --out DIR [--seconds 100] [--quick]

kiln_gpu_suite writes this file and DIR/kernels/ and runs it after its own stages; the lines are appended to
DIR/suite.jsonl with the stages, kernels, types and shapes of its own, so that they meet in one table. Needs
torch with a GPU (exit status 4 without) and, for the Triton rows, triton. Times are CUDA events around captured
graphs of R calls, R so that a region takes 2 ms or more; buffers rotate over 4 L2 caches' worth of sets.
"""
import argparse
import importlib.util
import json
import math
import pathlib
import sys
import time

BEGIN = time.monotonic()
COLD_BYTES = 240 << 20


class Out:
    def __init__(self, folder, seconds, quick):
        self.file = open(pathlib.Path(folder) / "suite.jsonl", "a")
        self.kernels, self.end, self.quick = pathlib.Path(folder) / "kernels", BEGIN + seconds, quick

    def late(self):
        return time.monotonic() > self.end

    def line(self, **fields):
        self.file.write(json.dumps(dict(v=1, t=round(time.monotonic() - BEGIN, 1), **fields), separators=(",", ":")) + "\n")
        self.file.flush()

    def miss(self, what, error):
        self.line(stage="peers", missed=what, why=f"{type(error).__name__}: {error}"[:300])


def region(torch, run, count):
    """Microseconds per round of `count` rounds."""
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record()
    for _ in range(count):
        run()
    b.record()
    b.synchronize()
    return a.elapsed_time(b) * 1e3 / count


def measure(torch, calls, regions=11):
    """The calls of several buffer sets in turn, as one graph where that can be captured."""
    for c in calls[:3]:
        c()
    torch.cuda.synchronize()
    is_graph, run = False, lambda: [c() for c in calls]
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        is_graph, run = True, graph.replay
    except RuntimeError:
        torch.cuda.synchronize()
    one = max(region(torch, run, 2), 0.5)
    count = int(min(max(2000 / one, 20 / len(calls), 1), 2000))
    region(torch, run, count)
    us = sorted(region(torch, run, count) / len(calls) for _ in range(regions))
    return dict(us=dict(med=us[len(us) // 2], p10=us[len(us) // 10], p90=us[-1 - len(us) // 10], min=us[0]),
                launches=count * len(calls), graph=is_graph)


def rate(times, nbytes, flops):
    us = max(times["us"]["med"], 1e-3)
    more = {}
    if nbytes:
        more["gbs"] = nbytes / us * 1e-3
    if flops:
        more["tflops"] = flops / us * 1e-6
    return more


def record(out, torch, stage, kernel, impl, shape, calls, nbytes=0, flops=0, dtype="bf16", **more):
    if out.late():
        return
    try:
        with torch.inference_mode():
            times = measure(torch, calls, 3 if out.quick else 11)
        out.line(stage=stage, kernel=kernel, impl=impl, dtype=dtype, shape=shape, sets=len(calls), bytes=nbytes, flops=flops,
                 **times, **rate(times, nbytes, flops), **more)
    except Exception as error:  # one row is lost, not the run
        out.miss(f"{impl} {kernel} {shape}", error)
        torch.cuda.synchronize()


def sets_for(nbytes, most=16):
    return max(1, min(most, math.ceil(COLD_BYTES / max(nbytes, 1))))


def bf16(torch, *shape, scale=1.0):
    return (torch.randn(*shape, device="cuda") * scale).to(torch.bfloat16)


def i32(torch, values):
    return torch.tensor(values, dtype=torch.int32, device="cuda")


# ---- rows ---------------------------------------------------------------------------------------------

def streaming(out, torch, tri):
    F = torch.nn.functional
    for rows, n in [(4, 256)] if out.quick else [(8192, 2048), (8192, 4096), (8192, 8192), (1, 4096)]:
        shape = dict(rows=rows, n=n)
        warps, block = 16 if n >= 8192 else 8 if n >= 4096 else 4, 1 << (n - 1).bit_length()
        count = i32(torch, [rows])
        k = 1 if rows == 1 else sets_for(6 * rows * n)
        sets = [[bf16(torch, rows, n) for _ in range(3)] for _ in range(k)]
        g, eps = bf16(torch, n), 1e-5
        nbytes = 2 * rows * n
        add_norm = torch.compile(lambda x, r: F.rms_norm(x + r, (n,), g, eps), mode="max-autotune-no-cudagraphs", dynamic=False)
        record(out, torch, "streaming", "rmsnorm+residual", "torch", shape,
               [lambda s=s: F.rms_norm(s[0].add_(s[1]), (n,), g, eps) for s in sets], 4 * nbytes)
        record(out, torch, "streaming", "rmsnorm+residual", "torch.compile", shape, [lambda s=s: add_norm(s[0], s[1]) for s in sets], 4 * nbytes)
        record(out, torch, "streaming", "silu*mul", "torch", shape, [lambda s=s: F.silu(s[0]) * s[1] for s in sets], 3 * nbytes)
        act = torch.compile(lambda a, b: F.silu(a) * b, mode="max-autotune-no-cudagraphs", dynamic=False)
        record(out, torch, "streaming", "silu*mul", "torch.compile", shape, [lambda s=s: act(s[0], s[1]) for s in sets], 3 * nbytes)
        record(out, torch, "streaming", "softmax", "torch", shape, [lambda s=s: torch.softmax(s[0], -1) for s in sets], 2 * nbytes)
        if not tri:
            continue
        cols = i32(torch, [n] * rows)
        norm, silu, soft = tri("rmsnorm"), tri("silu_mul"), tri("softmax")
        record(out, torch, "streaming", "rmsnorm+residual", "triton", shape,
               [lambda s=s: norm.rmsnorm[(rows,)](s[2], s[0], s[1], g, count, None, n, eps, n, n, n, BLOCK=block, num_warps=warps)
                for s in sets], 4 * nbytes)
        part = min(block, 4096)
        record(out, torch, "streaming", "silu*mul", "triton", shape,
               [lambda s=s: silu.silu_mul[(rows, -(-n // part))](s[2], s[0], s[1], count, n, n, n, n, BLOCK=part, num_warps=warps)
                for s in sets], 3 * nbytes)
        record(out, torch, "streaming", "softmax", "triton", shape,
               [lambda s=s: soft.softmax[(rows,)](s[2], s[0], cols, count, n, n, BLOCK=block, num_warps=warps) for s in sets], 2 * nbytes)


# ---- products -----------------------------------------------------------------------------------------

GEMM_CONFIGS = [(128, 128, 32, 4, 4, False), (128, 128, 64, 8, 3, False), (128, 256, 32, 8, 4, False), (128, 64, 64, 4, 4, False),
                (64, 64, 64, 4, 4, True), (64, 128, 64, 4, 4, True), (16, 128, 64, 4, 4, True)]


def gemm(out, torch, tri):
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    shapes = [(64, 64, 64)] if out.quick else [(1024,) * 3, (2048,) * 3, (4096,) * 3, (8192,) * 3, (16, 14336, 4096), (64, 14336, 4096),
                                                (256, 14336, 4096)]
    for M, N, K in shapes:
        if out.late():
            return
        shape, flops, nbytes = dict(M=M, N=N, K=K), 2 * M * N * K, 2 * (M * K + N * K + M * N)
        sets = [(bf16(torch, M, N), bf16(torch, M, K), bf16(torch, N, K)) for _ in range(sets_for(nbytes, 8))]
        record(out, torch, "gemm", "gemm", "torch.mm", shape, [lambda s=s: torch.mm(s[1], s[2].t(), out=s[0]) for s in sets], nbytes, flops)
        if not tri:
            continue
        file, rows, best = tri("gemm"), i32(torch, [M]), None
        for bm, bn, bk, warps, stages, small in GEMM_CONFIGS:  # tuned once on one set, then fixed
            if small != (M < 512) or out.late():
                continue
            def call(s, bm=bm, bn=bn, bk=bk, warps=warps, stages=stages):
                file.gemm[(-(-M // bm), -(-N // bn))](s[0], s[1], s[2], None, None, rows, N, K, N, K, BLOCK_M=bm, BLOCK_N=bn, BLOCK_K=bk,
                                                      EVEN_K=K % bk == 0, num_warps=warps, num_stages=stages)
            try:
                call(sets[0])
                us = min(region(torch, lambda: call(sets[0]), 5) for _ in range(3))
            except Exception as error:
                out.miss(f"triton gemm {bm}x{bn}x{bk}", error)
                continue
            if best is None or us < best[0]:
                best = us, call, dict(BM=bm, BN=bn, BK=bk, warps=warps, stages=stages)
        if best:
            record(out, torch, "gemm", "gemm", "triton", shape, [lambda s=s: best[1](s) for s in sets], nbytes, flops, config=best[2])


# ---- attention ----------------------------------------------------------------------------------------

def kiln_shape(B, Nq, Nk, Hq, Hkv, D, P):
    return dict(B=B, Nq=Nq, Nk=Nk, Hq=Hq, Hkv=Hkv, D=D, P=P, causal=True)


def sdpa(torch, backend, q, k, v, causal):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    with sdpa_kernel(getattr(SDPBackend, backend)):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


def triton_attend(torch, file, B, Nq, Nk, Hq, Hkv, D, P, splits, block_m):
    """Our attend over pages in random order, and the merge of its splits: one call."""
    G, rows, pages = Hq // Hkv, B * Nq * Hq, -(-Nk // P)
    blocks = -(-Nq * G // block_m)
    order = torch.randperm(B * pages, device="cuda").reshape(B, 1, pages).to(torch.int32)
    tables = dict(q_start=i32(torch, [i * Nq for i in range(B + 1)]), slot_of=i32(torch, range(B)), seqs=i32(torch, [B]),
                  list_of=i32(torch, [i // Hkv * Hkv for i in range(B * Hkv)]), list_len=i32(torch, [Nk] * (B * Hkv)),
                  list_pages=(order * Hkv).expand(B, Hkv, pages).contiguous(), list_spread=i32(torch, [int(i % Hkv == 0) for i in range(B * Hkv)]))
    tokens, size = i32(torch, [B * Nq]), 2 * P * D

    def one():
        q, kv, y = bf16(torch, rows * D, scale=1.4), bf16(torch, B * Hkv * pages * size, scale=1.4), bf16(torch, rows * D)
        o = torch.empty(rows * splits * D, device="cuda") if splits > 1 else y
        lse = torch.empty(rows * splits, device="cuda") if splits > 1 else None

        def call():
            file.attend[(blocks * splits, Hkv, B)](
                o, lse, q, kv, kv[P * D:], None, None, **tables, visit=None, visit_n=None, max_visit=0, n_blocks=blocks, per=Hkv, layer0=0,
                max_pages=pages, sq=Hq * D, page_k=size, page_v=size, page_s=0, scale=D ** -0.5, G=G, HEAD_DIM=D, PAGE=P, DIM_MAJOR=False,
                SPLITS=splits, BLOCK_M=block_m, BLOCK_D=D, num_warps=4)
            if splits > 1:
                file.attend_merge[(B * Nq, Hq)](y, None, o, lse, tokens, Hq, HEAD_DIM=D, SPLITS=splits, BLOCK_D=D, num_warps=4)
        return call
    return one


def attention(out, torch, tri):
    shapes = [(1, 40, 4, 2, 64)] if out.quick else [(4, 4096, 32, 32, 64), (1, 16384, 32, 32, 64), (4, 4096, 16, 16, 128), (1, 16384, 16, 16, 128),
                                                    (4, 4096, 32, 8, 128)]
    for B, N, Hq, Hkv, D in shapes:
        if out.late():
            return
        shape, flops = kiln_shape(B, N, N, Hq, Hkv, D, 32), 2 * D * Hq * B * N * (N + 1)
        q, k, v = bf16(torch, B, Hq, N, D, scale=1.4), bf16(torch, B, Hkv, N, D, scale=1.4), bf16(torch, B, Hkv, N, D)
        for impl, backend in [("cudnn", "CUDNN_ATTENTION"), ("flash", "FLASH_ATTENTION")]:
            record(out, torch, "attention", "attend prompt", impl, shape, [lambda b=backend: sdpa(torch, b, q, k, v, True)], 0, flops)
        if tri:
            record(out, torch, "attention", "attend prompt", "triton", shape,
                   [triton_attend(torch, tri("attention"), B, N, N, Hq, Hkv, D, 32, 1, 64)()], 0, flops)


def paged(out, torch, tri):
    shapes = [(2, 70, 2)] if out.quick else [(1, 2048, 32), (8, 2048, 4), (32, 2048, 1), (64, 2048, 1), (1, 32768, 32), (8, 32768, 4), (32, 32768, 1),
                                             (1, 131072, 32), (8, 131072, 8)]
    Hq, Hkv, D = (4, 2, 64) if out.quick else (32, 8, 128)
    for B, N, splits in shapes:
        if out.late():
            return
        shape, nbytes = kiln_shape(B, 1, N, Hq, Hkv, D, 32), 4 * B * N * Hkv * D
        sets = [(bf16(torch, B, Hq, 1, D), bf16(torch, B, Hkv, N, D), bf16(torch, B, Hkv, N, D)) for _ in range(sets_for(nbytes, 8))]
        for impl, backend in [("cudnn", "CUDNN_ATTENTION"), ("flash", "FLASH_ATTENTION")]:
            record(out, torch, "paged", "attend paged", impl, shape, [lambda s=s, b=backend: sdpa(torch, b, *s, False) for s in sets], nbytes,
                   note="contiguous keys and values")
        del sets
        if tri:
            make = triton_attend(torch, tri("attention"), B, 1, N, Hq, Hkv, D, 32, splits, 16)
            record(out, torch, "paged", "attend paged", "triton", shape, [make() for _ in range(sets_for(nbytes, 8))], nbytes)


# ---- a model's weights read by cuBLAS -------------------------------------------------------------------

def chain(out, torch):
    """The products of a decode step and nothing else, in one graph: what a library alone would reach."""
    for name, layers, width, kv, ff, vocab in [("toy", 2, 64, 32, 128, 320)] if out.quick else [("1B", 16, 2048, 512, 8192, 128256)]:
        weights = [bf16(torch, n, k, scale=0.02) for _ in range(layers)
                   for n, k in [(width + 2 * kv, width), (width, width), (2 * ff, width), (width, ff)]] + [bf16(torch, vocab, width, scale=0.02)]
        nbytes = sum(w.numel() * 2 for w in weights)
        for batch in [1, 2] if out.quick else [1, 8, 64]:
            xs = {w.shape[1]: bf16(torch, batch, w.shape[1]) for w in weights}
            def step():
                for w in weights:
                    torch.mm(xs[w.shape[1]], w.t())
            record(out, torch, "decode", f"{name} bf16", "cublas chain", dict(B=batch), [step], nbytes)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--seconds", type=float, default=100)
    ap.add_argument("--quick", action="store_true")
    opt = ap.parse_args()
    try:
        import torch
        if not torch.cuda.is_available():
            return 4
    except ImportError:
        return 4
    out = Out(opt.out, opt.seconds, opt.quick)
    torch.manual_seed(1)
    versions = [f"torch {torch.__version__}", f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}"]
    tri, files = None, {}
    try:
        import triton
        versions.append(f"triton {triton.__version__}")

        def tri(name):
            if name not in files:
                spec = importlib.util.spec_from_file_location(name, out.kernels / f"{name}.py")
                files[name] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(files[name])
            return files[name]
    except ImportError:
        versions.append("no triton")
    out.line(stage="environment", name="peers", text=", ".join(versions))
    for stage in (lambda: gemm(out, torch, tri), lambda: paged(out, torch, tri), lambda: attention(out, torch, tri), lambda: chain(out, torch),
                  lambda: streaming(out, torch, tri)):
        try:
            stage()
        except Exception as error:
            out.miss("a stage of peers", error)
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
