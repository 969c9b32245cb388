"""The methods of a run in paragraphs, for a paper and the model card: from config, provenance and tables."""

import re
from typing import Any

import pandas as pd

from hpiclock.allocation import given_to
from hpiclock.audit import ANSWERS, PROBLEMS, VERDICT_WORDS
from hpiclock.config.schema import AugmentConfig
from hpiclock.format import count_text
from hpiclock.plate.frames import treatment_table
from hpiclock.plate.manifest import SIMULATED
from hpiclock.report.audit_text import kept_verdict, verdict_lines
from hpiclock.report.pages import render
from hpiclock.report.text import readable_metrics
from hpiclock.runs.results import read_study_tables
from hpiclock.runs.run import PROVENANCE, VERDICTS, Run
from hpiclock.tables import FRAMES, HISTORY, MANIFEST, METRICS, SPLITS

METHODS = "methods.md"
GROUPS = ["all", "infected", "mock", "before onset", "eclipse", "after eclipse"]
# The versions that decide results; provenance.json has all.
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "lifelines", "tifffile")
BEFORE_ONSET = {
    "drop": "were neither trained on nor scored",
    "uninfected": "count as uninfected",
    "clip": "count as infected, at 0 hpi",
    "signed": "count as infected, with negative hpi",
}
_BEST_BY = "the best on the validation set by"
CHOSEN = {
    "auc": f"{_BEST_BY} AUC",
    "accuracy": f"{_BEST_BY} accuracy at P(infected) 0.5",
    "f1": f"{_BEST_BY} F1 at P(infected) 0.5",
    "mae": f"{_BEST_BY} time error",
    "loss": f"{_BEST_BY} loss",
    "combined": f"{_BEST_BY} 0.6 F1 + 0.4 (1 - time error / range of times)",
    "last": "the last one",
}
SCALING = {
    "minmax": "from the least to the largest of each {0.scope}",
    "percentile": "between percentiles {0.low:g} and {0.high:g} of each {0.scope}",
    "fixed": "between the grey levels {0.low:g} and {0.high:g}",
}
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}
TREATMENT_COLUMNS = {
    "condition": "treatment",
    "moi": "MOI",
    "stacks": "fields",
    "first_h": "first frame (h)",
    "last_h": "last frame (h)",
    "onset_h": "onset of infection (h)",
}
AUGMENTATION = {
    "flip": "flips",
    "quarter_turns": "quarter turns",
    "rotate_deg": "rotation up to {:g} degrees",
    "brightness": "brightness up to {:.0%} of the grey range",
    "contrast": "contrast up to {:.0%}",
    "blur_px": "blur up to {:g} px",
    "noise": "noise up to {:.0%} of the grey range",
}
REFERENCES = (
    "Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378.",
    "Cox DR. Two further applications of a model for binary regression. Biometrika 1958;45:562-565.",
    "He K et al. Deep residual learning for image recognition. CVPR 2016.",
    "Janes H, Pepe MS. Adjusting for covariate effects on classification accuracy using the "
    "covariate-adjusted ROC curve. Biometrika 2009;96:371-382.",
    "Kapoor S et al. REFORMS: consensus-based recommendations for machine-learning-based science. "
    "Sci Adv 2024;10:eadk3452.",
    "Kendall A, Gal Y, Cipolla R. Multi-task learning using uncertainty to weigh losses. CVPR 2018.",
    "Lazic SE, Clarke-Williams CJ, Munafò MR. What exactly is 'N' in cell culture and animal experiments? "
    "PLoS Biol 2018;16:e2005282.",
    "Lee Y, Barber RF, Willett R. Distribution-free inference with hierarchical data. arXiv 2023:2306.06342.",
    "Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019.",
    "Mann HB, Whitney DR. On a test of whether one of two random variables is stochastically larger than the "
    "other. Ann Math Stat 1947;18:50-60.",
    "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.",
    "Phipson B, Smyth GK. Permutation p-values should never be zero. Stat Appl Genet Mol Biol 2010;9:39.",
    "Van Calster B et al. A calibration hierarchy for risk models was defined. J Clin Epidemiol "
    "2016;74:167-176.",
)


def write_methods(run: Run) -> None:
    """Write ``methods.md`` into a finished run's folder: paragraphs for a paper, and two checklists.

    The checklists are those of REFORMS and TRIPOD+AI; an item that the run's files cannot fill says so.

    Raises:
        InputError: a table of the run is missing or cannot be read.
    """
    run.save_text(METHODS, _with_references(render("methods.md.j2", **methods_facts(run))))


def model_card(run: Run) -> str:
    """Return the model card as Markdown: what the model is for, the methods' paragraphs, its test metrics.

    Raises:
        InputError: a table of the run is missing or cannot be read.
    """
    metrics, verdict = run.read_table("metrics.csv", METRICS), kept_verdict(run)
    tested = readable_metrics(metrics, groups=GROUPS, split="test").to_string()
    lines = "" if verdict is None else "\n".join(verdict_lines(verdict))
    return _with_references(
        render("model_card.md.j2", metrics=tested, verdict_lines=lines, **methods_facts(run))
    )


