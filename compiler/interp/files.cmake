set(COMPILER_INTERP interp.c interp_tile.c interp_mem.c)
