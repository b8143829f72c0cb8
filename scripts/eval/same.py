"""`eval retrieval` on a drawn gallery, rank by rank beside the script written apart, in both directions."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.markdown import table
from blip_serve.catalogue import EMBEDDED
from eval.comparison import Compared, compare
from eval.drawn import Drawn, shapes
from eval.official import Official, Protocol
from eval.ours import ours

CHECKPOINT = EMBEDDED / "demo-retrieval"
PICTURES, K = 1000, 256
PROTOCOLS: tuple[Protocol, ...] = ("hf", "paper")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this comparison."""
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--k", type=int, default=K, help="candidates of a query; the paper's by default")


def run(options: argparse.Namespace) -> bool:
    """Prints a table. Whether every rank is the same, but between scores that lie within 1e-5."""
    rows, same = [], True
    with TemporaryDirectory() as folder:
        drawn = shapes(Path(folder), options.pictures)
        for protocol in PROTOCOLS:
            for direction, found in compared(drawn, options.k, protocol).items():
                rows.append((protocol, direction, str(found.equal), str(found.near), str(len(found.wrong))))
                same &= not found.wrong
    print("\n".join(table(("protocol", "direction", "equal", "near", "different"), rows, "llrrr")))
    return same


def compared(drawn: Drawn, k: int, protocol: Protocol, checkpoint: Path = CHECKPOINT) -> dict[str, Compared]:
    """TR and IR."""
    with TemporaryDirectory() as state:
        ranks = ours(checkpoint, drawn, k, protocol, Path(state)).measured.details["ranks"]
    texts = [text for own in drawn.texts for text in own]
    owners = [picture for picture, own in enumerate(drawn.texts) for _ in own]
    official = Official(checkpoint, drawn.pictures, texts, protocol)
    own = [[text for text, owner in enumerate(owners) if owner == picture] for picture in range(len(drawn.texts))]
    return {
        "TR": compare(official.texts_of_pictures(k), own, ranks["TR"]),
        "IR": compare(official.pictures_of_texts(k), [[owner] for owner in owners], ranks["IR"]),
    }
