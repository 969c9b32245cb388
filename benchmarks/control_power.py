"""What a negative control can show: the table of docs/audit.md by wells, margin and correlation within wells.

For wells of 20 frames a class, AUC 0.5 in truth where *shown* is asked. Formulas, no simulation
(:mod:`hpiclock.audit.power`; ``tests/audit/test_claims.py`` holds them against simulated plates).

    python benchmarks/control_power.py
"""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import ndtr

from hpiclock.audit import EARLY
from hpiclock.audit.controls import SHARES
from hpiclock.audit.power import Wells, power_of_auc, wells_for_margin
from hpiclock.config.schema import AuditConfig, StudyConfig
from simulation import DOCS, ROOT, command_line, markdown, write_files

FRAMES = 20  # of a well
BEGIN, END = "<!-- control power -->\n", "<!-- /control power -->"


def shown(wells: int, margin: float, variance: float, level: float) -> float:
    """Return the share of plates whose whole interval lies inside the margin, the truth being 0.5."""
    error = np.sqrt(2 * variance / wells) / np.sqrt(4 * np.pi)
    half = stats.t.ppf((1 + level) / 2, 2 * wells - 2) * error
    return float(max(2 * ndtr((margin - half) / error) - 1, 0.0))


def main() -> None:
    options = command_line(__doc__).parse_args()
    level, audit = StudyConfig().level, AuditConfig()
    alpha = SHARES[EARLY] * audit.alpha
    rows = []
    for icc in (0.05, 0.2, 0.4):
        variance = icc + (1 - icc) / FRAMES
        for wells in (5, 7, 12, 24, 48, 96):
            both: Wells = (wells, wells)
            found = [
                power_of_auc(auc, both, variance=variance, alpha=alpha, two_sided=True)
                for auc in (0.6, 0.7, 0.8, 0.88)
            ]
            inside = [shown(wells, margin, variance, level) for margin in (0.05, 0.1, 0.2)]
            rows.append([icc, wells, *(f"{x:.0%}" for x in (*found, *inside))])
    head = ["correlation within wells", "wells a class", "finds AUC 0.60", "0.70", "0.80", "0.88"]
    head += [f"*shown* within ±{margin}" for margin in (0.05, 0.1, 0.2)]
    needed = [
        [
            icc,
            *(wells_for_margin(m, variance=icc + (1 - icc) / FRAMES, level=level) for m in (0.05, 0.1, 0.2)),
        ]
        for icc in (0.05, 0.2, 0.4)
    ]
    more = ["correlation within wells", *(f"wells a class for ±{m}" for m in (0.05, 0.1, 0.2))]
    text = f"{markdown(head, rows)}\n\nFor *shown* in 80% of plates:\n\n{markdown(more, needed)}\n"
    page = (ROOT / DOCS / "audit.md").read_text(encoding="utf-8")
    first, _, rest = page.partition(BEGIN)
    write_files({options.out / DOCS / "audit.md": first + BEGIN + text + END + rest.partition(END)[2]})


if __name__ == "__main__":
    main()
