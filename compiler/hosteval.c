#include "compiler/hosteval.h"

#include <math.h>
#include <stdlib.h>

#include "compiler/builtin.h"
#include "compiler/scope.h"

HostEval host_eval_new(const Source *source, Arena *arena)
{
    return (HostEval){.source = source, .arena = arena};
}

static Val opaque(HostEval *h, const Node *at, const char *code, const char *why)
{
    if (!h->why && why) h->code = code, h->why = why, h->where = at;
    return val_of(VAL_OPAQUE);
}

static bool known(Val v)
{
    return v.kind != VAL_OPAQUE && v.kind != VAL_ABSENT && v.kind != VAL_ERROR;
}

/// Counts a step, and the length of what it made. @return false: enough
static bool step(HostEval *h, const Node *at, int64_t size)
{
    h->steps += 1 + size / 4;
    if (h->steps <= HOST_MAX_STEPS) return true;
    opaque(h, at, "E0209", "evaluating this host expression takes more than a million steps");
    return false;
}

typedef VEC(Val) ValList;

static Val make_tuple(HostEval *h, const Node *at, const ValList *list, bool is_list)
{
    if (!step(h, at, list->len)) return val_of(VAL_OPAQUE);
    Val v = val_tuple(h->arena, list->len, list->data);
    v.is_list = is_list;
    return v;
}

/// Elements of a tuple, list or dict (its keys), or the characters of a string.
static bool iterate(HostEval *h, Val v, ValList *out)
{
    if (v.kind == VAL_TUPLE)
        for (int32_t i = 0; i < v.n; i++)
            vec_push(h->arena, out, v.items[i]);
    else if (v.kind == VAL_DICT)
        for (int32_t i = 0; i < v.n; i++)
            vec_push(h->arena, out, v.items[2 * i]);
    else if (v.kind == VAL_STR)
        for (size_t i = 0; i < v.s.len; i++)
            vec_push(h->arena, out, val_str((Str){v.s.data + i, 1}));
    else
        return false;
    return true;
}

Val host_dict_with(Arena *arena, Val dict, Val key, Val value)
{
    for (int32_t i = 0; i < dict.n; i++)
        if (val_equal(dict.items[2 * i], key)) {
            Val *copy = arena_array(arena, Val, 2 * dict.n);
            memcpy(copy, dict.items, (size_t)dict.n * 2 * sizeof(Val));
            copy[2 * i + 1] = value;
            return (Val){.kind = VAL_DICT, .n = dict.n, .items = copy};
        }
    Val *copy = arena_array(arena, Val, 2 * dict.n + 2);
    if (dict.n) memcpy(copy, dict.items, (size_t)dict.n * 2 * sizeof(Val));
    copy[2 * dict.n] = key;
    copy[2 * dict.n + 1] = value;
    return (Val){.kind = VAL_DICT, .n = dict.n + 1, .items = copy};
}

static Val dict_get(Val dict, Val key)
{
    for (int32_t i = 0; i < dict.n; i++)
        if (val_equal(dict.items[2 * i], key)) return dict.items[2 * i + 1];
    return val_of(VAL_ABSENT);
}

// ---- functions --------------------------------------------------------------------------------

static Val number_from_text(Str s, bool integer)
{
    char buffer[64];
    size_t b = 0;
    for (size_t i = 0; i < s.len && b + 1 < sizeof buffer; i++)
        if (s.data[i] != '_' && s.data[i] != ' ') buffer[b++] = s.data[i];
    buffer[b] = 0;
    char *end;
    if (integer) {
        long long i = strtoll(buffer, &end, 10);
        return b && !*end ? val_int(i) : val_of(VAL_OPAQUE);
    }
    double f = strtod(buffer, &end);
    return b && !*end && !strpbrk(buffer, "xXpP") ? val_float(f) : val_of(VAL_OPAQUE);
}

