"""The report in a real browser: it renders, asks nobody for anything, and fits every screen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from aedetect import AutoencoderTransformer, report

BROWSER = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium to render the report with")

AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<script>alert(1)</script>"
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="no axe-core: npm install --no-save axe-core"
)
PHONE = 360  # pixels
DARK = "--blink-settings=preferredColorScheme=0"


def browse(path, folder, *flags):
    """Open a page without a window; return what the browser prints, and what it complains of."""
    result = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}"),
            *flags,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def asked_by_pages(log):
    """Return the addresses that pages asked for; the browser's own errands do not count."""
    content = json.loads(log.read_text())
    started = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    return [
        event["params"]["url"]
        for event in content["events"]
        if event["type"] == started
        and event.get("params", {}).get("initiator") not in (None, "not an origin")
    ]


def screenshot(path, folder, width, *flags):
    picture = folder / "screenshot.png"
    browse(path, folder, f"--screenshot={picture}", f"--window-size={width},1500", *flags)
    return matplotlib.image.imread(picture)[..., :3]


@pytest.fixture(scope="module", params=["table", "images"])
def page(request, tmp_path_factory, table, digits):
    path = tmp_path_factory.mktemp("report") / "report.html"
    if request.param == "images":
        X, y = digits
        detector = AutoencoderTransformer(
            8, hidden_layer_sizes=(32,), image_shape=(1, 8, 8), max_epochs=5, random_state=0
        ).fit(X[y == 3])
        return report(detector, X[:200], np.where(y[:200] == 3, 1, -1), path)
    columns = [HOSTILE, "\"&'", "$x^2$", "a_long_name_without_a_space" * 9, "plain"]
    frame = pd.DataFrame(table, columns=columns, index=[f"<b>{i}</b> \"&'" for i in range(60)])
    detector = AutoencoderTransformer(2, max_epochs=5, random_state=0).fit(frame)
    classes = np.array([HOSTILE, "$", "\"&'"])[np.arange(60) % 3]
    return report(detector, frame, classes, path, title=f"{HOSTILE} \"&'")


def test_the_page_renders_without_a_complaint_and_without_a_request(page, tmp_path):
    log = tmp_path / "net.json"
    document, console = browse(page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert console == []
    assert asked_by_pages(log) == []
    assert "<script" not in document
    for heading in ("Scores and threshold", "most anomalous rows", "Learning curve", "versions"):
        assert heading in document


def test_a_page_that_asks_or_complains_would_be_noticed(tmp_path):
    path, log = tmp_path / "page.html", tmp_path / "net.json"
    path.write_text('<img src="http://example.org/pixel.png"><script>console.error("x")</script>')
    _, console = browse(path, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert any("example.org" in address for address in asked_by_pages(log))
    assert console


def test_the_page_is_dark_where_the_reader_wants_it_and_its_drawings_are_too(page, tmp_path):
    light = screenshot(page, tmp_path, 1200)
    dark = screenshot(page, tmp_path, 1200, DARK)
    assert np.median(light) > 0.9
    assert np.median(dark) < 0.2
    for picture in (light, dark):  # text and lines stand out from what is behind them
        assert np.ptp(np.percentile(picture, [0.5, 99.5])) > 0.5


def faults_of(text, folder, *flags):
    """Return what axe-core finds on a page with all disclosures open."""
    checked = folder / "checked.html"
    check = (
        "axe.run().then(result => { document.body.dataset.faults ="
        " result.violations.map(fault => fault.id).join(' ') })"
    )
    opened = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("<details", "<details open")
    scripts = f"<script>{AXE.read_text()}</script><script>{check}</script></body>"
    checked.write_text(opened.replace("</body>", scripts))
    document, _ = browse(checked, folder, "--dump-dom", "--virtual-time-budget=60000", *flags)
    (faults,) = re.findall(r'<body data-faults="(.*?)"', document)
    return faults.split()


@needs_axe
@pytest.mark.parametrize("flags", [(), (DARK, "--window-size=500,900")], ids=["light", "dark"])
def test_a_check_of_accessibility_finds_no_fault(page, tmp_path, flags):
    assert faults_of(page.read_text(), tmp_path, *flags) == []


@needs_axe
def test_a_fault_of_accessibility_would_be_noticed(tmp_path):
    text = '<html lang="en"><body><details><img src="data:,"></details></body></html>'
    assert "image-alt" in faults_of(text, tmp_path)


def test_nothing_is_wider_than_a_telephone(page, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe width="{PHONE}" height="700" style="border:0" srcdoc="'
        + html.escape(re.sub(r"<meta http-equiv[^>]*>", "", page.read_text()))
        + '"></iframe><p></p><script>onload = () => {'
        "const page = document.querySelector('iframe').contentDocument.documentElement;"
        "const cut = [...page.querySelectorAll('section, article, svg, h1, p, img')].filter("
        f"e => e.getBoundingClientRect().right > {PHONE});"
        "document.querySelector('p').id = `${page.scrollWidth} ${cut.length}`; }</script>"
    )
    document, _ = browse(frame, tmp_path, "--dump-dom")
    assert f'<p id="{PHONE} 0">' in document
