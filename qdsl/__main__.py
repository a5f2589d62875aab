"""`python -m qdsl`."""

from __future__ import annotations

import sys

from qdsl.cli import main

sys.exit(main())
