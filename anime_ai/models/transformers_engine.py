"""The engine over transformers and PEFT: one base model, any of its adapters, one generation at a time.

PEFT's choice of the active adapter is global to the model, so it is set and used under one lock.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Generator
from contextlib import nullcontext
from typing import Any

import torch

from anime_ai.errors import ModelError
from anime_ai.models.adapters import WEIGHTS, check_adapter
from anime_ai.models.bases import Base, read_header
from anime_ai.models.device import Device, pick_device, torch_dtype, use_allowed_threads
from anime_ai.models.engine import Adapter, Piece, Sampling
from anime_ai.models.generation import KeptCache, generate, new_cache
from anime_ai.models.gguf_tokenizer import read_tokenizer
from anime_ai.models.imports import one_at_a_time
from anime_ai.models.layouts import Layouts
from anime_ai.prompting import MASKED, Layout, Prompt

with one_at_a_time:
    from transformers.utils import logging as transformers_logging

# Bars and hints of libraries do not belong between the lines of an answer.
transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

KEPT_CACHES = 4
KEPT_ADAPTERS = 4
_PREFIX = "base_model.model."
"""What PEFT writes before the name of a layer."""
_TOKENS = "embed_tokens.token_adapter.trainable_tokens_delta"
"""How it calls the embeddings of single tokens."""


def load_tokenizer(base: Base) -> Any:
    """The tokenizer of a base model. Raises ModelError."""
    if base.lone:
        return read_tokenizer(base.path)
    with one_at_a_time:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # transformers raises whatever its parsers raise
            raise ModelError("model.load_failed", name=base.id, why=_first_line(error)) from error


def load_model(base: Base, dtype: Any, **options: Any) -> Any:
    """The weights of a base model, in `dtype`. Raises ModelError."""
    base.need_weights()
    with one_at_a_time:
        from transformers import AutoModelForCausalLM

        try:
            return AutoModelForCausalLM.from_pretrained(
                base.path, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True, **options
            )
        except Exception as error:  # transformers raises whatever its parsers raise
            raise ModelError("model.load_failed", name=base.id, why=_first_line(error)) from error


def look_up_pays(model: Any) -> bool:
    """Whether one pass over several tokens costs little more than over one, as with 16-bit weights: 9 tokens took 1.1
    to 1.5 times as long, in fp32 3.1 to 3.6 times (1.5B layers on two cores, tests/benchmarks/test_lookup.py)."""
    return model.dtype in (torch.bfloat16, torch.float16)


class TransformersEngine:
    """See `anime_ai.models.engine.Engine`. The key/value caches of the last few conversations are kept."""

    name = "transformers"

    def __init__(self, base: Base, sixteen: bool = True, device: Device | None = None) -> None:
        self.base = base
        self.sixteen = sixteen
        self.device = device
        self.reading_pace: float | None = None
        self._model: Any = None
        self._with_tokens = False
        self._adapters: OrderedDict[str, str] = OrderedDict()
        self._caches: OrderedDict[tuple[str, str], KeptCache] = OrderedDict()
        self._layouts = Layouts(base)
        self._busy = threading.Lock()
        self._loading = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def load(self) -> None:
        """Load the weights now. Raises ModelError."""
        self._ready()

    def tokenizer(self) -> Any:
        return self._layouts.tokenizer()

    def layout(self, format: str, think: str) -> Layout:
        return self._layouts.layout(format, think)

    def context_length(self) -> int:
        return min(int(getattr(self._ready().config, "max_position_embeddings", 4096)), 8192)

    def close(self) -> None:
        """Free the model once no generation runs any more."""
        with self._busy:
            self._forget()

    def _forget(self) -> None:
        self._model = None
        self._caches.clear()
        self._adapters.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def stream(
        self,
        prompt: Prompt,
        adapter: Adapter | None = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        while not self._busy.acquire(timeout=0.05):
            if stop is not None and stop.is_set():
                return
        name = ""
        try:
            name = self._use(adapter)
            kept = self._kept(name, cache_key)
            with self._only(name):
                guessing = look_up_pays(self._model)
                yield from generate(self._model, self.tokenizer(), prompt, sampling, stop, kept, guessing)
        except torch.OutOfMemoryError as error:
            self._caches.clear()
            raise ModelError("model.out_of_memory", name=self.base.id) from error
        except Exception:
            # The layers of a cache may have grown unevenly.
            self._caches.pop((name, cache_key), None)
            raise
        finally:
            self._busy.release()

    def forget(self, cache_keys: Collection[str]) -> None:
        for key in [key for key in list(self._caches) if key[1] in cache_keys]:
            self._caches.pop(key, None)

    def prepare(
        self, prompt: Prompt, adapter: Adapter | None = None, cache_key: str = "", stop: threading.Event | None = None
    ) -> None:
        """Nothing: who asks meanwhile would wait for it, as one generation runs at a time."""

    def loss(self, ids: tuple[int, ...], labels: tuple[int, ...], adapter: Adapter | None = None) -> float:
        """Mean cross entropy, in nats, of the tokens of one row that carry a label."""
        with self._busy:
            name = self._use(adapter)
            tokens = torch.tensor([ids], device=self._model.device)
            targets = torch.tensor([labels], device=self._model.device)[:, 1:]
            with self._only(name), torch.inference_mode():
                logits = self._model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
            kept = targets != MASKED
            return float(torch.nn.functional.cross_entropy(logits[kept], targets[kept]))

    def _only(self, name: str) -> Any:
        """The base alone where no adapter is named."""
        return self._model.disable_adapter() if self._adapters and not name else nullcontext()

    def _ready(self) -> Any:
        self.tokenizer()
        with self._loading:
            if self._model is None:
                use_allowed_threads()
                self.device = self.device or pick_device()
                precision = self.device.precision(self.base.parameters(), sixteen=self.sixteen)
                self._model = load_model(self.base, torch_dtype(precision)).to(self.device.kind).eval()
            return self._model

    def _kept(self, name: str, cache_key: str) -> KeptCache | None:
        if not cache_key:
            return None
        kept = self._caches.pop((name, cache_key), None) or new_cache(self._model)
        self._caches[name, cache_key] = kept
        while len(self._caches) > KEPT_CACHES:
            self._caches.popitem(last=False)
        return kept

    def _use(self, adapter: Adapter | None) -> str:
        """Make `adapter` the active one and tell its name in the model; "" is the base alone."""
        model = self._ready()
        if adapter is None:
            return ""
        name = "a" + hashlib.sha256(adapter.key.encode()).hexdigest()[:16]
        if name not in self._adapters:
            check_adapter(adapter.path, self.base)
            self._load(model, adapter, name)
        self._adapters.move_to_end(name)
        self._model.set_adapter(name)
        return name

    def _load(self, model: Any, adapter: Adapter, name: str) -> None:
        # PEFT, and bitsandbytes with it, take seconds to import: only who has an adapter waits for them.
        with one_at_a_time:
            from peft import PeftModel

        trained = _trained_layers(adapter, model)
        if isinstance(model, PeftModel) and self._with_tokens != (_TOKENS in trained):
            # PEFT cannot hold adapters with token embeddings beside ones without (peft 0.21, KeyError on loading).
            self._forget()
            model = self._ready()
        self._with_tokens = _TOKENS in trained
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(str(adapter.path), adapter_name=name, torch_device=str(model.device))
            else:
                self._model = PeftModel.from_pretrained(model, str(adapter.path), adapter_name=name)
            self._model.eval()
            if _changed_layers(self._model, name) != trained:
                raise ValueError("layers without weights")
        except Exception as error:  # PEFT and safetensors raise what their parsers raise
            # PEFT changes the model in place, perhaps half: the next answer loads the base afresh.
            self._forget()
            raise ModelError("model.adapter_broken", path=adapter.path, why=_first_line(error)) from error
        self._adapters[name] = str(adapter.path)
        while len(self._adapters) > KEPT_ADAPTERS:
            oldest, _ = self._adapters.popitem(last=False)
            self._model.delete_adapter(oldest)
            for key in [key for key in self._caches if key[0] == oldest]:
                del self._caches[key]


def _trained_layers(adapter: Adapter, model: Any) -> set[str]:
    """The layers that an adapter changes. Raises ModelError unless each tensor belongs to one of them and fits it.

    PEFT passes over what it finds no place for, and answers with the bare base without a word.
    """
    layers = {}
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() == 2:
            layers[path.removeprefix(_PREFIX).removesuffix(".base_layer")] = module
    found = set()
    for tensor, shape in read_header(adapter.path / WEIGHTS).items():
        path, _, part = tensor.removeprefix(_PREFIX).partition(".lora_")
        if path.endswith(_TOKENS) and len(shape) == 2 and shape[1] == model.config.hidden_size:
            found.add(_TOKENS)
            continue
        layer = layers.get(path)
        sizes = (getattr(layer, "in_features", 0), getattr(layer, "out_features", 0))
        fits = {
            "A.weight": len(shape) == 2 and shape[1] == sizes[0],
            "B.weight": len(shape) == 2 and shape[0] == sizes[1],
            "magnitude_vector": shape == (sizes[1],),
        }
        if layer is None or not fits.get(part, False):
            raise ModelError("model.adapter_broken", path=adapter.path, why=f"{tensor} {list(shape)}")
        found.add(path)
    return found


def _changed_layers(model: Any, name: str) -> set[str]:
    """The layers to which PEFT has given weights of the adapter `name`."""
    modules = list(model.named_modules())
    layers = {path.removeprefix(_PREFIX) for path, module in modules if name in getattr(module, "lora_A", ())}
    # Embeddings and a head that is tied to them share one delta.
    tokens = {_TOKENS for _, module in modules if name in getattr(module, "trainable_tokens_delta", ())}
    return layers | tokens


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
