"""`make explain`: a round of the running mesh on one page, from SQL by way of the gateway, and from traces.

A trace that was not sampled, or is no longer kept, is said to be so; nothing fails for it.
"""

import json
import ssl
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deploy.local.errors import LocalError, NobodyAnswers
from services.common.telemetry_names import DRAW_HASH, KEEP, REPLAYED

_MARKS = {"OK": None, "OFF": "bold red", "NOT_YET": "yellow", "UNKNOWN": "yellow"}
_TIMEOUT_S = 10.0
LINE_LENGTH = 150


def explain(
    console: Console,
    *,
    round_id: str,
    rest_url: str,
    api_key: str,
    traces_url: str,
    replay: bool,
    json_path: Path | None = None,
    as_json: bool = False,
    verify: ssl.SSLContext | bool = True,
) -> bool:
    """Prints what is known of a round; whether it adds up. `as_json`: prints JSON instead.

    `traces_url` is the trace receiver's; `verify` says whom to believe over https. Raises LocalError when
    there is no such round, or nobody answers.
    """
    try:
        name = str(uuid.UUID(round_id))
    except ValueError:
        raise LocalError(f"{round_id!r} is no round id: make explain ROUND=...") from None
    with httpx.Client(trust_env=False, timeout=_TIMEOUT_S, verify=verify) as client:
        explained = _ask(client, f"{rest_url}/v1/rounds/{name}/explanation", api_key, replay=replay)
        explained["trace_store"] = store = look_up(client, traces_url, explained)
    explained["checks"].append(store.pop("check"))
    explained["adds_up"] = all(check["result"] != "OFF" for check in explained["checks"])
    text = json.dumps(explained, indent=2)
    if json_path is not None:
        try:
            json_path.write_text(text + "\n")
        except OSError as error:
            raise LocalError.from_os(error, json_path.parent) from error
    if as_json:
        console.print(text, markup=False, soft_wrap=True)
    else:
        _print(console, explained)
    return bool(explained["adds_up"])


def _ask(client: httpx.Client, url: str, api_key: str, *, replay: bool) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}", "accept": "application/json"}
    try:
        answer = client.get(url, headers=headers, params={"replay": "1"} if replay else {})
    except httpx.HTTPError:
        raise NobodyAnswers("the gateway does not answer: is `make run` running?") from None
    body: dict[str, Any] = answer.json()
    if answer.is_success:
        return body
    raise LocalError(f"{body.get('reason', answer.status_code)}: {body.get('detail', '')}")


def look_up(client: httpx.Client, traces_url: str, explained: dict[str, Any]) -> dict[str, Any]:
    """What the trace store has of a round, its retries too, and whether its draw hash is the round's."""
    first_id = next((one["trace_id"] for one in explained["traces"]), "")
    list_url = f"{traces_url.rstrip('/')}/traces"
    drawn = (explained["game"] or {}).get("draw_hash") or ""
    check = {"name": "trace_agrees", "promise": "the trace of the draw carries the draw's hash", "todo": ""}
    try:
        listed = client.get(list_url, params={"round_id": explained["round_id"]}).json()
        ids = dict.fromkeys([one["trace_id"] for one in explained["traces"]])
        ids |= dict.fromkeys(one["trace_id"] for one in listed["traces"])
        traces = {one: client.get(f"{list_url}/{one}").json() for one in ids}
    except (httpx.HTTPError, ValueError, KeyError):
        gap = f"the trace store at {traces_url} does not answer; ids and links are above"
        return {"url": traces_url, "problem": gap, "traces": [], "check": _verdict(check, "UNKNOWN", gap)}
    found = [_summary(one, trace, first_id) for one, trace in traces.items()]
    hashes = {
        span["attributes"][DRAW_HASH]
        for span in traces.get(first_id, {}).get("spans", [])
        if DRAW_HASH in span["attributes"]
    }
    if not drawn:
        check = _verdict(check, "OK", "nothing was drawn")
    elif not hashes:
        sampled = explained["traces"][0]["sampled"]
        why = "sampled, but no longer kept" if sampled else "not sampled, so never kept"
        check = _verdict(check, "UNKNOWN", f"{why}: SQL alone tells the rest")
    elif hashes == {drawn}:
        check = _verdict(check, "OK", drawn)
    else:
        check = _verdict(check, "OFF", f"{', '.join(sorted(hashes))} there, {drawn} stored") | {
            "todo": "make replay"
        }
    return {"url": traces_url, "problem": "", "traces": found, "check": check}


