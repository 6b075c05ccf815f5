#!/usr/bin/env python3
"""50,000 frames a second for a minute through one process: nothing lost, memory flat.

Usage: soak.py BINARY [--rate N] [--seconds N]

Memory may grow by what the order records take, no more: the resident size is read ten seconds after
the start and at the end, and the growth of the records (their count and bytes, from /metrics) is
printed beside it. Exit status 1 if a frame is missing or memory grew by more than records and slack.
"""

import argparse
import http.client
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import harness

WARM_UP_S = 10
SLACK_MB = 16  # allocator, metrics, the table on the screen
# A record is a key, a value and an etag, and what holds them: the index page's entry and the
# containers' own.
OVERHEAD_PER_RECORD = 2.0


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc")


def metrics(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: float(value) for name, value in
            re.findall(r"^(virtufin_state_(?:records|bytes)) ([0-9.e+]+)$", text, re.M)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--rate", type=int, default=50000)
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        summary_file = pathlib.Path(folder) / "summary.json"
        http_port, grpc_port = harness.free_port(), harness.free_port()
        command = [args.binary, "demo", "--rate", str(args.rate), "--seconds", str(args.seconds),
                   "--summary", str(summary_file), "--http-port", str(http_port), "--grpc-port", str(grpc_port)]
        process = subprocess.Popen(command)
        time.sleep(min(WARM_UP_S, args.seconds / 2))
        first_mb, first = resident_mb(process.pid), metrics(http_port)
        # The last reading before the end, as close to it as asking goes.
        last_mb, last = first_mb, first
        while process.poll() is None:
            try:
                last_mb, last = resident_mb(process.pid), metrics(http_port)
            except (OSError, RuntimeError):
                break  # it is ending
            time.sleep(1)
        status = process.wait()
        if status != 0:
            print(f"soak: the demo ended with {status}")
            return 1
        summary = json.loads(summary_file.read_text())

    rate = summary["frames_in"] / summary["seconds"]
    grown = last_mb - first_mb
    records = last["virtufin_state_records"] - first["virtufin_state_records"]
    record_mb = (last["virtufin_state_bytes"] - first["virtufin_state_bytes"]) / 1024 ** 2
    lost = (summary["frames_sent"] - summary["frames_in"], summary["dropped"], summary["dead_lettered"],
            summary["orders"] - summary["orders_recorded"])
    print(f"frames a second       {rate:,.0f} of {args.rate:,} asked for")
    print(f"frames lost           {lost[0]}; events dropped {lost[1]}, dead-lettered {lost[2]}")
    print(f"orders                {summary['orders']:,}, not recorded {lost[3]}")
    print(f"resident              {first_mb:.1f} MB then {last_mb:.1f} MB: grew {grown:.1f} MB")
    print(f"records grew by       {records:,.0f}, {record_mb:.1f} MB")
    ok = True
    if any(lost):
        print("soak: something was lost")
        ok = False
    if rate < 0.98 * args.rate:
        print("soak: the rate was not reached")
        ok = False
    if grown > record_mb * OVERHEAD_PER_RECORD + SLACK_MB:
        print("soak: memory grew by more than the records")
        ok = False
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
