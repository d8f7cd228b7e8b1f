"""Verify a settlement bundle: ``python -m proofs BUNDLE --trust FILE``."""

import sys

from proofs.command import main

sys.exit(main(sys.argv[1:]))
