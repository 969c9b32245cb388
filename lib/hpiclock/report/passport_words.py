"""The passport of a plate in words: a summary, then only what stands out."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

SHOWN = 12  # stacks that stand out are listed up to this number, the worst first
KINDS = {
    "unreadable": "frames that cannot be used",
    "gaps": "gaps in time",
    "dead": "frames of one grey level",
    "copies": "copies of an earlier frame",
    "jumps": "jumps of brightness",
    "blurred": "frames out of focus",
}


def passport_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the passport as lines to print: how many stacks are well, each kind of fault, the worst stacks.

    Args:
        table: from :func:`hpiclock.plate.passport.passport`.
    """
    opened = table[table["n_frames"].notna()]
    counts = table["status"].value_counts()
    status = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("ok", "suspect", "failed"))
    yield f"Passport: {len(table)} stacks ({status}), {int(opened['n_frames'].sum()):,} frames read"
    for name, words in KINDS.items():
        number = int(opened[name].sum())
        if number:
            yield f"  {number:,} {words}, in {int(opened[name].gt(0).sum())} stacks"
    over = opened[opened["findings"].str.contains("at full scale")]
    if len(over):
        most = over["saturated"].max()
        yield f"  saturation: up to {most:.1%} of a frame at full scale, in {len(over)} stacks"
    same = opened["findings"].str.contains("the same pictures as").sum()
    if same:
        yield f"  {same} stacks hold the same pictures as another"
    # what could not be opened is listed with its remedy already
    odd = opened[opened["status"].ne("ok")]
    faults = odd[list(KINDS)].sum(axis=1)
    worst = odd.assign(failed=odd["status"].eq("failed"), faults=faults)
    worst = worst.sort_values(["failed", "faults", "stack_id"], ascending=[False, False, True])
    for row in worst.head(SHOWN).itertuples():
        yield f"  {row.status} {row.stack_id}: {row.findings}"
    if len(worst) > SHOWN:
        yield f"  and {len(worst) - SHOWN} more stacks stand out; --passport FILE lists them all"
    if opened.empty or odd.empty:
        yield (
            "  nothing stands out in the stacks that opened" if len(opened) else "  no stack could be opened"
        )
