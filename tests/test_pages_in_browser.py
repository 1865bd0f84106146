"""The built documentation in a real browser: it fits every screen, and all can read it.

Skipped unless ``make docs`` has built the pages and ``npm install --no-save axe-core`` has run.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from test_report_in_browser import AXE, BROWSER, DARK, browse

BUILT = Path(__file__).parents[1] / "docs" / "_build" / "html"
PAGES = [
    "index",
    "thresholds",
    "benchmarks",
    "auto_examples/index",
    "auto_examples/plot_comparison",
    "generated/aedetect.DenoisingAutoencoder",
]
# The theme makes tables that scroll focusable a while after the page is there.
CHECK = """<script src="axe.min.js"></script><script>
setTimeout(() => axe.run().then(found => {
  const page = document.documentElement;
  page.dataset.faults = found.violations.map(fault => fault.id).join();
  page.dataset.cut = page.scrollWidth - page.clientWidth;
}), 3000)</script></body>"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None or not AXE.exists() or not (BUILT / "index.html").exists(),
        reason="no Chromium, no axe-core or no pages: npm install --no-save axe-core, make docs",
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a copy of the pages that check themselves."""
    site = tmp_path_factory.mktemp("site") / "html"
    shutil.copytree(BUILT, site)
    for page in PAGES:
        path = site / f"{page}.html"
        shutil.copy(AXE, path.parent)
        path.write_text(path.read_text().replace("</body>", CHECK))
    return site


@pytest.mark.parametrize("flags", [(), (DARK,)], ids=["light", "dark"])
@pytest.mark.parametrize("width", [500, 1200, 1920])  # Chromium has no narrower window
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_the_screen_and_has_no_fault_of_accessibility(
    site, tmp_path, page, width, flags
):
    size = f"--window-size={width},900"
    waits = "--virtual-time-budget=20000"
    document, _ = browse(site / f"{page}.html", tmp_path, "--dump-dom", size, waits, *flags)
    (attributes,) = re.findall("<html[^>]*>", document)
    assert 'data-faults=""' in attributes, attributes
    assert 'data-cut="0"' in attributes, attributes
