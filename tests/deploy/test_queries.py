"""What the dashboard and the alert rules ask for is there. Needs nothing installed, so `make test` runs it as well."""

import json
import re

import pytest
import yaml

from blip_serve.settings import LogSettings
from blip_serve.telemetry import Telemetry
from tests.deploy.parts import DOCKER
from tests.deploy.queries import DASHBOARD, Query, panels, rules

PARTS = ("_bucket", "_count", "_sum")
"""Of a histogram, each a name in queries."""


@pytest.mark.parametrize("query", [*panels(), *rules()], ids=lambda query: str(query.name))
def test_a_query_names_metrics_that_are_exported(query: Query) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", Telemetry(LogSettings()).page().decode(), re.MULTILINE))
    exported = set(kinds) | {name + part for name, kind in kinds.items() if kind == "histogram" for part in PARTS}
    assert query.metrics <= exported
    recorded = {rule.name for rule in rules()}
    assert set(re.findall(r"\bblip_serve:[a-z0-9_:]+", query.text)) <= recorded


def test_the_dashboard_is_provisioned_with_its_data_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    folder = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "blip-serve.yaml").read_text(encoding="utf-8"))["providers"]
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["services"]["grafana"]["volumes"]
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_no_panel_lies_upon_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
