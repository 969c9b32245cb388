"""`hpiclock predict` with WORDS, ended by a kill -9 of itself at KILL; run by test_killed_prediction."""

import os
import signal
import sys
from pathlib import Path

from hpiclock import cli
from hpiclock.plate import cache
from hpiclock.workflows import predict

WORDS, KILL = (globals()[name] for name in ("WORDS", "KILL"))  # from runpy
predict.PIECE = 26  # two stacks
replace, images_of, converted = os.replace, cache.stack_images, []


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying_replace(source, target):
    """In place of os.replace: half of the partial file is there, the file itself is not."""
    name = Path(target).name
    if f"while writing {name}" == KILL:
        os.truncate(source, os.path.getsize(source) // 2)
        die()
    replace(source, target)
    if f"after {name}" == KILL:
        die()


def dying_conversion(stack, image):
    converted.append(stack)
    if KILL == "while converting" and len(converted) > 3:
        die()
    return images_of(stack, image)


os.replace = dying_replace
cache.stack_images = dying_conversion
sys.argv = ["hpiclock", "predict", *WORDS]
cli.main()
