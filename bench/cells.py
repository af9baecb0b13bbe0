"""cells.py - what compare-llamacpp measures, what each cell should reach, and the tables made of the runs.

    leg   one file, one setting, some tests: a process of each program per round       1b-q4_0: pp8 tg32@16
    cell  one number of it, kiln's beside llama.cpp's                                   1b-q4_0 / tg32 @ d16

A ratio is the median over rounds of that round's kiln / llama.cpp, with the least and the largest beside it. llama.cpp's
number is that of its better setting (flash attention on or off), measured by llama_peer; where llama-bench itself has
a higher median for the cell, every ratio of the cell is lowered by that factor.
"""
import statistics
from fnmatch import fnmatch

TYPES = ["q8_0", "q4_0", "q4_K", "bf16", "f16"]
#   test                q8_0  q4_0  q4_K  bf16  f16    what the ratio should be
NEED = {
    "pp512":          (3.5, 2.0, 2.2, 1.6, 1.25),
    "pp2048":         (3.5, 2.0, 2.2, 1.6, 1.25),
    "tg32 @ d16":     (1.2, 1.15, 1.15, 1.05, 1.05),
    "tg32 @ d2048":   (1.5, 1.7, 1.7, 1.1, 1.25),
    "pp8":            (2.5, 2.0, 2.0, 1.4, None),
}  # fmt: skip
CEILING = {"tg32 @ d16": 0.90, "tg32 @ d2048": 0.85}  # of the read bandwidth of the same run
MORE = {
    "qwen3-0.6b-q4_0 / tg32 @ d2048": 2.5,
    "15m-q8_0 / tg128 @ d16": 1.5,
    "15m-q8_0 / tg128 @ d2048": 3,
    "15m-q8_0 / tg128 @ d8192": 5,
    "1b-q4_0, 1 thread / tg32 @ d16": 1.3,
    "1b-q4_0, busy loop / tg32 @ d16": 2.5,
    "1b-q4_0 / first token": 1.0,
}


class Leg:
    """kind: rows (rates), first (seconds to the first token), memory (peak resident bytes), output (ids and logits)."""

    def __init__(self, file, tests=(), threads=None, busy=False, inner=1, kind="rows"):
        self.file, self.tests, self.threads, self.busy, self.inner, self.kind = file, list(tests), threads, busy, inner, kind
        self.label = file + (f", {threads} thread" if threads else "") + (", busy loop" if busy else "")
        self.name = f"{self.label}: {' '.join(self.tests) or kind}"

    def cells(self):
        if self.kind != "rows":
            return [f"{self.label} / {'first token' if self.kind == 'first' else self.kind}"]
        return [f"{self.label} / {name}" for test in self.tests for name in names_of(test)]


def names_of(test):
    """llama_peer's word for a test -> llama-bench's names of its numbers."""
    if test.startswith("pp"):
        return [test]
    head, _, tail = test.partition("+" if test.startswith("fill") else "@")
    if test.startswith("fill"):
        return [f"pp{head[4:]}", f"tg{tail} @ d{head[4:]}"]
    return [f"{head} @ d{tail}"]


def whole_table():
    legs = []
    for kind in TYPES:
        file = f"1b-{kind}"
        legs += [Leg(file, kind="output"), Leg(file, ["pp8", "tg32@16"], inner=3), Leg(file, ["pp512"]), Leg(file, ["fill2048+32"])]
    legs += [
        Leg("qwen3-0.6b-q4_0", kind="output"),
        Leg("qwen3-0.6b-q4_0", ["fill2048+32"]),
        Leg("15m-q8_0", kind="output"),
        Leg("15m-q8_0", ["tg128@16"], inner=5),
        Leg("15m-q8_0", ["fill2048+128"], inner=3),
        Leg("15m-q8_0", ["fill8192+128"]),
        Leg("1b-q4_0", ["tg32@16"], threads=1, inner=3),
        Leg("1b-q4_0", ["tg32@16"], busy=True, inner=3),
        Leg("1b-q4_0", kind="first"),
    ]
    return legs + [Leg(f"1b-{kind}", kind="memory") for kind in TYPES]


def quick_table():
    return [Leg("15m-q8_0", kind="output"), Leg("15m-q8_0", ["pp8", "pp512", "tg128@16"], inner=3), Leg("1b-q4_0", ["pp8", "tg32@16"]),
            Leg("1b-q4_0", kind="first")]  # fmt: skip


def chosen(legs, patterns):
    """Legs whose name, or one of whose cells, matches a pattern; and the checks of their files' outputs."""
    found = [leg for leg in legs if not patterns or any(fnmatch(text, p) for p in patterns for text in [leg.name, *leg.cells()])]
    files = {leg.file for leg in found}
    return [leg for leg in legs if leg in found or (leg.kind == "output" and leg.file in files)]


def need_of(cell):
    file, _, test = cell.partition(" / ")
    if test == "memory":
        return 0.7 if file == "1b-q4_0" else 1.05
    if cell in MORE:
        return MORE[cell]
    kind = file.partition("1b-")[2]
    return NEED[test][TYPES.index(kind)] if kind in TYPES and test in NEED else None


# ---- numbers ----------------------------------------------------------------------------------------------------


