"""The model card of a run: what it learnt from, how good it was, what the audit says, what it is for.

Its headings follow Mitchell et al., Model Cards for Model Reporting (2019).
"""

from __future__ import annotations

import pandas as pd

from hpiclock.plate.summary import design_table
from hpiclock.report.audit_words import verdict_lines
from hpiclock.report.runs import VERDICT, Run
from hpiclock.report.studies import read_study
from hpiclock.report.words import SUMMARY, readable
from hpiclock.tables import FRAMES, MANIFEST, METRICS, read_any

INTENDED = (
    "To say of a label-free time-lapse frame whether the field looks infected, and for how long, on plates "
    "of the same cells, virus, microscope and settings as below. For research; not for diagnosis. Each new "
    "plate needs mock wells and wells of a high MOI, so that it can be seen whether the model holds there."
)
NOT_FOR = (
    "Other cells, viruses, optics, media or contrast. Single cells: a whole field is one answer. The onset "
    "itself: times count from the onset that was stated."
)


def model_card(run: Run) -> str:
    """Return the card as Markdown.

    Raises:
        InputError: a run whose tables are not there.
    """
    cfg = run.cfg
    manifest, frames = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
    metrics = run.read_table("metrics.csv", METRICS)
    cut = read_study(run.folder)["threshold"].iloc[0]
    made = run.read_json("provenance.json")
    groups = ["all", "infected", "mock", "before onset", "eclipse", "after eclipse"]
    scores = readable(metrics, groups=groups, names=SUMMARY, split="test")
    image = cfg.image
    limits = "" if image.low is None else f" {image.low:g} to {image.high:g}"
    heads = " and one for ".join(cfg.model.tasks)
    channel, plane = _or_only(cfg.data.channel), _or_only(cfg.data.z)
    sections = {
        f"Model card: {run.name}": f"{cfg.model.backbone} with a head for {heads}; hpiclock "
        f"{made['hpiclock']}, seed {cfg.seed}.",
        "Intended use": INTENDED,
        "Not for": NOT_FOR,
        "Read this first": "\n".join(f"- {note}" for note in run.notes) or "Nothing.",
        "Training data": _code(design_table(manifest).fillna({"moi": ""}).to_string(index=False))
        + "\n\n"
        + _code(_sides(frames).to_string()),
        "Frames": f"{image.size} x {image.size} px, {image.intensity} limits{limits} per {image.scope}, "
        f"{image.crop_border:.0%} cut off each side; channel {channel}, plane {plane}.",
        "Metrics on test wells": f"Threshold: P(infected) >= {cut['value']:.3f} ({cut['note']}).\n\n"
        + _code(scores.to_string()),
        "The audit's verdict": _verdict(run),
    }
    titles = list(sections)
    parts = [f"{'#' if title == titles[0] else '##'} {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _sides(frames: pd.DataFrame) -> pd.DataFrame:
    wells = frames.assign(place=frames["plate"] + "/" + frames["well"])
    grouped = wells.groupby(["split", "condition"], sort=False)
    return grouped.agg(wells=("place", "nunique"), stacks=("stack_id", "nunique"), frames=("frame", "size"))


def _verdict(run: Run) -> str:
    if not run.path(VERDICT).is_file():
        return (
            "Not audited: whether it reads the infection, or the clock, the well or the microscope, was not "
            "asked (`hpiclock audit` does)."
        )
    said = read_any(run.path(VERDICT)).fillna({"evidence": "", "remedy": ""})
    return _code("\n".join(verdict_lines(said)))


def _or_only(choice: object) -> str:
    return "the only one" if choice is None else str(choice)


def _code(text: str) -> str:
    return f"```\n{text}\n```"
