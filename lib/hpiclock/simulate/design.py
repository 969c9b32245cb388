"""What a simulated plate is made of: its wells, its clock, its culture, its microscope, its planted flaws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hpiclock.config.load import first_problem
from hpiclock.errors import InputError, nearest
from hpiclock.wells import letters, parse_well, plate_format

Range = tuple[float, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Biology(_Section):
    """The culture and the virus; times in hours."""

    growth: float = Field(2.4, ge=1, le=3, description="cells at 48 h for each cell at 0 h")
    density_sd: float = Field(0.06, ge=0, le=0.5, description="of the log density between wells")
    floaters: float = Field(0.03, ge=0, description="floating cells per cell at 0 h; they rise with time")
    floaters_sd: float = Field(0.30, ge=0, le=2, description="of their log number between wells")
    eclipse_h: float = Field(3.0, ge=0, description="after a cell's infection, with nothing to see")
    lag_h: float = Field(1.0, gt=0, description="mean wait from the end of the eclipse to the cell's CPE")
    release_h: float = Field(4.5, ge=0, description="from a cell's infection to its first new virus")
    spread_per_h: float = Field(0.45, ge=0, description="rate of infection by one releasing cell close by")


class Microscope(_Section):
    """Field of view, optics and camera; lengths in pixels of the written picture."""

    size_px: int = Field(192, ge=32, le=2048, description="side of the square field")
    pitch_px: float = Field(22.0, ge=5, le=80, description="distance between neighbouring cells at 0 h")
    pixel_um: float | None = Field(None, gt=0, description="side of a pixel as the files say it; None = not")
    positions: int = Field(2, ge=1, description="fields per well, in a row")
    overlap: float = Field(
        -0.1, ge=-1, lt=1, description="share of a field seen again in the next; < 0 = gap"
    )
    contrast: Literal[1, -1] = Field(1, description="-1 = bright and dark exchanged")
    dtype: Literal["uint8", "uint16"] = "uint8"
    gain: float = Field(1.0, gt=0, description="strength of the contrast")
    gain_sd: float = Field(0.06, ge=0, le=0.5, description="of its log between wells")
    blur_px: float = Field(0.65, ge=0, description="sigma of the lens in focus")
    focus_sd_px: float = Field(0.10, ge=0, description="of the focus offset between wells, as added blur")
    noise_sd: float = Field(2.0, ge=0, description="of the camera, grey levels of 255")
    drift_sd: float = Field(0.8, ge=0, description="of the slow drift of the light, grey levels of 255")


class PlantedFlaws(_Section):
    """Flaws put in on purpose; all off by default."""

    well_tint: float = Field(0.0, description="grey levels (of 255) added to every infected well")
    well_blur_px: float = Field(0.0, ge=0, description="more blur in every infected well")
    border_mark: bool = Field(False, description="a bright mark on the border of every infected field")
    infected_h: Range | None = Field(None, description="hours in which infected wells are imaged")
    mock_h: Range | None = Field(None, description="hours in which mock wells are imaged")
    twin_wells: int = Field(0, ge=0, description="wells that show the culture of another well of their kind")
    twin_overlap: float = Field(
        1.0, gt=0, le=1, description="share of the other well's field; 1 = its pictures"
    )


class Design(_Section):
    """A simulated plate.

    ``wells`` gives every well its MOI (0 = mock). Infected wells get their onset from ``onsets_h``, in
    turn down the plate and shifted by one from MOI to MOI, so that every MOI meets every onset.
    """

    name: str = Field("plate", pattern=r"^[a-z0-9][a-z0-9-]*$", description="begins every file name")
    wells: dict[str, float] = Field(min_length=1)
    onsets_h: tuple[float, ...] = Field((2.0, 8.0, 14.0, 20.0), min_length=1)
    shuffled: bool = Field(False, description="place the conditions on the wells at random, by the seed")
    n_frames: int = Field(49, ge=1)
    interval_h: float = Field(1.0, gt=0)
    masks: bool = Field(False, description="also write where CPE is to be seen, as mask stacks")
    biology: Biology = Biology()
    microscope: Microscope = Microscope()
    plant: PlantedFlaws = PlantedFlaws()

    @model_validator(mode="after")
    def _possible(self) -> Design:
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


def _audit_plate(name: str, **changes: Any) -> dict[str, Any]:
    """The plate of the audit's trials: few, small frames."""
    optics = {"size_px": 48, "pitch_px": 9.0, "positions": 2}
    optics.update(changes.pop("microscope", {}))
    plate = {
        "wells": grid(6, (0.0, 2.0)),
        "onsets_h": (8.0, 12.0, 16.0, 20.0),
        "n_frames": 13,
        "interval_h": 4.0,
    }
    return {"name": name, "microscope": optics} | plate | changes


