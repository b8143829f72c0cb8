"""The Helm chart: rendered by Helm's own library, checked against Kubernetes' schemas and against the service."""

import base64
import json
import math
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from blip_serve import __version__
from blip_serve.errors import ConfigurationError
from blip_serve.images.addresses import is_public
from blip_serve.keys import digest
from blip_serve.models.fake import FakeModel
from blip_serve.settings import LogSettings, Settings
from blip_serve.telemetry import Telemetry
from tests.deploy.parts import DOCKER, health
from tests.support.command import blip_serve
from tests.support.hub import COMMIT, NO_WEIGHTS, REPOSITORY, running_hub
from tests.support.server import QUIET, always, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.deploy
helm = pytest.importorskip("helm_python", reason="the extra `deploy` is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the extra `deploy` is not installed")
from tests.support.chart import CHART, Release, mount_secret, render, variables  # noqa: E402  # needs Helm

KEYS: dict[str, Any] = {"auth": {"existingSecret": "ours"}}
OPEN: dict[str, Any] = {"auth": {"noAuth": True}}
EVERYTHING: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "pull"}]},
    "auth": {"keysFile": "keys: []\n", "redisUrlSecret": {"name": "redis"}},
    "settings": {
        "threads": 3,
        "server": {"host": "::", "port": 9000, "drain_timeout_s": 7.5, "max_bodies_bytes": 2**31},
        "auth": {"rate": "100/minute"},
        "models": [{"id": "mine/blip", "source": "/models/blip", "preload": True}],
    },
    "weights": {
        "pull": True,
        "tokenSecret": {"name": "hub"},
        "persistence": {"enabled": True, "storageClass": "shared"},
    },
    "gpu": {"count": 1, "runtimeClassName": "nvidia"},
    "service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}},
    "autoscaling": {"enabled": True, "metric": "queue", "queueCost": 10_000_000},
    "networkPolicy": {
        "closed": ["8.8.8.0/24", "2a00::/16"],
        "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 6379}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "keySecret": {"name": "metrics"}},
    "serviceAccount": {"name": "theirs"},
    "runAsUser": 1_000_690_000,
    "topologySpread": "DoNotSchedule",
    "priorityClassName": "high",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podLabels": {"team": "vision"},
    "podAnnotations": {"note": "1"},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraVolumes": [{"name": "models", "hostPath": {"path": "/models"}}],
    "extraVolumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
}
EXAMPLES = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((CHART / "examples").glob("*.yaml"))}
CASES = {"keys": KEYS, "open": OPEN, "everything": EVERYTHING} | EXAMPLES
ELSEWHERE = {"BLIP_SERVE_AUTH__REDIS_URL": "redis://redis:6379/0", "HF_TOKEN": "token"}
"""What a pod takes from Secrets."""


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Values, the later over the earlier, key by key."""
    result: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


@pytest.fixture(params=CASES, scope="module")
def release(request: pytest.FixtureRequest) -> Release:
    return render(CASES[request.param])


def load(release: Release, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the service's process has, from its file and its environment."""
    for name, value in variables(release.container, **ELSEWHERE).items():
        monkeypatch.setenv(name, value)
    return Settings.load(release.settings_file(folder))


