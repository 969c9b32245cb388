"""methods.md and the model card: paragraphs from the run's own files, and what they cannot fill."""

import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbconvert.filters.markdown_mistune import markdown2html_mistune as markdown2html

from hpiclock.files import write_csv
from hpiclock.report.methods import METHODS, REFERENCES, augmentation_text, model_card, write_methods
from hpiclock.report.pages import TEMPLATE, _as_code
from hpiclock.runs.run import VERDICT, Run
from hpiclock.tables import FRAMES
from hpiclock.training import loop, losses


@pytest.fixture(scope="module")
def run(quick_run):
    return quick_run({"objective.time_weight": 3.0, "train.augment.flip": False})


def methods(run):
    write_methods(run)
    return run.path(METHODS).read_text(encoding="utf-8")


def test_numbers_are_those_of_the_config_the_tables_and_the_provenance(run):
    text = methods(run)
    frames = run.read_table("frames.parquet", FRAMES)
    assert "1 plate, 8 wells, 8 fields, 104 frames, 64 x 64 px (uint8), one frame every 4 h." in text
    for (split, condition), rows in frames.groupby(["split", "condition"]):
        words = {"train": "training", "val": "validation"}.get(split, split)
        counts = f"{rows['well'].nunique()} | {rows['stack_id'].nunique()} | {len(rows)}"
        assert f"| {words} | {condition} | {counts} |" in text
    assert "1 x cross-entropy of the class + 3 x smooth L1 of the standardised time" in text
    assert "batches of 16 frames" in text
    assert "1 of 1 epochs were trained; epoch 1," in text
    assert re.search(r"shufflenet_v2_x0_5 \(torchvision\), from random weights, [\d,]{6,} parameters", text)
    assert re.search(r"; cpu \(\w+, 1 thread\); training took \d+\.\d min\.", text)
    assert "The unit of analysis is the well" in text
    assert "The data are simulated" in text
    assert all(version in text for version in (run.read_json("provenance.json")["packages"]["torch"],))


def test_its_tables_are_tables(run):
    page = BeautifulSoup(markdown2html(methods(run)), "html.parser")
    assert [len(table.select("th")) for table in page.select("table")] == [9, 5, 4]
    assert "--- |" not in page.text


def test_what_a_run_cannot_fill_is_said_and_what_it_can_is_not(run):
    text = methods(run)
    assert "Not audited: whether the model reads the infection" in text
    assert "| dependence and duplicates | 6b | 16 | not filled: not audited |" in text
    assert "| evidence from other plates or laboratories | 8a | 12f, 16 | not filled" in text
    checklist = text.partition("\n| --- | --- | --- | --- |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in checklist.splitlines()]
    for item in ("ethics, funding", "why this kind of model", "data, code"):
        assert "**to add:**" in next(row[3] for row in rows if row[0].startswith(item))
    reforms = ", ".join(row[1] for row in rows)
    ends = {"1": "c", "2": "e", "3": "g", "4": "c", "5": "f", "6": "c", "7": "c", "8": "b"}
    every = {f"{module}{chr(letter)}" for module, last in ends.items() for letter in range(97, ord(last) + 1)}
    named = set(re.findall(r"\d[a-g]", reforms.replace("2a-2e", "2a 2b 2c 2d 2e")))
    assert named == every  # the 32 items of REFORMS


def test_an_audit_that_comes_later_is_told(run):
    rows = [
        ("Infection or well?", "inference", "shown"),
        ("Infection or plate?", "design", "not identifiable"),
    ]
    table = pd.DataFrame(rows, columns=["question", "kind", "verdict"])
    write_csv(table.assign(effect=0.0, low=0.0, high=0.0, evidence="", remedy=""), run.path(VERDICT))
    try:
        text = methods(run)
    finally:
        run.path(VERDICT).unlink()
    assert "2 questions were asked" in text
    assert "| design | 0 | 1 |\n| inference | 1 | 0 |" in text
    assert "Not ruled out: plate effects." in text
    assert "not audited" not in text.lower()


def test_every_source_that_is_named_is_listed_and_no_other(run):
    said = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATE.glob("*.md.j2"))
    named = set(re.findall(r"([A-Z]\w+)(?: et al\.| and [A-Z]\w+)? ((?:19|20)\d\d)", said))
    listed = {(line.split(" ")[0], re.search(r"\b(?:19|20)\d\d", line)[0]) for line in REFERENCES}
    assert {("Van" if name == "Calster" else name, year) for name, year in named} == listed
    text = methods(run)
    assert "- Obuchowski NA." in text
    assert "He K et al." not in text  # no residual network here
    assert "Kendall A" not in text


def test_the_model_card_says_the_same_of_the_data(run):
    data = methods(run).partition("## Data")[2].partition("## Model")[0]
    assert data in model_card(run)
    assert all(f"- {note}" in model_card(run) for note in run.notes)


def test_names_from_a_plate_map_stay_text(run):
    manifest = run.path("manifest.csv")
    kept = manifest.read_text(encoding="utf-8")
    table = pd.read_csv(manifest).assign(virus="x | [y](http://z)")
    write_csv(table, manifest)
    try:
        written = methods(run), model_card(run)
    finally:
        manifest.write_text(kept, encoding="utf-8")
    assert all(r"Virus: x \| [y]\(http:\//z). " in text for text in written)


def test_notes_and_channels_of_a_model_card_stay_text(run, monkeypatch):
    monkeypatch.setattr(Run, "notes", ["[x](javascript:a) <b>"])
    assert "- [x]\\(javascript:a) \\<b>\n" in model_card(run)
    assert _as_code("```\n# no heading") == "````\n```\n# no heading\n````"


def test_a_run_that_learns_one_task(quick_run):
    text = methods(quick_run({"model.tasks": ["time"], "train.best": "mae"}))
    assert "mean grey" not in text
    assert "P(infected)" not in text.partition("## Evaluation")[0]
    assert "the best on the validation set by time error" in text
    assert "called infected from" not in text


def test_a_run_that_keeps_its_last_epoch_and_subtracts_the_mean(quick_run):
    run = quick_run({"train.best": "last", "model.subtract_mean": True})
    text = methods(run)
    assert "epoch 1, the last one, was tested once" in text
    assert "The mean grey of each frame is subtracted." in text
    assert run.read_json("results.json")["best_val_metric"] is None


def test_optimiser_and_losses_are_those_of_the_loop():
    assert "AdamW" in loop.fit.__code__.co_names
    assert {"CrossEntropyLoss", "SmoothL1Loss"} <= set(losses.Losses.__init__.__code__.co_names)


def test_augmentation_names_what_is_drawn_and_nothing_else(run):
    none = {"flip": False, "rotate_deg": 0.0}
    augment = run.cfg.train.augment.model_copy(update=none)
    assert augmentation_text(augment) == "none"
    assert augmentation_text(augment.model_copy(update={"blur_px": 1.5})) == "blur up to 1.5 px"
