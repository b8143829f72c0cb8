"""A text that an operator asks with: the same for all rows, or each row's own."""

from dataclasses import dataclass

from blip_serve.domain import Caption
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.inputs import text_of
from blip_serve.jobs.rows import Row


@dataclass(frozen=True, slots=True)
class Wording:
    """Exactly one of `text` and `column`. `option`: what an error of `text` names, such as `--question`.

    Raises `ConfigurationError` for both, for neither, and for a blank text.
    """

    text: str | None = None
    column: str | None = None
    option: str = "--question"

    def __post_init__(self) -> None:
        """Checks them."""
        if (self.text is None) == (self.column is None):
            raise ConfigurationError(f"Give one: {self.option}, or the column that holds each row's own.")
        if self.text is not None and not self.text.strip():
            raise ConfigurationError(f"{self.option} is blank.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return () if self.column is None else (self.column,)

    def of(self, row: Row) -> Caption:
        """The text for a row. Raises `InvalidInput` naming the column."""
        if self.column is not None:
            return text_of(row, self.column)
        assert self.text is not None
        return Caption(self.text, self.option)
