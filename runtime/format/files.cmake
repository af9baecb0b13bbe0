# Model files and tokenizers; paths relative to runtime/.
set(RUNTIME_FORMAT
    format/json.c format/blocks.c format/gguf.c format/safetensors.c format/config.c format/weights.c
    format/guard.c format/hfdir.c
    token/tokenizer.c token/vocab.c token/added.c token/merge.c token/spm.c token/bpe.c token/split.c
    token/normal.c token/decode.c
    token/from_gguf.c token/from_hf.c)
# What they need: jansson in json.c, PCRE2 in split.c, utf8proc in normal.c.
set(RUNTIME_FORMAT_LIBS kiln_lib_jansson kiln_lib_pcre2 kiln_lib_utf8proc m)
