"""Check the English of Markdown pages: short sentences, no sentence that begins with "what".

``proselint`` knows clichés and misused words. This adds the rules of this project.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 40  # words
CODE = re.compile(r"^```.*?^```|^:::.*?$|<!--.*?-->|^\|.*?$|^#.*?$|^    \S.*?$", re.M | re.S)
RULES = {
    r"^What\b(?!.*\?$)": "Begin with the subject.",
    r"\bthe same\b": "Name it, or say 'equal'.",
    r"\brows? (?:learns?|knows?|meets?)\b": "A row does none of these.",
    r"\b(?:simply|just|easily|obviously|of course)\b": "Leave it out.",
    r"\b(?:utili[sz]e|leverage|in order to|due to the fact)\b": "Use the short word.",
}


def sentences_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a page's prose, each with its line, from 1."""
    blanked = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    for match in re.finditer(r"\S.*?(?:[.!?:](?=[\s)])|\n\s*\n|\n(?=\s*[-*\d])|\Z)", blanked, re.S):
        sentence = " ".join(re.sub(r"`[^`]*`|\(\S*\.(?:md|rst)\S*\)", "code", match[0]).split())
        yield blanked.count("\n", 0, match.start()) + 1, sentence.strip("-*# ")


def faults_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield what breaks a rule, each with its line."""
    for line, sentence in sentences_of(text):
        if len(sentence.split()) > LONGEST:
            yield line, f"A sentence of {len(sentence.split())} words; {LONGEST} is the limit."
        for rule, remedy in RULES.items():
            if found := re.search(rule, sentence, re.IGNORECASE):
                yield line, f"{found[0]!r}. {remedy}"


def main() -> int:
    """Print the faults of the pages named on the command line, and return the exit code."""
    faults = [
        f"{name}:{line}: {fault}"
        for name in sys.argv[1:]
        for line, fault in faults_of(Path(name).read_text())
    ]
    sys.stderr.write("".join(f"{fault}\n" for fault in faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
