"""python -m hpiclock: the command line."""

from hpiclock.cli import main

main()
