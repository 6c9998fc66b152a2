"""``python -m scanner.cli`` is ``rackscan``."""

from scanner.cli import main

main()
