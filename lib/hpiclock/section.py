"""What every section of a config has in common, and a config as rows to read."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """One section of the config: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        # YAML reads yes, on, no, off as true and false, which would count as 1 and 0
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{name} is {str(value).lower()} (or yes, no, on, off); give its value")
        return values


def leaves(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted key, plain value)`` of every key, in the order in which they are declared."""
    return _leaves(section.model_dump(mode="json"), "")


def _leaves(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def as_text(value: Any) -> str:
    """Return a plain value in one line as YAML writes it."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")


def as_html(changed: list[tuple[str, Any, Any]], n_keys: int) -> str:
    """Return the keys that differ from the defaults as a table, and how many do not."""
    rows = "".join(
        f"<tr><td><code>{html.escape(key)}</code></td><td><b>{html.escape(as_text(value))}</b></td>"
        f"<td>{html.escape(as_text(default))}</td></tr>"
        for key, value, default in changed
    )
    return (
        "<table><thead><tr><th>key</th><th>value</th><th>default</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{n_keys - len(changed)} other keys stand at their defaults "
        "(<code>hpiclock config</code> lists them).</p>"
    )
