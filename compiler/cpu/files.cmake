set(COMPILER_CPU
    access.c atomic.c convert.c cpu.c dot.c elem.c eval.c group.c math.c nest.c object.c plan.c prefetch.c product.c reduce.c region.c scan.c
    sort.c stream.c types.c ../llvm.c)
