"""Arguments of the command line. Imports nothing slow, so that ``--help`` is fast."""

from __future__ import annotations

import argparse
import contextlib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import aedetect

Commands = argparse._SubParsersAction
Number = TypeVar("Number", int, float)

EPILOG = """\
exit codes: 0 success, 1 an error in data, model or files, 2 bad usage, 130 interrupted,
  141 the reader of the output has closed it (| head)
tables: .csv (also .csv.gz), .tsv, .parquet, .npy; columns of numbers, of text, of true and false
example:
  aedetect fit normal.csv -o model.aedetect --drop id
  aedetect score model.aedetect new.csv -o scores.csv --keep id --alpha 0.01 --explain 3
"""


def parse(argv: Sequence[str] | None) -> Namespace:
    """Return the parsed arguments; bad arguments and --help end the process."""
    parser = ArgumentParser(
        prog="aedetect",
        description="Anomaly detection with autoencoders.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aedetect {aedetect.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_fit(commands)
    _add_score(commands)
    _add_feedback(commands)
    _add_monitor(commands)
    _add_report(commands)
    _add_info(commands)
    _add_demo(commands)
    for name, command in commands.choices.items():
        if name == "monitor":  # its lines are JSON
            command.set_defaults(json=False)
        else:
            _add_json(command)
    arguments = parser.parse_args(argv)
    if arguments.command == "score":
        _check_score(commands.choices["score"], arguments)
    if arguments.command == "fit":
        _check_fit(commands.choices["fit"], arguments)
    if getattr(arguments, "label_normal", None) is not None and arguments.label is None:
        parser.error("--label-normal VALUE needs --label COLUMN")
    return arguments


def _add_fit(commands: Commands) -> None:
    fit = commands.add_parser("fit", help="train on a table and write a model file")
    _add_table(fit, "rows to train on, nearly all of them normal")
    fit.add_argument(
        "-o",
        "--out",
        type=_path(".aedetect", ".safetensors", ""),
        required=True,
        help="the model file to write",
    )
    fit.add_argument(
        "--estimator",
        choices=["denoising", "autoencoder", "vae"],
        default="denoising",
        help="default: denoising",
    )
    fit.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        dest="settings",
        help="a parameter of the estimator, such as latent_dim=8; may be repeated",
    )
    fit.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="seed of the calibration rows and of training, so that two fits of one table are"
        " equal (default: a new one each time); short for --set random_state=N",
    )
    fit.add_argument(
        "--calibration",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="share of the rows held out from training, to turn scores into p-values; 0 for none"
        " (default: 0.2)",
    )
    fit.add_argument(
        "--label",
        metavar="COLUMN",
        help="column of labels to use: -1 for known anomalies, +1 for known normal rows, and 0 or"
        " no value for all other rows; short for --set labels=use",
    )
    fit.add_argument(
        "--label-normal",
        metavar="VALUE",
        help="the label of normal rows, such as ok; all other labels mark anomalies, and rows"
        " without a label are unknown",
    )
    fit.add_argument(
        "--memory",
        metavar="SIZE",
        help="keep the rows on the disk, and at most SIZE of them in memory, such as 512MB",
    )
    fit.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep the rows on the disk, in this folder, and use them again as long as the table"
        " stays as it is (default: a temporary folder if --memory is given)",
    )


def _check_fit(parser: ArgumentParser, arguments: Namespace) -> None:
    """Refuse options that do not go together."""
    labels = dict(arguments.settings).get("labels")
    if arguments.label is None and labels == "use":
        parser.error("--set labels=use needs --label COLUMN, the column of labels")
    if arguments.label is None:
        return
    if labels not in (None, "use"):
        parser.error(f"--label {arguments.label} uses labels, but --set has labels={labels}")
    if arguments.memory is not None or arguments.cache is not None:
        parser.error(
            "--label takes tables that fit into memory: leave out --memory and --cache, or fit"
            " without labels and call aedetect feedback next"
        )


def _add_score(commands: Commands) -> None:
    score = commands.add_parser("score", help="score the rows of a table")
    score.add_argument("model", type=Path, help="a model file")
    _add_table(score, "rows to score; columns are matched by name")
    score.add_argument(
        "-o",
        "--out",
        type=_path(".csv", ".csv.gz", ".parquet"),
        help="the table to write: .csv, .csv.gz or .parquet (default: CSV on stdout)",
    )
    _add_alpha(score)
    score.add_argument(
        "--explain",
        type=_count,
        default=0,
        metavar="N",
        help="add the N features with the largest contributions, and these contributions",
    )
    _add_keep(score, "columns to copy to the result")
    score.add_argument(
        "--resume",
        action="store_true",
        help="score in parts on the disk; a call that was killed goes on when it is called again."
        " Writes row, score, anomaly and, if calibrated, p_value to a .parquet file",
    )
    score.add_argument(
        "--engine",
        choices=["local", "ray", "dask"],
        default="local",
        help="with --resume: what computes the parts (default: local, this process)",
    )
    score.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="with --resume: a folder for the rows, which are used again as long as the table stays"
        " as it is (default: a temporary folder)",
    )


def _check_score(parser: ArgumentParser, arguments: Namespace) -> None:
    """Refuse options that do not go together."""
    if arguments.json and arguments.out is None:
        parser.error("--json needs -o: without it, stdout is for the scores")
    if not arguments.resume:
        if arguments.cache is not None or arguments.engine != "local":
            parser.error("--cache and --engine need --resume")
        return
    others = {"--alpha": arguments.alpha, "--explain": arguments.explain, "--keep": arguments.keep}
    given = [name for name, value in others.items() if value]
    if given:
        parser.error(
            f"--resume writes row, score, anomaly and p_value alone: leave out {', '.join(given)}"
        )
    if arguments.out is None or arguments.out.suffix.lower() != ".parquet":
        parser.error("--resume writes a .parquet file: name it with --out")


