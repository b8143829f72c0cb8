"""What charts share: the module that draws one, imported only then, since it needs matplotlib; and the PNG's file."""

from collections.abc import Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blip_serve.durable import write_file
from blip_serve.errors import ConfigurationError

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
"""Of Okabe and Ito's palette, which the colour-blind tell apart."""
STYLE: Mapping[str, object] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlelocation": "left",
        "grid.color": "#DDDDDD",
        "legend.frameon": False,
    }
)
DPI = 150


def drawing(module: str, file: Path) -> Any:
    """The module that draws a chart. Raises `ConfigurationError` if it cannot, or cannot draw such a file."""
    if file.suffix.lower() != ".png":
        raise ConfigurationError(f"--chart {file}: the name of a chart ends in .png")
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(f"--chart: needs the package {error.name}: pip install 'blip-serve[eval]'") from None


def write_png(plot: Any, file: Path) -> None:
    """Writes one of matplotlib's figures durably. Raises `OSError`."""
    image = BytesIO()
    plot.savefig(image, format="png", dpi=DPI)
    write_file(file, image.getvalue())
