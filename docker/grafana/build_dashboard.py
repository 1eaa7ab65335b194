"""The Workshed dashboard, as code: `python docker/grafana/build_dashboard.py` writes dashboards/workshed.json.

Metric names are those of docs/metrics.md. Every expression here is parsed, and asked of a real Prometheus that watches
the running demo, by the tests: a panel that would stay empty fails them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

OUTPUT = Path(__file__).parent / "dashboards" / "workshed.json"
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${source}")
#: Drawn in this order, and in these colours, wherever a machine's state is shown.
STATES = {
    "offline": "#8e8e8e",
    "unidentified": "#b877d9",
    "idle": "#5794f2",
    "occupied": "#fade2a",
    "running": "#56a64b",
    "held": "#ff9830",
    "alarm": "#e02f44",
    "disabled": "#4d4d4d",
}


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the name of its series; `now` asks for the last value only."""

    expr: str
    legend: str = ""
    now: bool = False


def query(asked: Query, letter: str) -> prometheus.Dataquery:
    """The SDK's form of a query."""
    made = prometheus.Dataquery().expr(asked.expr).legend_format(asked.legend).ref_id(letter).datasource(SOURCE)
    return made.instant() if asked.now else made.range()


def attach(panel, queries: Sequence[Query]):
    """Put queries A, B, C … on a panel."""
    for index, asked in enumerate(queries):
        panel.with_target(query(asked, chr(ord("A") + index)))
    return panel


def number(title: str, what: str, expr: str, *, bad_above: float | None = None) -> stat.Panel:
    """A single figure; red above `bad_above`."""
    steps = [dashboard.Threshold(value=None, color="green")]
    if bad_above is not None:
        steps.append(dashboard.Threshold(value=bad_above, color="red"))
    panel = (
        stat.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit("short")
        .height(4)
        .span(4)
        .no_value("no data")
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(builder.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
    )
    return attach(panel, [Query(expr, now=True)])


def lines(title: str, what: str, unit: str, *queries: Query, span: int = 12, stacked: bool = False) -> timeseries.Panel:
    """Curves over time, with their last and mean value in the legend."""
    legend = (
        common_builder.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "mean"])
        .show_legend(True)
    )
    mode = common.StackingMode.NORMAL if stacked else common.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(what)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(span)
        .fill_opacity(20 if stacked else 6)
        .line_width(2)
        .show_points(common.VisibilityMode.NEVER)
        .stacking(common_builder.StackingConfig().mode(mode))
        .legend(legend)
    )
    return attach(panel, queries)


def machine_states() -> statetimeline.Panel:
    """One band a machine: the state gauges folded into one number, and the number mapped back to its word."""
    folded = " + ".join(
        f'sum by (machine) (workshed_machine_state{{state="{state}"}}) * {rank}' for rank, state in enumerate(STATES)
    )
    words = {
        str(rank): dashboard.ValueMappingResult(text=state, color=colour, index=rank)
        for rank, (state, colour) in enumerate(STATES.items())
    }
    panel = (
        statetimeline.Panel()
        .title("Machine states")
        .description("What each machine and the person in front of it last said.")
        .datasource(SOURCE)
        .height(9)
        .span(24)
        .row_height(0.8)
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .mappings([dashboard.ValueMap(options=words)])
    )
    return attach(panel, [Query(folded, "{{machine}}")])


def quantile(of: float, by: str, metric: str) -> str:
    """A quantile of a histogram over the shown window."""
    labels = ", ".join(part for part in ("le", by) if part)
    return f"histogram_quantile({of}, sum by ({labels}) (increase({metric}_bucket[$__range])))"


