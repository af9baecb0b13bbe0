"""names that both arms of a run-time `if` bind are its results; a compile-time `if` leaves no trace"""
import triton
import triton.language as tl


# kiln: k(p: *f32, bias: None, n: i32, FLAG=True)
@triton.jit
def k(p, bias, n, FLAG: tl.constexpr):
    x = tl.load(p)
    y = x
    if n > 3:
        y = x * 2.0
        z, w = 1, (x, 2.0)
    else:
        z, w = 2, (y, 3.0)
    if bias is not None:
        y += tl.load(bias)
    if FLAG and n > 4:
        y = y + w[0] * w[1]
    t = y if n > 5 else x
    tl.store(p, t + z)
