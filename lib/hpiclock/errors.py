"""The exceptions that the command line turns into one line: bad input (exit 2), a failed run (exit 1)."""


class InputError(ValueError):
    """Bad input from outside (file, row, column, key). The command line prints it and exits with 2."""


class RunFailed(RuntimeError):
    """A run stopped on the way: its message says where. The command line prints it and exits with 1."""
