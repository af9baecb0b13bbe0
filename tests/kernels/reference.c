// tests/kernels/reference.c - see reference.h. Written from the formulas, one row or one query at a time.
#include "tests/kernels/reference.h"

#include <math.h>
#include <stdlib.h>

/// A pointer argument; at is NULL for None.
typedef struct View {
    uint8_t *at;
    DType dtype;
    int64_t n;
} View;

static View view(const Case *c, const char *name)
{
    for (int32_t i = 0; i < c->card->spec.n_params; i++) {
        const SpecParam *p = &c->card->spec.params[i];
        const CaseBuffer *b = &c->buffers[i];
        if (!strcmp(p->name, name) && p->kind == SPEC_PTR)
            return (View){b->at, p->dtype, (int64_t)b->bytes / dtype_bytes(p->dtype)};
    }
    return (View){0};
}

static double get(View v, int64_t i)
{
    return dtype_load_f64(v.dtype, v.at + i * dtype_bytes(v.dtype));
}

static void set(View v, int64_t i, double x)
{
    dtype_store_f64(v.dtype, v.at + i * dtype_bytes(v.dtype), x);
}

static int64_t geti(View v, int64_t i)
{
    return (int64_t)get(v, i);
}

static double number(const Case *c, const char *name)
{
    return case_word(c, name)->number;
}

static int64_t integer(const Case *c, const char *name)
{
    return (int64_t)number(c, name);
}

static double *doubles(int64_t n)
{
    return calloc((size_t)n + 1, sizeof(double));
}

// ---- row by row ---------------------------------------------------------------------------------------

static void rmsnorm(Case *c)
{
    View y = view(c, "y"), x = view(c, "x"), r = view(c, "r"), g = view(c, "g"),
         ends = view(c, "ends");
    int64_t n = integer(c, "n"), sy = integer(c, "sy"), sx = integer(c, "sx"),
            sr = integer(c, "sr");
    double *v = doubles(n);
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++) {
        int64_t row = ends.at ? geti(ends, i) - 1 : i;
        double sum = 0;
        for (int64_t k = 0; k < n; k++) {
            v[k] = get(x, row * sx + k);
            if (r.at) v[k] += get(r, row * sr + k);
            sum += v[k] * v[k];
        }
        for (int64_t k = 0; k < n; k++) {
            if (r.at) set(x, row * sx + k, v[k]);
            set(y, i * sy + k, v[k] / sqrt(sum / (double)n + number(c, "eps")) * get(g, k));
        }
    }
    free(v);
}

static void silu_mul(Case *c)
{
    View y = view(c, "y"), gate = view(c, "gate"), up = view(c, "up");
    int64_t n = integer(c, "n");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++)
        for (int64_t k = 0; k < n; k++) {
            double z = get(gate, i * integer(c, "sg") + k);
            set(y, i * integer(c, "sy") + k, z / (1 + exp(-z)) * get(up, i * integer(c, "su") + k));
        }
}

static void quantize(Case *c)
{
    View q = view(c, "q"), s = view(c, "s"), sums = view(c, "c"), x = view(c, "x");
    int64_t n = integer(c, "n");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++)
        for (int64_t b = 0; b < n / 32; b++) {
            int64_t from = i * integer(c, "sx") + 32 * b, sum = 0;
            float amax = 0; // as the kernel does it: a code is a matter of one rounding
            for (int64_t k = 0; k < 32; k++)
                amax = fmaxf(amax, fabsf((float)get(x, from + k)));
            float inverse = 127.0f / (amax > 0 ? amax : 1);
            for (int64_t k = 0; k < 32; k++) {
                float code = floorf((float)get(x, from + k) * inverse + 0.5f);
                set(q, i * integer(c, "sq") + 32 * b + k, code);
                sum += (int64_t)code;
            }
            set(s, i * (n / 32) + b, amax / 127.0f);
            set(sums, i * (n / 32) + b, (double)sum);
        }
}

static void softmax(Case *c)
{
    View y = view(c, "y"), x = view(c, "x"), cols = view(c, "cols");
    int64_t sx = integer(c, "sx"), sy = integer(c, "sy");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++) {
        double top = -INFINITY, sum = 0;
        for (int64_t k = 0; k < geti(cols, i); k++)
            top = fmax(top, get(x, i * sx + k));
        for (int64_t k = 0; k < geti(cols, i); k++)
            sum += exp(get(x, i * sx + k) - top);
        for (int64_t k = 0; k < geti(cols, i); k++)
            set(y, i * sy + k, exp(get(x, i * sx + k) - top) / sum);
    }
}

