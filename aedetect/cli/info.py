"""``aedetect info``: describe a model file without loading it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from aedetect.cli.card import card
from aedetect.persistence import info

N_NAMES = 20  # feature names to print at most


def run(arguments: Namespace) -> dict[str, Any]:
    """Print the facts of a model file, and refuse it if its checksum is wrong."""
    facts = info(arguments.model)
    if arguments.card:
        facts["card"] = card(facts, arguments.model)
        print(facts["card"])
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' ')}: {_text(value)}")
    if not facts["intact"]:
        raise ValueError(f"{arguments.model} is damaged: its checksum does not match its content.")
    return {"model": str(arguments.model), **facts}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {name}: {_text(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - N_NAMES:,} more" if len(value) > N_NAMES else ""
        return ", ".join(map(str, value[:N_NAMES])) + more
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
