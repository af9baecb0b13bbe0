set(ir_layout_files gf2.c layout.c layout_text.c swizzle.c)