/// Element k of row n of a matrix of width K: as it is stored, times its block's scale where there is one.
/// Bytes are Q4_0: block b of a row is 16 of them, weight i in the low nibble of byte i % 16, or in the high.
static double weight_at(View w, View scale, int64_t n, int64_t k, int64_t K)
{
    double code;
    if (w.dtype == DTYPE_U8) {
        int64_t byte = geti(w, (n * K + k) / 32 * 16 + k % 16);
        code = (double)((k % 32 < 16 ? byte : byte >> 4) & 15) - 8;
    } else {
        code = get(w, n * K + k);
    }
    return scale.at ? code * get(scale, (n * K + k) / 32) : code;
}

static void embed(Case *c)
{
    View y = view(c, "y"), table = view(c, "table"), scale = view(c, "scale"),
         token = view(c, "token");
    int64_t n = integer(c, "n");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++)
        for (int64_t k = 0; k < n; k++) {
            int64_t t = geti(token, i);
            bool known = t >= 0 && t < integer(c, "vocab");
            set(y, i * integer(c, "sy") + k, known ? weight_at(table, scale, t, k, n) : 0);
        }
}

static void linear(Case *c)
{
    View y = view(c, "y"), x = view(c, "x"), w = view(c, "w"), scale = view(c, "scale"),
         bias = view(c, "bias");
    int64_t N = integer(c, "N"), K = integer(c, "K");
    for (int64_t i = 0; i < geti(view(c, "rows"), 0); i++)
        for (int64_t n = 0; n < N; n++) {
            double sum = bias.at ? get(bias, n) : 0;
            for (int64_t k = 0; k < K; k++)
                sum += get(x, i * integer(c, "sx") + k) * weight_at(w, scale, n, k, K);
            set(y, i * integer(c, "sy") + n, sum);
        }
}

/// Where element k of row n of panels lies whose rows have `width` elements, `group` of them side by side.
static int64_t panel_at(int64_t n, int64_t k, int64_t width, int64_t group)
{
    return n / 16 * 16 * width + k / group * 16 * group + n % 16 * group + k % group;
}

/// One block of 32: the exact sum of its codes' products, then its scales.
static double panel_block(const Case *c, int64_t i, int64_t n, int64_t block)
{
    View x = view(c, "x"), w = view(c, "w");
    int64_t K = integer(c, "K"), blocks = K / 32, sum = 0;
    for (int64_t k = 32 * block; k < 32 * block + 32; k++) {
        int64_t code;
        if (w.dtype == DTYPE_U8) {
            code = geti(w, panel_at(n, 16 * block + k % 16, K / 2, 4));
            code = k % 32 < 16 ? code & 15 : code >> 4;
        } else {
            code = geti(w, panel_at(n, k, K, 4));
        }
        sum += code * geti(x, i * integer(c, "sx") + k);
    }
    if (w.dtype == DTYPE_U8) sum -= 8 * geti(view(c, "xc"), i * blocks + block);
    return (double)sum * get(view(c, "xs"), i * blocks + block) *
           get(view(c, "ws"), panel_at(n, block, blocks, 1));
}

static void panel(Case *c)
{
    View y = view(c, "y"), bias = view(c, "bias"), ws = view(c, "ws"), x = view(c, "x"),
         w = view(c, "w");
    int64_t N = integer(c, "N"), K = integer(c, "K"), pair = w.dtype == DTYPE_BF16 ? 2 : 1;
    for (int64_t i = 0; i < geti(view(c, "rows"), 0); i++)
        for (int64_t n = 0; n < N; n++) {
            double sum = bias.at ? get(bias, n) : 0;
            for (int64_t b = 0; ws.at && b < K / 32; b++)
                sum += panel_block(c, i, n, b);
            for (int64_t k = 0; !ws.at && k < K; k++)
                sum += get(x, i * integer(c, "sx") + k) *
                       get(w, panel_at(n, k, round_up(K, pair), pair));
            set(y, i * integer(c, "sy") + n, sum);
        }
}

