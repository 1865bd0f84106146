"""Install a wheel into empty environments, without extras and with each, and use every extra.

Without extras, the use of one must fail with an error that names it. Run by ``make dist``:
``python tests/release/check_wheel.py WHEEL [arguments of pip for torch]``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

START = """
from aedetect import AutoencoderTransformer, datasets
X, y = datasets.load_digits()
detector = AutoencoderTransformer(max_epochs=2, random_state=0)
"""
USES = {
    "plot": "from aedetect import report; report(detector.fit(X), X, path='report.html')",
    "parquet": """
from aedetect import open_rows
from aedetect.rows import score
rows = open_rows(lambda: iter([X]), memory='64MB')
score(detector.fit(rows), rows, 'scores.parquet')
""",
    "onnx": "from aedetect import to_onnx; to_onnx(detector.fit(X), 'digits.onnx')",
    "tensorboard": """
from aedetect.tracking import TensorBoardCallback
detector.set_callbacks(TensorBoardCallback('runs')).fit(X)
""",
}
REFUSED = """
try:
    {use}
except ImportError as error:
    assert "needs the extra '{extra}'" in str(error), error
else:
    raise SystemExit("The extra {extra} was not missed.")
"""


def make_environment(folder: Path, *shared: Path) -> Path:
    """Make an environment that sees the packages of others, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    (packages_of(python) / "shared.pth").write_text("\n".join(map(str, shared)))
    return python


def packages_of(python: Path) -> Path:
    """Return the folder of an environment's packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", code], text=True).strip())


def install(python: Path, *arguments: str) -> None:
    """Call pip of an environment."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)


def run(python: Path, code: str) -> None:
    """Run a program in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-I", "-c", START + code], cwd=folder, check=True)


def main() -> None:
    """Check the wheel named on the command line."""
    wheel, *for_torch = sys.argv[1:]
    wheel = str(Path(wheel).resolve())
    with tempfile.TemporaryDirectory() as folder:
        plain = make_environment(Path(folder, "plain"))
        install(plain, *for_torch, "torch")
        install(plain, wheel)
        run(plain, "detector.fit(X).predict(X)")
        for extra, use in USES.items():
            indented = use.strip().replace("\n", "\n    ")
            run(plain, REFUSED.format(use=indented, extra=extra))
        print("Without extras: works, and names each extra.", flush=True)
        for extra, use in USES.items():
            python = make_environment(Path(folder, extra), packages_of(plain))
            install(python, f"{wheel}[{extra}]")
            run(python, use)
            print(f"With {extra}: works.", flush=True)


if __name__ == "__main__":
    main()
