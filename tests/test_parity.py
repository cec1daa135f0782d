"""An export says what its model says: base, adapter and merge on the starter, in two types; a false one is told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from anime_ai.chat.service import SHIPPED
from anime_ai.config import DATA, Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.engine import Adapter, Likelihood
from anime_ai.models.gguf_files import convert
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llamacpp_engine import LlamaCppEngine
from anime_ai.models.parity import check_export, compare, divergence
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.persona.cards import Personas

KUUDERE = Adapter(SHIPPED / "kuudere")


@pytest.fixture(scope="module")
def starter() -> Base:
    return find_base(STARTER, Settings())


@pytest.fixture(scope="module")
def reference(starter: Base) -> TransformersEngine:
    return TransformersEngine(starter)


@pytest.fixture(scope="module")
def questions() -> list[str]:
    rows = json.loads((DATA / "dataset.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys(row["input"] for row in rows))[::5][:64]


def engine(starter: Base, folder: Path, kind: str) -> LlamaCppEngine:
    return LlamaCppEngine(starter, Ggufs(folder / "gguf"), folder / "llama", kind)


@pytest.fixture
def f16(starter: Base, tmp_path: Path) -> Iterator[LlamaCppEngine]:
    with closing(engine(starter, tmp_path, "f16")) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_the_base_says_the_same(
    starter: Base, reference: TransformersEngine, questions: list[str], tmp_path: Path, kind: str
) -> None:
    with closing(engine(starter, tmp_path, kind)) as exported:
        parity = compare(reference, exported, questions)
    assert parity.total == 64
    assert parity.holds(kind), parity
    assert 0 <= parity.divergence < {"f16": 1e-3, "q8_0": 0.02}[kind], parity


@pytest.mark.slow
def test_adapter_and_merge_say_the_same(
    starter: Base, reference: TransformersEngine, questions: list[str], tmp_path: Path, f16: LlamaCppEngine
) -> None:
    card = Personas().system_line("三无")
    alone = compare(reference, f16, questions[:24], card, KUUDERE, KUUDERE)
    assert alone.holds("f16"), alone
    merged = engine(starter, tmp_path / "merged", "f16")
    convert(starter, merged._host.ggufs.file(starter, "f16"), "f16", KUUDERE.path)
    with closing(merged):
        inside = compare(reference, merged, questions[:24], card, KUUDERE)
    assert inside.holds("f16"), inside


def test_a_false_export_is_found_out(reference: TransformersEngine, questions: list[str], f16: LlamaCppEngine) -> None:
    parity = compare(reference, f16, questions[:6], "", None, KUUDERE)
    assert not parity.holds("f16")
    assert set(parity.differing) <= set(questions[:6])
    assert parity.divergence > 0.02


def test_the_divergence_is_that_of_the_definition() -> None:
    def told(*shares: float) -> list[Likelihood]:
        return [Likelihood(place, "", math.log(share)) for place, share in enumerate(shares)]

    assert divergence(told(0.5, 0.3, 0.2), told(0.5, 0.3, 0.2)) == pytest.approx(0.0, abs=1e-6)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.3 * math.log(0.3 / 0.5) + 0.2 * math.log(0.2 / 0.25)
    assert divergence(told(0.5, 0.3), told(0.25, 0.5)) == pytest.approx(expected)


def test_an_export_that_differs_is_not_kept(starter: Base, questions: list[str], tmp_path: Path) -> None:
    file = tmp_path / "false.gguf"
    convert(starter, file, "f16", KUUDERE.path)
    with pytest.raises(ModelError) as caught:
        check_export(starter, file, "f16", None, questions[:4])
    assert caught.value.key == "model.export_differs"
    assert not file.exists()
