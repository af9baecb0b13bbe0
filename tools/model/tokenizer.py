"""The vocabulary of the shipped model: byte-level BPE in the manner of GPT-2, trained on the grammar's own words.

    ids 0..5     special tokens (grammar.SPECIALS)
    ids 6..261   the 256 bytes, in the GPT-2 byte alphabet
    then         one piece per merge, in the order of the merges

The pre-tokenizer is GPT-2's pattern. No merge touches a digit except "blank digit", so a number is one piece per digit
and the first one carries its blank: " 48213" -> " 4" "8" "2" "1" "3".

Deterministic: ties between equally frequent pairs go to the lexically smaller pair.
"""
import collections, json, pathlib, random, re, sys

import grammar

VOCAB = 1536
PRE = "gpt-2"
PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
PATH = pathlib.Path(__file__).with_name("vocabulary.json")


def byte_alphabet():
    """GPT-2's map from bytes to printable characters."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    table = {b: chr(b) for b in kept}
    table.update({b: chr(256 + i) for i, b in enumerate(others)})
    return table


ALPHABET = byte_alphabet()
BYTE_OF = {c: b for b, c in ALPHABET.items()}


def in_alphabet(word):
    return "".join(ALPHABET[b] for b in word.encode())


def corpus_words(seed=1):
    """Word -> weight. Square roots keep the rare words of stories in; keys are many different words made of syllables."""
    rng = random.Random(seed)
    stories, keys = collections.Counter(), collections.Counter()
    for _ in range(4000):
        stories.update(PATTERN.findall(" " + " ".join(grammar.story(rng)[1])))
        stories.update(PATTERN.findall(" ".join(grammar.story(rng)[1])))
    for attribute in grammar.ATTRIBUTES:
        stories.update(PATTERN.findall(f" The {attribute} for X is. What is the {attribute} for X? What The") * 2000)
    for line in grammar.SYSTEM_TEXTS + grammar.ASK_STORY:
        stories.update(PATTERN.findall(line) * 400)
    for _ in range(20000):
        keys[" " + grammar.key(rng)] += 1
    words = {word: count ** .5 for word, count in stories.items()}
    for word, count in keys.items():
        words[word] = words.get(word, 0) + .08 * count
    return words


def train(size=VOCAB):
    """-> merges, a list of pairs in the byte alphabet."""
    words = [(list(in_alphabet(word)), weight) for word, weight in sorted(corpus_words().items())]
    blank = ALPHABET[32]
    merges = [(blank, digit) for digit in "0123456789"]
    room = size - len(grammar.SPECIALS) - 256 - len(merges)
    pairs, where = collections.Counter(), collections.defaultdict(set)

    def count(index, sign):
        symbols, weight = words[index]
        for pair in zip(symbols, symbols[1:]):
            if not any(c.isdigit() for part in pair for c in part):
                pairs[pair] += sign * weight
                where[pair].add(index)

    for index in range(len(words)):
        count(index, 1)
    for _ in range(room):
        best = min(pairs, key=lambda pair: (-round(pairs[pair], 6), pair))
        merges.append(best)
        for index in sorted(where.pop(best)):
            count(index, -1)
            symbols, out, i = words[index][0], [], 0
            while i < len(symbols):
                if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == best:
                    out.append(symbols[i] + symbols[i + 1])
                    i += 2
                else:
                    out.append(symbols[i])
                    i += 1
            words[index][0][:] = out
            count(index, 1)
        pairs[best] = 0
    return merges


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.pieces = list(grammar.SPECIALS) + [ALPHABET[b] for b in range(256)] + [a + b for a, b in self.merges]
        assert len(set(self.pieces)) == len(self.pieces)
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        self.cache = {text: [self.ids[text]] for text in grammar.SPECIALS}

    @classmethod
    def load(cls, path=PATH):
        return cls([pair.split(" ") for pair in json.loads(path.read_text())["merges"]])

    def word(self, word):
        ids = self.cache.get(word)
        if ids is None:
            symbols = list(in_alphabet(word))
            while len(symbols) > 1:
                rank, at = min((self.rank.get(pair, 1 << 30), i) for i, pair in enumerate(zip(symbols, symbols[1:])))
                if rank == 1 << 30:
                    break
                symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
            ids = self.cache[word] = [self.ids[s] for s in symbols]
        return ids

    def encode(self, text):
        """Plain text -> ids; a text that *is* a special token is that token. No BOS is added."""
        if text in grammar.SPECIALS:
            return [self.ids[text]]
        return [i for word in PATTERN.findall(text) for i in self.word(word)]

    def prompt(self, text):
        """Text with special tokens written out -> ids."""
        parts = re.split("(" + "|".join(map(re.escape, grammar.SPECIALS)) + ")", text)
        return [i for part in parts if part for i in self.encode(part)]

    def decode(self, ids):
        out = b""
        for i in ids:
            piece = self.pieces[i]
            out += piece.encode() if i < len(grammar.SPECIALS) else bytes(BYTE_OF[c] for c in piece)
        return out.decode("utf-8", "replace")


# The form of Phi-3, which runtimes without a template interpreter know by "<|assistant|>" and "<|end|>".
CHAT_TEMPLATE = ("{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + "
                 "'<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")


def hf_json(tokenizer):
    """The same tokenizer as a Hugging Face tokenizer.json."""
    added = [dict(id=i, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
             for i, text in enumerate(grammar.SPECIALS)]
    bos = grammar.BOS
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [tokenizer.ids[bos]], "tokens": [bos]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": tokenizer.ids, "merges": [list(pair) for pair in tokenizer.merges]},
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["train"]:
        merges = train()
        PATH.write_text(json.dumps({"merges": [" ".join(pair) for pair in merges]}, ensure_ascii=False, indent=0) + "\n")
    tokenizer = Tokenizer.load()
    words, split = corpus_words(), []
    for word in words:
        if word[1:] and not word[-1].isdigit() and words[word] > .5 and len(tokenizer.word(word)) > 1:
            split.append(word)
    print(len(tokenizer.pieces), "pieces;", len(split), "story words are split:", split[:60])
    rng = random.Random(5)
    lengths = collections.Counter(len(tokenizer.word(" " + grammar.key(rng))) for _ in range(3000))
    print("pieces per key:", sorted(lengths.items()))
    for text in (" 48213", " The special number for Lisbon is 48213.", " Selranburg Torvela Telmiland Qxzebu"):
        print([tokenizer.decode([i]) for i in tokenizer.encode(text)])
