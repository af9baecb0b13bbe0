"""Trains the shipped model. Resumable: the same command continues from the newest checkpoint.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 python3 tools/model/train.py --out build/model

The batch of a step is a function of (seed, step) alone, so an interrupted run sees the texts that an uninterrupted one
would have seen. STAGES is the curriculum: short texts until copying works, then longer ones, at last 8192 tokens.
"""
import argparse, json, math, os, pathlib, random, sys, time

import torch
from torch.nn import functional as F

import grammar
from model import Llama, Shape, initialise
from tokenizer import Tokenizer

# tokens seen so far until which the stage lasts, (length, tokens per step, share of steps) .., learning rate at its end
# (linear from the previous stage's, or from first_lr), share of sequences whose positions are stretched over the whole
# context. The last stage has more stories: before it, "Once upon a time" soon drifted into needles.
STAGES = [
    dict(until=1.2e6, mix=[(96, 2048, .8), (256, 2048, .2)], lr=1e-3, stretch=0.),
    dict(until=3e6, mix=[(128, 2048, .5), (384, 4096, .5)], lr=1e-3, stretch=0.),
    dict(until=6e6, mix=[(256, 4096, .5), (768, 4096, .5)], lr=1e-3, stretch=.2),
    dict(until=8e6, mix=[(256, 4096, .3), (512, 4096, .3), (1024, 4096, .4)], lr=1e-3, stretch=.3),
    dict(until=9.4e6, mix=[(512, 4096, .4), (2048, 4096, .35), (4096, 4096, .15), (8192, 8192, .1)], lr=7.9e-4, stretch=.4),
    dict(until=11e6, mix=[(256, 4096, .3), (1024, 4096, .3), (2048, 4096, .15), (4096, 4096, .15), (8192, 8192, .1)],
         lr=5e-5, stretch=.4),
    dict(until=11.6e6, mix=[(256, 4096, .4), (768, 4096, .4), (1024, 4096, .14), (4096, 4096, .04), (8192, 8192, .02)],
         first_lr=2.5e-4, lr=1e-5, stretch=.4, kinds=dict(needles=.25, stories=.5, calm=True)),
]


