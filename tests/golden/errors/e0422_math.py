import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = tl.sqrt(o)
    z = x.log()
    w = tl.softmax(o)

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:17: error[E0422]: `tl.sqrt` needs float32 or float64, got int32[128]
# help: `tl.sqrt(o.to(tl.float32))`
# expect: 10:9: error[E0422]: `tl.log` needs float32 or float64, got float16[128]
# help: `tl.log(x.to(tl.float32))`
# expect: 11:20: error[E0422]: `tl.softmax` needs a tile of floats, got int32[128]
