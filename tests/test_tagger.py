"""WD taggers: the published form, what the model is given, thresholds, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_ai.errors import VisionError
from anime_ai.vision.tagger import MODEL, TABLE, Tagger, prepared

NAMES = (("general", 9), ("sensitive", 9), ("1girl", 0), ("blue_hair", 0), ("red_hair", 0), ("hatsune_miku", 4))


def make_tagger(folder: Path, size: int = 16) -> Path:
    """A tagger in the published form: the mean of blue and of red decide its tags."""
    from onnx import TensorProto, helper, numpy_helper, save

    # Columns: what each tag makes of the means of blue, green and red, in hundredths.
    weights = np.array(
        [[0, 0, 0], [-9, 0, 0], [1, 1, 1], [4, 0, -4], [-4, 0, 4], [2, -2, -2]], np.float32
    ).T  # fmt: skip
    bias = np.array([0.5, -1, 3, 0, 0, 0], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "hundredth"], ["small"]),
        helper.make_node("Gemm", ["small", "weights", "bias"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["output"]),
    ]
    held = [
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        numpy_helper.from_array(np.array([0.01], np.float32), "hundredth"),
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", size, size, 3])
    told = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", len(NAMES)])
    graph = helper.make_graph(nodes, "tagger", [given], [told], held)
    folder.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / MODEL)
    lines = [f"{place},{name},{kind},100" for place, (name, kind) in enumerate(NAMES)]
    (folder / TABLE).write_text("\n".join(["tag_id,name,category,count", *lines]) + "\n", encoding="utf-8")
    return folder


def test_a_picture_stands_in_a_white_square_blue_first() -> None:
    given = prepared(Image.new("RGB", (40, 20), (200, 100, 0)), 16)
    assert given.shape == (16, 16, 3)
    assert given.dtype == np.float32
    assert given[8, 8].tolist() == [0, 100, 200]
    assert given[0, 8].tolist() == given[15, 8].tolist() == [255, 255, 255]


def test_tags_are_told_above_their_thresholds(tmp_path: Path) -> None:
    tagger = Tagger(make_tagger(tmp_path), "wd")
    blue, red = tagger.look([Image.new("RGB", (32, 32), (0, 0, 255)), Image.new("RGB", (32, 32), (255, 0, 0))])
    assert list(blue.tags) == ["blue_hair", "1girl"]
    assert blue.tags["blue_hair"] == pytest.approx(1 / (1 + np.exp(-10.2)), abs=1e-4)
    assert list(blue.characters) == ["hatsune_miku"]
    assert list(red.tags) == ["red_hair", "1girl"]
    assert red.characters == {}
    assert blue.rating == red.rating == "general"
    assert tagger.look([]) == []


@pytest.mark.parametrize("fault", ["no model", "no table", "no column", "another table", "broken"])
def test_what_is_wrong_with_a_folder_is_said(fault: str, tmp_path: Path) -> None:
    make_tagger(tmp_path)
    if fault == "no model":
        (tmp_path / MODEL).unlink()
    elif fault == "no table":
        (tmp_path / TABLE).unlink()
    elif fault == "broken":
        (tmp_path / MODEL).write_bytes(b"onnx?")
    else:
        head = "tag_id,name" if fault == "no column" else "name,category"
        (tmp_path / TABLE).write_text(f"{head}\n1girl,0\n", encoding="utf-8")
    with pytest.raises(VisionError, match="wd"):
        Tagger(tmp_path, "wd").look([Image.new("RGB", (8, 8))])