# Factors on the learning rate: the tied embedding, and the matrices that Muon moves. In the first 200 steps 4 and 4
# reached an answer loss of 1.02, 1 and 1 one of 2.07, AdamW alone 1.79 (1.68 with 4 on the embedding).
EMBEDDING, MATRICES = 4., 4.


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest orthogonal matrix by Newton-Schulz; scaled so that AdamW's learning rates fit."""

    def __init__(self, params, lr, momentum=.95, weight_decay=.1, scale=1.):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, scale=scale))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m = state.setdefault("momentum", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                g = p.grad.lerp(m, group["momentum"])
                x = g.T if g.shape[0] > g.shape[1] else g
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = x.T if g.shape[0] > g.shape[1] else x
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(x, alpha=-group["lr"] * .2 * math.sqrt(max(p.shape)))


def optimisers(model, muon):
    matrices = [p for n, p in model.layers.named_parameters() if p.dim() == 2]
    others = [p for n, p in model.named_parameters() if p.dim() == 1]
    adam = [dict(params=others, weight_decay=0.), dict(params=[model.embed_tokens.weight], weight_decay=.1, scale=EMBEDDING)]
    if not muon:
        adam.append(dict(params=matrices, weight_decay=.1))
    out = [torch.optim.AdamW(adam, lr=1e-3, betas=(.9, .95), eps=1e-8)]
    return out + [Muon(matrices, lr=1e-3, scale=MATRICES)] if muon else out


def stage_at(tokens):
    start, lr = 0, STAGES[0]["lr"]
    for stage in STAGES:
        if tokens < stage["until"]:
            share = (tokens - start) / (stage["until"] - start)
            lr = stage.get("first_lr", lr)
            return stage, lr + (stage["lr"] - lr) * share
        start, lr = stage["until"], stage["lr"]
    return None, lr


def stretched(rng, length, context):
    """Positions 0 .. length-1 with a few jumps, so that short texts also show long distances."""
    jumps = rng.randint(1, 4)
    room = rng.randint(0, context - length)
    at = sorted(rng.randrange(1, length) for _ in range(jumps))
    cut = sorted(rng.randint(0, room) for _ in range(jumps - 1)) + [room]
    positions, j = [], 0
    for i in range(length):
        while j < jumps and i >= at[j]:
            j += 1
        positions.append(i + (cut[j - 1] if j else 0))
    return positions


def batch(tokenizer, rng, stage, context):
    length, size, _ = rng.choices(stage["mix"], [share for *_, share in stage["mix"]])[0]
    count = lambda part: sum(len(tokenizer.encode(text)) for text, _ in part)
    rows, weights, positions = [], [], []
    for _ in range(max(1, size // length)):
        ids, weight = [], []
        for text, w in grammar.text(rng, length + 1, count, **stage.get("kinds", {})):
            piece = tokenizer.encode(text)
            ids += piece
            weight += [w] * len(piece)
        rows.append(ids[:length + 1])
        weights.append(weight[1:length + 1])
        stretch = rng.random() < stage["stretch"]
        positions.append(stretched(rng, length, context) if stretch else list(range(length)))
    rows = torch.tensor(rows)
    return rows[:, :-1], rows[:, 1:], torch.tensor(weights), torch.tensor(positions)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", type=pathlib.Path, required=True)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--layers", type=int, default=2)
    args.add_argument("--optimiser", choices=["muon", "adamw"], default="muon")
    args.add_argument("--lr", type=float, default=1., help="factor on the curriculum's learning rates")
    args.add_argument("--minutes", type=float, default=1e9, help="stop after this long, with a checkpoint")
    args.add_argument("--report", type=int, default=50)
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    log = open(args.out / "training.log", "a")

    def say(*words):
        print(*words, flush=True)
        print(*words, file=log, flush=True)

    tokenizer = Tokenizer.load()
    model = Llama(Shape(vocab=len(tokenizer.pieces), layers=args.layers))
    initialise(model, args.seed)
    opts = optimisers(model, args.optimiser == "muon")
    step = tokens = 0
    seconds = 0.
    newest = args.out / "checkpoint.pt"
    if newest.exists():
        state = torch.load(newest, weights_only=False)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimisers"]):
            opt.load_state_dict(saved)
        step, tokens, seconds = state["step"], state["tokens"], state["seconds"]
        say(f"# resumed at step {step}")
    else:
        say(f"# seed {args.seed}, {sum(p.numel() for p in model.parameters())} parameters, {model.shape}, "
            f"{args.optimiser}, torch {torch.__version__}, {args.threads} threads")

    def save():
        torch.save(dict(model=model.state_dict(), optimisers=[opt.state_dict() for opt in opts], step=step,
                        tokens=tokens, seconds=seconds, shape=vars(model.shape), seed=args.seed), newest.with_suffix(".new"))
        os.replace(newest.with_suffix(".new"), newest)

    begun = last = time.time()
    sums = [0.] * 4
    since, lengths = 0, {}
    while True:
        stage, lr = stage_at(tokens)
        if stage is None or time.time() - begun > args.minutes * 60:
            break
        lr *= args.lr * min(1, (step + 1) / 30)
        rng = random.Random(args.seed * 1_000_003 + step)
        ids, targets, weights, positions = batch(tokenizer, rng, stage, model.shape.context)
        losses = F.cross_entropy(model.logits(model.hidden(ids, positions)).flatten(0, 1), targets.flatten(),
                                 reduction="none")
        flat = weights.flatten()
        loss = (losses * flat).sum() / flat.sum()
        for opt in opts:
            opt.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = lr * group.get("scale", 1.)
            opt.step()
        step += 1
        tokens += ids.numel()
        since += ids.numel()
        losses = losses.detach()
        for i, mask in enumerate((flat == grammar.ANSWER, flat == grammar.PLAIN)):
            sums[2 * i] += losses[mask].sum().item()
            sums[2 * i + 1] += mask.sum().item()
        if step % args.report == 0:
            now = time.time()
            seconds += now - last
            say(f"step {step} tokens {tokens/1e6:.2f}M s {seconds:.0f} tok/s {since/(now-last):.0f} lr {lr:.2e} "
                f"answer {sums[0]/max(1,sums[1]):.4f} text {sums[2]/max(1,sums[3]):.4f} norm {norm:.2f}")
            last, since, sums = now, 0, [0.] * 4
        if step % (args.report * 5) == 0:
            save()
    seconds += time.time() - last
    save()
    say(f"# stopped at step {step}, {tokens} tokens, {seconds:.0f} s")


if __name__ == "__main__":
    main()