def methods_facts(run: Run) -> dict[str, Any]:
    """Return what ``methods_paragraphs.md.j2`` says of a run, by the names that it has there."""
    cfg, provenance = run.cfg, run.read_json(PROVENANCE)
    manifest, frames = run.read_table("manifest.csv", MANIFEST), run.read_table("frames.parquet", FRAMES)
    history, versions = run.read_table("history.csv", HISTORY), provenance["packages"]
    metrics, cut = run.read_table("metrics.csv", METRICS), read_study_tables(run.folder)["threshold"].iloc[0]
    return {
        "run": run,
        "cfg": cfg,
        "provenance": provenance,
        "limits": [note for note in run.notes if not note.startswith(tuple(VERDICTS.values()))],
        "simulated": any(note.startswith(SIMULATED) for note in run.notes),
        **{column: _listed(manifest.get(column)) for column in ("virus", "compound")},
        "counted": ", ".join(_counts(manifest)),
        "size": _listed(manifest["width"].astype(str) + " x " + manifest["height"].astype(str)),
        "dtype": _listed(manifest["dtype"]),
        "interval": _listed(manifest["interval_h"].map("{:g}".format)),
        "allocation": _listed(pd.Series(given_to(manifest))),
        "treatments": _as_cells(treatment_table(manifest).rename(columns=TREATMENT_COLUMNS)),
        "split_unit": run.read_json("split.json")["unit"],
        "sides": _as_cells(_sides(frames)),
        "scaling": SCALING[cfg.image.intensity].format(cfg.image),
        "earlier": " and ".join(
            "the first one" if h == "start" else f"the one {-h:g} h before" for h in cfg.image.context_h[1:]
        ),
        "before_onset": BEFORE_ONSET[cfg.targets.before_onset],
        "epochs": history["epoch"].max(),
        "best_epoch": history.loc[history["split"].eq("test"), "epoch"].iloc[0],
        "chosen": CHOSEN[cfg.train.best],
        "augmentation": augmentation_text(cfg.train.augment),
        "unit": _unit(metrics),
        "threshold": f"{cut['value']:.3f} ({cut['note']})",
        "packages": ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions),
        **_audit_facts(kept_verdict(run)),
    }


def augmentation_text(augment: AugmentConfig) -> str:
    """Return the random changes of training frames in words."""
    changes = [AUGMENTATION[key].format(value) for key, value in augment.model_dump().items() if value]
    return ", ".join(changes) or "none"


def _audit_facts(verdict: pd.DataFrame | None) -> dict[str, Any]:
    if verdict is None:
        return {"audited": False}
    counts = pd.crosstab(verdict["kind"], verdict["verdict"])
    counts = counts.reindex(columns=[answer for answer in ANSWERS if answer in counts])
    problems = verdict["question"].map(PROBLEMS).groupby(verdict["verdict"].map(VERDICT_WORDS)).agg(", ".join)
    return {
        "audited": True,
        "n_questions": len(verdict),
        "verdict_counts": _as_cells(counts.rename_axis("answered from").reset_index()),
        "by_answer": {
            words: problems[words] for words in dict.fromkeys(VERDICT_WORDS.values()) if words in problems
        },
    }


def _counts(rows: pd.DataFrame) -> list[str]:
    wells = rows.loc[rows["well"].ne(""), ["plate", "well"]].drop_duplicates()
    counts = {"plate": rows["plate"].nunique(), "well": len(wells), "field": rows["stack_id"].nunique()}
    counts["frame"] = int(rows["n_frames"].sum())
    return [count_text(n, noun) for noun, n in counts.items()]


def _sides(frames: pd.DataFrame) -> pd.DataFrame:
    wells = frames.assign(place=(frames["plate"] + "/" + frames["well"]).where(frames["well"].ne("")))
    grouped = wells.rename(columns={"condition": "treatment"}).groupby(["split", "treatment"])
    table = grouped.agg(wells=("place", "nunique"), fields=("stack_id", "nunique"), frames=("frame", "size"))
    return table.reindex(SPLITS, level="split").reset_index().replace({"split": SPLIT_WORDS})


def _unit(metrics: pd.DataFrame) -> str:
    notes = metrics["note"].str.extract(r"\bunit (\w+)", expand=False).dropna()
    return str(notes.iloc[0]) if len(notes) else "well"


def _listed(values: pd.Series | None) -> str:
    """Return the different values of a column in one line, nothing where it is not there."""
    known = [] if values is None else [value for value in values.dropna().astype(str).unique() if value]
    return ", ".join(known)


def _as_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text that stands in cells of a Markdown table."""
    known = table.astype(object).where(table.notna(), "")
    return known.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))


def _with_references(text: str) -> str:
    """Return a text with the sources that it names, by first author and year, in a list below."""
    cited = [line for line in REFERENCES if re.search(_citation(line), text)]
    return f"{text}\n## References\n\n" + "".join(f"- {line}\n" for line in cited)


def _citation(reference: str) -> str:
    """Return what finds a source in a text: the first author's surname, and soon after it the year."""
    year = re.search(r"\b(19|20)\d\d\b", reference)
    return rf"\b{reference.split()[0]}\b.{{1,40}}{year[0] if year else ''}"
