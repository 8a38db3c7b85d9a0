"""`nextword generate`: a text continued as it comes, several texts, beams, JSON, and the reasons for each word."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nextword.cli.arguments import (
    add_prompt,
    add_settings,
    allowed_special,
    count,
    given_prompt,
    load,
    place,
    read_settings,
    shown_prompt,
    token_text,
    written_ids,
)
from nextword.cli.terminal import columns, print_json, progress, style

if TYPE_CHECKING:
    from nextword.decoding.explain import Candidate, Step
    from nextword.decoding.results import Generation, TokenLogprob
    from nextword.tasks.language_model import LanguageModel

DEFAULTS = {"max_new_tokens": 120, "temperature": 0.8, "top_p": 0.95}
HELP = "continue a text, printed as it comes"
EXAMPLES = """examples:
  nextword generate "Once upon a time"
  nextword generate --temperature 0 Es war einmal
  nextword generate --num-beams 4 --n 2 "The king"
  nextword generate --explain --max-new-tokens 3 "The king"
  nextword generate --model openai-community/gpt2 - < opening.txt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword generate` takes."""
    add_prompt(parser, " to continue")
    parser.add_argument("--on-overflow", choices=["error", "stop", "slide"], default="stop",
                        help="where text and new tokens exceed the model's context: end there (stop), refuse at once "
                             "(error), or go on from the last tokens, encoded again (slide; takes texts of any length)")
    parser.add_argument("--explain", type=candidates, nargs="?", const=8, default=0, metavar="N",
                        help="show for each token the N best candidates and why one was chosen (8)")
    parser.add_argument("--draft", metavar="lookup|DTYPE|MODEL", type=place,
                        help="let tokens be guessed and check several at once, for the same text in less time: lookup, "
                             "a quantised copy (bfloat16, int8, int4), or a smaller model's folder or hub id")
    parser.add_argument("--tree", action="store_true", help="beam search: print the tree of beams")
    parser.add_argument("--json", action="store_true", help="print one JSON object: text, tokens, timings and more")
    add_settings(parser, **DEFAULTS)


def run(args: argparse.Namespace) -> int:
    """Print what the arguments ask for; returns the exit code."""
    started = time.perf_counter()
    lm = load(args)
    load_seconds = time.perf_counter() - started
    prompt = given_prompt(args.prompt, lm, args.seed)
    settings = {**read_settings(args, **DEFAULTS), "on_overflow": args.on_overflow, "explain": args.explain,
                "draft": given_draft(args.draft), **allowed_special(args)}
    if lm.tokenizer is None:
        settings.update(as_ids(settings, lm))
    elif "bad_words" in settings:
        settings["bad_words"] = with_blank(settings["bad_words"])
    several = any(settings.get(name, 1) > 1 for name in ("n", "best_of", "num_beams")) or "penalty_alpha" in settings
    if args.tree and settings.get("num_beams", 1) < 2:
        raise ValueError("generate: --tree shows beam search; add --num-beams 4")
    if several or args.json:
        started = time.perf_counter()
        with progress("generating"):
            out = lm.generate(prompt, **settings)
        every = list(out) if isinstance(out, list) else [out]
        if args.json:
            objects = [as_json(one, load_seconds) for one in every]
            print_json(prompt=prompt, **(objects[0] if len(objects) == 1 else {"texts": objects}))
            return 0
        print_several(lm, prompt, every)
        if args.tree:
            from nextword.decoding.beam_tree import render_tree

            print("\n" + render_tree(every[0].beams.tree, lambda ids: "".join(token_text(lm, i) for i in ids)))
        seconds = time.perf_counter() - started
        drawn = settings.get("temperature", 0) > 0 and len(every) > 1
        again = f", --seed {every[0].seed}; the second alone: --row {settings.get('row', 0) + 1}" if drawn else ""
        note(f"{len(every)} texts in {seconds:.1f} s{drafted(every)}{again}")
    else:
        out = stream_text(lm, prompt, settings)
        every = [out]
        speed = f"{out.timings.decode_tokens_per_second:.0f} tokens/s"
        seed = f", --seed {out.seed}" if settings["temperature"] > 0 else ""
        note(f"{len(out.tokens)} tokens, {speed}{drafted(every)}{seed}")
    if args.explain and every[0].steps is not None:
        print_steps(lm, every)
    if any(one.finish_reason == "context" for one in every):
        print(f"nextword: the context of {lm.model.window} tokens is full, the text ends", file=sys.stderr)
    return 0


def candidates(text: str) -> int:
    """A number of them; a text that follows --explain is taken for one, and told how to stand elsewhere."""
    if not text.lstrip("-").isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of candidates, got {text!r}; give the text before "
                                         "--explain, or write --explain=8")
    return count(text)


def with_blank(words: Sequence[str]) -> list[str]:
    """Each of the words as it is and with a blank before it, as most words of a text are tokens with their blank.

    >>> with_blank(["cat", " dog"])
    ['cat', ' cat', ' dog']
    """
    return [form for word in words for form in ([word] if word[0].isspace() else [word, f" {word}"])]


def as_ids(settings: dict[str, Any], lm: LanguageModel) -> dict[str, Any]:
    """The settings that hold texts, with token ids in their place: a model without a vocabulary knows no other."""
    found: dict[str, Any] = {}
    if "stop" in settings:
        found["stop"] = [token for text in settings["stop"] for token in written_ids(text, "--stop", lm)]
    if "bad_words" in settings:
        found["bad_words"] = [written_ids(text, "--bad-words", lm) for text in settings["bad_words"]]
    if "logit_bias" in settings:
        found["logit_bias"] = {tuple(written_ids(key, "--logit-bias", lm)) if isinstance(key, str) else key: value
                               for key, value in settings["logit_bias"].items()}
    return found


def given_draft(name: str | None) -> str | LanguageModel | None:
    """What --draft asks for: a name that `generate` knows, or a model."""
    from nextword.decoding.speculation import DTYPES

    if name is None or name in ("lookup", *DTYPES):
        return name
    import nextword

    with progress(f"loading {name}"):
        return nextword.load(name, task="generate")


def drafted(every: Sequence[Generation]) -> str:
    """How much of the drafts was right, for a note; nothing without a draft."""
    counts = [(one.accepted, one.drafted) for one in every if one.accepted is not None and one.drafted is not None]
    accepted, proposed = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return f", {accepted:,} of {proposed:,} drafted tokens accepted" if counts else ""


def note(text: str) -> None:
    """Say on a terminal what a reader of the text alone does not want."""
    if sys.stderr.isatty():
        print(style(f"[{text}]", "2", sys.stderr), file=sys.stderr)


def stream_text(lm: LanguageModel, prompt: str | list[int], settings: dict[str, Any]) -> Generation:
    """Print the prompt and what follows it, piece by piece; after Ctrl-C the line is ended and the text kept."""
    stream = lm.stream(prompt, **settings)
    pieces = iter(stream)
    with progress("reading the prompt"):
        first = next(pieces, "")
    text = shown_prompt(prompt)
    print(style(text, "1", sys.stdout), end="")
    try:
        for piece in itertools.chain([first], pieces):
            shown = piece if isinstance(piece, str) else f" {piece}"  # ids where the model has no vocabulary
            print(shown, end="", flush=True)
            text = shown or text
    finally:
        print(end="" if text.endswith("\n") else "\n", flush=True)
    return stream.result


def print_several(lm: LanguageModel, prompt: str | list[int], every: Sequence[Generation]) -> None:
    """Several texts, one after the other, each under its number."""
    for i, one in enumerate(every):
        score = f", score {one.score:.3f}" if one.score is not None else ""
        if len(every) > 1:
            print(style(f"{i + 1} of {len(every)}{score}", "2", sys.stdout))
        text = one.text if one.text is not None else " " + " ".join(map(str, one.tokens))
        print(style(shown_prompt(prompt), "1", sys.stdout) + text)


def as_json(out: Generation, load_seconds: float) -> dict[str, Any]:
    """A generation as JSON takes it."""
    found: dict[str, Any] = {
        "text": out.text, "tokens": out.tokens, "prompt_tokens": out.prompt_tokens, "finish_reason": out.finish_reason,
        "seed": out.seed, "row": out.row,
        "timings": {
            "load_seconds": load_seconds,
            "prefill_seconds": out.timings.prefill_seconds,
            "decode_seconds": out.timings.decode_seconds,
            "prefill_tokens_per_second": out.timings.prefill_tokens_per_second,
            "decode_tokens_per_second": out.timings.decode_tokens_per_second,
        },
    }  # fmt: skip
    for name in ("logprobs", "prompt_logprobs"):
        told: list[TokenLogprob | None] | None = getattr(out, name)
        if told is not None:
            found[name] = [t and {"token": t.token, "logprob": t.logprob, "top": t.top} for t in told]
    if out.steps is not None:
        found["steps"] = [
            {"token": s.token, "probability": s.probability, "kept": s.kept, "drawn": s.drawn,
             "removed_mass": s.removed_mass, "candidates": [dict(vars(c)) for c in s.candidates]} for s in out.steps
        ]  # fmt: skip
    for name in ("removed_mass", "drafted", "accepted", "score"):
        if getattr(out, name) is not None:
            found[name] = getattr(out, name)
    return found


# The reasons


def print_steps(lm: LanguageModel, every: Sequence[Generation]) -> None:
    """A table for each step of each text."""
    for i, out in enumerate(every):
        if len(every) > 1:
            print(style(f"\n{i + 1} of {len(every)}", "2", sys.stdout))
        for number, step in enumerate(out.steps or [], 1):
            print("\n" + "\n".join(step_lines(lm, number, step)))


def step_lines(lm: LanguageModel, number: int, step: Step) -> Iterator[str]:
    """One step: what was chosen and how, then the candidates with the logit on its way and the probability."""
    how = "the most probable" if step.drawn is None else f"drawn with {step.drawn:.4f}, {step.kept:,} tokens stayed"
    removed = f", the grammar removed {step.removed_mass:.1%}" if step.removed_mass else ""
    chosen = style(f"{number}. '{token_text(lm, step.token)}'", "1", sys.stdout)
    yield f"{chosen}  {how}{removed}"
    wide = max(columns(f"'{token_text(lm, c.token)}'") for c in step.candidates)
    yield style(f"   {'':{wide}}   logit  after bias  penalties  temperature  probability  chance", "2", sys.stdout)
    for candidate in step.candidates:
        yield candidate_line(lm, candidate, candidate.token == step.token, wide)


def candidate_line(lm: LanguageModel, c: Candidate, chosen: bool, wide: int) -> str:
    """One candidate: numbers that no rule changed are left out."""
    text = f"'{token_text(lm, c.token)}'"
    label = text + " " * (wide - columns(text))
    biased = f"{c.biased:.2f}" if c.biased != c.logit else ""
    penalised = f"{c.penalised:.2f}" if c.penalised != c.biased else ""
    scaled = f"{c.scaled:.2f}" if c.scaled != c.penalised else ""
    chance = f"{c.probability:7.2%}" if c.kept else f"    cut by {c.cut_by}"
    line = f" {'>' if chosen else ' '} {label}  {c.logit:6.2f}  {biased:>10}  {penalised:>9}  {scaled:>11}  "
    line = f"{line}{c.softmax:11.2%} {chance}"
    return style(line, "32" if chosen else "2" if not c.kept else "0", sys.stdout)
