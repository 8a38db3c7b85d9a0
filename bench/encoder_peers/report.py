"""From the rows of a run of bench/encoders.py to a Markdown page: medians, ratios within a round, shares of limits."""

import statistics
from collections.abc import Sequence
from typing import Any

from encoder_peers.registry import CELLS, SHAPES
from peers.report import ENOUGH, OURS, number, table_row
from peers.rounds import DISTURBED

Row = dict[str, Any]
LOWER = ("one", "start")  # is better


def markdown(run: Row) -> str:
    """`run` is what encoders.py writes as JSON."""
    lines = ["# Encoders on the CPU, against other engines", "", f"{run['date']}, commit {run['commit']}", ""]
    lines += [f"- {name}: {text}" for name, text in run["machine"].items()]
    lines += [f"- command: `{run['command']}`, {run['minutes']} minutes", ""]
    lines += ["Texts in, vectors out, tokenizing included. A figure is the median over the rounds; in brackets how",
              f"many times as fast as {OURS} it is (median of the ratios within a round; above 1: faster) and its",
              "share of the limit that the same round measured. `~`: other processes disturbed it. Start: imports,",
              "load and the first vector in a new process.", ""]
    rows = run["rows"]
    for shape, threads, class_name in dict.fromkeys((r["shape"], r["threads"], r["class"]) for r in rows):
        members = [row for row in rows if (row["shape"], row["threads"], row["class"]) == (shape, threads, class_name)]
        lines += [f"## {SHAPES[shape].title}, {class_name}, {threads} thread{'s' * (threads > 1)}", ""]
        lines += table([row for row in members if row["kind"] == "run"], shape)
        lines += [""] + [f"- {line}" for line in checks(members)] + [""]
    lines += ["## Versions", ""]
    lines += [f"- {label}: {', '.join(f'{key} {text}' for key, text in found.items())}"
              for label, found in {row["label"]: row["versions"] for row in rows if "versions" in row}.items()]
    lines += [f"- {SHAPES[shape].title}: the cosine of two different texts is {cosine:.4f} (median)"
              for shape, cosine in run["others"].items()]
    lines += [f"- skipped: {text}" for text in run["skipped"]]
    return "\n".join(lines) + "\n"


def table(runs: Sequence[Row], shape: str) -> list[str]:
    cells = [cell for cell in CELLS if any(row["cell"] == cell for row in runs)]
    count = {"mixed": f"{SHAPES[shape].texts:,} ", "short": f"{SHAPES[shape].short:,} "}
    titles = [count.get(cell, "") + CELLS[cell] for cell in cells]
    lines = [table_row(["engine", *titles]), "|---" * (len(cells) + 1) + "|"]
    for label in dict.fromkeys(row["label"] for row in runs):
        lines.append(table_row([label, *(figure(runs, label, cell) for cell in cells)]))
    bounds = [[row["limit"] for row in runs if row["cell"] == cell and row["limit"]] for cell in cells]
    lines.append(table_row(["limit", *(number(statistics.median(some)) if some else "-" for some in bounds)]))
    margins = [margin(runs, cell) for cell in cells]
    return [*lines, table_row([f"{OURS} to the best other", *margins])] if any(m != "-" for m in margins) else lines


def of(runs: Sequence[Row], label: str, cell: str) -> list[Row]:
    """The calls of an engine, undisturbed ones where there are enough of these."""
    calls = [row for row in runs if (row["label"], row["cell"]) == (label, cell)]
    clean = [row for row in calls if row["foreign"] < DISTURBED]
    return clean if len(clean) >= min(ENOUGH, len(calls)) else calls


def times_as_fast(runs: Sequence[Row], label: str, other: str, cell: str) -> float | None:
    base = {row["round"]: row["value"] for row in runs if (row["label"], row["cell"]) == (other, cell)}
    found = [base[row["round"]] / row["value"] if cell in LOWER else row["value"] / base[row["round"]]
             for row in of(runs, label, cell) if row["round"] in base]
    return statistics.median(found) if found else None


def figure(runs: Sequence[Row], label: str, cell: str) -> str:
    calls = of(runs, label, cell)
    if not calls:
        return "-"
    shares = [row["limit"] / row["value"] if cell in LOWER else row["value"] / row["limit"]
              for row in calls if row["limit"]]
    ratio = times_as_fast(runs, label, OURS, cell)
    beside = [f"{ratio:.2f}x"] if ratio and label != OURS else []
    beside += [f"{statistics.median(shares):.0%}"] if shares else []
    disturbed = any(row["foreign"] >= DISTURBED for row in calls)
    return f"{number(statistics.median(row['value'] for row in calls))} ({', '.join(beside)}){' ~' * disturbed}"


def margin(runs: Sequence[Row], cell: str) -> str:
    """How many times as fast as the fastest other engine, within rounds."""
    found = {label: times_as_fast(runs, OURS, label, cell)
             for label in dict.fromkeys(row["label"] for row in runs) if label != OURS}
    least = min((ratio, label) for label, ratio in found.items() if ratio) if any(found.values()) else None
    return f"{least[0]:.2f}x {least[1]}" if least else "-"


def checks(members: Sequence[Row]) -> list[str]:
    lines = []
    for row in members:
        if row["kind"] == "check":
            batches = "".join(f", {cell} in batches of {n}" for cell, n in row["batches"].items())
            lines.append(f"{row['label']}: cosine with the float32 reference at least {row['cosine']:.6f}{batches}")
    failed = dict.fromkeys((row["label"], row["error"]) for row in members if row["kind"] == "failed")
    lines += [f"failed: {label}: {error}" for label, error in failed]
    rates = [row for row in members if row["kind"] == "limits"]
    for key, title in (("read_gb_per_s", "GB/s read"), ("f32_gflops", "float32 GFLOP/s"),
                       ("bf16_gflops", "bfloat16 GFLOP/s"), ("int8_gops", "int8 GOP/s")):
        values = [row[key] for row in rates if key in row]
        if values:
            lines.append(f"limit measured: {statistics.median(values):.1f} {title}")
    return lines
