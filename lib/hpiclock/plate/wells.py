"""What was done to a well."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpiclock.config import Hours, Section
from hpiclock.tables import UNKNOWN

CONDITION = {"infected": "infected", "mock": "mock", "uninfected": "mock", "control": "mock"}
CONDITION |= {UNKNOWN: UNKNOWN}  # may be predicted, not trained on

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value))]


def read_condition(text: str) -> str:
    """Return ``infected``, ``mock`` or ``unknown``; ``uninfected`` and ``control`` mean mock.

    Upper case is the same.

    Raises:
        ValueError: any other word.
    """
    try:
        return CONDITION[text.strip().lower()]
    except KeyError:
        raise ValueError(f"condition {text!r} is not known; write infected or mock") from None


class Well(Section):
    """What was done to one well."""

    condition: Text
    moi: float | None = Field(None, ge=0, description="multiplicity of infection")
    onset_h: Hours | None = Field(None, description="onset of infection, hours after imaging start")
    replicate: Text = ""
    series: Text = ""
    virus: Text = ""
    compound: Text = ""
    dose: float | None = Field(None, ge=0)
    dose_unit: Text = ""
    exclude: Text = Field("", description="why the well is left out; empty = it is used")
    more: dict[str, Any] = Field({}, description="other columns to keep")

    @field_validator("condition")
    @classmethod
    def _known(cls, value: str) -> str:
        return read_condition(value)

    @model_validator(mode="after")
    def _mock_is_mock(self) -> Well:
        if self.condition == "mock" and self.onset_h is not None:
            raise ValueError("a mock well has no onset; remove onset_h")
        if self.condition == "mock" and self.moi:
            raise ValueError(f"a mock well has no MOI {self.moi:g}; remove moi or write condition: infected")
        if self.condition == "infected" and self.moi == 0:
            raise ValueError("an infected well has no MOI 0; give the MOI or write condition: mock")
        return self
