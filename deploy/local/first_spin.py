"""The shell lines that a newcomer pastes: fund a player, open a session, play a spin."""

import shlex
from pathlib import Path

_SCRIPT = """\
API={url} KEY={api_key}
uuid()  {{ python3 -c 'import uuid; print(uuid.uuid4())'; }}
field() {{ python3 -c 'import json, sys; body = sys.stdin.read().strip() or "{{}}"
print(json.loads(body).get(sys.argv[1]) or sys.exit(body))' "$1"; }}
post()  {{ curl -sS {trust}"$API$1" -H "Authorization: Bearer $2" -d "$3"; echo; }}
AMOUNT='{{"currency_code": "EUR", "amount_minor": 10000}}'
STAKE='{{"currency_code": "EUR", "amount_minor": 100}}'
GAME='"player_id": "ada", "game_id": "{game_id}", "currency_code": "EUR"'

post /v1/players/ada/deposits "$KEY" '{{"request_id": "'$(uuid)'", "amount": '"$AMOUNT"'}}'
CODE=$(post /v1/sessions "$KEY" '{{"request_id": "'$(uuid)'", '"$GAME"'}}' | field launch_code)
TOKEN=$(post /v1/sessions/exchange "" '{{"launch_code": "'$CODE'"}}' | field token)
post /v1/spins "$TOKEN" '{{"request_id": "'$(uuid)'", "stake": '"$STAKE"'}}'
"""


def script(
    rest_url: str, api_key: str, *, game_id: str = "harbour-lights", ca_file: Path | None = None
) -> str:
    """For a POSIX shell with curl and python3; needs no jq. `ca_file`: whom curl believes over https."""
    trust = f"--cacert {shlex.quote(str(ca_file))} " if ca_file else ""
    return _SCRIPT.format(url=rest_url, api_key=api_key, game_id=game_id, trust=trust)
