"""Settings: file, environment, and refusals that name the key."""

from pathlib import Path

import pytest
import yaml

from blip_serve.errors import ConfigurationError
from blip_serve.settings import EngineSettings, Settings

CONFIGS, DOCKER = (Path(__file__).parents[1] / name for name in ("configs", "docker"))


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["demo", "cpu", "cuda"])
def test_the_shipped_configurations_load(name: str) -> None:
    assert Settings.load(CONFIGS / f"{name}.yaml").models[0].preload


def test_all_that_is_shipped_for_cuda_has_the_same_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a CPU's: what is a second of work for one is milliseconds for a GPU."""
    shipped = Settings.load(CONFIGS / "cuda.yaml")
    chart = yaml.safe_load((DOCKER / "helm" / "examples" / "cuda.yaml").read_text(encoding="utf-8"))["settings"]
    compose = yaml.safe_load((DOCKER / "compose.cuda.yaml").read_text(encoding="utf-8"))
    replicas = [service["environment"] for service in compose["services"].values()]
    found = [Settings.of({"device": "cuda", **chart})]
    for environment in replicas:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            found.append(Settings.load())
    for settings in found:
        assert settings.model_copy(update={"models": shipped.models}) == shipped
    assert len(replicas) == 3
    assert shipped.engine.max_step_cost > EngineSettings().max_step_cost
    assert shipped.engine.max_sequences > EngineSettings().max_sequences


@pytest.mark.parametrize(
    ("device", "cores", "workers"), [("cpu", 8, 2), ("auto", 8, 2), ("cuda", 1, 2), ("cuda", 8, 8), ("cuda", 96, 16)]
)
def test_beside_a_card_all_cores_decode(device: str, cores: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blip_serve.settings.usable_cores", lambda: cores)
    assert Settings.of({"device": device}).workers == workers
    assert Settings.of({"device": device, "engine": {"workers": 3}}).workers == 3


def test_the_environment_overrides_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "engine: {max_step_cost: 500, max_wait_ms: 7}\nserver: {port: 9000}")
    monkeypatch.setenv("BLIP_SERVE_ENGINE__MAX_STEP_COST", "600")
    settings = Settings.load(file)
    assert (settings.engine.max_step_cost, settings.engine.max_wait_ms, settings.server.port) == (600, 7, 9000)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLIP_SERVE_CONFIG", str(written(tmp_path, "server: {port: 9001}")))
    assert Settings.load().server.port == 9001


def test_models_may_be_given_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLIP_SERVE_MODELS", '[{"id": "mine/model", "source": "/models/mine"}]')
    assert [model.source for model in Settings.load().models] == ["/models/mine"]


def test_hosts_are_kept_in_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLIP_SERVE_IMAGES__FETCH__PRIVATE_HOSTS", '["MinIO.internal.", "[0::1]:9000"]')
    assert Settings.load().images.fetch.private_hosts == ("minio.internal", "[::1]:9000")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("enginee: {}", "enginee: unknown key"),
        ("engine: {max_step: 5}", "engine.max_step: unknown key"),
        ("engine: {max_step_cost: many}", "engine.max_step_cost"),
        ("engine: {max_step_cost: 1}", "engine.max_step_cost"),
        ("dtype: float8", "dtype"),
        ("models: []", "models"),
        ("models: [{preload: true}]", "models.0.id"),
        ("models: [{id: a, aliases: [b]}, {id: b}]", "b is named more than once"),
        ("engine: {max_queue_cost: 10}", "engine.max_queue_cost"),
        ("images: {max_decode_bytes: 0}", "max_decode_bytes"),
        ("engine: {stall_after_s: 10, exit_after_s: 10}", "exit_after_s must exceed stall_after_s"),
        ("server: {trusted_proxies: [10.0.0.1/8]}", "server.trusted_proxies.0"),
        ("server: {trusted_proxies: ['*']}", "server.trusted_proxies.0"),
        ("default_model: b", "b is not among models"),
        ("default_model: b:plain", "b:plain is not among models"),
        ("models: [{id: 'a:plain', source: b}]", "':plain' ends the names of models"),
        ("models: [{id: a, aliases: ['b:plain']}]", "':plain' ends the names of models"),
        ("chat: {history: all}", "chat.history"),
        ("images: {formats: [PNG, SVG]}", "images.formats.1: Input should be 'PNG', 'JPEG'"),
        ("images: {formats: []}", "images.formats"),
        ("images: {fetch: {allowed_hosts: ['*']}}", "images.fetch.allowed_hosts.0"),
        ("images: {fetch: {denied_hosts: [a.org, 10.0.0.1/8]}}", "images.fetch.denied_hosts.1"),
        ("images: {fetch: {private_hosts: ['minio:99999']}}", "images.fetch.private_hosts.0"),
        ("a: [", "not YAML"),
        ("- a", "must hold keys and values"),
        ("[" * 10_000, "not YAML"),
    ],
)
def test_a_broken_file_is_refused_by_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(file)
    assert key in str(refused.value)
    assert str(file) in str(refused.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml"):
        Settings.load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BLIP_SERVE_ENGINE__MAX_STEPS", "5"),
        ("BLIP_SERVE_ENGINEE", "5"),
        ("BLIP_SERVE_ENGINE__MAX_STEP_COST__X", "5"),
        ("WEB_CONCURRENCY", "4"),
    ],
)
def test_a_broken_environment_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        Settings.load()


def test_a_value_of_a_wrong_type_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLIP_SERVE_ENGINE__MAX_WAIT_MS", "soon")
    with pytest.raises(ConfigurationError, match=r"engine\.max_wait_ms"):
        Settings.load()
    monkeypatch.delenv("BLIP_SERVE_ENGINE__MAX_WAIT_MS")
    monkeypatch.setenv("BLIP_SERVE_MODELS", "no json")
    with pytest.raises(ConfigurationError, match="BLIP_SERVE_MODELS: must be a JSON list"):
        Settings.load()
