"""The service's settings: typed, frozen, built once from a YAML file and the environment, and passed down.

Only this module reads the environment. A variable overrides the file, and the file overrides the default.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

import limits
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from blip_serve.cores import usable_cores
from blip_serve.domain import (
    EVERY_TASK,
    ImageFormat,
    ScoringProtocol,
    Task,
    WorkClass,
    explanation_cost,
    generation_cost,
    request_cost,
)
from blip_serve.errors import ConfigurationError
from blip_serve.hosts import endpoint, host_pattern, host_pattern_or_network, origin

PREFIX = "BLIP_SERVE_"
CONFIG = f"{PREFIX}CONFIG"
NESTED = "__"
HTTP_PROTOBUF = "http/protobuf"
MiB = 1024 * 1024
Access = Annotated[
    Literal["open", "key", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads `off` as false
]
PLAIN = ":plain"
"""Suffix of a captioning model's name. With it, the model ignores the user's text."""
HARD_LIMIT = 10_000
"""Upper bound of images, or of captions, per request. It holds before the settings are known."""
LEAST_WORKERS, MOST_WORKERS = 2, 16
"""Of threads that decode, where the settings say nothing. 16 decode some 2,500 pictures of 640x480 a second."""


HostPattern = Annotated[str, AfterValidator(host_pattern)]
HostPatternOrNetwork = Annotated[str, AfterValidator(host_pattern_or_network)]
Name = Annotated[str, Field(min_length=1)]
Endpoint = Annotated[str, AfterValidator(endpoint)]
Origin = Annotated[str, AfterValidator(origin)]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _rate(text: str) -> str:
    parsed = limits.parse_many(text)
    if len(parsed) != 1 or parsed[0].amount < 1:
        raise ValueError("one rate of at least 1, such as 100/minute")
    return text


Rate = Annotated[str, AfterValidator(_rate)]
"""Requests per span of time, in the syntax of the library `limits`: `100/minute`, `10 per second`."""


class KeySettings(Section):
    """An API key: everything about it but the key itself, of which only a digest is stored."""

    name: str = Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$", description="whose it is, in the log and the metrics")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key, in hexadecimal")
    models: tuple[Name, ...] = Field(("*",), description="models it may use: names, or patterns like `Salesforce/*`")
    tasks: tuple[Task, ...] = Field(EVERY_TASK, description="what it may ask of them; else everything")
    rate: Rate | None = Field(None, description="requests a span of time, like `100/minute`; else `auth.rate`")
    concurrency: int | None = Field(None, gt=0, description="requests at once; else `auth.concurrency`")
    flex_only: bool = Field(False, description="whether its requests are all background work, of the tier `flex`")
    manage_models: bool = Field(False, description="whether it may load and unload models")
    created: date | None = Field(None, description="the day it was made")


class AuthSettings(Section):
    """Who may call. Without keys, only this host may. Listening on another address needs `no_auth`."""

    keys_file: Path | None = Field(
        None, description="file of API keys, made by `blip-serve keys create`; read again when it changes"
    )
    keys: tuple[KeySettings, ...] = Field((), description="API keys beside the file's (JSON in the environment)")
    no_auth: bool = Field(False, description="listen on any address without keys, like `serve --no-auth`")
    rate: Rate | None = Field(None, description="requests a span of time of a key that states none")
    concurrency: int | None = Field(None, gt=0, description="requests at once of a key that states none")
    redis_url: SecretStr | None = Field(
        None, description="`redis://...` that counts rates for all replicas; else each counts its own"
    )

    @property
    def asks(self) -> bool:
        """Whether requests need a key."""
        return self.keys_file is not None or bool(self.keys)

    @model_validator(mode="after")
    def _keys_or_none(self) -> Self:
        if self.no_auth and self.asks:
            raise ValueError("no_auth contradicts keys and keys_file")
        return self

    @model_validator(mode="after")
    def _redis_is_read(self) -> Self:
        if self.redis_url and not self.redis_url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("redis_url must begin with redis:// or rediss://")
        return self


class ServerSettings(Section):
    """Where and how HTTP is spoken."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    metrics: Access = Field("key", description="who reads `/metrics`: `open`, `key` (as `/v1` does) or `off`")
    docs: Access = Field("key", description="who reads `/docs` and `/openapi.json`: `open`, `key` or `off`")
    playground: Access = Field(
        "open",
        description="who opens the page at `/`: `open`, `key` (a client that sends one; a browser's address line "
        "sends none) or `off`. It holds no data: what it asks of `/v1` needs a key as ever",
    )
    max_body_bytes: int = Field(64 * MiB, gt=0, description="largest request body")
    max_bodies_bytes: int = Field(
        1024 * MiB, gt=0, description="bodies of all requests being answered, together; background ones have half"
    )
    request_timeout_s: float = Field(60, gt=0, description="time a request has from its admission to its answer")
    background_timeout_s: float = Field(
        600, gt=0, description="the same for a background request; its wait for room in the queue is part of it"
    )
    max_json_values: int = Field(
        100_000, gt=0, description="values in a JSON body, as commas and opening brackets; many are slow to read"
    )
    max_header_bytes: int = Field(64 * 1024, gt=0, description="a request's head: its first line and its headers")
    max_headers: int = Field(100, gt=0, description="headers a request")
    max_connections: int = Field(1000, gt=0, description="connections open at once; more are answered 503 and closed")
    receive_timeout_s: float = Field(60, gt=0, description="time a request has from its first byte to its last")
    send_timeout_s: float = Field(
        60, gt=0, description="time in which a client reads 256 KiB of its answer, or the rest; else it is cut off"
    )
    keep_alive_s: int = Field(75, gt=0, description="time a connection waits for a next request; above a balancer's")
    shutdown_delay_s: float = Field(
        3, ge=0, description="time after SIGTERM in which `/readyz` says `draining` and requests are still served"
    )
    drain_timeout_s: float = Field(30, ge=0, description="time the requests in flight have after that")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="addresses or networks whose `X-Forwarded-For` is believed (JSON in the environment)"
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        description="origins (`https://example.org`) whose pages may call from a browser; with keys also `*`",
    )

    def timeout_s(self, work_class: WorkClass) -> float:
        """Time that a request of a class has."""
        return self.request_timeout_s if work_class == "interactive" else self.background_timeout_s


