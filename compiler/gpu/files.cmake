set(COMPILER_GPU gpu.c anchors.c propagate.c in_layout.c show_layouts.c convert.c scratch.c shared.c barriers.c pipeline.c async.c
    lower.c lower_elem.c lower_cast.c lower_math.c lower_shape.c lower_mem.c lower_atomic.c
    lower_reduce.c lower_scan.c lower_convert.c lower_dot.c lower_sort.c
    intrinsic.c nvptx.c emu.c emu_ops.c emu_memory.c emu_shadow.c emu_order.c emu_count.c emu_mma.c words.c ldmatrix.c mma.c select_dot.c emu_async.c)
