#include "compiler/constant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ITEMS = 1 << 16, MAX_TEXT = 1 << 20 }; // of one tuple, of one string

Val val_tuple(Arena *a, int32_t n, const Val *items)
{
    Val *copy = arena_array(a, Val, n ? n : 1);
    if (n) memcpy(copy, items, (size_t)n * sizeof(Val));
    return (Val){.kind = VAL_TUPLE, .n = n, .items = copy};
}

bool val_is_constexpr(Val v)
{
    if (v.kind == VAL_RUN || v.kind == VAL_ABSENT) return false;
    if (v.kind == VAL_TUPLE)
        for (int32_t i = 0; i < v.n; i++)
            if (!val_is_constexpr(v.items[i])) return false;
    return true;
}

double val_as_float(Val v)
{
    return v.kind == VAL_FLOAT ? v.f : (double)val_as_int(v);
}

bool val_fits_i32(Val v, int32_t *out)
{
    if (!val_is_integral(v)) return false;
    Int128 i = val_as_int(v);
    *out = (int32_t)i;
    return i >= INT32_MIN && i <= INT32_MAX;
}

// ---- arithmetic -------------------------------------------------------------------------------

static Val fault_at(ConstFault *fault, const char *code, const char *text)
{
    *fault = (ConstFault){code, text};
    return val_of(VAL_ERROR);
}

static Val too_big(ConstFault *fault)
{
    return fault_at(fault, "E0306", "this integer constant needs more than 128 bits");
}

static Val int_power(Int128 base, Int128 exponent, ConstFault *fault)
{
    if (exponent < 0) {
        if (base == 0) return fault_at(fault, "E0305", "zero to a negative power");
        return val_float(pow((double)base, (double)exponent));
    }
    Int128 result = 1;
    if (base == 0 || base == 1) return val_int(exponent == 0 ? 1 : base);
    if (base == -1) return val_int(exponent % 2 ? -1 : 1);
    if (exponent > 127) return too_big(fault);
    for (; exponent > 0; exponent--)
        if (__builtin_mul_overflow(result, base, &result)) return too_big(fault);
    return val_int(result);
}

