import triton
import triton.language as tl


@triton.jit
def k(p, n, BLOCK: tl.constexpr):
    o = tl.arange(0, BLOCK)
    x = tl.load(p + o)
    y = lambda a: a
    z = {1: 2}
    w = [i for i in (1, 2)]
    v = x @ x
    global p
    del x
    import os
    try:
        pass
    except E:
        pass
    def g():
        pass

# spec: k(p: *f16, n: i32, BLOCK=128)
# expect: 9:9: error[E0110]: lambda is not supported in a kernel
# help: define a @triton.jit function
# expect: 10:9: error[E0110]: a dict is not supported in a kernel
# help: use separate names or a tuple
# expect: 11:9: error[E0110]: a comprehension is not supported in a kernel
# help: use `tl.static_range`
# expect: 12:9: error[E0110]: `@` is not supported in a kernel
# help: use `tl.dot`
# expect: 13:5: error[E0110]: `global` is not supported in a kernel
# expect: 14:5: error[E0110]: `del` is not supported in a kernel
# expect: 15:5: error[E0110]: `import` is not supported in a kernel
# help: import at module level
# expect: 16:5: error[E0110]: `try` is not supported in a kernel
# help: kernels have no exceptions
# expect: 20:5: error[E0110]: `def` is not supported in a kernel
# help: define the function at module level with @triton.jit
