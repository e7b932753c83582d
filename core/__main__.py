"""``python -m halocline``, for those who start processes by module."""

from __future__ import annotations

import sys

from halocline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
