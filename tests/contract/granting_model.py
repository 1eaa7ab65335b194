"""One job, one scheduler, one home, two agents, and every order in which things can happen to them.

Messages lie in a set from which any may be delivered at any time, again and again, or never: that is every delay,
repetition, reordering and loss at once. What the scheduler publishes on one connection reaches the broker in order, up
to the moment in which the connection ends. The broker keeps two registers: the mark and the scheduler's presence. The
home may see presences late, or never. The scheduler may work on for as long as it likes
after its connection ended without noticing. The rules are those of `agents.contract.granting`; a mutation breaks one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from agents.contract.granting import (
    Begun,
    ChargeEvent,
    ChargeState,
    Hold,
    HoldEvent,
    Sight,
    Standing,
    charge_after,
    hold_after,
    may_give_up,
    may_offer,
    may_post,
    next_fence,
    why_no_start,
    why_not_grant,
)

AGENTS = ("a", "b")
Message = tuple[Any, ...]


class Mark(NamedTuple):
    epoch: int
    floor: int
    held: int
    holder: str


class Lease(NamedTuple):
    """What an agent holds: under which fence, by whose grant, and how far its start is."""

    fence: int
    granter: str
    begun: Begun = Begun.NOT_ASKED
    over: bool = False


class AgentSide(NamedTuple):
    highest: int = 0
    lease: Lease | None = None


class State(NamedTuple):
    # the scheduler
    epoch: int = 1
    hold: Hold = Hold.OWN
    fence: int = 0
    holder: str = ""
    live: str = ""
    """The scheduler's lease under `fence`: leased, started, or empty when dead."""
    lent: int = 0
    """The epoch in which it lent the right last."""
    granted: int = 0
    outbox: tuple[Message, ...] = ()
    # the broker
    alive: bool = True
    """Whether the scheduler's connection stands, as the broker has it."""
    mark: Mark | None = None
    presences: tuple[tuple[int, bool], ...] = ((1, True),)
    # the home
    seen: int = -1
    """Index of the presence it saw last; -1 before the first."""
    read: Mark | None = None
    read_after: bool = False
    returned: int = 0
    charge: ChargeState = ChargeState.FREE
    given: int = 0
    given_to: str = ""
    given_in: int = 0
    """The epoch of the mark under which the home granted last."""
    gave: int = 0
    given_up: int = 0
    # the agents, and what lies about
    sides: tuple[AgentSide, ...] = (AgentSide(), AgentSide())
    soup: frozenset[Message] = frozenset()
    starts: frozenset[tuple[str, int]] = frozenset()


class Rules:
    """What the parties do. A mutation overrides one of these."""

    most_epochs, most_grants, most_home_grants = 3, 2, 2

    def may_offer(self, hold: Hold) -> bool:
        return may_offer(hold)

    def may_send_grant(self, hold: Hold) -> bool:
        return may_offer(hold)

    def why_not_grant(self, sight: Sight, mark: Standing, state: ChargeState, given_up: int) -> str:
        return why_not_grant(sight, mark, state, 0.0, given_up)

    def why_no_start(self, state: ChargeState, newest: int, fence: int) -> str:
        return why_no_start(state, newest, fence)

    def after_book_asked(self, state: ChargeState) -> ChargeState:
        return charge_after(state, ChargeEvent.BOOK_ASKED) or state

    def may_give_up(self, begun: Begun) -> bool:
        return may_give_up(begun)

    def next_fence(self, mark: Standing, own: int) -> int:
        return next_fence(mark, own)

    def with_grant(self, mark: Message, grant: Message) -> tuple[Message, ...]:
        return (mark, grant)

    def ends_what_was_given_up(self) -> bool:
        return True

    def reads_anew(self) -> bool:
        return True


def explore(rules: Rules, most_states: int = 2_000_000) -> tuple[int, list[str] | None]:
    """All states from the first. Returns how many, and the way to the first broken one, or None."""
    first = State()
    came: dict[State, tuple[State, str] | None] = {first: None}
    todo = deque([first])
    while todo:
        state = todo.popleft()
        for name, after in steps(rules, state):
            if after in came:
                continue
            came[after] = (state, name)
            if broken(after):
                return len(came), way_to(came, after)
            todo.append(after)
        if len(came) > most_states:
            raise AssertionError(f"more than {most_states} states")
    return len(came), None


def broken(state: State) -> bool:
    """Two permitted starts of one attempt, or one fence given to two."""
    grants = [(m[3], m[2], m[1]) for m in state.soup if m[0] == "grant"]
    return len(state.starts) > 1 or len({fence for fence, _, _ in grants}) < len(grants)