def _verdict(check: dict[str, str], result: str, detail: str) -> dict[str, str]:
    return {**check, "result": result, "detail": detail}


def _summary(trace_id: str, trace: dict[str, Any], first_id: str) -> dict[str, Any]:
    """A trace in the store: what it is, whether it replays the round and leads to the first execution."""
    spans = trace.get("spans", [])
    links = {link["trace_id"] for span in spans for link in span["links"]}
    replays = any(
        span["attributes"].get(REPLAYED) is True or span["attributes"].get(KEEP) == "replay" for span in spans
    )
    return {
        "trace_id": trace_id,
        "first": trace_id == first_id,
        "name": spans[0]["name"] if spans else "",
        "span_count": len(spans),
        "replayed": replays and trace_id != first_id,
        "linked_to_first": first_id in links,
        "linked_from": [one["trace_id"] for one in trace.get("linked_from", [])],
    }


def _print(console: Console, explained: dict[str, Any]) -> None:
    page = Console(file=console.file, highlight=False, width=max(LINE_LENGTH, console.width))
    for line in _head(explained):
        page.print(line, markup=False, soft_wrap=True)
    checks = Table("", "promise", "found", "to do", box=None)
    for check in explained["checks"]:
        cells = check["result"], check["promise"], check["detail"], check["todo"]
        checks.add_row(*cells, style=_MARKS[check["result"]])
    page.print(checks)
    happened = Table("time (UTC)", "service", "what", "trace", box=None)
    for moment in explained["timeline"]:
        time = moment["time"].removesuffix("Z").replace("T", " ")
        happened.add_row(time, moment["service"], moment["text"], moment["trace_id"])
    page.print("\nwhat happened")
    page.print(happened)
    for line in _traces(explained):
        page.print(line, markup=False, soft_wrap=True)
    for gap in explained["missing"]:
        page.print(f"missing: {gap['part']}: {gap['reason']}", markup=False, soft_wrap=True)
    page.print(f"\nexplain: {_conclusion(explained)}")


def _conclusion(explained: dict[str, Any]) -> str:
    """In one line; what could not be judged is not said to be right."""
    results = Counter(check["result"] for check in explained["checks"])
    if results["OFF"]:
        return "it does not add up"
    if results.keys() == {"OK"}:
        return "it adds up"
    rest = ", ".join(f"{results[name]} {name}" for name in ("NOT_YET", "UNKNOWN") if results[name])
    return f"nothing is off, of what can be told: {results['OK']} OK, {rest}"


def _head(explained: dict[str, Any]) -> Iterator[str]:
    yield f"round      {explained['round_id']}"
    if explained["game"]:
        round_ = explained["game"]["round"]
        yield f"request    {round_['request_id']}"
        yield f"state      {round_['state']} {round_['reason'] or ''}".rstrip()
        yield f"player     {round_['player_id']} of {round_['operator_id']}, account {round_['account_id']}"
        yield f"game       {round_['game_id']} version {round_['game_version']}, mode {round_['mode']}"
        stake, win = round_["stake"], round_["win"]
        won = f", won {win['amount_minor']}" if win else ""
        yield f"amounts    staked {stake['amount_minor']}{won} {stake['currency_code']} (minor units)"
        yield f"draw hash  {explained['game']['draw_hash'] or 'nothing was drawn'}"
        outcome = round_["outcome_json"]
        yield f"outcome    {json.dumps(outcome) if outcome else 'not to be seen'}"
    yield ""


def _traces(explained: dict[str, Any]) -> Iterator[str]:
    store = explained["trace_store"]
    yield f"\ntraces at {store['url']}" if store["traces"] else "\ntraces"
    if store["problem"]:
        yield f"  {store['problem']}"
        for trace in explained["traces"]:
            kept = "sampled" if trace["sampled"] else "not sampled"
            yield f"  {trace['trace_id']}  {trace['text']}, {kept} {trace['url']}".rstrip()
    for trace in store["traces"]:
        what = trace["name"] or "not kept"
        if trace["first"]:
            what = f"first execution: {what}"
        elif trace["replayed"]:
            what = f"retry, answered with the stored round: {what}"
            what += ", linked to the first execution" if trace["linked_to_first"] else ", not linked"
        yield f"  {trace['trace_id']}  {what}, {trace['span_count']} spans"