static Int128 floor_div(Int128 a, Int128 b)
{
    Int128 q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static Val int_shift(TokenId op, Int128 a, Int128 b, ConstFault *fault)
{
    if (b < 0) return fault_at(fault, "E0305", "negative shift count");
    if (op == T_SHR) return val_int(b > 126 ? (a < 0 ? -1 : 0) : a >> (int)b);
    if (a == 0) return val_int(0);
    Int128 r;
    if (b > 126 || __builtin_mul_overflow(a, (Int128)1 << (int)b, &r)) return too_big(fault);
    return val_int(r);
}

static Val int_binary(TokenId op, Int128 a, Int128 b, ConstFault *fault)
{
    Int128 r;
    if ((op == T_DIV || op == T_FLOORDIV || op == T_MOD) && b == 0)
        return fault_at(fault, "E0305", "division by zero");
    switch (op) {
    case T_ADD:
        return __builtin_add_overflow(a, b, &r) ? too_big(fault) : val_int(r);
    case T_SUB:
        return __builtin_sub_overflow(a, b, &r) ? too_big(fault) : val_int(r);
    case T_MUL:
        return __builtin_mul_overflow(a, b, &r) ? too_big(fault) : val_int(r);
    case T_DIV:
        return val_float((double)a / (double)b);
    case T_FLOORDIV:
    case T_MOD:
        if (b == -1 && __builtin_sub_overflow((Int128)0, a, &r)) return too_big(fault);
        return val_int(op == T_FLOORDIV ? floor_div(a, b) : a - floor_div(a, b) * b);
    case T_POW:
        return int_power(a, b, fault);
    case T_SHL:
    case T_SHR:
        return int_shift(op, a, b, fault);
    case T_AMP:
        return val_int(a & b);
    case T_PIPE:
        return val_int(a | b);
    case T_CARET:
        return val_int(a ^ b);
    default:
        return fault_at(fault, NULL, NULL);
    }
}

static Val float_binary(TokenId op, double a, double b, ConstFault *fault)
{
    if ((op == T_DIV || op == T_FLOORDIV || op == T_MOD) && b == 0)
        return fault_at(fault, "E0305", "division by zero");
    switch (op) {
    case T_ADD:
        return val_float(a + b);
    case T_SUB:
        return val_float(a - b);
    case T_MUL:
        return val_float(a * b);
    case T_DIV:
        return val_float(a / b);
    case T_FLOORDIV:
        return val_float(floor(a / b));
    case T_MOD: {
        double r = fmod(a, b);
        return val_float(r != 0 && (r < 0) != (b < 0) ? r + b : r);
    }
    case T_POW:
        if ((a < 0 && b != floor(b)) || (a == 0 && b < 0))
            return fault_at(fault, "E0305", "this power has no real value");
        return val_float(pow(a, b));
    default:
        return fault_at(fault, NULL, NULL);
    }
}

/// Concatenation and repetition of strings and tuples.
static Val sequence_binary(Arena *arena, TokenId op, Val a, Val b, ConstFault *fault)
{
    if (op == T_MUL && val_is_integral(a)) {
        Val t = a;
        a = b;
        b = t;
    }
    bool is_str = a.kind == VAL_STR;
    int64_t len = is_str ? (int64_t)a.s.len : a.n, limit = is_str ? MAX_TEXT : MAX_ITEMS;
    if (op == T_MUL && val_is_integral(b)) {
        Int128 times = MAX(val_as_int(b), 0);
        if (len && times > limit / len)
            return fault_at(fault, "E0209", "this sequence is too long");
        int64_t n = len ? (int64_t)times : 0;
        if (is_str) {
            char *out = arena_alloc(arena, (size_t)(n * len) + 1, 1);
            for (int64_t i = 0; i < n; i++)
                memcpy(out + i * len, a.s.data, (size_t)len);
            return val_str((Str){out, (size_t)(n * len)});
        }
        Val *items = arena_array(arena, Val, n * len + 1);
        for (int64_t i = 0; i < n * len; i++)
            items[i] = a.items[i % len];
        return (Val){
            .kind = VAL_TUPLE, .is_list = a.is_list, .n = (int32_t)(n * len), .items = items};
    }
    if (op != T_ADD || a.kind != b.kind) return fault_at(fault, NULL, NULL);
    if (is_str) {
        if (a.s.len + b.s.len > MAX_TEXT)
            return fault_at(fault, "E0209", "this string is too long");
        char *out = arena_alloc(arena, a.s.len + b.s.len + 1, 1);
        memcpy(out, a.s.data, a.s.len);
        memcpy(out + a.s.len, b.s.data, b.s.len);
        return val_str((Str){out, a.s.len + b.s.len});
    }
    if (a.n + b.n > MAX_ITEMS) return fault_at(fault, "E0209", "this sequence is too long");
    Val *items = arena_array(arena, Val, a.n + b.n + 1);
    for (int32_t i = 0; i < a.n + b.n; i++)
        items[i] = i < a.n ? a.items[i] : b.items[i - a.n];
    return (Val){.kind = VAL_TUPLE, .is_list = a.is_list, .n = a.n + b.n, .items = items};
}

Val const_binary(Arena *arena, TokenId op, Val a, Val b, ConstFault *fault)
{
    *fault = (ConstFault){0};
    if (a.kind == VAL_STR || a.kind == VAL_TUPLE || b.kind == VAL_STR || b.kind == VAL_TUPLE)
        return sequence_binary(arena, op, a, b, fault);
    if (!val_is_number(a) || !val_is_number(b)) return fault_at(fault, NULL, NULL);
    if (a.kind == VAL_FLOAT || b.kind == VAL_FLOAT)
        return float_binary(op, val_as_float(a), val_as_float(b), fault);
    Val r = int_binary(op, val_as_int(a), val_as_int(b), fault);
    bool logical = op == T_AMP || op == T_PIPE || op == T_CARET;
    if (logical && a.kind == VAL_BOOL && b.kind == VAL_BOOL && r.kind == VAL_INT)
        return val_bool(r.i != 0);
    return r;
}

Val const_unary(TokenId op, Val a, ConstFault *fault)
{
    *fault = (ConstFault){0};
    bool truth;
    if (op == T_KW_NOT)
        return const_truth(a, &truth) ? val_bool(!truth) : fault_at(fault, NULL, NULL);
    if (!val_is_number(a)) return fault_at(fault, NULL, NULL);
    if (a.kind == VAL_FLOAT) {
        if (op == T_SUB) return val_float(-a.f);
        return op == T_ADD ? a : fault_at(fault, NULL, NULL);
    }
    Int128 i = val_as_int(a);
    if (op == T_SUB) return int_binary(T_SUB, 0, i, fault);
    if (op == T_ADD) return val_int(i);
    return op == T_TILDE ? val_int(~i) : fault_at(fault, NULL, NULL);
}

// ---- comparison -------------------------------------------------------------------------------

static bool same_typeref(TypeRef a, TypeRef b)
{
    if (a.dtype != b.dtype || a.is_ptr != b.is_ptr || a.rank != b.rank) return false;
    return a.rank == 0 || memcmp(a.shape, b.shape, (size_t)a.rank * sizeof(int32_t)) == 0;
}

/// The nesting of tuples is bounded by that of the syntax, and so is this recursion.
bool val_equal(Val a, Val b)
{
    if (val_is_number(a) && val_is_number(b)) {
        if (a.kind == VAL_FLOAT || b.kind == VAL_FLOAT) return val_as_float(a) == val_as_float(b);
        return val_as_int(a) == val_as_int(b);
    }
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case VAL_NONE:
        return true;
    case VAL_STR:
    case VAL_MODULE:
        return str_eq(a.s, b.s);
    case VAL_DTYPE:
        return same_typeref(a.type, b.type);
    case VAL_BUILTIN:
        return a.builtin == b.builtin;
    case VAL_FUNC:
        return a.func == b.func;
    case VAL_RUN:
        return a.run == b.run;
    case VAL_TUPLE:
    case VAL_DICT:
        if (a.n != b.n) return false;
        for (int32_t i = 0; i < a.n * (a.kind == VAL_DICT ? 2 : 1); i++)
            if (!val_equal(a.items[i], b.items[i])) return false;
        return true;
    default:
        return false;
    }
}

