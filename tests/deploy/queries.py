"""The queries of the dashboard and of the alert rules, as the files of `docker/` have them."""

import json
import re
from dataclasses import dataclass

import yaml

from tests.deploy.parts import DOCKER

DASHBOARD = DOCKER / "grafana" / "dashboards" / "blip-serve.json"
ALERTS = DOCKER / "prometheus" / "alerts.yml"
OURS = re.compile(r"\bblip_serve_[a-z0-9_]+")


@dataclass(frozen=True)
class Query:
    """A query in PromQL and where it stands."""

    name: str
    text: str

    @property
    def metrics(self) -> set[str]:
        """The service's metrics it names."""
        return set(OURS.findall(self.text))


def panels() -> list[Query]:
    """Those of the dashboard, with an interval in the place of Grafana's variable."""
    shown = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        Query(f"{panel['title']}, {target['refId']}", target["expr"].replace("$__rate_interval", "1m"))
        for panel in shown
        for target in panel.get("targets", ())
    ]


def rules() -> list[Query]:
    """Those of the alerts and of the recording rules they read."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for group in groups for rule in group["rules"]]