def _add_feedback(commands: Commands) -> None:
    feedback = commands.add_parser(
        "feedback", help="tell a model about known anomalies and normal rows, without training"
    )
    feedback.add_argument("model", type=Path, help="a model file")
    _add_table(feedback, "rows with a column of labels; those without a label are passed over")
    feedback.add_argument(
        "--label",
        default="label",
        metavar="COLUMN",
        help="column of labels: -1 for anomalies, +1 for normal rows, 0 to take one back (default:"
        " label)",
    )
    feedback.add_argument(
        "--rows",
        type=Path,
        metavar="TABLE",
        help="the table that was scored; the labelled rows then have a column 'row' with their"
        " numbers in it, as the report and the results of score have them",
    )
    feedback.add_argument(
        "--calibrate",
        type=Path,
        metavar="TABLE",
        help="normal rows to calibrate with, for a model that was fitted with --calibration",
    )
    feedback.add_argument(
        "-o",
        "--out",
        type=_path(".aedetect", ".safetensors", ""),
        help="the model file to write (default: the one that is read)",
    )


def _add_monitor(commands: Commands) -> None:
    monitor = commands.add_parser(
        "monitor", help="tell whether rows have changed since the calibration, in lines of JSON"
    )
    monitor.add_argument("model", type=Path, help="a model file, or a file of a monitor (see -o)")
    _add_table(monitor, "rows in the order in which they came; columns are matched by name")
    monitor.add_argument(
        "--follow",
        action="store_true",
        help="wait for rows that are appended to the table, a .csv file, until interrupted",
    )
    monitor.add_argument(
        "--alpha",
        type=_level,
        help="probability of a false alarm, over all rows to come (default: 0.01)",
    )
    monitor.add_argument(
        "--seed", type=int, metavar="N", help="seed of the random numbers that break ties"
    )
    monitor.add_argument(
        "--skip",
        type=_count,
        default=0,
        metavar="N",
        help="leave out the first N rows of the table, those of an earlier run for example",
    )
    monitor.add_argument(
        "-o",
        "--out",
        type=_path(".aedetect", ".safetensors", ""),
        help="keep the monitor in this file after every part of the table, to go on with it later",
    )


def _add_report(commands: Commands) -> None:
    report = commands.add_parser("report", help="write a page about a model and a table")
    report.add_argument("model", type=Path, help="a model file")
    _add_table(report, "rows to report on")
    report.add_argument(
        "-o",
        "--out",
        type=_path(".html", ".htm"),
        default=Path("report.html"),
        help="default: report.html",
    )
    report.add_argument(
        "--label",
        metavar="COLUMN",
        help="column of labels: +1 for normal rows and -1 for anomalies, or classes",
    )
    report.add_argument(
        "--label-normal",
        metavar="VALUE",
        help="the label of normal rows, such as 0; all other labels mark anomalies",
    )
    _add_alpha(report)
    _add_keep(report, "columns that name the rows on the page, such as ids")


def _add_info(commands: Commands) -> None:
    info = commands.add_parser("info", help="describe a model file")
    info.add_argument("model", type=Path, help="a model file")
    info.add_argument("--card", action="store_true", help="print a model card in Markdown")


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="flag odd handwritten digits and machines")
    demo.add_argument(
        "--data",
        choices=["digits", "mnist"],
        default="digits",
        help="digits: 8x8 images that ship with scikit-learn; mnist: 28x28 images from the folder"
        " in $AEDETECT_DATA, else from OpenML (default: digits)",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)"
    )


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on stdout"
    )


def _add_table(parser: ArgumentParser, help: str) -> None:
    parser.add_argument("table", type=Path, help=help)
    parser.add_argument(
        "--sep", default=",", metavar="CHARACTER", help="separator of a CSV file (default: ,)"
    )
    parser.add_argument(
        "--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out, such as ids"
    )


def _add_alpha(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--alpha",
        type=_level,
        help="flag rows with a p-value of at most ALPHA, which bounds the share of false alarms"
        " (default: the model's own threshold)",
    )


def _add_keep(parser: ArgumentParser, help: str) -> None:
    parser.add_argument("--keep", nargs="+", default=[], metavar="COLUMN", help=help)


def _path(*endings: str) -> Callable[[str], Path]:
    """Return a parser of file names with one of the endings; "" stands for no ending."""

    def parse_path(text: str) -> Path:
        name = Path(text).name.lower()
        if not (name.endswith(tuple(filter(None, endings))) or ("" in endings and "." not in name)):
            rule = ", ".join(ending or "no ending" for ending in endings)
            raise argparse.ArgumentTypeError(
                f"the ending sets the format, and {text} has none of: {rule}"
            )
        return Path(text)

    return parse_path


def _setting(text: str) -> tuple[str, object]:
    """Return a parameter's name and value, parsed as JSON if possible, else as text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, None if value == "None" else value


def _share(text: str) -> float:
    return _number(text, float, lambda share: 0 <= share < 1, "a share in [0, 1)")


def _level(text: str) -> float:
    return _number(text, float, lambda level: 0 < level < 1, "a level in (0, 1)")


def _count(text: str) -> int:
    return _number(text, int, lambda count: count >= 0, "a number that is not negative")


def _number(
    text: str, parse_number: Callable[[str], Number], is_valid: Callable[[Number], bool], rule: str
) -> Number:
    with contextlib.suppress(ValueError):
        number = parse_number(text)
        if is_valid(number):
            return number
    raise argparse.ArgumentTypeError(f"{text} is not {rule}")
