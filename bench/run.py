#!/usr/bin/env python3
"""Runs the benchmarks of a build folder and prints each figure beside its floor.

Usage: run.py BUILD_DIR [--only PREFIX] [--json FILE] [--repetitions N] [--min-time SECONDS]
Exit status 1 if a program failed, or if a floor or a line in the table of aims is missing; a missed
aim is shown, not failed.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

# The aim of each figure: how it is worded, and whether (value, floor) meets it. Times are in ns
# unless the unit says otherwise; for rates more is better. NO_AIM: shown to see where an aimed
# figure comes from.
NO_AIM = ("", None)
FLAT = ("flat: at most 1.5 x of 1", lambda v, f: v <= 1.5 * f)
AIMS = {
    "publish_inline": ("floor + 50 ns", lambda v, f: v <= f + 50),
    "publish_thread": ("at least 0.25 x the ring's rate", lambda v, f: v >= 0.25 * f),
    "publish_thread_fanout3": ("at least 0.25 x the ring's rate", lambda v, f: v >= 0.25 * f),
    "decode_depth": ("under 2 x", lambda v, f: v < 2 * f),
    "decode_trade": ("under 2 x", lambda v, f: v < 2 * f),
    "decode_ticker": ("under 2 x", lambda v, f: v < 2 * f),
    "worker_native": ("floor + 500 ns", lambda v, f: v <= f + 500),
    "frame_to_order": ("floor + 500 ns", lambda v, f: v <= f + 500),
    "frame_to_order_ordering": ("floor + 2000 ns", lambda v, f: v <= f + 2000),
    "tick_to_order_p50": ("under 1.5 x", lambda v, f: v < 1.5 * f),
    "tick_to_order_p99": ("under 3 x", lambda v, f: v < 3 * f),
    "tick_to_order_batched_p50": ("under 1.5 x", lambda v, f: v < 1.5 * f),
    "grpc_unary": ("at least 0.8 x", lambda v, f: v >= 0.8 * f),
    "rest_unary": ("at least 0.5 x", lambda v, f: v >= 0.5 * f),
    "rest_post": ("at least 0.4 x", lambda v, f: v >= 0.4 * f),
    "subscribe_fanout_100": ("at least 0.8 x", lambda v, f: v >= 0.8 * f),
    "subscribe_fanout_100_cpu": NO_AIM,
    "start_to_ready": ("under 50 ms", lambda v, f: v < 50),
    "start_resident": ("under 30 MB", lambda v, f: v < 30),
    "dapr_publish": ("at least 0.9 x", lambda v, f: v >= 0.9 * f),
    "dapr_publish_bulk": ("at least 0.9 x", lambda v, f: v >= 0.9 * f),
    "dapr_ordered_throughput": ("at least 0.9 x without order", lambda v, f: v >= 0.9 * f),
    "dapr_end_to_end_p50": ("floor + 50 us", lambda v, f: v <= f + 50),
    "dapr_state_save": ("floor + 50 us", lambda v, f: v <= f + 50),
    "dapr_state_get": ("floor + 50 us", lambda v, f: v <= f + 50),
    "growth_topics_10": FLAT,
    "growth_topics_100": FLAT,
    "growth_topics": FLAT,
    "growth_topics_10000": FLAT,
    "growth_subscribers_10": FLAT,
    "growth_subscribers_100": FLAT,
    "growth_subscribers": FLAT,
    "event_template": ("37 ns", lambda v, f: v <= 37),
    "event_writer": NO_AIM,
    "event_parse": NO_AIM,
    "venue_frame": NO_AIM,
    "venue_send": NO_AIM,
}


def rows_of_google_benchmark(program, args):
    command = [
        str(program),
        "--benchmark_format=json",
        "--benchmark_enable_random_interleaving=true",
        f"--benchmark_repetitions={args.repetitions}",
        f"--benchmark_min_time={args.min_time}",
    ]
    if args.only:
        command.append(f"--benchmark_filter=^{args.only}")
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{program.name} ended with {run.returncode}:\n{run.stderr}")
    if not run.stdout.strip():
        return []  # nothing matched --only
    figures = {}
    for entry in json.loads(run.stdout)["benchmarks"]:
        if entry.get("error_occurred"):
            raise RuntimeError(f"{program.name}: {entry['name']}: {entry['error_message']}")
        if entry.get("run_type") == "aggregate":
            continue
        name, _, part = entry["name"].partition("/")
        part = part.split("/")[0]
        if part not in ("floor", "value"):
            continue
        rate = "items_per_second" in entry
        to_ns = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[entry["time_unit"]]
        # What the calling thread used itself, unless the benchmark asks for another clock: a busy
        # machine then spoils less.
        own_clock = entry["name"].endswith(("/real_time", "/manual_time"))
        time = entry["real_time" if own_clock else "cpu_time"] * to_ns
        figure = entry["items_per_second"] if rate else time
        figures.setdefault((name, "1/s" if rate else "ns"), {}).setdefault(part, []).append(figure)
    rows = []
    for (name, unit), parts in figures.items():
        if "floor" not in parts or "value" not in parts:
            raise RuntimeError(f"{program.name}: {name} has no {'floor' if 'value' in parts else 'value'}")
        rows.append({"name": name, "value": statistics.median(parts["value"]),
                     "floor": statistics.median(parts["floor"]), "unit": unit})
    return rows


def rows_of_load(program, args):
    command = [str(program)] + (["--only", args.only] if args.only else [])
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{program.name} ended with {run.returncode}:\n{run.stderr}")
    if not run.stdout and run.stderr:
        print(run.stderr.strip(), file=sys.stderr)  # what it needs and this machine has not
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def text(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--min-time", type=float, default=0.1)
    args = parser.parse_args()

    programs = sorted(p for p in args.build.glob("*_bench") if p.is_file())
    loads = sorted(p for p in args.build.glob("*_load") if p.is_file())
    if not programs and not loads:
        sys.exit(f"no benchmark in {args.build}: build the bench preset first (make bench)")

    rows, failed = [], False
    print(f"{'name':28} {'value':>14} {'floor':>14} {'ratio':>7}  {'unit':5} aim")
    for program in programs + loads:
        try:
            found = (rows_of_load if program in loads else rows_of_google_benchmark)(program, args)
        except (RuntimeError, ValueError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            failed = True
            continue
        for row in found:
            if not row["name"].startswith(args.only):
                continue
            if row["name"] not in AIMS:
                print(f"FAILED: {row['name']} is not in run.py's table of aims", file=sys.stderr)
                failed = True
            aim, meets = AIMS.get(row["name"], NO_AIM)
            floor = row.get("floor")
            row = {"name": row["name"], "value": row["value"], "floor": floor,
                   "ratio": row["value"] / floor if floor else None, "unit": row["unit"], "aim": aim}
            rows.append(row)
            verdict = "" if meets is None else ("  met" if meets(row["value"], floor) else "  MISSED")
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
            print(f"{row['name']:28} {text(row['value']):>14} {text(floor):>14} {ratio:>7}  "
                  f"{row['unit']:5} {aim}{verdict}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