/// -1, 0, 1; 2 when unordered (NaN); 3 when the kinds have no order.
static int32_t order(Val a, Val b)
{
    if (val_is_number(a) && val_is_number(b)) {
        if (a.kind == VAL_FLOAT || b.kind == VAL_FLOAT) {
            double x = val_as_float(a), y = val_as_float(b);
            return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        }
        return (val_as_int(a) > val_as_int(b)) - (val_as_int(a) < val_as_int(b));
    }
    if (a.kind == VAL_STR && b.kind == VAL_STR) {
        size_t n = MIN(a.s.len, b.s.len);
        int32_t c = n ? memcmp(a.s.data, b.s.data, n) : 0;
        if (c) return c < 0 ? -1 : 1;
        return (a.s.len > b.s.len) - (a.s.len < b.s.len);
    }
    if (a.kind == VAL_TUPLE && b.kind == VAL_TUPLE) {
        for (int32_t i = 0; i < a.n && i < b.n; i++)
            if (!val_equal(a.items[i], b.items[i])) return order(a.items[i], b.items[i]);
        return (a.n > b.n) - (a.n < b.n);
    }
    return 3;
}

static bool contains(Val box, Val item, bool *known)
{
    *known = true;
    if (box.kind == VAL_STR && item.kind == VAL_STR)
        return item.s.len == 0 || memmem(box.s.data, box.s.len, item.s.data, item.s.len) != NULL;
    *known = box.kind == VAL_TUPLE || box.kind == VAL_DICT;
    int32_t step = box.kind == VAL_DICT ? 2 : 1;
    for (int32_t i = 0; *known && i < box.n; i++)
        if (val_equal(box.items[i * step], item)) return true;
    return false;
}