/// Element (n, k) of panels of a K type: scale * code - minimum, in f64.
static double panel_k_weight(const Case *c, int64_t K, int64_t n, int64_t k)
{
    View w = view(c, "w"), wh = view(c, "wh"), mn = view(c, "mn");
    int64_t blocks = K / 32, block = k / 32, in = k % 32;
    int64_t code = geti(w, panel_at(n, 16 * block + k % 16, K / 2, 4)) >> (in < 16 ? 0 : 4) & 15;
    if (!mn.at) {
        int64_t bits = geti(wh, panel_at(n, 8 * block + in / 16 * 4 + k % 4, K / 4, 4));
        double d = get(view(c, "sd"), panel_at(n, k / 256, K / 256, 1));
        code += (bits >> k % 16 / 4 * 2 & 3) * 16 - 32;
        return d * get(view(c, "sc"), panel_at(n, k / 16, K / 16, 1)) * (double)code;
    }
    if (wh.at) code += (geti(wh, panel_at(n, 4 * block + k % 4, K / 8, 4)) >> in / 4 & 1) * 16;
    double d = get(view(c, "sd"), panel_at(n, k / 256 * 2, K / 128, 1));
    return d * get(view(c, "sc"), panel_at(n, block, blocks, 1)) * (double)code;
}

/// The minimum of a block of row n, which the sum of the block's codes of x multiplies.
static double panel_k_least(const Case *c, int64_t K, int64_t n, int64_t block)
{
    return get(view(c, "sd"), panel_at(n, block / 8 * 2 + 1, K / 128, 1)) *
           get(view(c, "mn"), panel_at(n, block, K / 32, 1));
}

static void panel_k(Case *c)
{
    View y = view(c, "y"), bias = view(c, "bias"), x = view(c, "x"), xs = view(c, "xs"),
         xc = view(c, "xc");
    int64_t N = integer(c, "N"), K = integer(c, "K"), blocks = K / 32;
    for (int64_t i = 0; i < geti(view(c, "rows"), 0); i++)
        for (int64_t n = 0; n < N; n++) {
            double sum = bias.at ? get(bias, n) : 0;
            for (int64_t k = 0; k < K; k++)
                sum += get(x, i * integer(c, "sx") + k) * get(xs, i * blocks + k / 32) *
                       panel_k_weight(c, K, n, k);
            for (int64_t b = 0; view(c, "mn").at && b < blocks; b++)
                sum -= panel_k_least(c, K, n, b) * get(xs, i * blocks + b) *
                       (double)geti(xc, i * blocks + b);
            set(y, i * integer(c, "sy") + n, sum);
        }
}

/// Element (t, k) of a table in panels with rows of n.
static double embedded(const Case *c, int64_t n, int64_t t, int64_t k)
{
    View w = view(c, "w"), sc = view(c, "sc");
    if (view(c, "sd").at)
        return panel_k_weight(c, n, t, k) - (view(c, "mn").at ? panel_k_least(c, n, t, k / 32) : 0);
    if (w.dtype == DTYPE_BF16) return get(w, panel_at(t, k, round_up(n, 2), 2));
    if (!sc.at) return get(w, panel_at(t, k, n, 1));
    double scale = get(sc, panel_at(t, k / 32, n / 32, 1));
    if (w.dtype == DTYPE_I8) return scale * get(w, panel_at(t, k, n, 4));
    int64_t byte = geti(w, panel_at(t, k / 32 * 16 + k % 16, n / 2, 4));
    return scale * (double)((byte >> (k % 32 < 16 ? 0 : 4) & 15) - 8);
}

static void embed_panel(Case *c)
{
    View y = view(c, "y"), token = view(c, "token");
    int64_t n = integer(c, "n");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++)
        for (int64_t k = 0; k < n; k++) {
            int64_t t = geti(token, i);
            bool known = t >= 0 && t < integer(c, "vocab");
            set(y, i * integer(c, "sy") + k, known ? embedded(c, n, t, k) : 0);
        }
}

// ---- pages --------------------------------------------------------------------------------------------

/// The list of (batch sequence, head): its length, and the page of entry `place`.
typedef struct List {
    int64_t len, first, spread;
} List;

static List list_of(const Case *c, int64_t seq, int64_t head)
{
    int64_t slot = geti(view(c, "slot_of"), seq), at = integer(c, "layer0") + head;
    int64_t list = geti(view(c, "list_of"), slot * integer(c, "per") + at);
    return (List){geti(view(c, "list_len"), list), list * integer(c, "max_pages"),
                  geti(view(c, "list_spread"), list) * at};
}

