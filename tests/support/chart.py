"""The Helm chart as Helm's own library renders it, without a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[2] / "docker" / "helm"


@dataclass(frozen=True)
class Release:
    """What the chart makes of some values."""

    objects: list[dict[str, Any]]
    notes: str

    def find(self, kind: str) -> dict[str, Any] | None:
        """The one object of a kind, if there is one."""
        found = [each for each in self.objects if each["kind"] == kind]
        assert len(found) < 2, kind
        return found[0] if found else None

    def get(self, kind: str) -> dict[str, Any]:
        """The one object of a kind."""
        found = self.find(kind)
        assert found is not None, kind
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """The pods' specification."""
        spec: dict[str, Any] = self.get("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The service's container."""
        [container] = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    def settings_file(self, folder: Path) -> Path:
        """The service's --config, written into `folder`."""
        file = folder / "settings.yaml"
        file.write_text(self.get("ConfigMap")["data"]["settings.yaml"], encoding="utf-8")
        return file


def render(values: dict[str, Any], name: str = "demo") -> Release:
    """A release of that name. Raises what `helm install` would fail with."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name=name, namespace="shop")
    objects = [
        found
        for file, text in texts.items()
        if file.endswith(".yaml")
        for found in yaml.safe_load_all(text)
        if found is not None
    ]
    [notes] = [text for file, text in texts.items() if file.endswith("NOTES.txt")]
    return Release(objects, notes)


def variables(container: dict[str, Any], **elsewhere: str) -> dict[str, str]:
    """A container's environment; `elsewhere` has the values of those taken from the cluster."""
    return {each["name"]: each["value"] if "value" in each else elsewhere[each["name"]] for each in container["env"]}


def mount_secret(folder: Path, files: dict[str, bytes], version: int) -> None:
    """Puts a Secret's files into `folder` as the kubelet does, at first and at each change: all at once, by a link."""
    data = folder / f"..{version}"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_bytes(content)
        if version == 0:
            (folder / name).symlink_to(Path("..data") / name)
    new = folder / "..data_tmp"
    new.symlink_to(data.name)
    os.replace(new, folder / "..data")
