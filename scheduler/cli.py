"""`workshed`: run a scheduler, order things, ask why. Every command takes --json; exit codes: 0 done, 1 no, 2 usage."""

from __future__ import annotations

import json
import logging
import os
import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import httpx
import typer
from rich.console import Console
from rich.table import Table

app: Final = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
_out: Final = Console()
_err: Final = Console(stderr=True)

Url = Annotated[str, typer.Option("--url", envvar="WORKSHED_URL", help="The scheduler's address.")]
Token = Annotated[str, typer.Option("--token", envvar="WORKSHED_TOKEN", help="Bearer token.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_URL: Final = "http://127.0.0.1:8600"


@app.command()
def serve(
    data: Annotated[Path, typer.Option(help="Folder of the database, the files and the first token.")] = Path("data"),
    http: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1:8600",
    mqtt: Annotated[str, typer.Option(help="The broker's address; without it one is started here.")] = "",
    admit: Annotated[list[str] | None, typer.Option(help="SHOP/AGENT to let in at the broker started here.")] = None,
    mqtt_user: Annotated[str, typer.Option(help="User name at the broker.")] = "",
    mqtt_password_file: Annotated[Path | None, typer.Option(help="File with the password.")] = None,
    mqtt_ca: Annotated[str, typer.Option(help="CA file: use TLS.")] = "",
    database: Annotated[str, typer.Option(envvar="WORKSHED_DATABASE", help="SQLAlchemy URL; SQLite otherwise.")] = "",
    public_url: Annotated[str, typer.Option(help="How agents reach this server.")] = "",
    name: Annotated[str, typer.Option(help="This scheduler's name on the broker.")] = "main",
    instance: Annotated[str, typer.Option(envvar="WORKSHED_INSTANCE", help="Which of its processes this is.")] = "1",
    slicers: Annotated[int, typer.Option(help="Toolpaths made at the same time.")] = 1,
    announce: Annotated[bool, typer.Option(help="Tell the local network where the broker is (mDNS).")] = False,
    log_format: Annotated[Literal["json", "text"], typer.Option(help="Shape of the log.")] = "text",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the scheduler: broker, database, dispatch, HTTP, pages."""
    from agents.contract import logs
    from scheduler.serving import Asked, CannotServe
    from scheduler.serving import serve as run

    logs.configure(log_format, log_level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    secured = (mqtt_user, mqtt_password_file, mqtt_ca)
    asked = Asked(
        *(data, http, mqtt, tuple(admit or ()), *secured),
        database=database,
        public_url=public_url,
        name=name,
        instance=instance,
        slicers=slicers,
        announce=announce,
    )
    try:
        run(asked, _err.print)
    except CannotServe as error:
        raise _stop(str(error)) from error


@app.command()
def order(
    design: Annotated[str, typer.Argument(help="A design's address, a catalogue name, or a file.")],
    quantity: Annotated[int, typer.Option("--quantity", "-n", help="How many.")] = 1,
    part: Annotated[str, typer.Option(help="Only this part of the design.")] = "",
    material: Annotated[str, typer.Option(help="What to make it from.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of a bare file (SPDX).")] = "",
    need: Annotated[str, typer.Option(help="survival, commons, personal or outside.")] = "personal",
    ring: Annotated[str, typer.Option(help="household, block, neighbourhood, city or federation.")] = "federation",
    accept: Annotated[bool, typer.Option(help="Say yes at once; --no-accept asks for a date first.")] = True,
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Order a design."""
    with _client(url, token) as client:
        address = _bring(client, design, material, licence)
        body: dict[str, Any] = {
            "design": address,
            "quantity": quantity,
            "need_class": need,
            "ring": ring,
            "accept": accept,
            "quote": not accept,
        }
        body |= {key: value for key, value in (("part", part), ("material", material)) if value}
        # Should the answer get lost, the same key brings the same order.
        key = {"Idempotency-Key": uuid.uuid4().hex}
        _show_order(_ask(client, "POST", "/api/v1/orders", tries=2, json=body, headers=key), as_json)


@app.command()
def accept(order: str, url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """Say yes to an order; a quoted date that still stands becomes a promise."""
    with _client(url, token) as client:
        _show_order(_ask(client, "POST", f"/api/v1/orders/{order}/accept"), as_json)


@app.command()
def show(order: str, url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """Show one order: its state, its jobs, and the date that was given for it."""
    with _client(url, token) as client:
        _show_order(_ask(client, "GET", f"/api/v1/orders/{order}"), as_json)


@app.command()
def orders(url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """List orders, newest first."""
    with _client(url, token) as client:
        found = _ask(client, "GET", "/api/v1/orders")
    columns = ("id", "title", "state", "quantity", "need_class", "expected_finish")
    _table("Orders", columns, found, as_json)


@app.command()
def jobs(url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """List jobs, oldest first."""
    with _client(url, token) as client:
        found = _ask(client, "GET", "/api/v1/jobs")
    _table("Jobs", ("id", "title", "pieces", "state", "machine", "progress", "flag"), found, as_json)


@app.command()
def machines(url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """List machines as last reported."""
    with _client(url, token) as client:
        found = _ask(client, "GET", "/api/v1/machines")
    _table("Machines", ("id", "process", "state", "why", "job", "stale", "quarantine"), found, as_json)


@app.command()
def reserve(
    machine: Annotated[str, typer.Argument(help="shop.agent.machine")],
    start: Annotated[datetime, typer.Argument(help="When it begins, in local time.")],
    end: Annotated[datetime, typer.Argument(help="When it ends, in local time.")],
    reason: Annotated[str, typer.Option("--why", help="What for.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether the displaced jobs may be displaced.")] = False,
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Reserve a machine: no work is planned into the window. Whom it displaces is shown first."""
    body: dict[str, Any] = {"start": start.astimezone().isoformat(), "end": end.astimezone().isoformat(), "why": reason}
    path = f"/api/v1/machines/{machine}/reservations"
    with _client(url, token) as client:
        displaced = _ask(client, "POST", f"{path}/preview", json=body)
        for one in displaced:
            _err.print(f"{one['job']} ({one['state']}, {one['start']} to {one['finish']}): {one['effect']}")
        if displaced and not yes and not typer.confirm("Reserve all the same?", err=True):
            raise typer.Exit(1)
        made = _ask(client, "POST", path, json={**body, "displaces": [one["job"] for one in displaced]})
    if as_json:
        _print_json(made)
    else:
        _out.print(f"[bold]{made['reservation']['id']}[/bold] {machine} is reserved")


@app.command()
def reservations(url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """List reservations that are not over."""
    with _client(url, token) as client:
        found = _ask(client, "GET", "/api/v1/reservations")
    _table("Reservations", ("id", "agent", "machine", "start", "end", "who", "why"), found, as_json)


@app.command()
def unreserve(reservation: str, url: Url = _URL, token: Token = "") -> None:
    """Give a reserved window back."""
    with _client(url, token) as client:
        _ask(client, "DELETE", f"/api/v1/reservations/{reservation}")
    _out.print(f"{reservation} is given back")


@app.command()
def offcuts(
    shop: Annotated[str, typer.Option("--shop", help="Only of this shop.")] = "",
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """List what is left of sheets, smallest first."""
    with _client(url, token) as client:
        found = _ask(client, "GET", "/api/v1/remnants", params={"shop": shop} if shop else {})
    columns = ("id", "shop", "material", "thickness_mm", "width_mm", "height_mm", "state", "why")
    _table("Offcuts", columns, found, as_json)


@app.command("mark-offcut")
def mark_offcut(
    label: Annotated[str, typer.Argument(help="What is written on it: R-…")],
    state: Annotated[Literal["available", "in_doubt", "used_up", "lost"], typer.Argument(help="What it is now.")],
    reason: Annotated[str, typer.Option("--why", help="What was seen.")] = "",
    url: Url = _URL,
    token: Token = "",
) -> None:
    """Say what became of an offcut: nothing is laid on it unless it is available."""
    with _client(url, token) as client:
        marked = _ask(client, "POST", f"/api/v1/remnants/{label}/mark", json={"state": state, "why": reason})
    _out.print(f"[bold]{marked['id']}[/bold] is {marked['state'].replace('_', ' ')}")


@app.command()
def why(job: str, url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """Why a job is where it is, and what would move it."""
    with _client(url, token) as client:
        answer = _ask(client, "GET", f"/api/v1/jobs/{job}/why")
    if as_json:
        _print_json(answer)
        return
    _out.print(f"[bold]{answer['job']}[/bold] is {answer['state']}: {answer['why']}")
    for reason in answer["reasons"]:
        _out.print(f"  {reason}")
    for shut in answer["machines"]:
        lift = f" → {shut['lift']}" if shut["lift"] else ""
        _out.print(f"  {shut['machine']}: {shut['text']}{lift}")


@app.command()
def cancel(
    name: Annotated[str, typer.Argument(help="An order, or one of its jobs.")],
    reason: Annotated[str, typer.Option("--why", help="For the record, and for whoever stands at the machine.")] = "",
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Cancel an order or a job; a machine that is at work is asked to end, and must confirm it."""
    kind = "jobs" if "-" in name else "orders"
    with _client(url, token) as client:
        done = _ask(client, "POST", f"/api/v1/{kind}/{name}/cancel", json={"why": reason or "cancelled by hand"})
    _state_of(done, as_json)


@app.command()
def pause(
    job: str,
    reason: Annotated[str, typer.Option("--why", help="For whoever stands at the machine.")] = "paused by hand",
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Ask a machine to hold at the next safe moment; going on takes a person there."""
    with _client(url, token) as client:
        _state_of(_ask(client, "POST", f"/api/v1/jobs/{job}/pause", json={"why": reason}), as_json)


@app.command()
def release(
    name: Annotated[str, typer.Argument(help="A job, or shop.agent.machine.")],
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Say that a person looked: a job in doubt or given up, or a quarantined machine, may be used again."""
    kind = "machines" if "." in name else "jobs"
    with _client(url, token) as client:
        _state_of(_ask(client, "POST", f"/api/v1/{kind}/{name}/release"), as_json)


@app.command()
def lost(
    name: Annotated[str, typer.Argument(help="A job, or the home shop.agent.")],
    reason: Annotated[str, typer.Option("--why", help="What was seen.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Say that an attempt is lost (somebody looked at the machine), or that a home is gone for good."""
    with _client(url, token) as client:
        if "." in name:
            sure = "If it is not gone, what it grants is made twice. Is it gone for good?"
            path, body = f"/api/v1/homes/{name}/lost", {"why": reason}
        else:
            seen = _ask(client, "GET", f"/api/v1/jobs/{name}")["job"]
            sure = f"Attempt {seen['attempt']} is {seen['state']} on {seen['machine']}. Does that machine stand still?"
            path, body = f"/api/v1/jobs/{name}/declare-lost", {"why": reason, "attempt": seen["attempt"]}
        if not yes and not typer.confirm(sure, err=True):
            raise typer.Exit(1)
        _state_of(_ask(client, "POST", path, json=body), as_json)


@app.command()
def inspect(
    job: str,
    good: int,
    rejected: Annotated[int, typer.Argument(help="How many must be made again.")] = 0,
    note: Annotated[str, typer.Option(help="What was wrong.")] = "",
    url: Url = _URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Say how many pieces are good, where the shop's own agent can no longer be asked."""
    body = {"good": good, "rejected": rejected, "note": note}
    with _client(url, token) as client:
        _state_of(_ask(client, "POST", f"/api/v1/jobs/{job}/inspect", json=body), as_json)


@app.command("hand-over")
def hand_over(order: str, url: Url = _URL, token: Token = "", as_json: AsJson = False) -> None:
    """Say that whoever asked has the parts."""
    with _client(url, token) as client:
        _state_of(_ask(client, "POST", f"/api/v1/orders/{order}/hand-over"), as_json)


@app.command()
def contract(asyncapi: Annotated[bool, typer.Option("--asyncapi", help="As an AsyncAPI document.")] = True) -> None:
    """Print the contract between scheduler and agents."""
    from agents.contract.asyncapi import document

    _print_json(document())


_PASSED_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASSED_ON)
def demo(context: typer.Context) -> None:
    """The main job: from designs to finished parts on simulated machines."""
    from scheduler.demo.cli import main as run

    raise typer.Exit(run(context.args))


@app.command(name="plan", context_settings=_PASSED_ON)
def plan_file(context: typer.Context) -> None:
    """Plan a snapshot file and print the plan."""
    from scheduler.planning.cli import main as run

    raise typer.Exit(run(["plan", *context.args]))


@app.command(context_settings=_PASSED_ON)
def bench(context: typer.Context) -> None:
    """Measure the planner."""
    from scheduler.planning.cli import main as run

    raise typer.Exit(run(["bench", *context.args]))


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=120)


def _ask(client: httpx.Client, method: str, path: str, *, tries: int = 1, **kwargs: Any) -> Any:
    try:
        answer = client.request(method, path, **kwargs)
    except httpx.HTTPError as error:
        if tries > 1:
            return _ask(client, method, path, tries=tries - 1, **kwargs)
        raise _stop(f"no scheduler answers at {client.base_url} ({error}): start one with `workshed serve`") from error
    if answer.is_error:
        try:
            said = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            said = f"{answer.status_code} {answer.reason_phrase}"
        raise _stop(said)
    return answer.json()


def _bring(client: httpx.Client, design: str, material: str, licence: str) -> str:
    """A design's address: as given, of a file that is sent, or of a catalogue entry."""
    path = Path(design)
    if path.is_file():
        fields = {key: value for key, value in (("licence", licence), ("material", material)) if value}
        files = {"files": (path.name, path.read_bytes())}
        return str(_ask(client, "POST", "/api/v1/designs", files=files, data=fields)["design"])
    if len(design) == 64 and all(letter in "0123456789abcdef" for letter in design):
        return design
    return str(_ask(client, "POST", "/api/v1/designs", json={"catalogue": design})["design"])


def _show_order(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(found)
        return
    _out.print(f"[bold]{found['id']}[/bold] {found['title']}: {found['state']}, {len(found['jobs'])} jobs")
    quote = found.get("quote")
    if found.get("promised"):
        _out.print(f"  promised by {found['promised']}")
    elif quote is not None and quote["finish_p90"]:
        _out.print(
            f"  quoted: nine times in ten made by {quote['finish_p90']}, if accepted before {quote['valid_until']}"
        )
    elif quote is not None:
        _out.print(f"  no date can be given: {'; '.join(quote['reasons'])}")
    elif found["state"] == "requested":
        _out.print(f"  see it with `workshed show {found['id']}`, say yes with `workshed accept {found['id']}`")


def _state_of(done: dict[str, Any], as_json: bool) -> None:
    """What became of an order, a job, a machine or a home's jobs."""
    if as_json:
        _print_json(done)
        return
    found = done["job"] if isinstance(done.get("job"), dict) else done
    if "id" in found:
        _out.print(f"[bold]{found['id']}[/bold] is {found['state'].replace('_', ' ')}. {found.get('flag') or ''}")
    else:
        _out.print(f"{found['jobs']} jobs may be offered again")


def _table(title: str, columns: tuple[str, ...], rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
        return
    table = Table(title=title)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    _out.print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _stop(said: str) -> typer.Exit:
    _err.print(f"[red]{said}[/red]")
    return typer.Exit(1)


def main() -> None:
    """The program `workshed`."""
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    app()


if __name__ == "__main__":
    main()
