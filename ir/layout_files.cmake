set(IR_LAYOUT gf2.c layout.c layout_text.c swizzle.c)