def test_helm_finds_no_fault_in_the_chart() -> None:
    report = helm.lint(CHART, KEYS, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    with helm.Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == __version__
        assert {file["name"] for file in chart.files} <= {".helmignore"}


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_every_object_fits_the_schema_of_kubernetes(release: Release, version: str) -> None:
    for each in release.objects:
        if each["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_of_kubernetes_find_a_fault() -> None:
    service = render(KEYS).get("Service")
    service["spec"]["ports"][0]["targetport"] = "http"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, "1.30", strict=True)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "set auth.existingSecret or auth.keysFile"),
        ({"auth": {"noAuth": True, "existingSecret": "ours"}}, "auth.existingSecret, auth.noAuth: set one of them"),
        (merged(KEYS, {"settings": {"auth": {"redis_url": "redis://:password@redis"}}}), "settings.auth.redis_url"),
        (merged(OPEN, {"settings": {"auth": {"keys_file": "/tmp/keys"}}}), "settings.auth.keys_file"),
        (merged(KEYS, {"serviceMonitor": {"enabled": True}}), "serviceMonitor.keySecret.name: /metrics asks for a key"),
        (merged(OPEN, {"serviceMonitor": {"enabled": True}, "settings": {"server": {"metrics": "off"}}}), "is off"),
        (merged(OPEN, {"serviceMonitor": {"enabled": True}, "settings": {"server": {"metrics": False}}}), "is off"),
        (merged(KEYS, {"gpu": {"count": 2}}), "/gpu/count"),
        (merged(KEYS, {"autoscaling": {"metric": "memory"}}), "/autoscaling/metric"),
        (merged(KEYS, {"networkPolicies": {"enabled": False}}), "networkPolicies"),
        (merged(KEYS, {"settings": {"server": {"port": 80}}}), "/settings/server/port"),
        (merged(KEYS, {"settings": {"server": {"drain_timeout_s": None}}}), "drain_timeout_s"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(helm.HelmError, match=reason):
        render(values)


def test_the_service_starts_with_the_settings_and_the_environment(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(release, tmp_path, monkeypatch)
    assert settings.auth.asks is not settings.auth.no_auth
    assert settings.server.port == release.container["ports"][0]["containerPort"]
    assert settings.log.format == "json"
    assert release.container["args"][2] == "/etc/blip-serve/settings/settings.yaml"
    mounted = {each["mountPath"] for each in release.container["volumeMounts"]}
    assert mounted >= {"/etc/blip-serve/settings", "/tmp", variables(release.container, **ELSEWHERE)["HF_HOME"]}
    assert settings.auth.keys_file is None or str(settings.auth.keys_file.parent) in mounted


def test_values_reach_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(render(EVERYTHING), tmp_path, monkeypatch)
    assert (settings.server.host, settings.server.port, settings.server.drain_timeout_s) == ("::", 9000, 7.5)
    assert settings.server.max_bodies_bytes == 2**31
    assert (settings.device, settings.threads, settings.catalogue) == ("cuda", 3, False)
    assert (settings.auth.rate, str(settings.auth.keys_file)) == ("100/minute", "/etc/blip-serve/keys/keys.yaml")
    assert settings.auth.redis_url is not None
    assert [model.source for model in settings.models] == ["/models/blip"]
    on_a_cpu = render(merged(EVERYTHING, {"settings": {"device": "cpu"}}))
    assert load(on_a_cpu, tmp_path, monkeypatch).device == "cpu"


def test_variables_of_kubernetes_do_not_pass_for_settings(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert release.pod["enableServiceLinks"] is False
    monkeypatch.setenv("BLIP_SERVE_PORT", "tcp://10.0.0.1:8000")  # what a Service named blip-serve would bring
    with pytest.raises(ConfigurationError, match="BLIP_SERVE_PORT"):
        load(release, tmp_path, monkeypatch)


@pytest.mark.parametrize(("delay", "drain", "before"), [(3, 30, 5), (0.5, 0.2, 0), (10, 600, 20)])
def test_a_pod_is_killed_only_after_its_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: float, drain: float, before: int
) -> None:
    server = {"shutdown_delay_s": delay, "drain_timeout_s": drain}
    release = render(merged(KEYS, {"preStopSeconds": before, "settings": {"server": server}}))
    settings = load(release, tmp_path, monkeypatch).server
    assert (settings.shutdown_delay_s, settings.drain_timeout_s) == (delay, drain)
    hook = release.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})
    assert hook == {"seconds": before}
    assert release.pod["terminationGracePeriodSeconds"] == math.ceil(before + delay + drain + 5)


