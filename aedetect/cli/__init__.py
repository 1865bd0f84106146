"""The command line: one module a command, imported when the command is called."""

from __future__ import annotations

import json
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, TextIO

from aedetect.cli.arguments import parse

INTERRUPTED, BROKEN_PIPE = 130, 141  # shell convention: 128 + the number of SIGINT or SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 is success, 1 an error in the data, the model or the files, 2 bad usage, 130 an interruption
    by Ctrl-C and 141 an output whose reader has closed it, as ``| head`` does.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        The arguments after ``aedetect``; None takes those of the process.
    """
    arguments = parse(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            # Tables always have column names, but a model may be fitted without.
            warnings.filterwarnings("ignore", "X has feature names")
            if arguments.json:
                _print_object(arguments)
            else:
                _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("aedetect: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # At exit the interpreter flushes the buffer, which would fail again with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ImportError, OSError, TypeError, ValueError) as error:
        if arguments.debug:
            raise
        print(f"aedetect: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, without the line of code that issued it."""
    print(f"aedetect: {' '.join(str(message).split())}", file=sys.stderr)


def _print_object(arguments: Namespace) -> None:
    """Run a command and print its facts as one object, in place of its text."""
    with redirect_stdout(StringIO()):
        facts = _run(arguments)
    print(json.dumps({"command": arguments.command, **facts}, allow_nan=False))


def _run(arguments: Namespace) -> dict[str, Any]:
    """Import the module of a command, which may take seconds; run it and return its facts.

    Facts are values of JSON, for ``--json``.
    """
    if arguments.command == "fit":
        from aedetect.cli.fit import run
    elif arguments.command == "score":
        from aedetect.cli.score import run
    elif arguments.command == "feedback":
        from aedetect.cli.feedback import run
    elif arguments.command == "monitor":
        from aedetect.cli.monitor import run
    elif arguments.command == "report":
        from aedetect.cli.report import run
    elif arguments.command == "info":
        from aedetect.cli.info import run
    else:
        from aedetect.cli.demo import run
    return run(arguments)
