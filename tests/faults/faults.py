"""Everything that can be made to go wrong in a life, by name, and how each of it heals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agents.contract.vocabulary import Process
from agents.lease import WAITING
from tests.faults import away, own_jobs
from tests.faults.scheduling import CLIENT

if TYPE_CHECKING:
    from tests.faults.lives import Life

_HOUR: Final = timedelta(hours=1)


def kill_scheduler(life: Life) -> None:
    """kill -9, and a new one some turns later."""
    if life.side.scheduler is not None:
        life.later(life.begin_scheduler)
        life.end(CLIENT)


def kill_agent(life: Life) -> None:
    """kill -9 of the agent that is at work (or any), and a new one some turns later."""
    shop = life.a_shop()
    if shop.agent is not None:
        life.later(lambda: life.begin_shop(shop))
        life.end(shop.id)


def kill_broker(life: Life) -> None:
    """kill -9; what was not on its disk yet is gone."""
    life.office.die()

    def again() -> None:
        life.office.up = True

    life.later(again)


def cut_link(life: Life) -> None:
    """No byte passes between the broker and one side; sometimes nobody notices for a while."""
    client = life.chance.choice([CLIENT, *(shop.id for shop in life.shops)])
    session = life.office.sessions[client]
    session.cut, session.silent = True, life.chance.random() < 0.5

    def noticed() -> None:
        session.silent = False
        if session.cut:
            life.office.gone(client, will=True, memory_lost=False)

    def healed() -> None:
        noticed()
        session.cut = False

    life.later(noticed, 1, 4)
    life.later(healed, 5, 40)


def pause_scheduler(life: Life) -> None:
    """SIGSTOP; time goes on without it."""
    side = life.side
    side.paused = True

    def goes_on() -> None:
        side.paused = False

    life.later(goes_on)


def pause_agent(life: Life) -> None:
    """SIGSTOP of an agent. Not beside a burning laser: nothing in its shop could then hold the beam."""
    shop = life.a_shop()
    if any(bench.process is Process.LASER and bench.busy for bench in shop.benches.values()):
        return
    shop.paused = True

    def goes_on() -> None:
        shop.paused = False

    life.later(goes_on)


def double_messages(life: Life) -> None:
    """Everything on its way comes twice."""
    life.office.double()
    life.later(life.office.double, 1, 3)


def reorder_messages(life: Life) -> None:
    """Everything on its way changes places."""
    life.office.shuffle()
    life.later(life.office.shuffle, 1, 2)
    life.later(life.office.shuffle, 2, 4)


def delay_messages(life: Life) -> None:
    """What is for one client stays on its way for up to an hour."""
    session = life.chance.choice(list(life.office.sessions.values()))
    session.held_until = life.time.elapsed_s + life.chance.choice([5.0, 70.0, 400.0, 3600.0])


def replay_messages(life: Life) -> None:
    """Old messages come again, long after."""
    kept = life.heard[-200:]
    for topic, payload in life.chance.sample(kept, min(len(kept), 12)):
        life.office._route(topic, payload, retain=False)


def scheduler_clock_forward(life: Life) -> None:
    """The scheduler's clock jumps ahead by an hour; later somebody sets it right."""
    _jump(life, life.side.clock, _HOUR)


def scheduler_clock_back(life: Life) -> None:
    """The scheduler's clock jumps back by an hour."""
    _jump(life, life.side.clock, -_HOUR)


def agent_clock_forward(life: Life) -> None:
    """An agent's clock jumps ahead by an hour."""
    _jump(life, life.chance.choice(life.shops).clock, _HOUR)


def agent_clock_back(life: Life) -> None:
    """An agent's clock jumps back by an hour."""
    _jump(life, life.chance.choice(life.shops).clock, -_HOUR)


def _jump(life: Life, clock: object, by: timedelta) -> None:
    clock.wrong_by += by  # type: ignore[attr-defined]

    def set_right() -> None:
        clock.wrong_by -= by  # type: ignore[attr-defined]

    life.later(set_right, 5, 60)


def fill_scheduler_disk(life: Life) -> None:
    """The scheduler's database may not grow by one page."""
    side = life.side
    side.full = True

    def room() -> None:
        side.full = False

    life.later(room, 3, 30)


def fill_agent_disk(life: Life) -> None:
    """Neither an agent's spool nor its toolpaths may grow."""
    shop = life.a_shop()
    shop.fill_disk()
    life.later(shop.empty_disk, 3, 30)


def fill_agent_cache(life: Life) -> None:
    """There is no room for toolpaths in the limit the owner set."""
    shop = life.chance.choice(life.shops)
    shop.cache_full = True

    def room() -> None:
        shop.cache_full = False

    life.later(room, 3, 30)


def restore_scheduler_database(life: Life) -> None:
    """An old copy of the scheduler's database is put in place and started; agents keep the truth."""
    if life.side.scheduler is None:
        return
    copy = life.folder / "scheduler.copy"
    life.side.copy(copy)

    def put_back() -> None:
        if life.side.scheduler is None:
            return
        life.side.kill()
        life.side.restore(copy)
        life.begin_scheduler(old=True)

    life.later(put_back, 2, 60)