class LimitSettings(Section):
    """Limits of one request."""

    max_images: int = Field(64, gt=0, le=HARD_LIMIT, description="images a request")
    max_captions: int = Field(1000, gt=0, le=HARD_LIMIT, description="captions a request")
    max_pairs: int = Field(16384, gt=0, description="image-caption pairs a request")
    max_zip_pairs: int = Field(
        1000, gt=0, le=HARD_LIMIT, description="images a request that pairs first with first (`zip`)"
    )
    max_explanations: int = Field(16, gt=0, le=HARD_LIMIT, description="image-caption pairs explained a request")
    max_explained_words: int = Field(256, gt=0, description="words mapped a request")
    max_choices: int = Field(16, gt=0, le=64, description="texts generated a request (`n`)")
    max_beams: int = Field(8, gt=0, le=64, description="beams of a search (`num_beams`)")
    max_new_tokens: int = Field(512, gt=0, description="tokens generated a text (`max_tokens`)")
    max_caption_chars: int = Field(8192, gt=0, description="characters a caption; more cannot fit any model")


History = Literal["latest", "refuse"]


class ChatSettings(Section):
    """How conversations are read."""

    history: History = Field(
        "latest",
        description="`latest`: the user's last words and the most recent image count, other turns have no effect; "
        "`refuse` refuses these",
    )


class FetchSettings(Section):
    """Images given by URL."""

    enabled: bool = Field(True, description="whether images may be given by URL")
    timeout_s: float = Field(10, gt=0, description="time for one image: look-up, connection, redirects and body")
    max_redirects: int = Field(3, ge=0, description="redirects followed, each checked like the first address")
    max_concurrent: int = Field(32, gt=0, description="fetches under way at once")
    allowed_hosts: tuple[HostPattern, ...] = Field(
        (), description="if any: only these public hosts (`images.example.org`, `*.example.org`)"
    )
    denied_hosts: tuple[HostPatternOrNetwork, ...] = Field(
        (), description="never these: hosts as above, addresses, networks (`203.0.113.0/24`)"
    )
    private_hosts: tuple[Endpoint, ...] = Field(
        (), description="also these in a private network: `host` (ports 80 and 443) or `host:port`"
    )


