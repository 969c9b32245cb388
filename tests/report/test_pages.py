"""Pages and the index: self-contained, described for those who cannot see, and true to the run's tables."""

import base64
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hpiclock import figures, tables
from hpiclock.config.load import load_config
from hpiclock.errors import InputError
from hpiclock.report.index import write_index
from hpiclock.report.pages import (
    ERROR_MARKER_TAG,
    WIDGET,
    _without_notes,
    for_reading,
    write_pages,
)
from hpiclock.report.text import PRIMARY, READ_FIRST
from hpiclock.runs.run import Run, write_figure

PIXEL = base64.b64encode(b"not a real picture").decode()


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "plate.yaml"
    path.write_text("experiment: plate\nreports_dir: reports\ndata: {source: stacks}\ntrain: {epochs: 7}\n")
    return Run.create(load_config(path), "")


def display(**data):
    kinds = {"png": "image/png", "html": "text/html", "text": "text/plain", "widget": WIDGET}
    return new_output("display_data", data={kinds[kind]: value for kind, value in data.items()})


def write_executed(path, *cells, heading="# Data exploration"):
    nbformat.write(new_notebook(cells=[new_markdown_cell(heading), *cells]), path)


def code(source="show()", *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def soup_of(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_a_page_asks_nothing_from_anywhere(run):
    write_executed(
        run.path("01_look.ipynb"), code("x", display(png=PIXEL)), code("y", display(html="<b>x</b>"))
    )
    write_pages(run)
    write_index(run.cfg.reports_dir)
    for page in (run.path("01_look.html"), run.folder.parents[1] / "index.html"):
        soup = soup_of(page)
        loaded = [tag.get("src") or tag.get("href") for tag in soup.select("script, img, iframe, link")]
        assert all(address is None or address.startswith("data:") for address in loaded)
        assert not re.search(r"url\(|@import", page.read_text())
        assert soup.html["lang"] == "en"
        assert soup.title.text
        assert soup.select_one('meta[name="viewport"]')
        assert len(soup.select("h1")) == 1


def test_code_is_hidden_and_one_click_away(run):
    write_executed(run.path("01_look.ipynb"), code("answer = 42", new_output("stream", text="shown\n")))
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    block = soup.select_one("details.code")
    assert not block.has_attr("open")
    assert "answer = 42" in block.text
    assert "shown" in soup.select_one("main > .out").text


def test_the_log_of_a_cell_is_folded_once(run):
    bar = display(widget={"model_id": "1"}, text="  0%|          | 0/30 [00:00<?, ?it/s]")
    first, second = (new_output("stream", text=f"Epoch {n}/9 | loss 1.2\n") for n in (1, 2))
    write_executed(run.path("01_look.ipynb"), code("fit()", first, bar, second))
    details = soup_of(write_pages(run)[0]).select("details:not(.code)")
    (folded,) = [one for one in details if one.summary.text == "Log"]
    assert "Epoch 1/9" in folded.pre.text
    assert "Epoch 2/9" in folded.pre.text


def test_tags_remove_cells_input_and_outputs(run):
    said = [new_output("stream", text=f"{name} output\n") for name in "abc"]
    cells = [
        code("a source", said[0], tags=["remove_cell"]),
        code("b source", said[1], tags=["remove_input"]),
        code("c source", said[2], tags=["remove_output"]),
    ]
    write_executed(run.path("01_look.ipynb"), *cells)
    write_pages(run)
    text = soup_of(run.path("01_look.html")).main.text
    assert [f"{name} {part}" in text for name in "abc" for part in ("source", "output")] == [
        False, False, False, True, True, False,
    ]  # fmt: skip


def test_the_value_of_a_cell_is_shown_like_what_it_displays(run):
    table = new_output(
        "execute_result", data={"text/html": "<table><tr><td>7</td></tr></table>", "text/plain": "no"}
    )
    picture = new_output("execute_result", data={"image/png": PIXEL, "text/plain": "no"})
    write_executed(run.path("01_look.ipynb"), code("a", table), code("b", picture))
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    assert soup.select_one("main table").text == "7"
    assert len(soup.select("main img")) == 1
    assert "no" not in [tag.text for tag in soup.select("pre")]


def test_code_that_shows_nothing_stands_with_the_code_below_it():
    shown = display(html="x")
    cells = [
        code("one"),
        code("two"),
        code("three", shown),
        code("four"),
        new_markdown_cell("text"),
        code("five"),
    ]
    made = for_reading(new_notebook(cells=cells)).cells
    assert [cell.source for cell in made] == ["one\n\ntwo\n\nthree", "four", "text", "five"]
    assert made[0].outputs == [shown]


def test_every_table_is_a_place_with_a_name_of_its_own(run):
    table = "<table><thead><tr><th></th><th>n</th></tr></thead><tbody><tr><th>a</th><td>7</td></tr></table>"
    cells = [code("a", display(html=table)), new_markdown_cell("## Wells"), code("b", display(html=table))]
    write_executed(run.path("01_look.ipynb"), *cells)
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    names = [place["aria-label"] for place in soup.select('[role="region"]')]
    assert names == ["Table 1: Data exploration", "Table 2: Wells"]
    assert [head.text for head in soup.select("th")] == ["n", "a"] * 2  # no header without words


def test_of_an_explorer_its_picture_stands_on_the_page(run):
    explorer = display(png=PIXEL, widget={"model_id": "7"}, text="selection")
    explorer.metadata["image/png"] = {"alt": "AUC by window: 0.5 to 1", "width": 720}
    write_executed(run.path("01_look.ipynb"), code("explore(run)", explorer))
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    assert [picture["alt"] for picture in soup.select("main img")] == ["AUC by window: 0.5 to 1"]
    assert "JupyterLab" not in soup.main.text


def test_a_page_of_a_notebook_that_stopped_says_so_first(run):
    error = new_output("error", ename="ValueError", evalue="bad", traceback=["ValueError: bad"])
    marker = new_markdown_cell(
        '<span style="color:red">An Exception</span>', metadata={"tags": [ERROR_MARKER_TAG]}
    )
    write_executed(run.path("01_look.ipynb"), marker, code("a", error))
    write_executed(run.path("02_fine.ipynb"))
    write_pages(run)
    text = soup_of(run.path("01_look.html")).main.text
    assert text.strip().startswith("This notebook stopped with an error.")
    assert "ValueError: bad" in text
    assert "An Exception" not in text
    assert "stopped" not in soup_of(run.path("02_fine.html")).main.text


def test_every_picture_has_a_description(run):
    described = display(png=PIXEL)
    described.metadata["image/png"] = {"alt": 'MAE by hour, "all" wells', "width": 640}
    cells = [new_markdown_cell("## Learning `curves`"), code("a", display(png=PIXEL)), code("b", described)]
    write_executed(run.path("01_look.ipynb"), *cells)
    write_pages(run)
    pictures = soup_of(run.path("01_look.html")).select("img")
    assert [picture["alt"] for picture in pictures] == ["Figure: Learning curves", 'MAE by hour, "all" wells']
    assert pictures[1]["width"] == "640"


def test_bars_vanish_and_explorers_say_where_they_work():
    bar = display(widget={"model_id": "1"}, text="  0%|          | 0/30 [00:00<?, ?it/s]")
    explorer = display(widget={"model_id": "2"}, text="VBox(children=())")
    drawn = display(widget={"model_id": "3"}, png=PIXEL)
    redrawn = new_output("stream", name="stderr", text=" 10%|# | 1/9\r100%|##| 9/9\nepoch 1: loss 0.5\n")
    only_bar = new_output("stream", name="stderr", text=" 10%|# | 1/9\r100%|##| 9/9\n")
    notebook = new_notebook(cells=[code("x", bar, explorer, drawn, redrawn, only_bar)])
    shown = for_reading(notebook).cells[0].outputs
    assert len(shown) == 3
    assert "JupyterLab" in shown[0].data["text/html"]
    assert shown[1].data["image/png"] == PIXEL
    assert shown[2].text == "epoch 1: loss 0.5\n"


def test_the_index_of_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is not a folder; name the folder of all runs"):
        write_index(tmp_path / "file")


def test_what_a_run_cannot_tell_stands_on_every_page_before_anything_else(run):
    run.save_json("notes.json", ["one well per class: <infection> cannot be told from well"])
    for name in ("01_look", "02_train"):
        write_executed(run.path(f"{name}.ipynb"), heading=f"# {name}")
    write_pages(run)
    index = write_index(run.cfg.reports_dir)
    for page in (run.path("01_look.html"), run.path("02_train.html")):
        first = next(tag for tag in soup_of(page).main.children if tag.name)
        assert "one well per class: <infection> cannot be told from well" in first.text
    text = soup_of(index).main.text
    assert text.index("one well per class") < text.index("No results yet")


@pytest.mark.parametrize(
    ("tags", "first"),
    [((), ["the clock alone scores 0.9"]), (("remove_cell",), ["one well", "the clock alone scores 0.9"])],
)
def test_a_note_that_the_page_shows_anyway_is_not_said_twice(run, tags, first):
    run.save_json("notes.json", ["one well", "the clock alone scores 0.9"])
    said = new_output("display_data", data={"text/markdown": "> - one well"})
    write_executed(run.path("01_look.ipynb"), code("warn(notes)", said, tags=tags))
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    assert soup.main.text.count("one well") == 1
    assert [item.text for item in soup.select("aside li")] == first


def test_that_data_are_simulated_stands_first_on_pages_and_index_and_the_endpoints_are_named(run):
    run.save_json("notes.json", ["one well", "Simulated data: a program drew them"])
    said = new_output(
        "display_data", data={"text/markdown": f"> - Simulated data: a program drew them\n\n{PRIMARY}"}
    )
    write_executed(run.path("01_look.ipynb"), code("opening(notes)", said))
    write_executed(run.path("02_train.ipynb"), heading="# 2")
    write_pages(run)
    for page in (run.path("01_look.html"), run.path("02_train.html"), write_index(run.cfg.reports_dir)):
        soup = soup_of(page)
        assert soup.select_one("aside li").text == "Simulated data: a program drew them"
        assert soup.main.text.count(PRIMARY) == 1


def test_a_page_lists_its_parts_and_folds_the_config_at_its_end(run):
    shown = new_output("execute_result", data={"text/html": run.cfg._repr_html_()})
    cells = [code("cfg", shown), new_markdown_cell("## Wells"), new_markdown_cell("## Hours")]
    write_executed(run.path("01_look.ipynb"), *cells)
    write_pages(run)
    soup = soup_of(run.path("01_look.html"))
    links = soup.select("nav.contents a")
    assert [link.text for link in links] == ["Wells", "Hours", "Words on this page"]
    assert [soup.find(id=link["href"][1:]).name for link in links] == ["h2", "h2", "details"]
    last = [tag for tag in soup.main.children if tag.name][-2]
    assert last.name == "details"
    assert not last.has_attr("open")
    assert len(soup.select("main table")) == len(last.select("table")) == 1


def test_a_table_loses_an_index_that_only_counts_and_keeps_one_that_names(run):
    counted = pd.DataFrame({"well": ["A01", "A02"], "frames": [25, 24]})
    shown = [display(html=table.to_html()) for table in (counted, counted.set_index("well"))]
    write_executed(run.path("01_look.ipynb"), code("tables", *shown))
    write_pages(run)
    first, second = soup_of(run.path("01_look.html")).select("table")
    assert [cell.text for cell in first.select("th, td")] == ["well", "frames", "A01", "25", "A02", "24"]
    assert [row.th.text for row in second.select("tbody tr")] == ["A01", "A02"]


def test_an_opening_whose_notes_stand_on_top_leaves_no_empty_place():
    note = "One plate in the test."
    text = {"text/markdown": f"{READ_FIRST}\n>\n> - {note}\n\n{PRIMARY}", "text/plain": "<Markdown object>"}
    notebook = new_notebook(cells=[code("opening()", new_output("display_data", data=text)), code("1")])
    _without_notes(notebook, [note])
    assert [cell.outputs for cell in notebook.cells] == [[], []]


def test_a_page_and_the_index_define_the_words_that_they_use_at_their_end(run):
    write_executed(run.path("01_data_exploration.ipynb"), nbformat.v4.new_markdown_cell("From 6 hpi on."))
    write_pages(run)
    for page in (run.path("01_data_exploration.html"), write_index(run.folder.parents[1])):
        words = soup_of(page).select("details#words")[0]
        assert not words.has_attr("open")
        assert words.find_parent("main")
    defined = [word.text for word in soup_of(run.path("01_data_exploration.html")).select("#words dt")]
    assert "hpi" in defined
    assert "integrated gradients" not in defined


def test_pages_link_to_each_other_and_to_the_index(run):
    for name in ("01_look", "02_train"):
        write_executed(run.path(f"{name}.ipynb"), heading=f"# The {name}")
    write_pages(run)
    links = soup_of(run.path("02_train.html")).select("header a")
    assert [(link["href"], link.text) for link in links] == [
        ("../../index.html", "All runs"),
        ("01_look.html", "The 01_look"),
        ("02_train.html", "The 02_train"),
    ]
    assert [link.get("aria-current") for link in links] == [None, None, "page"]


def test_a_file_that_is_no_notebook_is_named(run):
    run.path("01_look.ipynb").write_text("{")
    with pytest.raises(InputError, match=r"01_look\.ipynb: cannot be read as a notebook"):
        write_pages(run)


def metrics(*rows):
    columns = ["group", "metric", "value", "low", "high", "note", "start_h"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(
        run="plate/seed0", split="test", end_h=np.nan, n=90, n_stacks=9, n_wells=3, n_infected=40
    )


def test_the_index_shows_the_headline_of_the_metrics_table(run):
    nan = np.nan
    rows = metrics(
        ("all", "auc_stratified", 0.91234, 0.85, 0.95, "", nan),
        ("all", "auc_stratified", 0.5, nan, nan, "a window, not the whole", 3.0),
        ("after eclipse", "auc_stratified", 0.995, nan, nan, "no interval: 2 mock groups; unit well", nan),
        ("before onset", "auc_stratified", nan, nan, nan, "one class only", nan),
        ("infected", "mae", 1.234, 1.0, 1.5, "", nan),
    )
    run.save_table("metrics.csv", tables.METRICS, rows)
    cells = [
        [cell.text for cell in row.select("th, td")]
        for row in soup_of(write_index(run.cfg.reports_dir)).select("section tbody")[0].select("tr")
    ]
    n = "90 frames, 9 stacks, 3 wells"
    assert [row[1:] for row in cells] == [
        ["0.995", "no interval: 2 mock groups", n],
        ["1.23 h", "1.00\xa0to\xa01.50", n],
        ["0.912", "0.850\xa0to\xa00.950", n],
        ["not defined", "one class only", n],
    ]
    assert [row[0].partition(":")[0] == "Primary" for row in cells] == [True, True, False, False]


def test_without_a_metrics_table_the_index_says_that_there_is_no_interval(run):
    run.save_json("results.json", {"test_metrics": {"cls_auc": 0.9, "reg_mae": None}})
    row = soup_of(write_index(run.cfg.reports_dir)).select_one("section tbody tr")
    assert [cell.text for cell in row.select("td")] == ["0.900", "no interval", ""]


def test_the_index_links_pages_and_lists_what_differs_from_the_defaults(run):
    write_executed(run.path("01_look.ipynb"))
    write_pages(run)
    soup = soup_of(write_index(run.cfg.reports_dir))
    links = [link["href"] for link in soup.select("section a")]
    assert links[0] == "plate/seed0/01_look.html"
    assert "plate/seed0/provenance.json" in links
    base = run.folder.parents[1]
    assert all((base / link).is_file() for link in links)
    rows = [[cell.text for cell in row.select("th, td")] for row in soup.select("details tbody tr")]
    assert ["train.epochs", "7", "30"] in rows
    assert ["data.source", "../stacks", ""] in rows
    assert not [row for row in rows if row[0] == "reports_dir"]


def test_the_index_shows_the_figure_over_time_with_its_words(run):
    figure = figures.temporal_generalization_figure(metrics(), level=0.95)
    write_figure(figure, run.path("temporal_generalization.png"))
    picture = soup_of(write_index(run.cfg.reports_dir)).select_one("section img")
    assert picture["src"].startswith("data:image/png;base64,")
    assert picture["alt"] == "Empty figure: no windows to draw."


def test_what_the_audit_could_not_answer_stands_open_and_the_rest_one_click_away(run):
    rows = [
        ("Infection or well?", "shown"),
        ("Infection or hour?", "contradicted"),
        ("A plate?", "not tested"),
    ]
    verdict = pd.DataFrame(rows, columns=["question", "verdict"]).assign(kind="inference")
    more = {"effect": np.nan, "low": np.nan, "high": np.nan, "evidence": "e", "remedy": ""}
    verdict.assign(**more).to_csv(run.path("verdict.csv"), index=False)
    section = soup_of(write_index(run.cfg.reports_dir)).select_one("section")
    tables_of_it = [[head.text for head in table.select("tbody th")] for table in section.select("table")]
    assert tables_of_it[:2] == [["Infection or hour?", "A plate?"], ["Infection or well?"]]
    counts = "Confound audit: shown: 1; not tested: 1"
    assert section.select("details")[0].summary.text == counts
    assert "Infection or hour?" not in section.select("details")[0].text


def test_a_broken_run_is_listed_and_hides_no_other(run):
    broken = run.folder.parent / "seed1"
    broken.mkdir()
    (broken / "config.yaml").write_text("trian: 3\n")
    soup = soup_of(write_index(run.cfg.reports_dir))
    assert [heading.text for heading in soup.select("section h2")] == ["plate/seed0"]
    assert "plate/seed1/config.yaml: unknown key trian" in soup.select_one(".notes").text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("provenance.json", "{}"),
        ("provenance.json", "[" * 100_000),
        ("provenance.json", '"text"'),
        ("notes.json", "3"),
        ("notes.json", "\x00"),
        ("metrics.csv", "a,b\n1,2\n"),
        ("metrics.csv", ""),
        ("01_look.ipynb", "no notebook"),
        ("temporal_generalization.png", "no picture"),
        ("config.yaml", "trian: 3\n"),
    ],
)
def test_whatever_is_wrong_with_a_run_the_others_are_listed(run, name, content):
    broken = run.folder.parent / "seed1"
    shutil.copytree(run.folder, broken)
    (broken / "01_look.html").touch()
    (broken / name).write_text(content)
    soup = soup_of(write_index(run.cfg.reports_dir))
    assert "plate/seed0" in [heading.text for heading in soup.select("section h2")]
    assert "plate/seed1" in soup.select_one(".notes").text


def test_links_of_the_index_find_runs_of_any_name(run):
    moved = run.folder.rename(run.folder.with_name("50%25 a#b?c"))
    (moved / "01_look.html").touch()
    links = soup_of(write_index(run.cfg.reports_dir)).select("section a[href]")
    found = [unquote(urlsplit(link["href"]).path) for link in links if not link["href"].startswith("#")]
    assert found
    assert all((Path(run.cfg.reports_dir) / path).is_file() for path in found)


def test_an_index_replaces_no_page_of_another_kind(run):
    page = Path(run.cfg.reports_dir) / "index.html"
    page.write_text("<title>my home</title>")
    with pytest.raises(InputError, match=r"index\.html: is there and was not made by this command"):
        write_index(run.cfg.reports_dir)
    assert page.read_text() == "<title>my home</title>"


def test_an_index_of_nothing_names_the_command(tmp_path):
    with pytest.raises(InputError, match="hpiclock run"):
        write_index(tmp_path / "reports")
    (tmp_path / "reports").mkdir()
    assert "make report" in soup_of(write_index(tmp_path / "reports")).text