def sections() -> list[tuple[str, list[object]]]:
    """Rows and their panels, top to bottom."""
    return [
        (
            "Now",
            [
                number("Orders open", "Accepted, not handed over.", 'sum(workshed_orders{state=~"accepted|making"})'),
                number("Jobs waiting", "No machine holds them yet.", 'sum(workshed_jobs{state="waiting"})'),
                number("Machines running", "Confirmed motion.", 'sum(workshed_machine_state{state="running"})'),
                number(
                    "Machines in alarm",
                    "A person must look at them.",
                    'sum(workshed_machine_state{state="alarm"})',
                    bad_above=1,
                ),
                number("Jobs late", "Past the order's due time.", "workshed_late_jobs", bad_above=1),
                number("Agents online", "By their presence and will.", "sum(workshed_agent_online)"),
            ],
        ),
        (
            "Throughput",
            [
                lines(
                    "Runs finished",
                    "Runs an hour that a machine confirmed to the last line.",
                    "short",
                    Query(
                        "sum by (process) (rate(workshed_jobs_finished_total[$__rate_interval])) * 3600", "{{process}}"
                    ),
                    stacked=True,
                ),
                lines(
                    "Parts inspected",
                    "Parts that a person looked at, in the shown window.",
                    "short",
                    Query(
                        "sum by (process, verdict) (increase(workshed_parts_total[$__range]))",
                        "{{process}} {{verdict}}",
                    ),
                ),
                lines(
                    "Machine-minutes by shop",
                    "Time that machines spent on runs, in the shown window.",
                    "m",
                    Query("sum by (shop) (increase(workshed_machine_busy_seconds_total[$__range])) / 60", "{{shop}}"),
                ),
                lines(
                    "Runs that failed",
                    "By failure class, in the shown window; zero when nothing failed.",
                    "short",
                    Query(
                        "sum by (failure) (increase(workshed_jobs_failed_total[$__range])) or vector(0)", "{{failure}}"
                    ),
                ),
            ],
        ),
        (
            "Machines",
            [
                machine_states(),
                lines(
                    "Machine use",
                    "Share of the last minutes that a machine was on a run.",
                    "percentunit",
                    Query(
                        'avg by (machine) (avg_over_time(workshed_machine_state{state="running"}[$__rate_interval]))',
                        "{{machine}}",
                    ),
                ),
                lines(
                    "Last heard of",
                    "Age of the last word about each machine.",
                    "s",
                    Query("max by (machine) (workshed_machine_report_age_seconds)", "{{machine}}"),
                ),
            ],
        ),
        (
            "Waits and offers",
            [
                lines(
                    "Wait before the first line",
                    "From a job's creation until its machine moved for it.",
                    "s",
                    Query(quantile(0.5, "process", "workshed_job_wait_seconds"), "{{process}} half"),
                    Query(quantile(0.9, "process", "workshed_job_wait_seconds"), "{{process}} nine in ten"),
                ),
                lines(
                    "Wait by need",
                    "Nine in ten jobs of a need class waited less.",
                    "s",
                    Query(quantile(0.9, "need", "workshed_job_wait_seconds"), "{{need}}"),
                ),
                lines(
                    "Jobs by state",
                    "Where the work is.",
                    "short",
                    Query("sum by (state) (workshed_jobs) > 0", "{{state}}"),
                    stacked=True,
                ),
                lines(
                    "Offers",
                    "What became of offers to shops, in the shown window. Declining is free.",
                    "short",
                    Query("sum by (outcome) (increase(workshed_offers_total[$__range]))", "{{outcome}}"),
                ),
            ],
        ),
        (
            "Plan against actual",
            [
                lines(
                    "Run time, actual over promised",
                    "1 means that toolpaths take as long as their time tables say.",
                    "percentunit",
                    Query(
                        "sum by (process) (workshed_job_actual_seconds_total)"
                        " / (sum by (process) (workshed_job_planned_seconds_total) > 0)",
                        "{{process}}",
                    ),
                ),
                lines(
                    "Planning round",
                    "How long the planner took.",
                    "s",
                    Query("workshed_plan_seconds", "newest round"),
                    Query("workshed_replan_latency_seconds", "as dispatch waited"),
                    Query("workshed_planner_solve_seconds", "in the planner"),
                ),
                lines(
                    "What the plan costs",
                    "Weight-minutes by term of the objective; lateness and broken promises should be what shrinks.",
                    "short",
                    Query("workshed_plan_cost", "{{term}}"),
                    stacked=True,
                ),
                lines(
                    "Why jobs wait",
                    "Jobs without a place, by the checker that the nearest machine fails.",
                    "short",
                    Query("workshed_plan_waiting_jobs", "{{reason}}"),
                    stacked=True,
                ),
                lines(
                    "Promises and search",
                    "Promises that the newest plan breaks, moves a second while searching, planning processes lost.",
                    "short",
                    Query("workshed_plan_late_promises", "promises broken"),
                    Query(
                        "rate(workshed_planner_moves_total[$__rate_interval])"
                        " / clamp_min(rate(workshed_planner_search_seconds_total[$__rate_interval]), 0.001)",
                        "moves a second",
                    ),
                    Query("workshed_planner_restarts_total", "processes lost"),
                ),
            ],
        ),
        (
            "Agents and messages",
            [
                lines(
                    "Agent presence",
                    "1 while the agent is connected to the broker.",
                    "short",
                    Query("max by (shop, agent) (workshed_agent_online)", "{{shop}} · {{agent}}"),
                ),
                lines(
                    "Journal events",
                    "Committed events a second, by type.",
                    "short",
                    Query("sum by (type) (rate(workshed_journal_events_total[$__rate_interval]))", "{{type}}"),
                    stacked=True,
                ),
                lines(
                    "Messages not yet through",
                    "Scheduler outbox, and journal events without acknowledgement on each agent.",
                    "short",
                    Query("workshed_outbox_unsent", "scheduler outbox"),
                    Query("sum by (instance) (workshed_agent_journal_unacknowledged_events)", "{{instance}}"),
                ),
                lines(
                    "Progress of runs",
                    "Share of the running toolpath that the machine confirmed.",
                    "percentunit",
                    Query("max by (machine) (workshed_agent_progress_ratio)", "{{machine}}"),
                ),
                lines(
                    "Lines sent again",
                    "Lines a minute that a firmware asked for again: noise on the wire.",
                    "short",
                    Query(
                        "sum by (machine) (rate(workshed_agent_line_resends_total[$__rate_interval])) * 60",
                        "{{machine}}",
                    ),
                ),
                lines(
                    "Runs ended",
                    "As each agent counted them, in the shown window.",
                    "short",
                    Query(
                        "sum by (machine, outcome) (increase(workshed_agent_runs_total[$__range]))",
                        "{{machine}} {{outcome}}",
                    ),
                ),
            ],
        ),
    ]


def build() -> str:
    """The dashboard as JSON text, ending in a newline."""
    made = (
        builder.Dashboard("Workshed")
        .uid("workshed")
        .description("What the machines of all shops do, how long work waits, and whether plans come true.")
        .tags(["workshed"])
        .refresh("10s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(builder.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    number_of_panel = 0
    for title, panels in sections():
        number_of_panel += 1
        made.with_row(builder.Row(title).id(number_of_panel))
        for panel in panels:
            number_of_panel += 1
            made.with_panel(panel.id(number_of_panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or print it."""
    parser = argparse.ArgumentParser(description="Write the Grafana dashboard from its source.")
    parser.add_argument("--print", action="store_true", help="print it and write nothing")
    if parser.parse_args(argv).print:
        sys.stdout.write(build())
    else:
        OUTPUT.parent.mkdir(exist_ok=True)
        OUTPUT.write_text(build(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