static int64_t page_of(const Case *c, const List *l, int64_t place)
{
    return geti(view(c, "list_pages"), l->first + place / integer(c, "PAGE")) + l->spread;
}

/// Where element d of token o of a page's keys lies.
static int64_t key_at(const Case *c, int64_t o, int64_t d)
{
    return integer(c, "DIM_MAJOR") ? d * integer(c, "PAGE") + o : o * integer(c, "HEAD_DIM") + d;
}

static void rotate(const Case *c, const double *in, double *out, int64_t pos)
{
    int64_t D = integer(c, "HEAD_DIM"), R = integer(c, "ROPE_DIM");
    bool pairs = integer(c, "INTERLEAVED");
    memcpy(out, in, (size_t)D * sizeof *out);
    for (int64_t i = 0; i < R / 2; i++) {
        int64_t a = pairs ? 2 * i : i, b = pairs ? 2 * i + 1 : i + R / 2;
        double angle = (float)pos * (float)get(view(c, "steps"), i);
        out[a] = in[a] * cos(angle) - in[b] * sin(angle);
        out[b] = in[a] * sin(angle) + in[b] * cos(angle);
    }
}

/// Stores a head as numbers, or as codes and the scale that it returns.
static double store_head(const Case *c, View page, int64_t base, bool is_key, int64_t o,
                         const double *x, bool coded)
{
    int64_t D = integer(c, "HEAD_DIM");
    double amax = 0;
    for (int64_t d = 0; d < D; d++)
        amax = fmax(amax, fabs(x[d]));
    for (int64_t d = 0; d < D; d++) {
        int64_t at = base + (is_key ? key_at(c, o, d) : o * D + d);
        set(page, at, coded ? floor(x[d] * 127 / (amax > 0 ? amax : 1) + 0.5) : x[d]);
    }
    return amax / 127;
}

static void rope_append(Case *c)
{
    View q = view(c, "q"), k = view(c, "k"), v = view(c, "v"), starts = view(c, "q_start"),
         k_scale = view(c, "k_scale");
    int64_t D = integer(c, "HEAD_DIM"), G = integer(c, "G"), page_s = integer(c, "page_s");
    double *in = doubles(D), *out = doubles(D);
    for (int64_t t = 0; t < MIN(c->grid.x, geti(view(c, "tokens"), 0)); t++)
        for (int64_t h = 0; h < c->grid.y * integer(c, "HEADS"); h++) {
            int64_t pos = geti(view(c, "pos"), t), seq = geti(view(c, "seq_of"), t);
            for (int64_t g = 0; g < G; g++) {
                int64_t at = t * integer(c, "sq") + (h * G + g) * D;
                for (int64_t d = 0; d < D; d++)
                    in[d] = get(q, at + d);
                rotate(c, in, out, pos);
                for (int64_t d = 0; d < D; d++)
                    set(q, at + d, out[d]);
            }
            List l = list_of(c, seq, h);
            int64_t place = l.len - (geti(starts, seq + 1) - t), o = place % integer(c, "PAGE"),
                    page = page_of(c, &l, place);
            for (int64_t d = 0; d < D; d++)
                in[d] = get(k, t * integer(c, "sk") + h * D + d);
            rotate(c, in, out, pos);
            double s = store_head(c, view(c, "k_page"), page * integer(c, "page_k"), true, o, out,
                                  k_scale.at);
            if (k_scale.at) set(k_scale, page * page_s + o, s);
            for (int64_t d = 0; d < D; d++)
                in[d] = get(v, t * integer(c, "sv") + h * D + d);
            s = store_head(c, view(c, "v_page"), page * integer(c, "page_v"), false, o, in,
                           k_scale.at);
            if (k_scale.at) set(view(c, "v_scale"), page * page_s + o, s);
        }
    free(in);
    free(out);
}

// ---- attention ----------------------------------------------------------------------------------------