Val const_compare(TokenId op, Val a, Val b, ConstFault *fault)
{
    *fault = (ConstFault){0};
    bool known;
    switch (op) {
    case T_EQ:
        return val_bool(val_equal(a, b));
    case T_NE:
        return val_bool(!val_equal(a, b));
    case T_KW_IS:
        return val_bool(a.kind == b.kind && val_equal(a, b));
    case T_BANG:
        return val_bool(!(a.kind == b.kind && val_equal(a, b)));
    case T_KW_IN:
    case T_KW_NOT: {
        bool in = contains(b, a, &known);
        return known ? val_bool(in == (op == T_KW_IN)) : fault_at(fault, NULL, NULL);
    }
    default:
        break;
    }
    int32_t c = order(a, b);
    if (c == 3) return fault_at(fault, NULL, NULL);
    bool yes = op == T_LT   ? c == -1
               : op == T_LE ? c == -1 || c == 0
               : op == T_GT ? c == 1
                            : c == 1 || c == 0;
    return val_bool(yes && c != 2);
}

bool const_truth(Val v, bool *out)
{
    switch (v.kind) {
    case VAL_NONE:
        *out = false;
        return true;
    case VAL_BOOL:
        *out = v.b;
        return true;
    case VAL_INT:
        *out = v.i != 0;
        return true;
    case VAL_FLOAT:
        *out = v.f != 0;
        return true;
    case VAL_STR:
        *out = v.s.len != 0;
        return true;
    case VAL_TUPLE:
    case VAL_DICT:
        *out = v.n != 0;
        return true;
    case VAL_DTYPE:
    case VAL_FUNC:
    case VAL_LAMBDA:
    case VAL_BUILTIN:
        *out = true;
        return true;
    default:
        return false;
    }
}

// ---- text -------------------------------------------------------------------------------------

static void print_int(StrBuf *out, Int128 i)
{
    char digits[48];
    int32_t n = COUNT_OF(digits);
    bool negative = i < 0;
    UInt128 u = negative ? (UInt128)0 - (UInt128)i : (UInt128)i;
    do
        digits[--n] = (char)('0' + (int)(u % 10));
    while (u /= 10);
    if (negative) digits[--n] = '-';
    strbuf_add(out, digits + n, (size_t)(COUNT_OF(digits) - n));
}