def way_to(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    names: list[str] = []
    at = came[state]
    while at is not None:
        names.append(at[1])
        at = came[at[0]]
    return names[::-1]


def steps(rules: Rules, s: State) -> Iterator[tuple[str, State]]:
    yield from _scheduler(rules, s)
    yield from _broker(rules, s)
    yield from _home(rules, s)
    for index, name in enumerate(AGENTS):
        yield from _agent(rules, s, index, name)
    for message in s.soup:
        yield from _delivered(rules, s, message)


def _which(s: State) -> tuple[str, ...]:
    """The agents are alike until one was chosen."""
    return AGENTS if s.granted or s.gave else AGENTS[:1]


def _mark_now(s: State) -> Message:
    held = s.fence if s.live else 0
    return ("mark", Mark(s.epoch, s.fence, held, s.holder if s.live else ""))


def _scheduler(rules: Rules, s: State) -> Iterator[tuple[str, State]]:
    if may_post(s.hold) and s.hold is Hold.OWN:
        lent = s._replace(hold=hold_after(s.hold, HoldEvent.POSTED), lent=s.epoch)
        yield "post", lent._replace(outbox=(*s.outbox, _mark_now(s)))
    # A claim answers an offer, and the offer went out behind all that the outbox held of this job.
    if rules.may_offer(s.hold) and not s.live and not s.outbox and s.granted < rules.most_grants:
        for agent in _which(s):
            granted = s._replace(fence=s.fence + 1, holder=agent, live="leased", granted=s.granted + 1)
            grant = ("grant", "S", agent, granted.fence)
            lent = s.hold is not Hold.OWN
            more = rules.with_grant(_mark_now(granted), grant) if lent else (grant,)
            yield f"S grants {agent}", granted._replace(outbox=(*s.outbox, *more))
    if s.live == "leased":
        yield "S lapses", _ended(s)
    if s.epoch < rules.most_epochs:
        yield "S begins an epoch", _new_epoch(rules, s)


def _ended(s: State) -> State:
    s = s._replace(live="")
    return s._replace(outbox=(*s.outbox, _mark_now(s))) if s.hold is Hold.LENT else s


def _new_epoch(rules: Rules, s: State) -> State:
    """The connection is lost, or the program dies and starts: a new connection, whatever the broker knew of the old."""
    epoch, hold = s.epoch + 1, hold_after(s.hold, HoldEvent.EPOCH_BEGAN)
    kept = tuple(m for m in s.outbox if m[0] == "grant" and rules.may_send_grant(hold))
    over = () if not s.alive else ((s.epoch, False),)
    asked = frozenset({("bookreq", epoch)}) if hold is Hold.DOUBTED else frozenset()
    return s._replace(
        epoch=epoch,
        hold=hold,
        outbox=kept,
        alive=True,
        presences=(*s.presences, *over, (epoch, True)),
        soup=s.soup | asked,
    )


def _broker(rules: Rules, s: State) -> Iterator[tuple[str, State]]:
    if s.alive and s.outbox:
        message = s.outbox[0]
        after = s._replace(outbox=s.outbox[1:])
        yield f"broker takes {message}", _published(after, message)
        # It took the message, and the scheduler will not know.
        lost = _published(s, message)
        yield (
            f"broker takes {message}, then will",
            lost._replace(alive=False, presences=(*s.presences, (s.epoch, False))),
        )
    if s.alive:
        yield "will", s._replace(alive=False, presences=(*s.presences, (s.epoch, False)))


def _published(s: State, message: Message) -> State:
    if message[0] == "mark":
        return s._replace(mark=message[1])
    return s._replace(soup=s.soup | {message})


def _home(rules: Rules, s: State) -> Iterator[tuple[str, State]]:
    for index in range(max(0, s.seen + 1), len(s.presences)):
        seen = s._replace(seen=index)
        yield f"H sees {s.presences[index]}", seen._replace(read=None, read_after=False) if rules.reads_anew() else seen
    if s.seen >= 0 and s.mark is not None:
        after = not s.presences[s.seen][1]
        if (s.read, s.read_after) != (s.mark, after):
            yield f"H reads {s.mark}", s._replace(read=s.mark, read_after=after)
    if s.charge is ChargeState.GRANTED:
        yield "H lapses", s._replace(charge=charge_after(s.charge, ChargeEvent.LAPSED) or s.charge)
    if s.read is None or s.seen < 0:
        return
    epoch, online = s.presences[s.seen]
    mark = Standing(s.read.epoch, s.read.floor, 1, s.read.held, s.read_after)
    sight = Sight(True, epoch, online, 0.0, s.returned)
    if not rules.why_not_grant(sight, mark, s.charge, s.given_up):
        fence = rules.next_fence(mark, s.given)
        if s.gave >= rules.most_home_grants:
            return
        for agent in _which(s):
            state = charge_after(s.charge, ChargeEvent.GRANTED) or ChargeState.GRANTED
            granted = s._replace(charge=state, given=fence, given_to=agent, given_in=s.read.epoch, gave=s.gave + 1)
            yield f"H grants {agent} {fence}", granted._replace(soup=s.soup | {("grant", "H", agent, fence)})


def _put(s: State, index: int, side: AgentSide) -> State:
    return s._replace(sides=(*s.sides[:index], side, *s.sides[index + 1 :]))


def _agent(rules: Rules, s: State, index: int, name: str) -> Iterator[tuple[str, State]]:
    side = s.sides[index]
    lease = side.lease
    if lease is not None and not lease.over:
        if lease.begun is Begun.NOT_ASKED:
            asked = _put(s, index, side._replace(lease=lease._replace(begun=Begun.ASKED)))
            yield (
                f"{name} asks {lease.fence}",
                asked._replace(soup=s.soup | {("ask", lease.granter, name, lease.fence)}),
            )
        if lease.granter == "S" and rules.may_give_up(lease.begun):
            over = lease._replace(over=True) if rules.ends_what_was_given_up() else lease
            said = {("gaveup", "S", name, lease.fence), ("gaveup", "H", name, lease.fence)}
            yield (
                f"{name} gives up {lease.fence}",
                _put(s, index, side._replace(lease=over))._replace(soup=s.soup | said),
            )
    if s.mark is not None and s.mark.holder == name and s.mark.held > side.highest:
        said = {("gaveup", "S", name, s.mark.held), ("gaveup", "H", name, s.mark.held)}
        known = _put(s, index, side._replace(highest=s.mark.held))
        yield f"{name} disclaims {s.mark.held}", known._replace(soup=s.soup | said)


def _delivered(rules: Rules, s: State, message: Message) -> Iterator[tuple[str, State]]:
    after = _effect(rules, s, message)
    if after is not None and after != s:
        yield f"deliver {message}", after


def _effect(rules: Rules, s: State, message: Message) -> State | None:
    match message:
        case ("grant", granter, agent, fence):
            return _takes_grant(s, AGENTS.index(agent), granter, fence)
        case ("yes", granter, agent, fence):
            return _permitted(s, AGENTS.index(agent), granter, fence)
        case ("ask", "S", agent, fence):
            if (s.holder, s.fence) != (agent, fence) or not s.live:
                return None
            return s._replace(live="started", soup=s.soup | {("yes", "S", agent, fence)})
        case ("ask", "H", agent, fence):
            if rules.why_no_start(s.charge, s.given, fence):
                return None
            state = charge_after(s.charge, ChargeEvent.START_ASKED) or s.charge
            return s._replace(charge=state, soup=s.soup | {("yes", "H", agent, fence)})
        case ("gaveup", "S", agent, fence):
            return _ended(s) if s.live and (s.holder, s.fence) == (agent, fence) else None
        case ("gaveup", "H", _, fence):
            return s._replace(given_up=max(s.given_up, fence))
        case ("bookreq", epoch) if epoch > s.returned:
            state = rules.after_book_asked(s.charge)
            book = ("book", epoch, s.given_in, s.given, s.given_to, state is ChargeState.COMMITTED, s.given_up)
            return s._replace(returned=epoch, charge=state, soup=s.soup | {book})
        case ("book", epoch, *entry) if epoch == s.epoch and s.hold is Hold.DOUBTED:
            return _settled(s, *entry)
    return None


def _takes_grant(s: State, index: int, granter: str, fence: int) -> State | None:
    side = s.sides[index]
    if fence <= side.highest:
        return None
    if side.lease is not None and not side.lease.over and side.lease.begun is not Begun.NOT_ASKED:
        return None
    return _put(s, index, AgentSide(fence, Lease(fence, granter)))


def _permitted(s: State, index: int, granter: str, fence: int) -> State | None:
    lease = s.sides[index].lease
    if lease is None or lease.over or (lease.fence, lease.granter, lease.begun) != (fence, granter, Begun.ASKED):
        return None
    begun = _put(s, index, s.sides[index]._replace(lease=lease._replace(begun=Begun.PERMITTED)))
    return begun._replace(starts=s.starts | {(AGENTS[index], fence)})


def _settled(s: State, given_in: int, given: int, given_to: str, committed: bool, given_up: int) -> State:
    """The book came: the right is the scheduler's own again. A grant of the home's voids a lease of the scheduler's."""
    s = s._replace(hold=hold_after(s.hold, HoldEvent.BOOK_CAME))
    granted = given_in == s.lent
    if s.live and (given_up >= s.fence or granted):
        s = s._replace(live="")
    if granted and committed:
        return s._replace(fence=max(given, s.fence), holder=given_to, live="started")
    s = s._replace(fence=max(s.fence, given))
    if s.live == "leased":
        s = s._replace(outbox=(*s.outbox, ("grant", "S", s.holder, s.fence)))
    return s
