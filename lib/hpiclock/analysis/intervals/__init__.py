"""Intervals for any metric of grouped frames.

The variance is the stratified jackknife over groups (infected and mock groups are separate samples; for
an AUC of groups of equal size it is Obuchowski's), the quantile Student's t with Satterthwaite's degrees
of freedom. Shares and AUCs get a score-type interval (:mod:`.score_interval`), mean absolute errors the same
for a spread, mean squares one from chi-square (:mod:`.error_interval`), differences Student's.
``benchmarks/interval_coverage.py`` measures how often these and others hold the truth.
"""