/// repr(float): the shortest digits that read back as the same double.
static void print_float(StrBuf *out, double f)
{
    if (isnan(f) || isinf(f)) {
        strbuf_puts(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    for (int32_t digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (strtod(text, NULL) == f) break;
    }
    double m = fabs(f);
    if (strchr(text, 'e') && m >= 1e-4 && m < 1e16) snprintf(text, sizeof text, "%.1f", f);
    strbuf_puts(out, text);
    if (!strpbrk(text, ".e")) strbuf_puts(out, ".0");
}

const char *typeref_name(Arena *arena, TypeRef t)
{
    const char *base = dtype_facts[t.dtype].tl;
    if (t.is_ptr) base = arena_printf(arena, "pointer<%s>", base);
    if (t.rank == 0) return base;
    const char *dims = "";
    for (int32_t i = 0; i < t.rank; i++)
        dims = arena_printf(arena, "%s%s'%d'", dims, i ? ", " : "", t.shape[i]);
    return arena_printf(arena, "<[%s], %s>", dims, base);
}

const char *typeref_text(Arena *arena, TypeRef t)
{
    const char *base = arena_printf(arena, "%s%s", t.is_ptr ? "*" : "", dtype_facts[t.dtype].user);
    if (t.rank == 0) return base;
    const char *dims = "";
    for (int32_t i = 0; i < t.rank; i++)
        dims = arena_printf(arena, "%s%s%d", dims, i ? ", " : "", t.shape[i]);
    return arena_printf(arena, "%s[%s]", base, dims);
}

static void print_type(StrBuf *out, TypeRef t)
{
    Arena scratch;
    arena_init(&scratch, heap_default());
    strbuf_puts(out, typeref_name(&scratch, t));
    arena_reset(&scratch);
}

void val_print(StrBuf *out, Val v, bool repr)
{
    switch (v.kind) {
    case VAL_NONE:
        strbuf_puts(out, "None");
        break;
    case VAL_BOOL:
        strbuf_puts(out, v.b ? "True" : "False");
        break;
    case VAL_INT:
        print_int(out, v.i);
        break;
    case VAL_FLOAT:
        print_float(out, v.f);
        break;
    case VAL_STR:
        if (repr) strbuf_putc(out, '\'');
        strbuf_add(out, v.s.data, v.s.len);
        if (repr) strbuf_putc(out, '\'');
        break;
    case VAL_DTYPE:
        print_type(out, v.type);
        break;
    case VAL_TUPLE:
        strbuf_putc(out, v.is_list ? '[' : '(');
        for (int32_t i = 0; i < v.n; i++) {
            if (i) strbuf_puts(out, ", ");
            val_print(out, v.items[i], true);
        }
        strbuf_puts(out, v.is_list ? "]" : v.n == 1 ? ",)" : ")");
        break;
    case VAL_DICT:
        strbuf_putc(out, '{');
        for (int32_t i = 0; i < v.n; i++) {
            if (i) strbuf_puts(out, ", ");
            val_print(out, v.items[2 * i], true);
            strbuf_puts(out, ": ");
            val_print(out, v.items[2 * i + 1], true);
        }
        strbuf_putc(out, '}');
        break;
    case VAL_MODULE:
        strbuf_printf(out, "module %.*s", STR_ARG(v.s));
        break;
    case VAL_FUNC:
        strbuf_puts(out, "a jit function");
        break;
    case VAL_BUILTIN:
    case VAL_METHOD:
        strbuf_puts(out, "a builtin function");
        break;
    case VAL_LAMBDA:
        strbuf_puts(out, "a lambda");
        break;
    case VAL_OPAQUE:
        strbuf_printf(out, "host value %.*s", STR_ARG(v.s));
        break;
    default:
        strbuf_puts(out, "a value");
        break;
    }
}

const char *val_text(Arena *arena, Val v)
{
    StrBuf b = {0};
    val_print(&b, v, true);
    const char *text = arena_strndup(arena, b.data ? b.data : "", b.len);
    strbuf_free(&b);
    return text;
}

/// [[fill]align][sign][#][0][width][,][.precision][type]
typedef struct FormatSpec {
    char fill, align, sign, type;
    bool alternate, comma;
    int32_t width, precision; ///< precision < 0: none
} FormatSpec;

static int32_t spec_number(Str s, size_t *i)
{
    int32_t n = 0;
    while (*i < s.len && s.data[*i] >= '0' && s.data[*i] <= '9' && n < 10000)
        n = n * 10 + (s.data[(*i)++] - '0');
    return MIN(n, 4096);
}

static bool read_spec(Str s, FormatSpec *f)
{
    *f = (FormatSpec){.fill = ' ', .precision = -1};
    size_t i = 0;
    if (s.len >= 2 && strchr("<>^=", s.data[1]))
        f->fill = s.data[0], f->align = s.data[1], i = 2;
    else if (s.len >= 1 && strchr("<>^=", s.data[0]))
        f->align = s.data[0], i = 1;
    if (i < s.len && strchr("+- ", s.data[i])) f->sign = s.data[i++];
    if (i < s.len && s.data[i] == '#') f->alternate = true, i++;
    if (i < s.len && s.data[i] == '0') {
        if (!f->align) f->fill = '0', f->align = '=';
        i++;
    }
    f->width = spec_number(s, &i);
    if (i < s.len && (s.data[i] == ',' || s.data[i] == '_')) f->comma = true, i++;
    if (i < s.len && s.data[i] == '.') {
        i++;
        f->precision = spec_number(s, &i);
    }
    if (i < s.len) f->type = s.data[i++];
    return i == s.len;
}

/// The digits of an integer in the base of `type`; false for a type that integers do not have.
static bool int_digits(StrBuf *out, Int128 i, FormatSpec f)
{
    int32_t base = f.type == 'x' || f.type == 'X' ? 16 : f.type == 'o' ? 8 : f.type == 'b' ? 2 : 10;
    if (f.type && !strchr("dxXobn", f.type)) return false;
    char digits[160];
    int32_t n = COUNT_OF(digits), count = 0;
    UInt128 u = (UInt128)i;
    do {
        if (f.comma && count && count % (base == 10 ? 3 : 4) == 0 && n > 2)
            digits[--n] = base == 10 ? ',' : '_';
        digits[--n] =
            (f.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[(int)(u % (UInt128)base)];
        count++;
    } while ((u /= (UInt128)base) && n > 1);
    if (f.alternate && base != 10) strbuf_printf(out, "0%c", f.type);
    strbuf_add(out, digits + n, (size_t)(COUNT_OF(digits) - n));
    return true;
}

static bool float_digits(StrBuf *out, double m, FormatSpec f)
{
    int32_t precision = f.precision < 0 ? 6 : MIN(f.precision, 100);
    switch (f.type) {
    case 0:
        if (f.precision < 0)
            print_float(out, m);
        else
            strbuf_printf(out, "%.*g", precision, m);
        return true;
    case 'f':
    case 'F':
        strbuf_printf(out, "%.*f", precision, m);
        return true;
    case 'e':
        strbuf_printf(out, "%.*e", precision, m);
        return true;
    case 'E':
        strbuf_printf(out, "%.*E", precision, m);
        return true;
    case 'g':
    case 'n':
        strbuf_printf(out, "%.*g", precision, m);
        return true;
    case 'G':
        strbuf_printf(out, "%.*G", precision, m);
        return true;
    case '%':
        strbuf_printf(out, "%.*f%%", precision, m * 100);
        return true;
    default:
        return false;
    }
}

static void pad(StrBuf *out, FormatSpec f, const char *sign, Str body, char align)
{
    int32_t gap = MAX(0, f.width - (int32_t)(strlen(sign) + body.len));
    int32_t left = align == '>' ? gap : align == '^' ? gap / 2 : 0;
    for (int32_t i = 0; i < left; i++)
        strbuf_putc(out, f.fill);
    strbuf_puts(out, sign);
    if (align == '=')
        for (int32_t i = 0; i < gap; i++)
            strbuf_putc(out, f.fill);
    strbuf_add(out, body.data ? body.data : "", body.len);
    if (align != '=')
        for (int32_t i = left; i < gap; i++)
            strbuf_putc(out, f.fill);
}

bool val_format(StrBuf *out, Val v, Str spec)
{
    FormatSpec f;
    if (spec.len == 0) return val_print(out, v, false), true;
    if (!read_spec(spec, &f)) return false;
    StrBuf body = {0};
    bool ok = true, number = val_is_number(v);
    const char *sign = "";
    if (number) {
        bool as_float = v.kind == VAL_FLOAT || (f.type && strchr("eEfFgG%", f.type));
        bool negative = v.kind == VAL_FLOAT ? signbit(v.f) && !isnan(v.f) : val_as_int(v) < 0;
        Int128 i = v.kind == VAL_FLOAT ? 0 : val_as_int(v);
        sign = negative ? "-" : f.sign == '+' ? "+" : f.sign == ' ' ? " " : "";
        ok = as_float ? float_digits(&body, fabs(val_as_float(v)), f)
                      : int_digits(&body, negative ? (Int128)((UInt128)0 - (UInt128)i) : i, f);
    } else {
        ok = !f.type || f.type == 's';
        val_print(&body, v, false);
        if (f.precision >= 0) body.len = MIN(body.len, (size_t)f.precision);
    }
    if (ok) pad(out, f, sign, (Str){body.data, body.len}, f.align ? f.align : number ? '>' : '<');
    strbuf_free(&body);
    return ok;
}
