"""Application settings: the only list of them, their defaults and their bounds. Knows no heavy library.

Each is read from the environment as `ANIME_AI_<NAME>` or from `.env`. What belongs to one training run stands in
`anime_ai.training.recipe`, whose defaults come from here.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from anime_ai.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
ASSETS = ROOT / "assets"
STARTER_LM = ASSETS / "starter" / "lm"
STARTER_COCA = ASSETS / "starter" / "coca"
PHRASES = ROOT / "anime_ai" / "starter" / "phrases"
"""What people say every day, written for the starter's corpus."""
OWNER = "owner"
"""The id of the person whose app it is: who sits at this machine, or knows the password."""
AVATARS = ASSETS / "personas"


class Settings(BaseSettings):
    """What the original project called its configuration, and what the app needs beside it."""

    # Editors of Windows begin UTF-8 with a mark, which an older python-dotenv takes for part of the first name.
    model_config = SettingsConfigDict(
        env_prefix="ANIME_AI_", env_file=".env", env_file_encoding="utf-8-sig", extra="ignore"
    )

    model_name: str = Field("auto", description="base model: auto, a Hub id, a folder, or a GGUF file")
    engine: Literal["auto", "transformers", "llamacpp", "remote"] = "auto"
    remote_url: str = Field("", description="address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1")
    remote_key: SecretStr = Field(SecretStr(""), description="its key")
    remote_model: str = Field("", description="the server's name of the model; empty: the only one that it has")
    remote_adapters: str = Field("", description="adapter=the server's name of it, with commas; else by the same name")
    remote_form: Literal["auto", "text", "messages"] = "auto"
    remote_context: int = Field(0, ge=0, le=2**24, description="tokens of the server's context; 0: as it says, or 4096")
    remote_connect_timeout: float = Field(8.0, gt=0, le=600, description="seconds until a connection stands")
    remote_first_timeout: float = Field(120.0, gt=0, le=3600, description="seconds until the first word")
    remote_stall_timeout: float = Field(30.0, gt=0, le=3600, description="seconds between two words")
    gguf_type: Literal["auto", "f16", "q8_0", "q5_1", "q4_0"] = "auto"
    context_length: int = Field(4096, ge=512, le=131_072, description="tokens of a conversation in llama.cpp")
    states_mb: int = Field(2048, ge=0, description="read prompts that llama.cpp keeps on the disk, in MB")
    batch_size: int = Field(2, ge=1, le=256, description="rows per training step on one device")
    fp16: bool = Field(True, description="16-bit training where the device can; bf16 is preferred to fp16")
    max_length: int = Field(512, ge=32, le=32768, description="tokens of a training row")
    output_dir: Path = Field(Path("./anime_ai_output"), description="where everything of the user is kept")
    dataset: str = Field(str(DATA / "dataset.json"), description="the dataset that preprocess reads by default")
    persona: str = Field("傲娇", description="the persona that train and infer take by default")
    prompt_format: Literal["auto", "deepseek-r1", "chatml", "seed"] = "auto"
    think: Literal["silent", "inner", "open"] = "silent"
    load_in_4bit: Literal["auto", "on", "off"] = "auto"
    accelerate_config: str = Field("", description="accelerate's own configuration file for runs of several processes")
    seed: int = Field(42, ge=0, le=2**32 - 1)
    database_url: str = Field("", description="any SQLAlchemy URL; by default SQLite under OUTPUT_DIR/studio")
    embedding: str = Field("", description="a sentence-transformers model; empty: the one chosen on the page")
    reranker: str = Field("", description="a sentence-transformers cross-encoder by name or folder; empty: none")
    chroma_url: str = Field("", description="a Chroma server; by default vectors lie under OUTPUT_DIR/studio")
    hub: Literal["hub", "mirror", "modelscope"] = Field("hub", description="where models are fetched from by default")
    hub_mirror: str = Field("https://hf-mirror.com", description="the address of the hub's mirror")
    modelscope: str = Field("https://www.modelscope.cn", description="the address of ModelScope")
    hub_timeout: float = Field(8.0, gt=0, le=300, description="seconds until the model hub counts as unreachable")
    bundle: str = Field("", description="a persona's bundle that is taken in at the first start")
    state_repo: str = Field("", description="private dataset repository on the Hub that holds the studio's state")
    state_minutes: float = Field(10.0, gt=0, le=1440, description="minutes between two looks at whether it has changed")
    owner_password: SecretStr = SecretStr("")
    allowed_hosts: str = Field("", description="more host names under which the page may be opened, with commas")
    owners: str = Field("", description="users of Hugging Face who own this Space beside its author, with commas")
    visitor_messages_per_minute: int = Field(12, ge=0, description="of one visitor; 0: no limit, here and below")
    visitor_messages_per_hour: int = Field(120, ge=0)
    visitor_tokens_per_day: int = Field(100_000, ge=0, description="read and written for one visitor")
    visitor_pictures_per_day: int = Field(40, ge=0)
    visitor_changes_per_hour: int = Field(
        300, ge=0, description="what one visitor begins, edits, throws away or sets; answers have limits of their own"
    )
    visitor_conversations: int = Field(100, ge=0, description="how many one visitor may keep")
    visitor_upload_mb: int = Field(10, ge=1, le=4096, description="the largest picture that a visitor may show")
    visitors_messages_per_minute: int = Field(60, ge=0, description="of all visitors together")
    visitors_tokens_per_day: int = Field(2_000_000, ge=0, description="for all visitors together")
    visitors_changes_per_hour: int = Field(3000, ge=0, description="of all visitors together")
    visitors_per_address: int = Field(
        3, ge=0, description="how many visitors' limits one network address has, whatever cookies come from it"
    )
    trusted_proxies: str = Field(
        "", description="addresses or networks of proxies whose X-Forwarded-For counts, with commas"
    )
    api_origins: str = Field("", description="web pages that may call the open endpoint, with commas; empty: none")
    answer_seconds: float = Field(300.0, ge=5, le=3600, description="seconds after which an answer is cut off")
    max_upload_mb: int = Field(50, ge=1, le=4096)

    @cached_property
    def studio_dir(self) -> Path:
        return self.output_dir / "studio"

    @cached_property
    def gguf_dir(self) -> Path:
        return self.studio_dir / "gguf"

    @cached_property
    def runs_dir(self) -> Path:
        return self.output_dir / "runs"

    @classmethod
    def load(cls, **named: object) -> Settings:
        """Settings from the environment, with `named` values (None means: not named) above it.

        Raises SettingsError that names the setting, its value and what is allowed, or a file that is not UTF-8.
        """
        try:
            return cls(**{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).upper()
            raise SettingsError("settings.invalid", name=name, value=first.get("input"), why=first["msg"]) from error
        except UnicodeDecodeError as error:
            raise SettingsError("settings.file_encoding", path=Path(".env").absolute()) from error
