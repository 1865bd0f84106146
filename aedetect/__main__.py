"""Run the command line with ``python -m aedetect``."""

from aedetect.cli import main

raise SystemExit(main())
