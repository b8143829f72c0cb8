"""What is asked of which machine, and which of our rows another side is held against."""

from pathlib import Path

import pytest

from bench.machine import multiplies_sixteen_bits
from bench.measure import Row
from bench.ratios import ratios
from bench.report import page
from bench.targets import targets

ZEN3, ZEN5 = {"flags": "avx2"}, {"flags": "avx2 avx512f avx512_bf16"}


def row(side: str, model: str, value: float, group: str = "clients", name: str = "16 clients, pairs") -> Row:
    return Row(group, name, side, model, "pairs/s", value, value, value, 1)


ROWS = [
    row("o", "base float32", 2.0),
    row("o", "base bfloat16", 4.0),
    row("o", "base int8", 3.0),
    row("b", "base float32", 1.0),
    row("d", "base float32", 3.0),
    row("d", "base bfloat16", 6.0),
]


def test_openvino_is_held_against_our_row_of_its_number_type_and_others_against_our_fastest() -> None:
    found = {f"{each.row.side} {each.row.model}": each.times for each in ratios(ROWS)}
    assert found == {"o base float32": 1.5, "o base bfloat16": 1.5, "o base int8": 2.0, "b base float32": 6.0}


def test_openvino_is_held_against_our_fastest_where_its_number_type_was_not_timed() -> None:
    [found] = ratios([row("o", "base float32", 2.0), row("d", "base bfloat16", 6.0)])
    assert found.times == 3.0


@pytest.mark.parametrize(
    ("machine", "multiplies"),
    [
        (ZEN3, False),
        ({"flags": "avx2 avx512f"}, False),
        (ZEN5, True),
        ({"flags": "avx2 avx512f amx_bf16"}, True),
        (ZEN3 | {"gpu": "a card"}, True),
    ],
)
def test_what_a_machine_multiplies(machine: dict[str, str], multiplies: bool) -> None:
    assert multiplies_sixteen_bits(machine) is multiplies


def test_a_processor_with_float32_only_is_asked_for_less_and_for_nothing_of_sixteen_bits() -> None:
    plain, fast = (
        {(target.name, target.says): target.bound for target in targets(machine)} for machine in (ZEN3, ZEN5)
    )
    pair = ("1 image x 1 caption", "1 image x 1 caption: times faster than (a) float32")
    assert (plain[pair], fast[pair]) == (1.3, 4)
    assert not [says for _, says in plain if "16 clients" not in says and ("bfloat16" in says or "a16" in says)]


def test_each_target_is_asked_once() -> None:
    for machine in (ZEN3, ZEN5):
        says = [target.says for target in targets(machine)]
        assert len(set(says)) == len(says)


def test_the_page_tells_what_was_asked_of_its_machine() -> None:
    text = page("here", ZEN5, ROWS, [Path("here-ratios.png")])
    assert "| 16 clients, pairs: times faster than (o) bfloat16 | >= 1.15 x | **1.5 x** | yes |" in text
    assert "| 16 clients, pairs | o | base int8 | 3 pairs/s | 2x |" in text
    assert "(o) bfloat16" not in page("here", ZEN3, ROWS[:1] + ROWS[4:5], [])


def test_the_gateway_is_held_against_a_request_that_was_refused() -> None:
    rows = [
        Row("gateway", name, "d", model, "ms", value, value, value, 1)
        for name, model, value in (
            ("known image: gateway", "base bfloat16", 4.5),
            ("over the wire: 640x480 JPEG received, read and refused for its model", "none", 0.5),
        )
    ]
    [target] = [each for each in targets(ZEN5) if each.says.startswith("known image: gateway over a request refused")]
    assert target.seen(rows) == 9.0
    assert target.met(9.0)
    assert target.seen(rows[:1]) is None
