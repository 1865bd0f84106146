"""The command line. Each command is a module, imported when it is called."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from typing import TextIO

from aedetect.cli.arguments import parse

INTERRUPTED, UNREAD = 130, 141  # as shells have it: 128 and the number of SIGINT or SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 is success, 1 an error in the data, the model or the files, 2 bad usage, 130 an interruption
    by Ctrl-C and 141 an output that nobody reads any more, as with ``| head``.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        The arguments behind ``aedetect``; None takes those of the process.
    """
    arguments = parse(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _tell
            # Tables have names, whether the model was fitted with names or without.
            warnings.filterwarnings("ignore", "X has feature names")
            _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("aedetect: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer would fail again, and loudly, as the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except (ImportError, OSError, TypeError, ValueError) as error:
        if arguments.debug:
            raise
        print(f"aedetect: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _tell(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning in one line, without the place in the code."""
    print(f"aedetect: {' '.join(str(message).split())}", file=sys.stderr)


def _run(arguments: Namespace) -> None:
    """Import a command, which may take seconds, and run it."""
    if arguments.command == "fit":
        from aedetect.cli.fit import run
    elif arguments.command == "score":
        from aedetect.cli.score import run
    elif arguments.command == "report":
        from aedetect.cli.report import run
    elif arguments.command == "info":
        from aedetect.cli.info import run
    else:
        from aedetect.cli.demo import run
    run(arguments)
