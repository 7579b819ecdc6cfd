"""`python -m blocktree.cli` is `bt`."""

from blocktree.cli.main import main

main()
