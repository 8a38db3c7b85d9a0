"""From the rows of a run to medians, ratios within a round, shares of the limit, and a Markdown page."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from peers.registry import WORKS
from peers.rounds import CHECKED, DISTURBED

Row = dict[str, Any]
OURS = "nextword"  # never the peer that others are compared with
ENOUGH = 3  # undisturbed calls that make a median of their own


def lower_is_better(work: str) -> bool:
    return work in ("start", "memory")


def summarise(rows: Sequence[Row]) -> list[Row]:
    """One row per class, threads, work and label; `ratio` is to the best peer's call of the same round."""
    runs = [row for row in rows if row["kind"] == "run"]
    cells: dict[tuple[str, int, str], dict[str, list[Row]]] = {}
    for row in runs:
        cell = cells.setdefault((row["class"], row["threads"], row["work"]), {})
        cell.setdefault(row["label"], []).append(row)
    result = []
    for (class_name, threads, work), by_label in cells.items():
        chosen = {label: undisturbed(calls) for label, calls in by_label.items()}
        medians = {label: statistics.median(row["value"] for row in calls) for label, calls in chosen.items()}
        peers = {label: median for label, median in medians.items() if not label.startswith(OURS)} or medians
        best = (min if lower_is_better(work) else max)(peers, key=lambda label: peers[label])
        for label, calls in chosen.items():
            values = [row["value"] for row in calls]
            shares = [share(row) for row in calls if row["limit"]]
            result.append({
                "class": class_name, "threads": threads, "work": work, "label": label, "median": medians[label],
                "lowest": min(values), "highest": max(values), "calls": len(calls),
                "undisturbed": all(map(clean, calls)),
                "best_peer": best, "ratio": paired(calls, by_label[best]),
                "share_of_limit": statistics.median(shares) if shares else None,
            })
    return result


def undisturbed(calls: Sequence[Row]) -> list[Row]:
    found = list(filter(clean, calls))
    return found if len(found) >= min(ENOUGH, len(calls)) else list(calls)


def clean(row: Row) -> bool:
    return row["work"] == "memory" or row["foreign"] < DISTURBED


def share(row: Row) -> float:
    better = row["limit"] / row["value"] if lower_is_better(row["work"]) else row["value"] / row["limit"]
    return float(better)


def paired(calls: Iterable[Row], best: Iterable[Row]) -> float | None:
    others = {(row["process"], row["round"]): row["value"] for row in best}
    ratios = [row["value"] / others[at] for row in calls if (at := (row["process"], row["round"])) in others]
    return statistics.median(ratios) if ratios else None


def markdown(run: Row) -> str:
    """`run` is what against.py writes as JSON."""
    lines = [f"# {run['shape']} on the CPU, against other engines", "", f"{run['date']}, commit {run['commit']}", ""]
    lines += [f"- {name}: {text}" for name, text in run["machine"].items()]
    lines += [f"- command: `{run['command']}`", ""]
    lines += ["A figure is the median over the calls; in brackets its ratio to the best other engine (median of the",
              "ratios within a round) and its share of the limit that the same round measured. `~`: other processes",
              "disturbed it. Start and memory: lower is better. MB are 10^6 bytes.", ""]
    names = [name for name in WORKS if any(row["work"] == name for row in run["summary"])]
    groups = dict.fromkeys((row["class"], row["threads"]) for row in run["summary"])
    for class_name, threads in groups:
        members = [row for row in run["summary"] if (row["class"], row["threads"]) == (class_name, threads)]
        present = [name for name in names if any(row["work"] == name for row in members)]
        lines += [f"## {class_name}, {threads} thread{'s' * (threads > 1)}", ""]
        lines += [table_row(["engine", *(WORKS[name].title for name in present)]), "|---" * (len(present) + 1) + "|"]
        for label in dict.fromkeys(row["label"] for row in members):
            cells = [next((cell(row) for row in members if (row["label"], row["work"]) == (label, name)), "-")
                     for name in present]
            lines.append(table_row([label, *cells]))
        lines += [table_row(["limit", *(limit(run["rows"], class_name, threads, name) for name in present)]), ""]
        lines += [rates(run["rows"], class_name, threads), ""]
    lines += ["## Checks and versions", ""]
    lines += [f"- {line}" for line in notes(run)]
    return "\n".join(lines) + "\n"


def table_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(row: Row) -> str:
    ratio = f"{row['ratio']:.2f}x" if row["ratio"] else "-"
    part = f"{row['share_of_limit']:.0%}" if row["share_of_limit"] else "-"
    return f"{number(row['median'])} ({ratio}, {part}){'' if row['undisturbed'] else ' ~'}"


def limit(rows: Sequence[Row], class_name: str, threads: int, work: str) -> str:
    place = (class_name, threads, work)
    found = [row["limit"] for row in rows
             if row["kind"] == "run" and (row["class"], row["threads"], row["work"]) == place and row["limit"]]
    return number(statistics.median(found)) if found else "-"


def rates(rows: Sequence[Row], class_name: str, threads: int) -> str:
    measured = [row for row in rows
                if row["kind"] == "limits" and (row["class"], row["threads"]) == (class_name, threads)]
    texts = []
    for key, title in (
        ("read_gb_per_s", "reading the weights GB/s"), ("copy_gb_per_s", "copying them GB/s"),
        ("f32_gflops", "float32 multiply-add GFLOP/s"), ("bf16_gflops", "bfloat16 dot GFLOP/s"),
        ("int8_gops", "int8 dot GOP/s"),
    ):
        values = [row[key] for row in measured if key in row]
        if values:
            texts.append(f"{title} {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    return f"Measured limits, median (range) of {len(measured)}: {'; '.join(texts)}."


def notes(run: Row) -> list[str]:
    checks = {(row["class"], row["label"]): row for row in run["rows"] if row["kind"] == "check"}
    lines = [f"{name}: {', '.join(f'{key} {text}' for key, text in versions.items())}"
             for name, versions in run["versions"].items()]
    lines += [f"checked, {class_name} {label}: the first {CHECKED} greedy ids are the float32 reference's in "
              f"{', '.join(f'{count} of {work}' for work, count in row['agree'].items())}"
              for (class_name, label), row in checks.items()]
    failed = dict.fromkeys((row["class"], row["threads"], row["label"], row["error"])
                           for row in run["rows"] if row["kind"] == "failed")
    lines += [f"failed: {class_name} {label}, {threads} threads: {error}"
              for class_name, threads, label, error in failed]
    return lines + [f"skipped: {name}: {reason}" for name, reason in run["skipped"].items()]