/// int(), float(), bool(), str() of one value.
static Val convert(HostEval *h, Str name, Val v)
{
    bool truth;
    if (str_is(name, "bool")) return const_truth(v, &truth) ? val_bool(truth) : val_of(VAL_OPAQUE);
    if (str_is(name, "str")) {
        const char *text =
            v.kind == VAL_STR ? arena_strndup(h->arena, v.s.data, v.s.len) : val_text(h->arena, v);
        return val_str(str_of(text));
    }
    if (v.kind == VAL_STR) return number_from_text(v.s, str_is(name, "int"));
    if (!val_is_number(v)) return val_of(VAL_OPAQUE);
    if (str_is(name, "float")) return val_float(val_as_float(v));
    if (v.kind != VAL_FLOAT) return val_int(val_as_int(v));
    return fabs(v.f) < 0x1p100 ? val_int((Int128)v.f) : val_of(VAL_OPAQUE); // NaN compares false
}

static Int128 int_gcd(Int128 a, Int128 b)
{
    while (b) {
        Int128 t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

/// Functions of module math on doubles.
static Val math_function(Str name, int32_t n, const Val *args)
{
    static const struct {
        const char *name;
        double (*f)(double);
        double least; ///< below it: no real value
        bool strict;  ///< at it too
    } unary[] = {{"sqrt", sqrt, 0, false},         {"exp", exp, -INFINITY, false},
                 {"exp2", exp2, -INFINITY, false}, {"log", log, 0, true},
                 {"log2", log2, 0, true},          {"log10", log10, 0, true},
                 {"sin", sin, -INFINITY, false},   {"cos", cos, -INFINITY, false},
                 {"fabs", fabs, -INFINITY, false}};
    for (int32_t i = 0; i < n; i++)
        if (!val_is_number(args[i])) return val_of(VAL_OPAQUE);
    if (n == 2 && str_is(name, "gcd") && val_is_integral(args[0]) && val_is_integral(args[1]))
        return val_int(int_gcd(val_as_int(args[0]), val_as_int(args[1])));
    if (n == 2 && str_is(name, "pow"))
        return val_float(pow(val_as_float(args[0]), val_as_float(args[1])));
    if (n == 2 && str_is(name, "log") && val_as_float(args[0]) > 0 && val_as_float(args[1]) > 0)
        return val_float(log(val_as_float(args[0])) / log(val_as_float(args[1])));
    if (n != 1) return val_of(VAL_OPAQUE);
    double x = val_as_float(args[0]);
    bool up = str_is(name, "ceil");
    if (up || str_is(name, "floor")) {
        if (val_is_integral(args[0])) return val_int(val_as_int(args[0]));
        return fabs(x) < 0x1p100 ? val_int((Int128)(up ? ceil(x) : floor(x))) : val_of(VAL_OPAQUE);
    }
    for (int32_t i = 0; i < COUNT_OF(unary); i++)
        if (str_is(name, unary[i].name)) {
            if (x < unary[i].least || (unary[i].strict && x == unary[i].least))
                return val_of(VAL_OPAQUE);
            return val_float(unary[i].f(x));
        }
    return val_of(VAL_ABSENT);
}

static Val triton_function(HostEval *h, Str name, int32_t n, const Val *args)
{
    ConstFault fault;
    if (str_is(name, "cdiv") && n == 2 && val_is_integral(args[0]) && val_is_integral(args[1])) {
        Val less = const_binary(h->arena, T_SUB, args[1], val_int(1), &fault);
        Val sum = const_binary(h->arena, T_ADD, args[0], less, &fault);
        Val q =
            sum.kind == VAL_INT ? const_binary(h->arena, T_FLOORDIV, sum, args[1], &fault) : sum;
        return q.kind == VAL_INT ? q : val_of(VAL_OPAQUE);
    }
    if (str_is(name, "next_power_of_2") && n == 1 && val_is_integral(args[0])) {
        Int128 x = val_as_int(args[0]), p = 1;
        while (p < x && p < (Int128)1 << 100)
            p *= 2;
        return p >= x ? val_int(p) : val_of(VAL_OPAQUE);
    }
    return val_of(VAL_OPAQUE);
}

Val host_function(HostEval *h, Str space, Str name, int32_t n, const Val *args)
{
    return str_is(space, "math") ? math_function(name, n, args) : triton_function(h, name, n, args);
}

static Val host_range(HostEval *h, const Node *at, int32_t n, const Val *args)
{
    Int128 v[3] = {0, 0, 1};
    for (int32_t i = 0; i < n; i++) {
        if (!val_is_integral(args[i]) || n > 3) return val_of(VAL_OPAQUE);
        v[n == 1 ? 1 : i] = val_as_int(args[i]);
    }
    if (n == 0 || v[2] == 0) return val_of(VAL_OPAQUE);
    ValList out = {0};
    for (Int128 i = v[0]; v[2] > 0 ? i < v[1] : i > v[1]; i += v[2]) {
        if (!step(h, at, 4)) return val_of(VAL_OPAQUE);
        vec_push(h->arena, &out, val_int(i));
    }
    return make_tuple(h, at, &out, true);
}

/// min, max and sum over arguments or the elements of one.
static Val fold(HostEval *h, Str name, int32_t n, const Val *args)
{
    ValList items = {0};
    if (n == 1 || str_is(name, "sum")) {
        if (n < 1 || !iterate(h, args[0], &items)) return val_of(VAL_OPAQUE);
    } else {
        for (int32_t i = 0; i < n; i++)
            vec_push(h->arena, &items, args[i]);
    }
    bool is_sum = str_is(name, "sum");
    Val best = is_sum      ? (n > 1 ? args[1] : val_int(0))
               : items.len ? items.data[0]
                           : val_of(VAL_OPAQUE);
    ConstFault fault;
    for (int32_t i = is_sum ? 0 : 1; i < items.len && known(best); i++) {
        Val v = items.data[i];
        if (is_sum) {
            best = const_binary(h->arena, T_ADD, best, v, &fault);
            continue;
        }
        Val better = const_compare(str_is(name, "min") ? T_LT : T_GT, v, best, &fault);
        if (better.kind != VAL_BOOL) return val_of(VAL_OPAQUE);
        if (better.b) best = v;
    }
    return known(best) ? best : val_of(VAL_OPAQUE);
}

static int order_vals(const void *a, const void *b)
{
    ConstFault fault;
    Val less = const_compare(T_LT, *(const Val *)a, *(const Val *)b, &fault);
    Val more = const_compare(T_GT, *(const Val *)a, *(const Val *)b, &fault);
    return more.kind == VAL_BOOL && more.b ? 1 : less.kind == VAL_BOOL && less.b ? -1 : 0;
}

/// Functions from sequences to sequences.
static Val sequence_function(HostEval *h, const Node *at, Str name, int32_t n, const Val *args)
{
    ValList a = {0}, out = {0};
    if (n < 1 || !iterate(h, args[0], &a) || !step(h, at, a.len)) return val_of(VAL_OPAQUE);
    if (str_is(name, "len"))
        return val_int(args[0].kind == VAL_STR ? (Int128)args[0].s.len : a.len);
    if (str_is(name, "list") || str_is(name, "tuple") || str_is(name, "set"))
        return make_tuple(h, at, &a, name.data[0] != 't');
    if (str_is(name, "sorted")) {
        if (a.len) qsort(a.data, (size_t)a.len, sizeof(Val), order_vals);
        return make_tuple(h, at, &a, true);
    }
    if (str_is(name, "any") || str_is(name, "all")) {
        bool all = name.data[1] == 'l', truth;
        for (int32_t i = 0; i < a.len; i++) {
            if (!const_truth(a.data[i], &truth)) return val_of(VAL_OPAQUE);
            if (truth != all) return val_bool(!all);
        }
        return val_bool(all);
    }
    if (str_is(name, "zip") || str_is(name, "product")) {
        ValList b = {0};
        if (n != 2 || !iterate(h, args[1], &b)) return val_of(VAL_OPAQUE);
        bool cross = name.data[0] == 'p';
        for (int32_t i = 0; i < a.len; i++)
            for (int32_t k = cross ? 0 : i; k < (cross ? b.len : MIN(i + 1, b.len)); k++) {
                if (!step(h, at, 8)) return val_of(VAL_OPAQUE);
                Val pair = val_tuple(h->arena, 2, (Val[]){a.data[i], b.data[k]});
                vec_push(h->arena, &out, pair);
            }
        return make_tuple(h, at, &out, true);
    }
    for (int32_t i = 0; i < a.len; i++) {
        Val v = a.data[a.len - 1 - i];
        if (str_is(name, "enumerate")) v = val_tuple(h->arena, 2, (Val[]){val_int(i), a.data[i]});
        vec_push(h->arena, &out, v);
    }
    return make_tuple(h, at, &out, true);
}

/// triton.Config(kwargs, num_warps=4, ...): a dict of its arguments by name.
static Val config(HostEval *h, const Node *call, int32_t n, const Val *args, const HostEnv *env)
{
    static const char *const names[] = {"kwargs",  "num_warps", "num_stages", "num_ctas",
                                        "maxnreg", "pre_hook",  "ir_override"};
    Val dict = {.kind = VAL_DICT};
    for (int32_t i = 0; i < n && i < COUNT_OF(names); i++)
        dict = host_dict_with(h->arena, dict, val_str(str_of(names[i])), args[i]);
    for (int32_t i = 0; i < call->list.len; i++) {
        const Node *arg = call->list.data[i];
        if (arg->kind == NODE_KEYWORD)
            dict = host_dict_with(h->arena, dict, val_str(arg->text), host_eval(h, arg->a, env));
    }
    return dict;
}

/// x.name(args) on strings, lists and dicts.
static Val method(HostEval *h, const Node *at, Val self, Str name, int32_t n, const Val *args)
{
    if (self.kind == VAL_DICT) {
        if (str_is(name, "get") && n >= 1) {
            Val v = dict_get(self, args[0]);
            return v.kind != VAL_ABSENT ? v : n > 1 ? args[1] : val_of(VAL_NONE);
        }
        ValList out = {0};
        int32_t which = str_is(name, "keys")     ? 0
                        : str_is(name, "values") ? 1
                        : str_is(name, "items")  ? 2
                                                 : -1;
        for (int32_t i = 0; which >= 0 && i < self.n; i++)
            vec_push(h->arena, &out,
                     which == 2 ? val_tuple(h->arena, 2, self.items + 2 * i)
                                : self.items[2 * i + which]);
        return which < 0 ? val_of(VAL_OPAQUE) : make_tuple(h, at, &out, true);
    }
    if (self.kind == VAL_STR) {
        bool lower = str_is(name, "lower");
        if (lower || str_is(name, "upper")) {
            char *copy = arena_strndup(h->arena, self.s.data, self.s.len);
            for (size_t i = 0; i < self.s.len; i++)
                if (lower ? copy[i] >= 'A' && copy[i] <= 'Z' : copy[i] >= 'a' && copy[i] <= 'z')
                    copy[i] ^= 32;
            return val_str((Str){copy, self.s.len});
        }
        bool front = str_is(name, "startswith");
        if ((front || str_is(name, "endswith")) && n == 1 && args[0].kind == VAL_STR) {
            Str t = args[0].s;
            return val_bool(t.len <= self.s.len &&
                            !memcmp(self.s.data + (front ? 0 : self.s.len - t.len), t.data, t.len));
        }
    }
    if (val_is_integral(self) && str_is(name, "bit_length")) {
        Int128 x = val_as_int(self);
        int32_t bits = 0;
        for (UInt128 u = x < 0 ? (UInt128)0 - (UInt128)x : (UInt128)x; u; u >>= 1)
            bits++;
        return val_int(bits);
    }
    return val_of(VAL_OPAQUE);
}

Val host_call(HostEval *h, Val f, int32_t n, const Val *args)
{
    if (f.kind != VAL_LAMBDA || f.lambda.node->list.len < n) return val_of(VAL_OPAQUE);
    const HostEnv *env = f.lambda.env;
    for (int32_t i = 0; i < f.lambda.node->list.len; i++) {
        HostEnv *e = arena_new(h->arena, HostEnv);
        const Node *param = f.lambda.node->list.data[i];
        Val v = i < n ? args[i] : param->b ? host_eval(h, param->b, env) : val_of(VAL_OPAQUE);
        *e = (HostEnv){param->text, v, env};
        env = e;
    }
    return host_eval(h, f.lambda.node->a, env);
}

static Val named_function(HostEval *h, const Node *at, Str name, int32_t n, const Val *args)
{
    static const char *const sequences[] = {"len", "list", "tuple", "set",      "sorted",
                                            "any", "all",  "zip",   "reversed", "enumerate"};
    for (int32_t i = 0; i < COUNT_OF(sequences); i++)
        if (str_is(name, sequences[i])) return sequence_function(h, at, name, n, args);
    if (str_is(name, "range")) return host_range(h, at, n, args);
    if (str_is(name, "min") || str_is(name, "max") || str_is(name, "sum"))
        return fold(h, name, n, args);
    if (str_is(name, "dict") && n == 0) return (Val){.kind = VAL_DICT};
    bool one =
        str_is(name, "int") || str_is(name, "float") || str_is(name, "bool") || str_is(name, "str");
    if (one) return n == 1 ? convert(h, name, args[0]) : val_of(VAL_OPAQUE);
    ConstFault fault;
    if (str_is(name, "abs") && n == 1 && val_is_number(args[0])) {
        bool negative = args[0].kind == VAL_FLOAT ? args[0].f < 0 : val_as_int(args[0]) < 0;
        return negative ? const_unary(T_SUB, args[0], &fault) : const_unary(T_ADD, args[0], &fault);
    }
    if (str_is(name, "round") && n == 1 && val_is_number(args[0]) &&
        fabs(val_as_float(args[0])) < 0x1p60)
        return val_int((Int128)nearbyint(val_as_float(args[0])));
    if (str_is(name, "pow") && n == 2) {
        Val v = const_binary(h->arena, T_POW, args[0], args[1], &fault);
        return v.kind == VAL_ERROR ? val_of(VAL_OPAQUE) : v;
    }
    // by their bare names in launch cards
    if (str_is(name, "cdiv") || str_is(name, "next_power_of_2"))
        return triton_function(h, name, n, args);
    return val_of(VAL_OPAQUE);
}

static Val eval_call(HostEval *h, const Node *n, const HostEnv *env)
{
    ValList args = {0};
    bool keywords = false;
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *arg = n->list.data[i];
        if (arg->kind == NODE_KEYWORD || arg->kind == NODE_DSTAR) {
            keywords = true;
            continue;
        }
        Val v = host_eval(h, arg->kind == NODE_STAR ? arg->a : arg, env);
        if (arg->kind == NODE_STAR) {
            if (!iterate(h, v, &args)) return val_of(VAL_OPAQUE);
        } else {
            vec_push(h->arena, &args, v);
        }
    }
    Str path = h->source ? source_path_of(h->source, h->arena, n->a) : (Str){0};
    if (str_is(path, "triton.Config")) return config(h, n, args.len, args.data, env);
    if (str_is(path, "os.environ.get") || str_is(path, "os.getenv"))
        return args.len > 1 ? args.data[1] : val_of(VAL_NONE);
    if (str_is(path, "itertools.product") && !keywords)
        return sequence_function(h, n, STR("product"), args.len, args.data);
    for (int32_t i = 0; i < args.len; i++)
        if (!known(args.data[i])) return val_of(VAL_OPAQUE);
    if (keywords && n->a->kind == NODE_NAME && str_is(n->a->text, "dict") && args.len == 0)
        return config(h, n, 0, NULL, env);
    if (keywords) return val_of(VAL_OPAQUE);
    if (n->a->kind == NODE_ATTR && !path.len)
        return method(h, n, host_eval(h, n->a->a, env), n->a->text, args.len, args.data);
    Val callee = n->a->kind == NODE_NAME || n->a->kind == NODE_LAMBDA || path.len
                     ? host_eval(h, n->a, env)
                     : val_of(VAL_ABSENT);
    if (callee.kind == VAL_LAMBDA) return host_call(h, callee, args.len, args.data);
    if (callee.kind == VAL_BUILTIN && strcmp(callee.builtin->space, "py") != 0) {
        if (!strcmp(callee.builtin->name, "constexpr"))
            return args.len == 1 ? args.data[0] : val_of(VAL_OPAQUE);
        Val v = host_function(h, str_of(callee.builtin->space), str_of(callee.builtin->name),
                              args.len, args.data);
        return v.kind == VAL_ABSENT ? val_of(VAL_OPAQUE) : v;
    }
    return n->a->kind == NODE_NAME ? named_function(h, n, n->a->text, args.len, args.data)
                                   : val_of(VAL_OPAQUE);
}

// ---- expressions ------------------------------------------------------------------------------

static bool bind_target(HostEval *h, const Node *target, Val v, const HostEnv **env)
{
    if (target->kind == NODE_NAME) {
        HostEnv *e = arena_new(h->arena, HostEnv);
        *e = (HostEnv){target->text, v, *env};
        *env = e;
        return true;
    }
    if ((target->kind != NODE_TUPLE && target->kind != NODE_LIST) || v.kind != VAL_TUPLE ||
        v.n != target->list.len)
        return false;
    for (int32_t i = 0; i < v.n; i++)
        if (!bind_target(h, target->list.data[i], v.items[i], env)) return false;
    return true;
}

/// Clause `k` and what follows of a comprehension; results are appended. @return false: not known
static bool comprehend(HostEval *h, const Node *n, int32_t k, const HostEnv *env, ValList *keys,
                       ValList *values)
{
    if (k == n->list.len) {
        Val key = host_eval(h, n->a, env);
        vec_push(h->arena, keys, key);
        if (n->b) {
            Val value = host_eval(h, n->b, env);
            vec_push(h->arena, values, value);
        }
        return known(key) && step(h, n, 0);
    }
    const Node *clause = n->list.data[k];
    ValList items = {0};
    if (!iterate(h, host_eval(h, clause->b, env), &items)) return false;
    for (int32_t i = 0; i < items.len; i++) {
        const HostEnv *inner = env;
        if (!step(h, n, 0) || !bind_target(h, clause->a, items.data[i], &inner)) return false;
        bool keep = true;
        for (int32_t c = 0; c < clause->list.len && keep; c++)
            if (!const_truth(host_eval(h, clause->list.data[c], inner), &keep)) return false;
        if (keep && !comprehend(h, n, k + 1, inner, keys, values)) return false;
    }
    return true;
}

static Val eval_comp(HostEval *h, const Node *n, const HostEnv *env)
{
    ValList keys = {0}, values = {0};
    if (!comprehend(h, n, 0, env, &keys, &values)) return val_of(VAL_OPAQUE);
    if (!n->b) return make_tuple(h, n, &keys, true);
    Val dict = {.kind = VAL_DICT};
    for (int32_t i = 0; i < keys.len && step(h, n, dict.n * 2); i++)
        dict = host_dict_with(h->arena, dict, keys.data[i], values.data[i]);
    return dict;
}

static Val eval_display(HostEval *h, const Node *n, const HostEnv *env)
{
    ValList out = {0};
    if (n->kind == NODE_DICT) {
        Val dict = {.kind = VAL_DICT};
        for (int32_t i = 0; i + 1 < n->list.len; i += 2) {
            Val value = host_eval(h, n->list.data[i + 1], env);
            if (!step(h, n, dict.n * 2)) return val_of(VAL_OPAQUE);
            if (!n->list.data[i]) {
                for (int32_t k = 0; value.kind == VAL_DICT && k < value.n; k++)
                    dict =
                        host_dict_with(h->arena, dict, value.items[2 * k], value.items[2 * k + 1]);
                continue;
            }
            dict = host_dict_with(h->arena, dict, host_eval(h, n->list.data[i], env), value);
        }
        return dict;
    }
    for (int32_t i = 0; i < n->list.len; i++) {
        const Node *e = n->list.data[i];
        Val v = host_eval(h, e->kind == NODE_STAR ? e->a : e, env);
        if (e->kind == NODE_STAR ? !iterate(h, v, &out) : !known(v)) return val_of(VAL_OPAQUE);
        if (e->kind != NODE_STAR) vec_push(h->arena, &out, v);
    }
    return make_tuple(h, n, &out, n->kind != NODE_TUPLE);
}

static Val eval_name(HostEval *h, const Node *n, const HostEnv *env)
{
    for (const HostEnv *e = env; e; e = e->next)
        if (str_eq(e->name, n->text)) return e->value;
    const Binding *b = h->source ? map_get(&h->source->names, n->text) : NULL;
    if (b && b->kind == BIND_EXPR) return host_eval(h, b->expr, NULL); // nesting bounds cycles
    if (b) return scope_name(h->source, h->arena, n->text, NULL);
    Val v = scope_python(n->text);
    return v.kind == VAL_ABSENT ? val_of(VAL_OPAQUE) : v;
}

static Val eval_subscript(HostEval *h, const Node *n, const HostEnv *env)
{
    Val base = host_eval(h, n->a, env);
    if (n->list.len != 1) return val_of(VAL_OPAQUE);
    const Node *at = n->list.data[0];
    if (base.kind == VAL_DICT) {
        Val v = dict_get(base, host_eval(h, at, env));
        return v.kind == VAL_ABSENT ? val_of(VAL_OPAQUE) : v;
    }
    ValList items = {0};
    int32_t len, begin, end;
    if ((base.kind != VAL_TUPLE && base.kind != VAL_STR) || !iterate(h, base, &items) ||
        !step(h, n, items.len))
        return val_of(VAL_OPAQUE);
    len = items.len;
    if (at->kind != NODE_SLICE) {
        if (!val_fits_i32(host_eval(h, at, env), &begin)) return val_of(VAL_OPAQUE);
        if (begin < 0) begin += len;
        return begin >= 0 && begin < len ? items.data[begin] : val_of(VAL_OPAQUE);
    }
    Val from = at->a ? host_eval(h, at->a, env) : val_int(0),
        to = at->b ? host_eval(h, at->b, env) : val_int(len);
    if (at->c || base.kind != VAL_TUPLE || !val_fits_i32(from, &begin) || !val_fits_i32(to, &end))
        return val_of(VAL_OPAQUE);
    begin = MIN(MAX(begin < 0 ? begin + len : begin, 0), len);
    end = MIN(MAX(end < 0 ? end + len : end, begin), len);
    Val v = val_tuple(h->arena, end - begin, items.data + begin);
    v.is_list = base.is_list;
    return v;
}

static Val eval_compare(HostEval *h, const Node *n, const HostEnv *env)
{
    Val left = host_eval(h, n->list.data[0], env);
    for (int32_t i = 1; i < n->list.len; i++) {
        Val right = host_eval(h, n->list.data[i], env);
        ConstFault fault;
        if (!known(left) || !known(right)) return val_of(VAL_OPAQUE);
        Val v = const_compare(n->ops[i - 1], left, right, &fault);
        if (v.kind != VAL_BOOL) return val_of(VAL_OPAQUE);
        if (!v.b || i == n->list.len - 1) return v;
        left = right;
    }
    return val_of(VAL_OPAQUE);
}

static Val eval_fstring(HostEval *h, const Node *n, const HostEnv *env)
{
    StrBuf out = {0};
    bool ok = true;
    for (int32_t i = 0; i < n->list.len && ok; i++) {
        const Node *p = n->list.data[i];
        if (p->kind == NODE_STRING) {
            strbuf_add(&out, p->text.data, p->text.len);
            continue;
        }
        Val v = host_eval(h, p->a, env), spec = p->b ? host_eval(h, p->b, env) : val_str(STR(""));
        ok = known(v) && spec.kind == VAL_STR && step(h, n, 16);
        if (!ok) break;
        if (str_is(p->text, "r"))
            val_print(&out, v, true);
        else
            ok = val_format(&out, v, spec.s);
    }
    Val v = ok ? val_str((Str){arena_strndup(h->arena, out.data ? out.data : "", out.len), out.len})
               : val_of(VAL_OPAQUE);
    strbuf_free(&out);
    return v;
}

static Val eval_operator(HostEval *h, const Node *n, const HostEnv *env)
{
    ConstFault fault = {0};
    Val a = host_eval(h, n->a, env),
        b = n->kind == NODE_BINARY ? host_eval(h, n->b, env) : val_of(VAL_NONE);
    if (!known(a) || !known(b)) return val_of(VAL_OPAQUE);
    Val v = n->kind == NODE_BINARY ? const_binary(h->arena, n->op, a, b, &fault)
                                   : const_unary(n->op, a, &fault);
    if (v.kind == VAL_ERROR) return opaque(h, n, fault.code, fault.text);
    int64_t size = v.kind == VAL_TUPLE ? v.n : v.kind == VAL_STR ? (int64_t)v.s.len / 16 : 0;
    return step(h, n, size) ? v : val_of(VAL_OPAQUE);
}

static Val eval_node(HostEval *h, const Node *n, const HostEnv *env)
{
    bool truth;
    switch (n->kind) {
    case NODE_INT:
        return n->overflow ? opaque(h, n, "E0306", "this integer constant needs more than 128 bits")
                           : val_int(n->i);
    case NODE_FLOAT:
        return val_float(n->f);
    case NODE_STRING:
        return val_str(n->text);
    case NODE_FSTRING:
        return eval_fstring(h, n, env);
    case NODE_CONSTANT:
        return n->op == T_KW_TRUE    ? val_bool(true)
               : n->op == T_KW_FALSE ? val_bool(false)
                                     : val_of(n->op == T_KW_NONE ? VAL_NONE : VAL_OPAQUE);
    case NODE_NAME:
        return eval_name(h, n, env);
    case NODE_ATTR: {
        Str path = h->source ? source_path_of(h->source, h->arena, n) : (Str){0};
        Val v = path.len ? scope_path(h->arena, path) : val_of(VAL_OPAQUE);
        return v.kind == VAL_ABSENT ? val_of(VAL_OPAQUE) : v;
    }
    case NODE_TUPLE:
    case NODE_LIST:
    case NODE_SET:
    case NODE_DICT:
        return eval_display(h, n, env);
    case NODE_UNARY:
    case NODE_BINARY:
        return eval_operator(h, n, env);
    case NODE_COMPARE:
        return eval_compare(h, n, env);
    case NODE_BOOL:
        for (int32_t i = 0;; i++) {
            Val v = host_eval(h, n->list.data[i], env);
            if (!const_truth(v, &truth)) return val_of(VAL_OPAQUE);
            if (i == n->list.len - 1 || truth == (n->op == T_KW_OR)) return v;
        }
    case NODE_IFEXP:
        if (!const_truth(host_eval(h, n->b, env), &truth)) return val_of(VAL_OPAQUE);
        return host_eval(h, truth ? n->a : n->c, env);
    case NODE_LAMBDA:
        return (Val){.kind = VAL_LAMBDA, .lambda = {n, env}};
    case NODE_CALL:
        return eval_call(h, n, env);
    case NODE_SUBSCRIPT:
        return eval_subscript(h, n, env);
    case NODE_COMP:
        return eval_comp(h, n, env);
    default:
        return val_of(VAL_OPAQUE);
    }
}

Val host_eval(HostEval *h, const Node *n, const HostEnv *env)
{
    if (!n || !step(h, n, 0)) return val_of(VAL_OPAQUE);
    if (h->nesting >= HOST_MAX_NESTING)
        return opaque(h, n, "E0209", "host expressions refer to each other too deeply");
    h->nesting++;
    Val v = eval_node(h, n, env);
    h->nesting--;
    return v;
}