/// One query row over the pages `first .. end` of its visits; keys at place < sees.
static void attend_row(Case *c, const List *l, int64_t q_at, int64_t out_at, int64_t visits,
                       int64_t first, int64_t end, int64_t sees)
{
    int64_t D = integer(c, "HEAD_DIM"), P = integer(c, "PAGE"), n = 0;
    View kp = view(c, "k_page"), vp = view(c, "v_page"), ks = view(c, "k_scale"),
         vs = view(c, "v_scale"), o = view(c, "o");
    double *score = doubles((end - first) * P), *out = doubles(D), top = -INFINITY, total = 0;
    int64_t *place = calloc((size_t)((end - first) * P + 1), sizeof *place);
    for (int64_t i = first; i < end; i++) {
        int64_t logical = visits >= 0 ? geti(view(c, "visit"), visits + i) : i;
        for (int64_t p = logical * P; p < (logical + 1) * P && p < sees; p++) {
            int64_t page = page_of(c, l, p);
            double s = 0;
            for (int64_t d = 0; d < D; d++)
                s += get(view(c, "q"), q_at + d) *
                     get(kp, page * integer(c, "page_k") + key_at(c, p % P, d));
            if (ks.at) s *= get(ks, page * integer(c, "page_s") + p % P);
            score[n] = s * number(c, "scale");
            top = fmax(top, score[n]);
            place[n++] = p;
        }
    }
    for (int64_t j = 0; j < n; j++) {
        int64_t page = page_of(c, l, place[j]);
        double p = exp(score[j] - top),
               vscale = vs.at ? get(vs, page * integer(c, "page_s") + place[j] % P) : 1;
        total += p;
        for (int64_t d = 0; d < D; d++)
            out[d] += p * vscale * get(vp, page * integer(c, "page_v") + place[j] % P * D + d);
    }
    for (int64_t d = 0; d < D; d++)
        set(o, out_at * D + d, n ? out[d] / total : 0);
    if (view(c, "lse").at) set(view(c, "lse"), out_at, n ? top + log(total) : -INFINITY);
    free(place);
    free(out);
    free(score);
}

static void attend_head(Case *c, int64_t seq, int64_t head)
{
    View starts = view(c, "q_start");
    int64_t q0 = geti(starts, seq), n_q = geti(starts, seq + 1) - q0, G = integer(c, "G"),
            M = integer(c, "BLOCK_M");
    int64_t splits = integer(c, "SPLITS"), heads = c->grid.y;
    List l = list_of(c, seq, head);
    for (int64_t r = 0; r < n_q * G; r++) {
        int64_t block = r / M, last = (MIN(block * M + M, n_q * G) - 1) / G, visits = -1;
        int64_t n_visit = div_up(MAX(l.len - n_q + last + 1, 0), integer(c, "PAGE"));
        if (view(c, "visit").at) {
            int64_t row = (seq * heads + head) * integer(c, "n_blocks") + block;
            visits = row * integer(c, "max_visit");
            n_visit = geti(view(c, "visit_n"), row);
        }
        int64_t share = div_up(n_visit, splits), t = q0 + r / G, h = head * G + r % G;
        for (int64_t s = 0; s < splits; s++)
            attend_row(c, &l, t * integer(c, "sq") + h * integer(c, "HEAD_DIM"),
                       (t * heads * G + h) * splits + s, visits, s * share,
                       MAX(MIN((s + 1) * share, n_visit), s * share), l.len - n_q + r / G + 1);
    }
}

static void attend(Case *c)
{
    for (int64_t s = 0; s < MIN(c->grid.z, geti(view(c, "seqs"), 0)); s++)
        for (int64_t h = 0; h < c->grid.y; h++)
            attend_head(c, s, h);
}

static void attend_merge(Case *c)
{
    View o = view(c, "o"), lse = view(c, "lse"), part = view(c, "part"), logs = view(c, "part_lse");
    int64_t D = integer(c, "HEAD_DIM"), S = integer(c, "SPLITS"), heads = integer(c, "heads");
    for (int64_t row = 0; row < MIN(c->grid.x, geti(view(c, "tokens"), 0)) * heads; row++) {
        double top = -INFINITY, total = 0;
        for (int64_t s = 0; s < S; s++)
            top = fmax(top, get(logs, row * S + s));
        for (int64_t s = 0; s < S && top > -INFINITY; s++)
            total += exp(get(logs, row * S + s) - top);
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t s = 0; s < S && total > 0; s++)
                sum += exp(get(logs, row * S + s) - top) / total * get(part, (row * S + s) * D + d);
            set(o, row * D + d, sum);
        }
        if (lse.at) set(lse, row, total > 0 ? top + log(total) : -INFINITY);
    }
}

// ---- sampling -----------------------------------------------------------------------------------------

typedef struct Entry {
    double logit;
    int64_t id;
} Entry;

