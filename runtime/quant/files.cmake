# Weights as kernels want them; paths relative to runtime/.
set(RUNTIME_QUANT quant/pack.c quant/pack_k.c)
