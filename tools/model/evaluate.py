"""How well the model finds needles, how well it predicts plain stories, and what it says.

    python3 tools/model/evaluate.py --checkpoint build/model/checkpoint.pt --cells 256x1,1000x1,1000x4 [--prompts 100]

"1000x4" is a prompt of at most 1000 tokens with four needles of the same attribute, one of them asked for. Keys and
values are ones that training never saw (--seen for the control), the stories around them are drawn anew from the same
grammar, the asked needle's depth runs over ten deciles. A prompt counts when the model's most likely token is right at
*every* position of the answer sentence, which is when greedy decoding from the question mark writes exactly it.
--write FILE keeps the prompts and answers as JSON lines, to ask another runtime the same.
"""
import argparse, json, pathlib, random, time

import torch

import grammar
from model import Llama, Shape
from tokenizer import Tokenizer


def load(path):
    state = torch.load(path, weights_only=False, map_location="cpu")
    model = Llama(Shape(**state["shape"]))
    model.load_state_dict({name: value.half().float() if value.dim() == 2 else value      # as exported
                           for name, value in state["model"].items()})
    return model.eval(), state


def questions(tokenizer, length, needles, prompts, seen=False, chat=False):
    """Pairs (prompt, answer); the i-th asks for the needle in depth decile i mod 10."""
    count = lambda part: sum(len(tokenizer.encode(text)) for text, _ in part)
    for i in range(prompts):
        rng = random.Random(grammar.TEST_SEED + length * 1009 + needles * 101 + i)
        depth = (i % 10 + rng.random()) / 10
        prompt, answer = grammar.needle_prompt(rng, length, needles, depth, count, seen)
        if chat:
            prompt = f"{grammar.USER}\n{prompt}{grammar.END}\n{grammar.ASSISTANT}\n"
            answer = answer[1:] + grammar.END
        yield prompt, answer


@torch.no_grad()
def cell(model, tokenizer, pairs):
    """-> (right whole answers, share of right answer tokens, right answers per depth decile)"""
    right, tokens, good, deciles = 0, 0, 0, [0] * 10
    for i, (prompt, answer) in enumerate(pairs):
        prompt, answer = tokenizer.prompt(grammar.BOS + prompt), tokenizer.prompt(answer)
        hidden = model.hidden(torch.tensor([prompt + answer[:-1]]))[0, len(prompt) - 1:]
        hits = model.logits(hidden).argmax(-1).tolist()
        hits = [a == b for a, b in zip(hits, answer)]
        right += all(hits)
        deciles[i % 10] += all(hits)
        good, tokens = good + sum(hits), tokens + len(hits)
    return right, good / tokens, deciles


@torch.no_grad()
def perplexity(model, tokenizer, texts=64, length=512):
    total = count = 0
    for i in range(texts):
        rng = random.Random(grammar.TEST_SEED + 77_000_000 + i)
        part = grammar.stories_text(rng, length + 1, lambda p: sum(len(tokenizer.encode(t)) for t, _ in p))
        ids = torch.tensor([[i for t, _ in part for i in tokenizer.encode(t)][:length + 1]])
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum")
        total, count = total + loss.item(), count + length
    return float(torch.tensor(total / count).exp())


@torch.no_grad()
def complete(model, tokenizer, prompt, tokens=120, temperature=0., seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = tokenizer.prompt(grammar.BOS + prompt)
    begun = len(ids)
    while len(ids) < begun + tokens:
        logits = model.logits(model.hidden(torch.tensor([ids]))[0, -1])
        if temperature:
            ids.append(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).item())
        else:
            ids.append(logits.argmax().item())
        if tokenizer.pieces[ids[-1]] in (grammar.EOS, grammar.END):
            break
    return tokenizer.decode(ids[begun:])


SAMPLES = ["Once upon a time", "Anna was a brave girl", "One rainy morning, Max found a small", "The baker",
           "<|user|>\nTell me a story about Lucy.<|end|>\n<|assistant|>\n",
           "<|user|>\nThe special number for Lisbon is 48213. It was a sunny day. The special number for Hogwarts is 70155. "
           "What is the special number for Lisbon?<|end|>\n<|assistant|>\n",
           "The special number for Lisbon is 48213. Anna was a kind girl. She went to the lake. What is the special number "
           "for Lisbon?"]


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--checkpoint", type=pathlib.Path, required=True)
    args.add_argument("--cells", default="256x1,512x1,1000x1,1000x4")
    args.add_argument("--prompts", type=int, default=100)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--seen", action="store_true")
    args.add_argument("--chat", action="store_true")
    args.add_argument("--samples", action="store_true")
    args.add_argument("--write", type=pathlib.Path)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.load()
    model, state = load(args.checkpoint)
    print(f"step {state['step']}, {state['tokens']/1e6:.1f} M tokens, {state['seconds']:.0f} s", flush=True)
    for name in filter(None, args.cells.split(",")):
        length, needles = map(int, name.split("x"))
        begun = time.time()
        pairs = list(questions(tokenizer, length, needles, args.prompts, args.seen, args.chat))
        if args.write:
            with args.write.open("a") as out:
                for prompt, answer in pairs:
                    print(json.dumps(dict(cell=name, prompt=prompt, answer=answer)), file=out)
        right, share, deciles = cell(model, tokenizer, pairs)
        print(f"{name}: {right}/{args.prompts} right, {100*share:.1f} % of answer tokens, by depth {deciles}, "
              f"{time.time()-begun:.0f} s", flush=True)
    if args.samples:
        print(f"perplexity of unseen stories: {perplexity(model, tokenizer):.3f}")
        for prompt in SAMPLES:
            for temperature in (0., .8):
                print(f"--- t={temperature}\n{prompt} >>>{complete(model, tokenizer, prompt, temperature=temperature)}")


if __name__ == "__main__":
    main()
