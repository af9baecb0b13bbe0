"""A plain Llama: RMSNorm, rotary embedding (half-split, as Hugging Face has it), grouped queries, SwiGLU, tied output.

Parameter names are Hugging Face's, without the leading "model.".
"""
import dataclasses, math

import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass
class Shape:
    vocab: int = 1536
    hidden: int = 192
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 512
    theta: float = 5e5
    eps: float = 1e-5
    context: int = 8192


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def frequencies(shape):
    i = torch.arange(shape.head_dim // 2, dtype=torch.float64)
    return (shape.theta ** (-2 * i / shape.head_dim)).float()


def rotate(x, cos, sin):
    """x (batch, heads, T, 64); pairs are (i, i + 32)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)

    def forward(self, x, cos, sin):
        s, (B, T, _) = self.s, x.shape
        q = self.q_proj(x).view(B, T, s.heads, s.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(B, T, s.kv_heads, s.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(B, T, s.kv_heads, s.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = s.heads // s.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1))


class Mlp(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.ffn, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.ffn, bias=False)
        self.down_proj = nn.Linear(s.ffn, s.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.input_layernorm = Norm(s.hidden, s.eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = Norm(s.hidden, s.eps)
        self.mlp = Mlp(s)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden, shape.eps)
        self.register_buffer("freq", frequencies(shape), persistent=False)

    def hidden(self, ids, positions=None):
        """ids (batch, T) -> normalised hidden states; positions default to 0, 1, 2, .."""
        if positions is None:
            positions = torch.arange(ids.shape[1])
        angle = positions.float()[..., None] * self.freq
        cos, sin = angle.cos(), angle.sin()
        if cos.dim() == 3:
            cos, sin = cos[:, None], sin[:, None]
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.embed_tokens.weight.T

    def forward(self, ids):
        return self.logits(self.hidden(ids))


@torch.no_grad()
def initialise(model, seed):
    """Random weights of the usual size, then a nudge towards induction: the first layer begins with a "previous token"
    and a "one before" head, later layers with heads that look for tokens like the current one. Both need only weights
    that any Llama has; they save about half of the steps until the model first copies a number."""
    torch.manual_seed(seed)
    s = model.shape
    for name, p in model.named_parameters():
        if p.dim() == 2:
            p.normal_(0, p.shape[1] ** -.5)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.div_(math.sqrt(2 * s.layers))
    common = torch.randn(s.hidden)
    common /= common.norm()
    model.embed_tokens.weight.add_(.7 * common)
    D, half, group = s.head_dim, s.head_dim // 2, s.heads // s.kv_heads
    fast = model.freq > .08

    # Layer 0, first group: k is one constant vector on the fast pairs; q is it, turned back by 1 and by 2 positions.
    attention = model.layers[0].self_attn
    strength = torch.zeros(half)
    strength[fast] = 1.
    norm_gain = math.sqrt(s.hidden) * .57   # the common direction's share of a normalised embedding
    unit = 6.5 / norm_gain
    k = torch.cat([strength, torch.zeros(half)]) * unit
    attention.k_proj.weight[:D] = k[:, None] * common
    for j in range(group):
        angle = -(j + 1.) * model.freq
        q = torch.cat([strength * angle.cos(), strength * angle.sin()]) * unit
        attention.q_proj.weight[j * D:(j + 1) * D] = q[:, None] * common
        attention.o_proj.weight[:, j * D:(j + 1) * D] = .7 * attention.v_proj.weight[:D].T

    # Later layers: in each group one head asks for what its keys say, mostly on the slow pairs, and copies what it finds.
    damp = torch.full((half,), 1.2)
    damp[:10] = .4
    damp = torch.cat([damp, damp])[:, None]
    for layer in model.layers[1:]:
        attention = layer.self_attn
        for g in range(s.kv_heads):
            j, rows = g * group, slice(g * D, (g + 1) * D)
            attention.q_proj.weight[j * D:(j + 1) * D] = damp * attention.k_proj.weight[rows]
            attention.o_proj.weight[:, j * D:(j + 1) * D] = .7 * attention.v_proj.weight[rows].T