_PRESETS: dict[str, dict[str, Any]] = {
    "demo": {
        "wells": grid(6, (0.0, 0.3, 0.0, 1.0, 0.0, 5.0, 0.0, 1.0)),
        "n_frames": 25,
        "interval_h": 2.0,
        "onsets_h": (1.0, 5.0, 21.0, 25.0),
    },
    "tiny": {
        "wells": grid(4, (0.0, 5.0)),
        "onsets_h": (4.0, 8.0, 12.0, 16.0),
        "n_frames": 13,
        "interval_h": 4.0,
        "microscope": {"size_px": 64, "pitch_px": 10.0, "positions": 1},
    },
    "one-well-each": {
        "wells": {"B2": 5.0, "C4": 0.0},
        "onsets_h": (1.0,),
        "n_frames": 25,
        "interval_h": 2.0,
        "microscope": {"size_px": 96, "pitch_px": 11.0, "positions": 8, "overlap": 0.05},
    },
    "second-plate": {
        "wells": grid(4, (5.0, 1.0, 0.3, 0.03, 0.0, 0.0)),
        "onsets_h": (2.0, 5.0, 9.0, 13.0),
        "shuffled": True,
        "biology": {"growth": 1.4, "floaters": 0.07},
        "microscope": {"pitch_px": 24.0},
    },
    "other-microscope": {
        "wells": grid(2, (0.0, 0.1, 0.0, 1.0, 0.0, 5.0)),
        "microscope": {
            "size_px": 256,
            "pitch_px": 40.0,
            "pixel_um": 0.65,
            "contrast": -1,
            "dtype": "uint16",
            "blur_px": 1.2,
        },
    },
    "audit": _audit_plate("audit"),
    "audit-fixed-onset": _audit_plate("audit-fixed-onset", onsets_h=(8.0,)),
    "audit-tint": _audit_plate("audit-tint", plant={"well_tint": 6.0}),
    "audit-focus": _audit_plate("audit-focus", plant={"well_blur_px": 0.8}),
    "audit-border": _audit_plate("audit-border", plant={"border_mark": True}),
    "audit-clock": _audit_plate("audit-clock", plant={"infected_h": (20.0, 48.0), "mock_h": (0.0, 28.0)}),
    "planted-clock": {
        "wells": grid(6, (0.0, 1.0, 0.0, 1.0)),
        "n_frames": 25,
        "interval_h": 2.0,
        "onsets_h": (24.0,),
        "biology": {"growth": 3.0, "density_sd": 0.01, "floaters_sd": 0.1, "eclipse_h": 8.0},
        "plant": {"infected_h": (20.0, 48.0), "mock_h": (0.0, 34.0)},
        "microscope": {"positions": 1, "pitch_px": 14.0},
    },
    "audit-neighbours": _audit_plate("audit-neighbours", plant={"twin_wells": 4, "twin_overlap": 0.5}),
    "audit-duplicates": _audit_plate("audit-duplicates", plant={"twin_wells": 4, "twin_overlap": 1.0}),
    "audit-one-well-each": _audit_plate(
        "audit-one-well-each", wells={"B2": 2.0, "C4": 0.0}, onsets_h=(8.0,), microscope={"positions": 8}
    ),
}


def design_names() -> list[str]:
    """Names of the designs that :func:`design` knows."""
    return list(_PRESETS)


def design(name: str, **changes: Any) -> Design:
    """Return a design by name.

    Args:
        name: one of :func:`names`; ``_`` and ``-`` are the same.
        changes: fields of :class:`Design` with other values; a part (``microscope``) takes a dictionary of
            what differs in it.

    Raises:
        InputError: no such design or field, or a plate that cannot be.
    """
    key = name.replace("_", "-")
    if key not in _PRESETS:
        near = nearest(key, design_names())
        hint = f"did you mean {near}?" if near else f"no such design; take one of {', '.join(_PRESETS)}"
        raise InputError(f"design {name}: {hint}")
    values = {"name": key} | _PRESETS[key]
    for field, value in changes.items():
        nested = isinstance(value, dict) and isinstance(values.get(field, {}), dict) and field != "wells"
        values[field] = {**values.get(field, {}), **value} if nested else value
    try:
        return Design.model_validate(values)
    except ValidationError as error:
        raise InputError(f"design {name}: {first_problem(error, _keys_of)}") from None


def _keys_of(above: list[str]) -> Iterable[str]:
    sections: dict[str, type[_Section]] = {
        "biology": Biology,
        "microscope": Microscope,
        "plant": PlantedFlaws,
    }
    return sections.get(".".join(above), Design).model_fields
