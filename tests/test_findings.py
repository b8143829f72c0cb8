"""Findings are kept by model, the newest of a kind, and nothing in their folder breaks the others."""

from pathlib import Path

import pytest

from blip_serve.findings import Finding, Findings


def finding(name: str = "retrieval", dtype: str = "float32", model: str = "owner/name", made: int = 1) -> Finding:
    return Finding(
        kind="evaluation", name=name, model=model, digest="sha256:0", dtype=dtype, machine="a CPU",
        figures={"TR@1": 82.5, "candidates": 256}, made=made,
    )  # fmt: skip


def test_the_newest_of_a_kind_name_and_number_type_is_kept_the_newest_first(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    for each in (finding(made=1), finding(made=2), finding(dtype="bfloat16", made=3), finding("VQA: ranked", made=4)):
        findings.keep(each)
    assert [each.made for each in findings.of("owner/name")] == [4, 3, 2]
    assert findings.of("owner/other") == []


@pytest.mark.parametrize("model", ["..", "../elsewhere", "/etc", "a/b", ".", "Ünicode", "x" * 60])
def test_no_model_name_leaves_the_folder(tmp_path: Path, model: str) -> None:
    findings = Findings(tmp_path / "data")
    file = findings.keep(finding(model=model))
    assert file.resolve().parents[1] == tmp_path / "data" / "findings"
    assert [each.model for each in findings.of(model)] == [model]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "x"}', b" " * 100_000, b"\xff"])
def test_other_files_are_left_out(tmp_path: Path, content: bytes) -> None:
    findings = Findings(tmp_path)
    file = findings.keep(finding())
    file.with_name("evaluation-other.json").write_bytes(content)
    file.with_name("folder.json").mkdir()
    assert findings.of("owner/name") == [finding()]


def test_a_folder_that_cannot_be_entered_has_none(tmp_path: Path) -> None:
    too_long = tmp_path / ("x" * 300)  # fails for root too, as a folder without rights does for others
    assert Findings(too_long).of("owner/name") == []