class ImageSettings(Section):
    """Limits of decoding, and the sizes of the image caches."""

    formats: tuple[ImageFormat, ...] = Field(
        ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"),
        min_length=1,
        description="what is read, as far as the build can; `TIFF` and, with the extra `heic`, `HEIC` may be added",
    )
    max_bytes: int = Field(20 * MiB, gt=0, description="an image file")
    max_pixels: int = Field(40_000_000, gt=0, description="pixels of one image, checked before any raster exists")
    max_decode_bytes: int = Field(1024 * MiB, gt=0, description="memory of the images being decoded at once")
    cache_tokens_bytes: int | None = Field(
        None,
        ge=0,
        description="token embeddings kept per model (~0.9-1.8 MB each); by default 1 GiB, or a sixteenth of "
        "`memory.budget_bytes` if that is less",
    )
    cache_vectors_bytes: int = Field(64 * MiB, ge=0, description="unit ITC vectors kept per model (~1 KB each)")
    fetch: FetchSettings = FetchSettings()


class EngineSettings(Section):
    """Scheduling on the device. Costs are in captions of up to 15 tokens through the text tower once."""

    max_step_cost: int = Field(320, ge=160, description="cost of one step on the device")
    max_wait_ms: float = Field(4, ge=0, description="time a step waits for works that are being prepared")
    max_queue_cost: int = Field(
        65536, gt=0, description="cost of the requests admitted and not yet answered, of each class"
    )
    background_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="part of the device's work that background requests get while interactive ones wait: at most one "
        "small step between two of theirs",
    )
    max_background_waiting: int = Field(
        256, gt=0, description="background requests that may wait for room in the queue; more are refused"
    )
    stall_after_s: float = Field(120, gt=0, description="a step longer than this makes `/readyz` answer 503")
    exit_after_s: float = Field(300, gt=0, description="a step longer than this ends the process, with exit code 1")
    max_sequences: int = Field(64, ge=64, description="sequences a model generates at once; a beam is one")
    workers: int | None = Field(
        None,
        gt=0,
        description="images of one caller decoded at once; threads that tokenize captions; by default 2, with "
        "`device: cuda` as many as the process has cores, 2 to 16",
    )

    @model_validator(mode="after")
    def _not_ready_before_the_exit(self) -> Self:
        if self.exit_after_s <= self.stall_after_s:
            raise ValueError("exit_after_s must exceed stall_after_s")
        return self


class MemorySettings(Section):
    """What all models together may hold of the device's memory. The rest is for steps, bodies and pictures."""

    budget_bytes: int | None = Field(
        None,
        gt=0,
        description="weights, generation slots and image caches of all loaded models; by default three quarters of "
        "the machine's or the container's memory, nine tenths of a GPU's; too little, and some models starve",
    )
    unload_after_s: float | None = Field(
        None, gt=0, description="time after its last request at which a model that is not preloaded is unloaded"
    )


class ModelSettings(Section):
    """One checkpoint to serve."""

    id: str = Field(min_length=1, description="the name clients use; an id of the catalogue, or any name with `source`")
    source: str | None = Field(None, min_length=1, description="folder or hub id to load from; by default the id")
    revision: str | None = Field(None, min_length=1, description="the hub's commit, tag or branch")
    aliases: tuple[Name, ...] = Field((), description="other names clients may use")
    preload: bool = Field(False, description="load at the start and keep; else at the first request")
    protocol: ScoringProtocol = Field("hf", description="scoring protocol where a request names none")
    calibration: tuple[Path, ...] = Field(
        (),
        description="files made by `blip-serve calibrate`, one a protocol: answers then have a `calibrated_score`; one "
        "made for another checkpoint or number type is refused at the load",
    )

    @model_validator(mode="after")
    def _no_name_is_plain(self) -> Self:
        if taken := [name for name in (self.id, *self.aliases) if name.endswith(PLAIN)]:
            raise ValueError(f"{taken[0]}: '{PLAIN}' ends the names of models whose captions take no beginning")
        return self