def restore_agent_database(life: Life) -> None:
    """An old copy of a spool is put in place while its agent is down."""
    away.put_back_later(life, life.a_shop())


def unplug_machine(life: Life) -> None:
    """A serial cable is pulled and put in again: the same socket, another name in the system."""
    bench = life.a_bench()
    bench.unplug()
    life.later(bench.plug)


def reset_machine(life: Life) -> None:
    """A controller's watchdog bites."""
    life.a_bench().reset()


def machine_alarm(life: Life) -> None:
    """A limit switch, or a heater that no longer heats."""
    bench = life.a_bench()
    if bench.process is Process.LASER:
        bench.twin.fault("alarm", {"number": 1}, bench.clock.now)
    else:
        bench.twin.fault("heater_dead", {"heater": "E0"}, bench.clock.now)
        life.later(lambda: bench.twin.fault("heal", {}, bench.clock.now))


def noisy_cable(life: Life) -> None:
    """Bytes on a serial line are damaged for some seconds."""
    bench = life.a_bench()
    bench.wire.fault("noise", {"corrupt": 0.003, "drop": 0.003}, bench.clock.now)
    life.later(lambda: bench.wire.fault("clear", {}, bench.clock.now), 1, 5)


def person_leaves(life: Life) -> None:
    """Whoever was beside the laser goes away, and the heartbeat ends."""
    life.somebody_there = False
    for shop in life.shops:
        for bench in shop.benches.values():
            bench.present_until = min(bench.present_until, life.time.elapsed_s + 0.3)
            if shop.agent is not None:  # their last heartbeat runs out
                left_s = shop.agent.presence.left_s(bench.name)
                shop.agent.presence.beat((bench.name,), min(left_s, 0.3))

    def comes_back() -> None:
        life.somebody_there = True

    life.later(comes_back, 3, 20)


def clock_back_as_person_leaves(life: Life) -> None:
    """The last heartbeat has not run out when its agent's clock jumps back by an hour."""
    person_leaves(life)
    for shop in life.shops:
        _jump(life, shop.clock, -_HOUR)


def lease_lapses_unheard(life: Life) -> None:
    """A shop stops with a job that waits there, its scheduler's clock jumps ahead, and another shop may get the job.

    The first one goes on before it hears of that.
    """
    holders = [shop for shop in life.shops if shop.agent is not None and shop.agent.spool.leases(None, WAITING)]
    if not holders or any(bench.busy for bench in holders[0].benches.values()):
        return
    holder = holders[0]
    holder.paused = True
    life.office.sessions[holder.id].held_until = life.time.elapsed_s + 3600.0
    _jump(life, life.side.clock, 4 * _HOUR)

    def goes_on() -> None:
        holder.paused = False

    life.later(goes_on, 4, 12)


def owner_closes(life: Life) -> None:
    """An owner takes no work of others for a while."""
    shop = life.chance.choice(life.shops)
    life.later(lambda: shop.open_to_others(False), 1, 3)
    life.later(lambda: shop.open_to_others(True), 4, 30)


def material_runs_out(life: Life) -> None:
    """Somebody takes the spool or the sheet away, says so, and there is no other for a while."""
    shop = life.chance.choice(life.shops)
    bench = life.chance.choice(list(shop.benches.values()))

    def said() -> None:
        if shop.hands is not None and not bench.busy and not shop.paused:
            shop.hands.load(bench.name, ())
            bench.material_gone = bench.shelf_empty = True

    def there_again() -> None:
        bench.shelf_empty = False

    # Not within a start: a person's word waits there for the supervisor's lock.
    life.later(lambda: life._do(shop.id, said), 1, 3)
    life.later(there_again, 4, 30)


def damage_transfer(life: Life) -> None:
    """What a shop fetches is another toolpath of the same length."""
    shop = life.chance.choice(life.shops)
    shop.damage_on_the_way = True

    def whole() -> None:
        shop.damage_on_the_way = False

    life.later(whole, 3, 30)


def damage_cache(life: Life) -> None:
    """A card forgets: what was fetched and verified is no longer what it was."""
    # Not between the last look at the hash and the first line, which are one after another.
    life.later(life.chance.choice(life.shops).damage_cache, 1, 2)


FAULTS: Final[dict[str, Callable[[Life], None]]] = {
    deed.__name__: deed
    for deed in (
        *(kill_scheduler, kill_agent, kill_broker, cut_link, pause_scheduler, pause_agent),
        *(double_messages, reorder_messages, delay_messages, replay_messages),
        *(scheduler_clock_forward, scheduler_clock_back, agent_clock_forward, agent_clock_back),
        *(fill_scheduler_disk, fill_agent_disk, fill_agent_cache),
        *(restore_scheduler_database, restore_agent_database, own_jobs.restore_agent_folder),
        *(unplug_machine, reset_machine, machine_alarm, noisy_cable, person_leaves),
        *(clock_back_as_person_leaves, lease_lapses_unheard),
        *(owner_closes, material_runs_out, damage_transfer, damage_cache),
        *(away.scheduler_away, away.away_and_agent_killed, away.away_and_agent_cut, away.away_and_agent_paused),
        *(away.away_and_agent_put_back, away.away_and_back_on_an_old_database),
        *(away.scheduler_cut_on_one_side, away.scheduler_stopped_for_long),
    )
}
