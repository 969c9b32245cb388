"""A trained model for other programs: ONNX, and a pair of safetensors and config.

Both take frames as the cache holds them, grey levels 0-255 at training size, (batch, n_frames, size, size):
the frame and the earlier ones of ``image.context_h``. They give ``p_infected`` and ``hours``, (batch,) each,
as far as the model has the head.
"""

import copy
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hpiclock.config.schema import ModelConfig
from hpiclock.errors import InputError
from hpiclock.files import atomic
from hpiclock.training.augment import GREY_MEAN, GREY_SD
from hpiclock.training.model import TwoHeads, build_model

ONNX, WEIGHTS, CONFIG = "model.onnx", "model.safetensors", "model.json"
OPSET = 18


class ExportedModel(nn.Module):
    """From grey levels 0-255 to what a reader wants: P(infected) and hours."""

    def __init__(self, model: TwoHeads) -> None:
        super().__init__()
        self.model = model

    def forward(self, grey: Tensor) -> tuple[Tensor, ...]:
        """(batch, n_frames, size, size) float32 in 0..255 -> P(infected) and hours, (batch,) each."""
        output = self.model((grey / 255 - GREY_MEAN) / GREY_SD)
        outputs = []
        if output.class_logits is not None:
            outputs.append(output.class_logits.softmax(1)[:, 1])
        if output.time is not None:
            outputs.append(self.model.hours(output.time))
        return tuple(outputs)

    @property
    def names(self) -> list[str]:
        """Names of the outputs, in their order."""
        heads = {"p_infected": self.model.class_head, "hours": self.model.time_head}
        return [name for name, head in heads.items() if head is not None]


def model_outputs(model: TwoHeads, grey: np.ndarray) -> dict[str, np.ndarray]:
    """Return a model's outputs for grey levels 0-255, (batch, n_frames, size, size), float32 on the CPU."""
    reader = _on_cpu(model)
    with torch.inference_mode():
        outputs = reader(torch.from_numpy(grey.astype(np.float32)))
    return {name: part.numpy() for name, part in zip(reader.names, outputs, strict=True)}


def write_onnx(model: TwoHeads, size: int, path: Path) -> None:
    """Write a model as one ONNX file; the batch may have any size.

    Raises:
        InputError: the extra ``export`` is not installed.
    """
    _needed()
    reader = _on_cpu(model)
    example = torch.zeros(2, model.n_frames, size, size)
    # the exporter reports its own steps at length
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with atomic(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            reader,
            (example,),
            partial,
            input_names=["grey"],
            output_names=reader.names,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes={"grey": {0: torch.export.Dim("batch")}},
            external_data=False,
            verbose=False,
        )


def run_onnx(path: Path, grey: np.ndarray) -> dict[str, np.ndarray]:
    """Return an ONNX file's outputs for grey levels 0-255, (batch, n_frames, size, size)."""
    _needed()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {"grey": grey.astype(np.float32)})
    return dict(zip(names, outputs, strict=True))


def _on_cpu(model: TwoHeads) -> ExportedModel:
    """Return a copy: the caller's model stays on its device, in training or evaluation as it was."""
    return ExportedModel(copy.deepcopy(model)).cpu().eval()


def write_safetensors(model: TwoHeads, config: dict[str, Any], folder: Path) -> None:
    """Write the weights and the config that rebuilds the model (key ``model``) and says how to use it."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic(folder / WEIGHTS) as partial:
        partial.write_bytes(save(state))  # of a full disk save_file says it in an error of its own
    with atomic(folder / CONFIG) as partial:
        partial.write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_safetensors(folder: Path) -> TwoHeads:
    """Rebuild a model from what :func:`write_safetensors` wrote.

    Raises:
        InputError: files that are not there or do not fit each other.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        n_frames = len(config.get("image", {}).get("context_h", [0]))
        built = ModelConfig.model_validate(config["model"])
        model = build_model(built, n_frames=n_frames, pretrained=False)
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{folder}: {CONFIG} and {WEIGHTS} cannot be read together ({why})") from None
    return model.eval()


def _needed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("export: ONNX needs the extra: pip install hpiclock[export]") from None