class LogSettings(Section):
    """The log, which goes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line to write")
    format: Literal["console", "json"] = Field("console", description="for people or for machines")


DEMO = ModelSettings(id="blip-serve/demo-retrieval", aliases=("demo",), preload=True)
DEMO_CAPTIONS = ModelSettings(id="blip-serve/demo-captioning", preload=True)
DEMO_ANSWERS = ModelSettings(id="blip-serve/demo-vqa", preload=True)


class Settings(BaseSettings):
    """All settings. Build them with `load` or `of`, which raise `ConfigurationError`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto` is CUDA when there")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="`auto`: float16 on CUDA; on CPU bfloat16 where the processor multiplies it, else float32"
    )
    threads: int = Field(
        0, ge=0, description="torch's CPU threads; 0: one a core, within a container's CPU limit; one for a small model"
    )
    default_model: Name | None = Field(
        None, description="model of requests that name none; where it lacks the task, the first of `models` that has it"
    )
    data_dir: Path | None = Field(
        None,
        description="folder for what is found out about models, such as digests, evaluations and calibrations; by "
        "default `blip-serve` in `$XDG_DATA_HOME` or `~/.local/share`",
    )
    load_timeout_s: float = Field(
        600, gt=0, description="time a model has to be downloaded and loaded; then it is failed, and its place free"
    )
    catalogue: bool = Field(True, description="also serve the catalogue's checkpoints, loaded on request")
    models: tuple[ModelSettings, ...] = Field(
        (DEMO, DEMO_CAPTIONS, DEMO_ANSWERS),
        min_length=1,
        description="checkpoints to serve (JSON in the environment)",
    )
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    chat: ChatSettings = ChatSettings()
    images: ImageSettings = ImageSettings()
    engine: EngineSettings = EngineSettings()
    memory: MemorySettings = MemorySettings()
    log: LogSettings = LogSettings()

    @property
    def workers(self) -> int:
        """`engine.workers`, or what stands for it.

        A CPU that computes has no cores to spare for decoding. Beside a card the cores do little else, and a card takes
        what several decode: see `configs/cuda.yaml`. With `device: auto` the card is not known before torch is there.
        """
        if self.engine.workers is not None:
            return self.engine.workers
        return min(max(usable_cores(), LEAST_WORKERS), MOST_WORKERS) if self.device == "cuda" else LEAST_WORKERS

    @model_validator(mode="after")
    def _largest_request_fits_the_queue(self) -> Self:
        limits = self.limits
        largest = max(
            request_cost(limits.max_images, max(limits.max_pairs, limits.max_captions)),
            request_cost(limits.max_zip_pairs, limits.max_zip_pairs),
            generation_cost(max(limits.max_choices, limits.max_beams), limits.max_new_tokens),
            request_cost(limits.max_explanations, explanation_cost(limits.max_explanations, 1, 0)),
        )
        if largest > self.engine.max_queue_cost:
            raise ValueError(f"engine.max_queue_cost must be at least {largest}, the largest request the limits allow")
        return self

    @model_validator(mode="after")
    def _not_every_page_without_a_key(self) -> Self:
        if "*" in self.server.cors_origins and not self.auth.asks:
            raise ValueError("server.cors_origins: * without keys would let any page of the web use the service")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [name for model in self.models for name in (model.id, *model.aliases)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"models: {', '.join(sorted(twice))} is named more than once")
        return self

    @model_validator(mode="after")
    def _default_is_served(self) -> Self:
        names = {name for model in self.models for name in (model.id, *model.aliases)}
        if self.default_model is not None and self.default_model.removesuffix(PLAIN) not in names:
            raise ValueError(f"default_model: {self.default_model} is not among models")
        return self

    @property
    def data(self) -> Path:
        """The folder of `data_dir`. It need not exist."""
        if self.data_dir is not None:
            return self.data_dir.expanduser()
        home = os.environ.get("XDG_DATA_HOME", "")
        return (Path(home) if os.path.isabs(home) else Path("~/.local/share").expanduser()) / "blip-serve"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the arguments, which are the file's values."""
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Reads the YAML file at `path`, or else the one that `BLIP_SERVE_CONFIG` names. The environment overrides it.

        Raises `ConfigurationError` that names the file and the key.
        """
        named = os.environ.get(CONFIG)
        source = path or (Path(named) if named else None)
        return cls.of(read_yaml(source) if source else {}, source)

    @classmethod
    def of(cls, values: Mapping[str, Any], source: Path | None = None) -> Self:
        """Settings from `values`, which were read from `source`. The environment overrides them.

        Raises `ConfigurationError` that names the key.
        """
        _refuse_unreadable_variables([k for k in os.environ if k.startswith(PREFIX) and k != CONFIG], cls)
        _refuse_worker_processes()
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigurationError(explain(error, source)) from None
        except ValueError as error:  # pydantic-settings: a variable must be JSON and is not
            raise ConfigurationError(f"environment: {error}") from None


def collector() -> str | None:
    """The address that OpenTelemetry's standard variables give for traces. `None`: no traces are wanted.

    OpenTelemetry reads the other variables itself. Raises `ConfigurationError` for an exporter that it has not.
    """
    address = _otel("EXPORTER_OTLP_TRACES_ENDPOINT") or _otel("EXPORTER_OTLP_ENDPOINT")
    exporter = _otel("TRACES_EXPORTER").lower() or "otlp"
    if not address or exporter == "none" or _otel("SDK_DISABLED").lower() == "true":
        return None
    protocol = _otel("EXPORTER_OTLP_TRACES_PROTOCOL") or _otel("EXPORTER_OTLP_PROTOCOL") or HTTP_PROTOBUF
    if (exporter, protocol) != ("otlp", HTTP_PROTOBUF):
        raise ConfigurationError(f"traces are sent by otlp with {HTTP_PROTOBUF}, not by {exporter} with {protocol}")
    return address


def _otel(name: str) -> str:
    return os.environ.get(f"OTEL_{name}", "").strip()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read_yaml(path: Path, read: Callable[[Path], str] = _text) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises `ConfigurationError` that names the file. Other errors of `read` are passed on.
    """
    try:
        content = yaml.safe_load(read(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (
        ValueError,
        yaml.YAMLError,
        RecursionError,
    ) as error:  # also: not UTF-8, an impossible date, nested too deeply
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(f"{path}: must hold keys and values")
    return content


def explain(error: ValidationError, path: Path | None) -> str:
    """An error message for the file at `path`: the first fault that pydantic found in each key."""
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        parts = [str(part) for part in fault["loc"]]
        key = (
            ".".join(part for part in parts if "[" not in part) or "settings"
        )  # without the names of the types that pydantic tried
        reason = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        faults.setdefault(key, reason)
    return f"{path or 'settings'}: " + "; ".join(f"{key}: {reason}" for key, reason in faults.items())


def _refuse_unreadable_variables(environment: Iterable[str], settings: type[BaseModel]) -> None:
    """Raises `ConfigurationError` for a variable that matches no key, and for a list that is not JSON."""
    for name in environment:
        field = _field(name.removeprefix(PREFIX).lower().split(NESTED), settings)
        if field is None:
            raise ConfigurationError(f"environment: {name}: unknown key")
        if get_origin(field.annotation) is tuple:
            _refuse_no_json(name)


def _field(keys: list[str], section: type[BaseModel]) -> FieldInfo | None:
    field = section.model_fields.get(keys[0])
    if field is None or len(keys) == 1:
        return field
    inner = field.annotation
    return _field(keys[1:], inner) if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _refuse_no_json(name: str) -> None:
    try:
        json.loads(os.environ[name])
    except ValueError:
        raise ConfigurationError(f"environment: {name}: must be a JSON list, in square brackets") from None


def _refuse_worker_processes() -> None:
    workers = os.environ.get("WEB_CONCURRENCY", "1")
    if workers.strip() not in ("", "1"):
        raise ConfigurationError(
            f"environment: WEB_CONCURRENCY: {workers} workers asked for, but one process serves one device: "
            "several would load the model several times and share no queue and no cache; run more replicas instead"
        )
