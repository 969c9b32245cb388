"""What a simulated plate is made of: its wells, its clock, its culture, its microscope, its planted flaws."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from hpiclock.config.load import first_problem
from hpiclock.config.schema import Section, option
from hpiclock.errors import InputError, nearest
from hpiclock.wells import letters, parse_well, plate_format

Range = tuple[float, float]


class Biology(Section):
    """The culture and the virus; times in hours."""

    growth: float = option(2.4, "cells at 48 h for each cell at 0 h", ge=1, le=3)
    density_sd: float = option(0.06, "of the log density between wells", ge=0, le=0.5)
    floaters: float = option(0.03, "floating cells per cell at 0 h; they rise with time", ge=0)
    floaters_sd: float = option(0.30, "of their log number between wells", ge=0, le=2)
    eclipse_h: float = option(3.0, "after a cell's infection, with nothing to see", ge=0)
    lag_h: float = option(1.0, "mean wait from the end of the eclipse to the cell's CPE", gt=0)
    release_h: float = option(4.5, "from a cell's infection to its first new virus", ge=0)
    spread_per_h: float = option(0.45, "rate of infection by one releasing cell close by", ge=0)


class Microscope(Section):
    """Field of view, optics and camera; lengths in pixels of the written picture."""

    size_px: int = option(192, "side of the square field", ge=32, le=2048)
    pitch_px: float = option(22.0, "distance between neighbouring cells at 0 h", ge=5, le=80)
    pixel_um: float | None = option(None, "side of a pixel as the files say it; None = not", gt=0)
    positions: int = option(2, "fields per well, in a row", ge=1)
    overlap: float = option(-0.1, "share of a field seen again in the next; < 0 = gap", ge=-1, lt=1)
    contrast: Literal[1, -1] = option(1, "-1 = bright and dark exchanged")
    dtype: Literal["uint8", "uint16"] = "uint8"
    gain: float = option(1.0, "strength of the contrast", gt=0)
    gain_sd: float = option(0.06, "of its log between wells", ge=0, le=0.5)
    blur_px: float = option(0.65, "sigma of the lens in focus", ge=0)
    focus_sd_px: float = option(0.10, "of the focus offset between wells, as added blur", ge=0)
    noise_sd: float = option(2.0, "of the camera, grey levels of 255", ge=0)
    drift_sd: float = option(0.8, "of the slow drift of the light, grey levels of 255", ge=0)


class PlantedFlaws(Section):
    """Flaws put in on purpose; all off by default."""

    well_tint: float = option(0.0, "grey levels (of 255) added to every infected well")
    well_blur_px: float = option(0.0, "more blur in every infected well", ge=0)
    border_mark: bool = option(False, "a bright mark on the border of every infected field")
    infected_h: Range | None = option(None, "hours in which infected wells are imaged")
    mock_h: Range | None = option(None, "hours in which mock wells are imaged")
    twin_wells: int = option(0, "wells that show the culture of another well of their kind", ge=0)
    twin_overlap: float = option(1.0, "share of the other well's field; 1 = its pictures", gt=0, le=1)


class Design(Section):
    """A simulated plate.

    ``wells`` gives every well its MOI (0 = mock). Infected wells get their onset from ``onsets_h``, in
    turn down the plate and shifted by one from MOI to MOI, so that every MOI meets every onset.
    """

    name: str = option("plate", "begins every file name", pattern=r"^[a-z0-9][a-z0-9-]*$")
    wells: dict[str, float] = Field(min_length=1)
    onsets_h: tuple[float, ...] = Field((2.0, 8.0, 14.0, 20.0), min_length=1)
    shuffled: bool = option(False, "place the conditions on the wells at random, by the seed")
    n_frames: int = Field(49, ge=1)
    interval_h: float = Field(1.0, gt=0)
    masks: bool = option(False, "also write where CPE is to be seen, as mask stacks")
    biology: Biology = Biology()
    microscope: Microscope = Microscope()
    plant: PlantedFlaws = PlantedFlaws()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for well, moi in self.wells.items():
            if (place := parse_well(well)) is None or plate_format([place]) is None:
                raise ValueError(f"well {well} is not a well such as B3")
            if moi < 0:
                raise ValueError(f"well {well}: the MOI {moi:g} is below 0")
        if any(onset < 0 for onset in self.onsets_h):
            raise ValueError("onsets_h must not lie before the start of imaging")
        end = (self.n_frames - 1) * self.interval_h
        for window in (self.plant.infected_h, self.plant.mock_h):
            if window is not None and not 0 <= window[0] <= window[1] <= end:
                raise ValueError(f"hours {window[0]:g} to {window[1]:g} do not lie in 0 to {end:g}")
        return self


def grid(rows: int, mois: tuple[float, ...]) -> dict[str, float]:
    """Wells of a plate whose rows are replicates and whose columns each have one MOI."""
    return {f"{letters(row)}{column + 1}": moi for row in range(rows) for column, moi in enumerate(mois)}


def _read_presets() -> dict[str, dict[str, Any]]:
    presets = yaml.safe_load(Path(__file__).with_name("designs.yaml").read_text(encoding="utf-8"))
    for values in presets.values():
        if "rows" in values["wells"]:
            values["wells"] = grid(**values["wells"])
    return presets


PRESETS = _read_presets()


def design(name: str, **changes: Any) -> Design:
    """Return a design by name.

    Args:
        name: one in ``designs.yaml``; ``_`` and ``-`` are the same.
        changes: fields of :class:`Design` with other values; a part (``microscope``) takes a dictionary of
            what differs in it.

    Raises:
        InputError: no such design or field, or a plate that cannot be.
    """
    key = name.replace("_", "-")
    if key not in PRESETS:
        near = nearest(key, PRESETS)
        hint = f"did you mean {near}?" if near else f"no such design; take one of {', '.join(PRESETS)}"
        raise InputError(f"design {name}: {hint}")
    values = {"name": key} | PRESETS[key]
    for field, value in changes.items():
        nested = isinstance(value, dict) and isinstance(values.get(field, {}), dict) and field != "wells"
        values[field] = {**values.get(field, {}), **value} if nested else value
    try:
        return Design.model_validate(values)
    except ValidationError as error:
        raise InputError(f"design {name}: {first_problem(error, Design)}") from None
