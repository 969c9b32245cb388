"""Figures from tables: every function takes a table and returns Axes (``…_figure``: a Figure).

No plot computes a statistic, saves a file or shows itself: tables come from :mod:`hpiclock.analysis`,
:mod:`hpiclock.report.text` shows and keeps. Each drawing carries a description in words, see
:func:`alt_text`.
"""

from hpiclock.figures.audit import *
from hpiclock.figures.comparison import *
from hpiclock.figures.images import *
from hpiclock.figures.plate import *
from hpiclock.figures.predictions import *
from hpiclock.figures.style import alt_text
from hpiclock.figures.training import *
from hpiclock.figures.windows import *
