#!/usr/bin/env python
"""Trains the demo model that ships in the wheel: a vocabulary, then a GPT-2 that tells stories in English and German.

    pip install ".[train]"
    python tools/train_demo.py --corpus ../shared/data/stories --out python/nextword/demo

The defaults are those of the shipped model. The corpus is a folder with en/*.txt and de/*.txt to train on and
valid/*.txt to measure on. The run leaves a checkpoint and the loss curve (curve.csv) in --state, goes on from there
when started again, and writes config.json, model.safetensors, vocab.json and merges.txt to --out at its end.

A CPU is kept busy by one single-threaded process for each core, each with its part of every batch: there is no fork and
join in every operation, and a core that something else takes for a while delays less. The model, its loss and the
optimizer Muon are in demo_model.py; the model card's numbers in demo_card.py.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F  # noqa: N812

from demo_model import BF16, GPT2, CrossEntropy, Muon, export
from nextword import Tokenizer


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    shown = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=shown)
    add = parser.add_argument
    add("--corpus", type=Path, default=Path("../shared/data/stories"), help="folder with en, de and valid")
    add("--out", type=Path, required=True, help="folder of the finished model")
    add("--state", type=Path, default=Path("build/train_demo"), help="folder of the checkpoint and the loss curve")
    add("--vocab", type=int, default=4096, help="tokens")
    add("--layers", type=int, default=4)
    add("--heads", type=int, default=4)
    add("--width", type=int, default=256)
    add("--context", type=int, default=512)
    add("--steps", type=int, default=6000, help="another number at a later start bends the schedule from there on")
    add("--batch", type=int, default=12, help="windows of `context` tokens in a step")
    add("--lr", type=float, default=3e-3, help="the highest learning rate")
    add("--warmup", type=int, default=200, help="steps in which it is reached; then it follows a cosine down to 0")
    add("--weight-decay", type=float, default=0.1, help="of the layers' matrices")
    add("--dropout", type=float, default=0.05, help="after the embedding and after each branch of a layer")
    add("--seed", type=int, default=1)
    add("--workers", type=int, default=1 if torch.cuda.is_available() else os.cpu_count() or 1, help="processes")
    add("--compile", action=argparse.BooleanOptionalAction, default=True, help="through inductor; needs a C++ compiler")
    add("--save-every", type=float, default=180, help="seconds between checkpoints")
    add("--measure-every", type=int, default=250, help="steps between rows of the curve")
    add("--stop-at", type=int, help="leave after this step with a checkpoint, as if interrupted")
    args = parser.parse_args(argv)
    if args.batch % args.workers or args.context % 4 or args.width % args.heads:
        parser.error("workers must divide batch, 4 must divide context, heads must divide width")
    return args


# --- text ---------------------------------------------------------------------------------------------------------


def stories(text: str) -> list[str]:
    """A book cut where a heading stands: a short line of its own that ends without punctuation."""
    cuts = [0]
    for heading in re.finditer(r"(?<=\n\n)[A-ZÄÖÜ][^\n\"]{2,58}\w(?=\n\n)", text):
        if heading.start() - cuts[-1] > 1000:
            cuts.append(heading.start())
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def training_files(corpus: Path) -> list[Path]:
    files = [file for language in ("en", "de") for file in sorted((corpus / language).glob("*.txt"))]
    if not files:
        raise FileNotFoundError(f"{corpus} has no en/*.txt and no de/*.txt")
    return files


def training_ids(files: list[Path], tokenizer: Tokenizer) -> np.ndarray:
    """All stories as one row of ids, <|endoftext|> before each."""
    ids: list[int] = []
    for file in files:
        for story in stories(file.read_text(encoding="utf-8")):
            ids += [tokenizer.eos_id, *tokenizer.encode(story)]
    return np.array([*ids, tokenizer.eos_id], dtype=np.int64)


class Windows:
    """Endless windows of context + 1 ids: each pass shifts the cuts and shuffles. A function of seed and number."""

    def __init__(self, ids: np.ndarray, context: int, seed: int) -> None:
        self.ids, self.context, self.seed = ids, context, seed
        self.count = (len(ids) - 1) // context - 1
        self.passes: dict[int, tuple[int, np.ndarray]] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        epoch, place = divmod(number, self.count)
        if epoch not in self.passes:
            rng = np.random.default_rng([self.seed, epoch])
            self.passes = {epoch: (int(rng.integers(self.context)), rng.permutation(self.count))}
        offset, order = self.passes[epoch]
        start = offset + int(order[place]) * self.context
        return self.ids[start : start + self.context + 1]


# --- training -----------------------------------------------------------------------------------------------------


class Schedule:
    """The learning rate: linear to `peak`, then half a cosine down to 0, bent where the number of steps changes."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps
        self.since, self.top = warmup, peak  # where the cosine starts, and at which rate

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = min(1.0, (step - self.since) / max(1, self.steps - self.since))
        return self.top * (0.5 + 0.5 * math.cos(math.pi * done))

    def bend(self, step: int, steps: int) -> None:
        if steps != self.steps and step > self.warmup:
            self.since, self.top = step, self(step)
        self.steps = steps


