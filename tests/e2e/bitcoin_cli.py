"""``bitcoin-cli -chain=NAME METHOD PARAMETERS…`` as far as recipes use it: one JSON-RPC call.

A stand-in for the program of the same name, which is no part of what tests download; it shares
nothing with the coordinator. The node is named by BITCOIN_URL and BITCOIN_COOKIE.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def value_of(text: str) -> Any:
    """Numbers, booleans, lists and objects are JSON; everything else is a text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, int) and len(text) > 18 else value


def main() -> int:
    assert sys.argv[1] == "-chain=regtest", sys.argv
    call = {"id": 1, "method": sys.argv[2], "params": [value_of(text) for text in sys.argv[3:]]}
    cookie = Path(os.environ["BITCOIN_COOKIE"]).read_bytes().strip()
    token = base64.b64encode(cookie).decode()
    request = urllib.request.Request(
        os.environ["BITCOIN_URL"],
        json.dumps(call).encode(),
        {"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    if answer.get("error"):
        sys.stderr.write(f"{answer['error']['message']}\n")
        return 1
    result = answer["result"]
    sys.stdout.write(f"{result if isinstance(result, str) else json.dumps(result)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
