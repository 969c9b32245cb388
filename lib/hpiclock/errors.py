"""The one exception for bad input: its message is a line that names the place and the remedy."""


class InputError(ValueError):
    """Bad input from outside (file, row, column, key). The command line prints it and exits with 2."""
