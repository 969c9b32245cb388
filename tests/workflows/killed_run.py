"""Trains the run RUN of CONFIG and ends the process at KILL, as a kill -9 would; run by test_resume."""

import os
from pathlib import Path

from hpiclock.config.load import load_config
from hpiclock.training import checkpoint, loop
from hpiclock.training.batches import Batches
from hpiclock.workflows import train

CONFIG, RUN, KILL, EXIT = (globals()[name] for name in ("CONFIG", "RUN", "KILL", "EXIT"))  # from runpy
replace, write, epoch = os.replace, checkpoint.write_checkpoint, Batches.epoch


def die_while_writing(source, target):
    """In place of os.replace: half of the partial file is there, the file is the old one or none."""
    name, there = Path(target).name, Path(target).exists()
    # a checkpoint's second writing, so that there is something to go on from
    if f"while writing {name}" == KILL and (there or not name.endswith(".pt")):
        os.truncate(source, os.path.getsize(source) // 2)
        os._exit(EXIT)
    replace(source, target)


def die_between(path, states, extra):
    if KILL == "between best.pt and last.pt" and path.name == "last.pt" and extra["epoch"] == 2:
        os._exit(EXIT)
    write(path, states, extra)


def die_in_an_epoch(self, number, **options):
    at = {"before the first checkpoint": 1, "in the middle of an epoch": 3}.get(KILL)
    for i, batch in enumerate(epoch(self, number, **options)):
        if number == at and i == 1:
            os._exit(EXIT)
        yield batch


os.replace = die_while_writing
checkpoint.write_checkpoint = die_between
# epochs 1 and 2 are new bests, whatever is learnt
loop._better_of = lambda best, epoch, *_: {**best, "epoch": epoch, "value": 0.5} if epoch < 3 else best
Batches.epoch = die_in_an_epoch
train.write_outputs = str  # tables and figures are not what is held here
train.train(load_config(CONFIG), RUN, say=str)