def dropout_noise(args: argparse.Namespace, step: int, first: int, count: int) -> torch.Tensor | None:
    """Random bytes for sequences first .. first + count of a step, the same whichever process asks."""
    if not args.dropout:
        return None
    shape = (2 * args.layers + 1, args.context, args.width)
    rows = [np.random.default_rng([args.seed, step, first + i]).bytes(math.prod(shape)) for i in range(count)]
    noise = np.stack([np.frombuffer(row, dtype=np.uint8).reshape(shape) for row in rows], axis=1)
    return torch.from_numpy(noise)


class Validation:
    """Bits per byte on one window of every sixteen of each held-out book: for the curve, not for the card."""

    def __init__(self, args: argparse.Namespace, tokenizer: Tokenizer) -> None:
        self.books = []
        for file in sorted((args.corpus / "valid").glob("*.txt")):
            ids = np.array([tokenizer.eos_id, *tokenizer.encode(file.read_text(encoding="utf-8"))])
            starts = range(0, len(ids) - args.context, 16 * args.context)
            windows = np.stack([ids[start : start + args.context + 1] for start in starts])
            size = sum(len(tokenizer.token_bytes(int(id))) for id in windows[:, 1:].flat)
            self.books.append((file.stem, torch.from_numpy(windows), size))

    def __call__(self, model: GPT2, device: torch.device) -> list[float]:
        found = []
        with torch.no_grad():
            for _, windows, size in self.books:
                nats = 0.0
                for part in windows.to(device).split(4):
                    logits = model(part[:, :-1], None, 0) @ model.wte.to(BF16).t()
                    nats += float(F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
                found.append(nats / math.log(2) / size)
        return found


def average_over_workers(parameters: list[nn.Parameter], loss: torch.Tensor, workers: int) -> float:
    """Gives all workers the mean of their gradients, and returns that of their losses."""
    if workers == 1:
        return loss.item()
    flat = torch.cat([loss.detach()[None], *(p.grad.flatten() for p in parameters)])
    dist.all_reduce(flat)
    flat /= workers
    for p, part in zip(parameters, flat[1:].split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(part.view_as(p))
    return flat[0].item()


def replace_file(file: Path, write: Callable[[Path], object]) -> None:
    """What `write(path)` writes stands at `file` whole or not at all."""
    fresh = file.with_name(file.name + ".new")
    write(fresh)
    os.replace(fresh, file)


def write_curve(file: Path, names: list[str], rows: list[list]) -> None:
    with file.open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([names, *rows])


def train(rank: int, args: argparse.Namespace, meeting: str) -> None:
    """One worker of args.workers; the first one reports and writes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.workers > 1:
        torch.set_num_threads(1)
        if hasattr(os, "sched_setaffinity"):  # two workers on one core would wait for each other all the time
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[rank % len(cores)]})
        patience = datetime.timedelta(days=2)  # a run may be paused
        dist.init_process_group("gloo", meeting, rank=rank, world_size=args.workers, timeout=patience)
    tokenizer = Tokenizer.load(args.state)
    windows = Windows(training_ids(training_files(args.corpus), tokenizer), args.context, args.seed)
    validation = Validation(args, tokenizer)
    torch.manual_seed(args.seed)
    model = GPT2(args).to(device)
    parameters = list(model.parameters())
    matrices = [p for name, p in model.named_parameters() if name.startswith("h.") and p.ndim == 2]
    others = [p for name, p in model.named_parameters() if not (name.startswith("h.") and p.ndim == 2)]
    optimizers = [
        Muon(matrices, args.weight_decay, rank, args.workers),
        torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    schedule = Schedule(args.lr, args.warmup, args.steps)
    step, rows, loss_sum, loss_count = 0, [], 0.0, 0
    checkpoint = args.state / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, rows, loss_sum, loss_count = (saved[key] for key in ("step", "rows", "loss_sum", "loss_count"))
        vars(schedule).update(saved["schedule"])
        schedule.bend(step, args.steps)
    compiled = torch.compile(model, dynamic=False) if args.compile else model
    share = args.batch // args.workers
    names = ["step", "tokens", "learning_rate", "train_nats_per_token", *(name for name, *_ in validation.books)]
    last = min(args.steps, args.stop_at or args.steps)
    if rank == 0:
        count = sum(p.numel() for p in parameters)
        print(f"{count:,} parameters, {len(windows.ids):,} tokens, from step {step} to {args.steps}", flush=True)

    def save() -> None:
        if rank == 0:
            state = {"model": model.state_dict(), "schedule": vars(schedule)}
            state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
            state |= {"step": step, "rows": rows, "loss_sum": loss_sum, "loss_count": loss_count}
            replace_file(checkpoint, lambda file: torch.save(state, file))
            replace_file(args.state / "curve.csv", lambda file: write_curve(file, names, rows))

    began, began_at, saved_at = time.monotonic(), step, time.monotonic()
    while step < last:
        first = rank * share
        batch = torch.from_numpy(np.stack([windows[step * args.batch + first + i] for i in range(share)])).to(device)
        noise = dropout_noise(args, step, first, share)
        out = compiled(batch[:, :-1], None if noise is None else noise.to(device), round(256 * args.dropout))
        loss = CrossEntropy.apply(out.flatten(0, 1), model.wte.to(BF16), batch[:, 1:].flatten())
        loss.backward()
        loss_sum += average_over_workers(parameters, loss, args.workers)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = schedule(step)
            optimizer.step()
            optimizer.zero_grad()
        loss_count, step = loss_count + 1, step + 1
        if rank == 0 and (step % args.measure_every == 0 or step == args.steps):
            bits = validation(model, device)
            figures = [f"{x:.4f}" for x in (loss_sum / loss_count, *bits)]
            rows.append([step, step * args.batch * args.context, f"{schedule(step - 1):.3e}", *figures])
            loss_sum, loss_count = 0.0, 0
            pace = (time.monotonic() - began) / (step - began_at)
            rate, left = args.batch * args.context / pace, pace * (args.steps - step) / 60
            print(*rows[-1], f"{rate:,.0f} tok/s, {left:.1f} min left", flush=True)
        if time.monotonic() - saved_at > args.save_every:
            save()
            saved_at = time.monotonic()
    save()
    if rank == 0 and step == args.steps:
        export(model, args.context, args.dropout, tokenizer.eos_id, args.out)
        for name in ("vocab.json", "merges.txt"):
            (args.out / name).write_bytes((args.state / name).read_bytes())
    if args.workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    args.state.mkdir(parents=True, exist_ok=True)
    if not (args.state / "merges.txt").exists():
        Tokenizer.train(training_files(args.corpus), args.vocab).save(args.state)
    if args.workers == 1:
        train(0, args, "")
    else:
        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(train, (args, f"file://{folder}/meeting"), nprocs=args.workers)


if __name__ == "__main__":
    main()