def test_pods_run_without_rights(release: Release) -> None:
    assert release.pod["automountServiceAccountToken"] is False
    account = release.find("ServiceAccount")
    assert account is None or account["automountServiceAccountToken"] is False
    pod = release.pod["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] != 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*release.pod["containers"], *release.pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_cluster_may_choose_the_user() -> None:
    assert render(merged(KEYS, {"runAsUser": None})).pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert render(EVERYTHING).pod["securityContext"]["runAsUser"] == 1_000_690_000


def test_names_meet(release: Release) -> None:
    """Selectors select the pods, and what is referred to by name is there or is the operator's."""
    deployment, service = release.get("Deployment"), release.get("Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        release.get("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        release.get("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in release.pod["topologySpreadConstraints"]),
    ):
        assert selector.items() <= labels
    port = release.container["ports"][0]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == port
    if monitor := release.find("ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
        alerted = (DOCKER / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
        assert f'up{{job="{service["metadata"]["labels"][monitor["spec"]["jobLabel"]]}"}}' in alerted
    if autoscaler := release.find("HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert ("replicas" in deployment["spec"]) is (release.find("HorizontalPodAutoscaler") is None)
    volumes = {volume["name"]: volume for volume in release.pod["volumes"]}
    for container in [*release.pod["containers"], *release.pod.get("initContainers", [])]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
    assert volumes["settings"]["configMap"]["name"] == release.get("ConfigMap")["metadata"]["name"]
    if claim := release.find("PersistentVolumeClaim"):
        assert volumes["weights"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    if secret := release.find("Secret"):
        assert volumes["keys"]["secret"]["secretName"] == secret["metadata"]["name"]


def test_pods_are_replaced_when_settings_change_and_not_when_keys_do() -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = render(values).get("Deployment")["spec"]["template"]
        return json.dumps(template)

    inline = {"auth": {"keysFile": "keys: []\n"}}
    assert checksum(inline) == checksum({"auth": {"keysFile": "keys: []\n# changed\n"}})
    assert checksum(inline) != checksum(merged(inline, {"settings": {"catalogue": True}}))


def test_probes_answer_without_a_key_and_a_changed_secret_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(name: str) -> dict[str, Any]:
        entry = {"keys": [{"name": name, "sha256": digest(name)}]}
        served = {"settings": {"models": [{"id": "test/fake", "preload": True}]}}
        return merged({"auth": {"keysFile": yaml.safe_dump(entry)}}, served)

    def mount(release: Release, version: int) -> None:
        [volume] = [each for each in release.pod["volumes"] if each["name"] == "keys"]
        data = release.get("Secret")["data"]
        files = {item["path"]: base64.b64decode(data[item["key"]]) for item in volume["secret"]["items"]}
        mount_secret(tmp_path / "keys", files, version)

    release = render(keys("first"))
    mount(release, 0)
    settings = load(release, tmp_path, monkeypatch)
    assert settings.auth.keys_file is not None
    auth = settings.auth.model_copy(update={"keys_file": tmp_path / "keys" / settings.auth.keys_file.name})
    with serving(settings.model_copy(update={"auth": auth, "log": QUIET}), always(FakeModel())) as service:

        def status(path: str, key: str | None = None) -> int:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return service.client.get(path, headers=headers).status_code

        for probe in ("startupProbe", "readinessProbe"):
            assert status(release.container[probe]["httpGet"]["path"]) == 200
        python, script, *arguments = release.container["livenessProbe"]["exec"]["command"]
        assert (python, script) == ("python", "/opt/healthcheck.py")
        assert health(int(service.url.rpartition(":")[2]), *arguments) == 0
        assert (status("/v1/models"), status("/v1/models", "first"), status("/v1/models", "second")) == (401, 200, 401)
        mount(render(keys("second")), 1)
        wait_until(lambda: status("/v1/models", "second") == 200)
        assert status("/v1/models", "first") == 401


def test_keys_stand_in_no_object_but_the_secret() -> None:
    release = render(merged(EVERYTHING, {"auth": {"keysFile": "keys: [{name: alice, sha256: '12ab'}]"}}))
    others = [each for each in release.objects if each["kind"] != "Secret"]
    assert "alice" not in json.dumps(others) + release.notes


def test_metrics_are_read_with_a_key_where_they_ask_for_one() -> None:
    [endpoint] = render(EVERYTHING).get("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": "metrics", "key": "key"}}
    unasked = {"serviceMonitor": {"enabled": True}, "settings": {"server": {"metrics": "open"}}}
    for values in (merged(OPEN, {"serviceMonitor": {"enabled": True}}), merged(KEYS, unasked)):
        [endpoint] = render(values).get("ServiceMonitor")["spec"]["endpoints"]
        assert "authorization" not in endpoint


def test_replicas_follow_the_cpu_or_the_queue() -> None:
    by_cpu = render(merged(KEYS, {"autoscaling": {"enabled": True}}))
    [metric] = by_cpu.get("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert (metric["type"], metric["resource"]["name"]) == ("Resource", "cpu")
    [metric] = render(EVERYTHING).get("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "10000000"}
    assert f"# TYPE {metric['pods']['metric']['name']} gauge" in Telemetry(LogSettings()).page().decode()


def test_a_gpu_is_asked_for_by_the_service_alone() -> None:
    release = render(EVERYTHING)
    assert release.container["resources"]["limits"]["nvidia.com/gpu"] == 1
    [pull] = release.pod["initContainers"]
    assert "nvidia.com/gpu" not in pull["resources"]["limits"]
    assert "nvidia.com/gpu" not in render(KEYS).container["resources"]["limits"]


def test_pulled_weights_are_what_the_service_finds_offline(tmp_path: Path) -> None:
    values = {"weights": {"pull": True}, "settings": {"models": [{"id": "test/mine", "source": REPOSITORY}]}}
    release = render(merged(KEYS, values))
    file = str(release.settings_file(tmp_path))
    [init] = release.pod["initContainers"]
    home = {"HF_HOME": str(tmp_path / "weights")}
    with running_hub({"config.json": b"{}", "vocab.txt": b"a\n", "model.safetensors": NO_WEIGHTS}) as hub:
        command = [file if each.endswith("settings.yaml") else each for each in init["args"]]
        done = blip_serve(*command, **variables(init) | home | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"})
    assert done.returncode == 0, done.stderr
    environment = variables(release.container, **ELSEWHERE)
    assert environment["HF_HUB_OFFLINE"] == "1"
    found = blip_serve("pull", "--config", file, **environment | home)
    assert found.stdout.strip().endswith(COMMIT), found.stderr
    assert environment["HF_HOME"] == variables(init)["HF_HOME"]
    assert [each for each in init["volumeMounts"] if each["mountPath"] == environment["HF_HOME"]] == [
        each for each in release.container["volumeMounts"] if each["name"] == "weights"
    ]


def test_weights_are_kept_where_persistence_is_on() -> None:
    [weights] = [each for each in render(KEYS).pod["volumes"] if each["name"] == "weights"]
    assert "emptyDir" in weights
    theirs = {"weights": {"persistence": {"enabled": True, "existingClaim": "theirs"}}}
    release = render(merged(KEYS, theirs))
    [weights] = [each for each in release.pod["volumes"] if each["name"] == "weights"]
    assert weights["persistentVolumeClaim"] == {"claimName": "theirs"}
    assert release.find("PersistentVolumeClaim") is None
    claim = render(EVERYTHING).get("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@cache
def policy() -> dict[str, Any]:
    """The chart's own."""
    return render(KEYS).get("NetworkPolicy")


def allows(chosen: dict[str, Any], address: IPv4Address | IPv6Address, port: int) -> bool:
    """Whether a NetworkPolicy lets a connection out, by its blocks of addresses."""
    return any(
        any(each["port"] == port for each in rule["ports"])
        and any(
            address in ip_network(peer["ipBlock"]["cidr"])
            and not any(address in ip_network(network) for network in peer["ipBlock"].get("except", []))
            for peer in rule["to"]
            if "ipBlock" in peer
        )
        for rule in chosen["spec"]["egress"]
    )


ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.ip_addresses(network="2000::/3"),
    st.ip_addresses(network="64:ff9b::/96"),
)


@given(address=ADDRESSES)
@example(address=ip_address("169.254.169.254"))
@example(address=ip_address("100.100.100.200"))
@example(address=ip_address("168.63.129.16"))
@example(address=ip_address("fd00:ec2::254"))
@example(address=ip_address("64:ff9b::a9fe:a9fe"))
@example(address=ip_address("64:ff9b::808:808"))
@example(address=ip_address("8.8.8.8"))
@example(address=ip_address("2606:4700::1111"))
def test_egress_is_open_to_the_addresses_that_the_service_dials(address: IPv4Address | IPv6Address) -> None:
    assert allows(policy(), address, 443) is is_public(address)
    assert not allows(policy(), address, 6379)


def test_the_edges_of_every_closed_network_are_closed() -> None:
    blocks = [peer["ipBlock"] for rule in policy()["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    for block in blocks:
        for network in map(ip_network, block["except"]):
            assert network.subnet_of(ip_network(block["cidr"]))  # type: ignore[arg-type]  # of the same version
            assert not is_public(network[0])
            assert not is_public(network[-1])
    assert len(blocks) == 3


def test_what_values_close_and_open() -> None:
    chosen = render(EVERYTHING).get("NetworkPolicy")
    assert not allows(chosen, ip_address("8.8.8.8"), 443)
    assert not allows(chosen, ip_address("2a00::1"), 443)
    assert not allows(chosen, ip_address("64:ff9b::808:808"), 443)
    assert allows(chosen, ip_address("8.8.4.4"), 443)
    assert chosen["spec"]["egress"][-1]["ports"] == [{"port": 6379}]
    shut = render(merged(KEYS, {"networkPolicy": {"public": False, "ingressFrom": []}})).get("NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in shut["egress"]] == [53]
    assert shut["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in shut
    assert render(merged(KEYS, {"networkPolicy": {"enabled": False}})).find("NetworkPolicy") is None


def test_connections_are_let_in_from_the_release_s_namespace() -> None:
    [rule] = policy()["spec"]["ingress"]
    assert rule == {"from": [{"podSelector": {}}], "ports": [{"port": "http", "protocol": "TCP"}]}


@pytest.mark.parametrize("name", ["blip-serve", "a" * 53])
def test_names_are_short_enough(name: str) -> None:
    for each in render(EVERYTHING, name).objects:
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_notes_say_what_is_open() -> None:
    assert "NO KEY IS ASKED FOR" in render(OPEN).notes
    assert "NO KEY IS ASKED FOR" not in render(KEYS).notes
    assert "Secret ours" in render(KEYS).notes
    assert "NO NETWORK POLICY" in render(merged(KEYS, {"networkPolicy": {"enabled": False}})).notes
