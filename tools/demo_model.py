"""The demo model as PyTorch trains it: GPT-2 with Hugging Face's names and layout, its loss, Muon, and its export.

The arithmetic is that of transformers' GPT2LMHeadModel in bfloat16, cut so that a CPU is kept busy. What is trained on
and for how long is in train_demo.py.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812

BF16 = torch.bfloat16


class Linear(nn.Module):
    """x @ weight + bias in bfloat16; weight [inputs, outputs], as GPT-2 keeps it."""

    def __init__(self, inputs: int, outputs: int, spread: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * spread)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        return torch.addmm(self.bias.to(BF16), flat, self.weight.to(BF16)).view(*x.shape[:-1], -1)


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(width), masked) v, all [sequences, tokens, width], in four blocks of queries."""
    tokens, width = q.shape[1:]
    block = tokens // 4
    above = torch.full((block, block), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    q, out = q * width**-0.5, []
    for end in range(block, tokens + 1, block):
        mask = torch.cat([above.new_zeros(block, end - block), above], 1)
        weights = torch.softmax(torch.bmm(q[:, end - block : end], k[:, :end].transpose(1, 2)) + mask, -1)
        out.append(torch.bmm(weights, v[:, :end]))
    return torch.cat(out, 1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, spread: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = Linear(width, 3 * width, 0.02)
        self.c_proj = Linear(width, width, spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequences, tokens, width = x.shape
        parts = self.c_attn(x).view(sequences, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = (part.reshape(sequences * self.heads, tokens, -1) for part in parts)
        heads = causal_attention(q, k, v).view(sequences, self.heads, tokens, -1)
        return self.c_proj(heads.transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, width: int, spread: float) -> None:
        super().__init__()
        self.c_fc = Linear(width, 4 * width, 0.02)
        self.c_proj = Linear(4 * width, width, spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        spread = 0.02 / math.sqrt(2 * layers)
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads, spread)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width, spread)

    def forward(self, x: torch.Tensor, keep: list[torch.Tensor]) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x).to(BF16)) * keep[0]
        return x + self.mlp(self.ln_2(x).to(BF16)) * keep[1]


class GPT2(nn.Module):
    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.wte = nn.Parameter(torch.randn(args.vocab, args.width) * 0.02)
        self.wpe = nn.Parameter(torch.randn(args.context, args.width) * 0.01)
        self.h = nn.ModuleList(Block(args.width, args.heads, args.layers) for _ in range(args.layers))
        self.ln_f = nn.LayerNorm(args.width)

    def forward(self, ids: torch.Tensor, noise: torch.Tensor | None, drop: int) -> torch.Tensor:
        """ids [sequences, tokens]; noise uint8 [2 * layers + 1, sequences, tokens, width], of which what is below
        `drop` silences its element. Returns bfloat16 [sequences, tokens, width], which wte turns into logits."""
        sites = 2 * len(self.h) + 1
        scale = 256 / (256 - drop)
        keep: list = [1] * sites if noise is None else [(noise[i] >= drop).to(BF16) * scale for i in range(sites)]
        x = (F.embedding(ids, self.wte) + self.wpe[: ids.shape[1]]) * keep[0]
        for number, block in enumerate(self.h):
            x = block(x, keep[2 * number + 1 : 2 * number + 3])
        return self.ln_f(x).to(BF16)


class CrossEntropy(torch.autograd.Function):
    """Mean of -log softmax(x @ table.T)[targets]; x [tokens, width]. Loss and gradients of 512 tokens at a time."""

    @staticmethod
    def forward(ctx, x, table, targets):  # type: ignore[no-untyped-def]
        dx, dtable, total = torch.empty_like(x), torch.zeros_like(table, dtype=torch.float32), 0.0
        for part, dpart, target in zip(x.split(512), dx.split(512), targets.split(512), strict=True):
            logs = torch.log_softmax(part @ table.t(), -1)
            total = total - logs.gather(1, target[:, None]).float().sum()
            grad = logs.exp_()
            grad[torch.arange(len(target), device=x.device), target] -= 1
            torch.mm(grad, table, out=dpart)
            dtable += grad.t() @ part
        ctx.save_for_backward(dx.div_(len(x)), dtable.div_(len(x)).to(table.dtype))
        return total / len(x)

    @staticmethod
    def backward(ctx, scale):  # type: ignore[no-untyped-def]
        dx, dtable = ctx.saved_tensors
        return dx * scale, dtable * scale, None


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), scaled to the size of an AdamW update (Liu et al.
    2025). Each worker orthogonalises its part of the matrices and gives them to the others."""

    def __init__(self, matrices: list[nn.Parameter], weight_decay: float, rank: int, workers: int) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})
        self.rank, self.workers = rank, workers

    @staticmethod
    def orthogonal(x: torch.Tensor) -> torch.Tensor:
        """Five Newton-Schulz steps towards the nearest matrix with singular values of 1."""
        wide = x.to(BF16) if x.shape[0] <= x.shape[1] else x.to(BF16).t().contiguous()
        wide = wide / (wide.norm() + 1e-7)
        for _ in range(5):
            gram = wide @ wide.t()
            wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
        return (wide if x.shape[0] <= x.shape[1] else wide.t()).float().contiguous()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        for number, p in enumerate(group["params"]):
            momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
            momentum.lerp_(p.grad, 0.05)
            owner = (number + number // 4) % self.workers
            update = self.orthogonal(p.grad.lerp(momentum, 0.95)) if owner == self.rank else torch.empty_like(p)
            if self.workers > 1:
                dist.broadcast(update, owner)
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)


def export(model: GPT2, context: int, dropout: float, eos_id: int, folder: Path) -> None:
    """config.json and model.safetensors, the weights in float16 with 10 significant bits of its 11: deflate then takes
    a wheel 5 % further down, and the loss does not change in the fourth digit."""
    folder.mkdir(parents=True, exist_ok=True)
    heads, (vocab, width) = model.h[0].attn.heads, model.wte.shape
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": vocab, "n_positions": context,
        "n_embd": width, "n_layer": len(model.h), "n_head": heads, "n_inner": None, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "scale_attn_weights": True, "embd_pdrop": dropout, "attn_pdrop": 0.0,
        "resid_pdrop": dropout, "initializer_range": 0.02, "bos_token_id": eos_id, "eos_token_id": eos_id,
        "tie_word_embeddings": True, "torch_dtype": "float16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    names = {"wte": "wte.weight", "wpe": "wpe.weight"}
    tensors = {}
    for name, x in model.state_dict().items():
        significand, exponent = torch.frexp(x.detach().cpu())
        rounded = torch.ldexp(torch.round(significand * 2**10), exponent - 10)
        tensors["transformer." + names.get(name, name)] = rounded.to(torch.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
