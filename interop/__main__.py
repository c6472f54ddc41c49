"""`python -m interop` is `gridparley`."""

from interop.cli import main

main()
