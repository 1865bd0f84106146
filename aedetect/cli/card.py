"""A model card in Markdown, from the facts of a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

N_COLUMNS = 50  # to list at most
N_LEVELS = 10  # of one column


def card(facts: dict[str, Any], path: Path) -> str:
    """Return the model card of a file that :func:`aedetect.persistence.info` has described."""
    versions = [f"- {name} {version}" for name, version in facts["versions"].items()]
    lines = [
        f"# Model card: {path.name}",
        "",
        f"{_kind(facts)} that flags anomalous rows of a table.",
        "",
        *("## Data", "", *_columns(facts), ""),
        *("## Training", "", _training(facts["training"]), ""),
        *("## Decision", "", _decision(facts), ""),
        *("## Versions", "", *versions, ""),
        *("## File", "", f"- {facts['n_bytes']:,} bytes, format {facts['format']}"),
        f"- SHA-256 `{facts['sha256']}`, "
        + ("which matches the content" if facts["intact"] else "**which does not match**"),
    ]
    return "\n".join(lines)


def _kind(facts: dict[str, Any]) -> str:
    outer, inner = facts["class"], facts["estimator"]
    return f"`{inner}`" if outer == inner else f"`{outer}` around `{inner}`"


def _columns(facts: dict[str, Any]) -> list[str]:
    """Return the lines about the columns: their number, and a table of names and kinds."""
    n_columns, levels = facts["n_features"], facts["levels"]
    names = facts["feature_names"] or [f"x{column}" for column in range(n_columns)]
    lines = [f"Rows of {n_columns:,} columns, {len(levels):,} of them categorical.", ""]
    if facts["feature_names"] is None:
        lines += ["The columns have no names: their order counts.", ""]
    if n_columns > N_COLUMNS:
        lines += [f"The first {N_COLUMNS}:", ""]
    lines += ["| column | content |", "|---|---|"]
    return lines + [
        f"| {_cell(name)} | {_levels(levels[name]) if name in levels else 'numbers'} |"
        for name in names[:N_COLUMNS]
    ]


def _levels(levels: list[Any]) -> str:
    named = ", ".join("(missing)" if level is None else _cell(level) for level in levels[:N_LEVELS])
    more = f" and {len(levels) - N_LEVELS:,} more" if len(levels) > N_LEVELS else ""
    return f"{len(levels):,} levels: {named}{more}"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _training(training: dict[str, Any]) -> str:
    if not training:
        return "The file does not tell."
    held_out = training["val_loss"]
    return (
        f"{training['epochs']:,} epochs in {training['seconds']:.3g} s; loss of the training rows"
        f" {training['loss']:.4g}, of held-out rows"
        f" {'unknown, as none were held out' if held_out is None else f'{held_out:.4g}'}."
    )


def _decision(facts: dict[str, Any]) -> str:
    """Return the threshold and the share of false alarms that it promises."""
    offset, calibration = facts["threshold"], facts["calibration"]
    if offset is None:
        return "The file has no threshold below which a score is an anomaly."
    if calibration is None:
        return (
            f"A row is an anomaly if its score is below {offset:.6g}. There are no calibration"
            " rows, so the share of false alarms is not bounded."
        )
    rate = f"{calibration['false_alarms']:.3g}"
    if calibration["n_detectors"] > 1:
        promise = f"mostly at most {rate}; twice that is proved"
    else:
        promise = f"at most {rate}"
    size = calibration["block_size"]
    rows = "rows" if size == 1 else f"blocks of {size:,} consecutive rows"
    return (
        f"A row is an anomaly if its score is below {offset:.6g}. The probability that a new normal"
        f" row is flagged is {promise}, on average over draws of the {calibration['n_rows']:,}"
        f" calibration rows, if new normal {rows} and those that calibrate are exchangeable."
    )