class Cell:
    """The runs of one cell. kiln, peer[setting], bench[setting]: round -> value."""

    def __init__(self, name):
        self.name, self.kiln, self.peer, self.bench, self.share, self.others, self.note = name, {}, {}, {}, [], [], None

    def add(self, run, value):
        side, _, setting = run["side"].partition(" ")
        if side == "kiln":
            self.kiln[run["round"]] = value
            self.share += [run["share"][k] for k in run["share"] if self.name.endswith(f"/ {k}")]
        else:
            getattr(self, side).setdefault(setting, {})[run["round"]] = value
        self.others.append(run["others"])

    def lower_is_better(self):
        return self.name.endswith(("memory", "first token"))

    def best(self, by_setting):
        """(setting, median) of the setting with the best median."""
        pick = min if self.lower_is_better() else max
        medians = {s: statistics.median(v.values()) for s, v in by_setting.items()}
        return pick(medians.items(), key=lambda item: item[1]) if medians else (None, None)

    def summary(self):
        """theirs, ours: values of the peer's best setting and kiln's; ratios: one per round; or None while a side is missing"""
        setting, theirs = self.best(self.peer)
        rounds = sorted(set(self.kiln) & set(self.peer.get(setting, {})))
        if not rounds:
            return None
        _, bench = self.best(self.bench)
        factor = min(1.0, theirs / bench) if bench and not self.lower_is_better() else 1.0
        ratios = [factor * self.kiln[i] / self.peer[setting][i] for i in rounds]
        if self.name.endswith("first token"):
            ratios = [1 / r for r in ratios]
        return {"cell": self.name, "setting": setting, "rounds": len(rounds), "theirs": [self.peer[setting][i] for i in rounds],
                "llama_bench": bench, "ours": [self.kiln[i] for i in rounds], "ratios": ratios, "need": need_of(self.name),
                "share": statistics.median(self.share) if self.share else None, "others": statistics.median(self.others)}  # fmt: skip


def holds(s):
    middle = statistics.median(s["ratios"])
    return s["need"] is None or (middle <= s["need"] if s["cell"].endswith("memory") else middle >= s["need"])


def summaries(runs):
    cells = {}
    for run in runs:
        for name, value in run["values"].items():
            key = f"{run['label']} / {name}"
            cells.setdefault(key, Cell(key)).add(run, value)
    return {name: s for name, s in ((c.name, c.summary()) for c in cells.values()) if s}


# ---- Markdown ---------------------------------------------------------------------------------------------------


def spread(values, digits):
    low, high = min(values), max(values)
    text = f"{statistics.median(values):.{digits}f}"
    return text if low == high else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def ratio_text(s, digits=2):
    if s is None:
        return ""
    bold = "**" if holds(s) else ""
    return f"{bold}{spread(s['ratios'], digits)}{bold}"


def grid(found):
    """The table of the 1b shape: a row per test, a column per type."""
    lines = ["| 1b shape, ratio to llama.cpp | " + " | ".join(TYPES) + " |", "| :--- |" + " ---: |" * len(TYPES)]
    for test, needs in NEED.items():
        row = []
        for kind, need in zip(TYPES, needs):
            s = found.get(f"1b-{kind} / {test}")
            row.append(f"{ratio_text(s)}" + (f" of {need:g}" if s and need else ""))
        lines.append(f"| {test} | " + " | ".join(row) + " |")
    return lines if any("**" in l or "of" in l for l in lines[2:]) else []


def amount(s, value):
    if s["cell"].endswith("memory"):
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.2f} s" if s["cell"].endswith("first token") else f"{value:.1f}"


def middle(s, values):
    text = amount(s, statistics.median(values))
    return text if len(values) < 2 else f"{text} ({amount(s, min(values))} to {amount(s, max(values))})"


def details(found):
    lines = ["| file / test | llama.cpp t/s | setting | llama-bench | kiln t/s | ratio | needed | kiln of ceiling | rounds | others' CPU |",
             "| :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for s in found.values():
        need = "" if s["need"] is None else f"{'at most ' if s['cell'].endswith('memory') else ''}{s['need']:g}"
        ceiling = CEILING.get(s["cell"].partition(" / ")[2]) if s["cell"].startswith("1b-") and "," not in s["cell"] else None
        share = "" if not s["share"] else f"{100 * s['share']:.0f} %" + (f" of {100 * ceiling:.0f} %" if ceiling else "")
        bench = f"{s['llama_bench']:.1f}" if s["llama_bench"] else ""
        lines.append(f"| {s['cell']} | {middle(s, s['theirs'])} | {s['setting']} | {bench} | {middle(s, s['ours'])} | {ratio_text(s)} | {need} | "
                     f"{share} | {s['rounds']} | {100 * s['others']:.0f} % |")  # fmt: skip
    return lines


def count(found):
    rated = [s for s in found.values() if s["need"] is not None]
    speeds = [s for s in rated if not s["cell"].endswith("memory")]
    below = [s["cell"] for s in speeds if statistics.median(s["ratios"]) < 1]
    line = f"{sum(map(holds, rated))} of {len(rated)} cells hold what is needed (bold)."
    return line + (f" Below llama.cpp: {'; '.join(below)}." if below else " None is below llama.cpp." if speeds else "")


def outputs(checks):
    """One line per checked file; the newest of each."""
    lines = ["Outputs, kiln beside llama.cpp on the same ids, in the same run:", "",
             "| file | logits differ by (of their deviation) | ids taken by kiln | the same as llama.cpp's best | widest near-tie | |",
             "| :--- | ---: | ---: | ---: | ---: | :--- |"]  # fmt: skip
    for c in {c["file"]: c for c in checks}.values():
        lines.append(f"| {c['file']} | {100 * c['difference']:.2f} % | {c['taken']} | {c['same']} | {c['margin']:.2f} x the difference | "
                     f"{'agree' if c['ok'] else '**DISAGREE**'} |")  # fmt: skip
    return lines if checks else []
