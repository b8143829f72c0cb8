"""`python -m explain.asking URL`: asks a server for explanations, one after the other, until it is ended.

The bodies are the lines of standard input, over and over. Writes a line for each answer.
"""

import itertools
import sys

import httpx

EXPLAIN = "/v1/explain"
PATIENCE_S = 120.0


def main() -> None:
    """Ends with an error where one is not answered with 200."""
    bodies = sys.stdin.buffer.read().splitlines()
    with httpx.Client(base_url=sys.argv[1], timeout=PATIENCE_S, trust_env=False) as client:
        for body in itertools.cycle(bodies):
            client.post(EXPLAIN, content=body, headers={"content-type": "application/json"}).raise_for_status()
            print("answered", flush=True)


if __name__ == "__main__":
    main()