static int best_first(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/// Candidates above -inf of row `i`, best first; ties by id. @return how many
static int64_t candidates(const Case *c, int64_t i, Entry **out)
{
    View logits = view(c, "logits"), ends = view(c, "ends");
    int64_t row = ends.at ? geti(ends, i) - 1 : i, n = 0, vocab = integer(c, "vocab");
    *out = calloc((size_t)vocab + 1, sizeof **out);
    for (int64_t k = 0; k < vocab; k++) {
        double x = get(logits, row * integer(c, "sx") + k);
        if (x > -INFINITY) (*out)[n++] = (Entry){x, k};
    }
    qsort(*out, (size_t)n, sizeof **out, best_first);
    return n;
}

static void argmax(Case *c)
{
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++) {
        Entry *e;
        int64_t n = candidates(c, i, &e);
        set(view(c, "token"), i, n ? (double)e[0].id : -1);
        free(e);
    }
}

static double philox_uniform(uint64_t seed, uint32_t step)
{
    uint32_t a[4] = {step, 0, 0, 0}, k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t x = (uint64_t)a[0] * 0xD2511F53u, y = (uint64_t)a[2] * 0xCD9E8D57u;
        uint32_t next[4] = {(uint32_t)(y >> 32) ^ a[1] ^ k0, (uint32_t)y,
                            (uint32_t)(x >> 32) ^ a[3] ^ k1, (uint32_t)x};
        memcpy(a, next, sizeof a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (a[0] >> 8) * 0x1p-24;
}

static int by_id(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/// Cuts the candidates of row i down by top-k, top-p and min-p. @return how many are left
static int64_t filter(const Case *c, int64_t i, const Entry *e, int64_t n)
{
    double t = get(view(c, "temperature"), i), p = get(view(c, "top_p"), i),
           least = get(view(c, "min_p"), i);
    double scale = integer(c, "TEMPERATURE_LAST") ? 1 : 1 / t, total = 0, mass = 0;
    int64_t k = geti(view(c, "top_k"), i), keep = 0;
    if (k > 0 && k < n) n = k;
    for (int64_t j = 0; j < n; j++)
        total += exp((e[j].logit - e[0].logit) * scale);
    while (p < 1 && keep < n && mass < p * total)
        mass += exp((e[keep++].logit - e[0].logit) * scale);
    if (p < 1) n = MAX(keep, 1);
    while (least > 0 && n > 1 && e[n - 1].logit < e[0].logit + log(least) / scale)
        n--;
    return n;
}

static void sample(Case *c)
{
    View step = view(c, "step"), token = view(c, "token");
    for (int64_t i = 0; i < MIN(c->grid.x, geti(view(c, "rows"), 0)); i++) {
        Entry *e;
        int64_t n = candidates(c, i, &e), chosen = n ? e[0].id : -1;
        double t = get(view(c, "temperature"), i), total = 0, mass = 0;
        if (n && t > 0) {
            double top = e[0].logit;
            n = filter(c, i, e, n);
            qsort(e, (size_t)n, sizeof *e, by_id);
            for (int64_t j = 0; j < n; j++)
                total += exp((e[j].logit - top) / t);
            double goal = total * philox_uniform((uint64_t)geti(view(c, "seed"), i),
                                                 step.at ? (uint32_t)geti(step, i) : 0);
            chosen = -1;
            for (int64_t j = 0; j < n && chosen < 0; j++) {
                mass += exp((e[j].logit - top) / t);
                if (mass > goal || j == n - 1) chosen = e[j].id;
            }
        }
        set(token, i, (double)chosen);
        free(e);
    }
}

static const struct {
    const char *kernel;
    Reference *run;
} references[] = {
    {"rmsnorm", rmsnorm},
    {"silu_mul", silu_mul},
    {"softmax", softmax},
    {"quantize", quantize},
    {"embed", embed},
    {"embed_panel", embed_panel},
    {"gemv", linear},
    {"gemm", linear},
    {"gemv_dot", linear},
    {"panel", panel},
    {"panel_k", panel_k},
    {"attend", attend},
    {"attend_merge", attend_merge},
    {"argmax", argmax},
    {"rope_append", rope_append},
    {"sample", sample},
};

Reference *reference_of(const char *kernel)
{
    for (int32_t i = 0; i < COUNT_OF(references); i++)
        if (!strcmp(references[i].kernel, kernel)) return references[i].run;
    return NULL;
}
