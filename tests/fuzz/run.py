#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the fuzz targets of a build, one a processor at a time, and print what came of each.

    run.py BUILD [--seconds N] [--target NAME]... [--afl]

What a target has learnt stays in BUILD/corpus/TARGET and is where the next run begins. An input
that breaks it is kept in BUILD/crashes/TARGET. The exit status is 1 when there was one.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=32768", "-print_final_stats=1",
          "-verbosity=1"]
ASAN = "detect_leaks=1:allocator_may_return_null=1"


def read_targets(build):
    rows = (build / "tests/fuzz/targets").read_text().splitlines()
    return {name: seeds for name, *seeds in (row.split("\t") for row in rows if row)}


def gather(name, seeds, into):
    """The seeds as one flat directory, which is what both fuzzers want."""
    into.mkdir(parents=True, exist_ok=True)
    for seed in map(pathlib.Path, seeds):
        for file in sorted(seed.iterdir()) if seed.is_dir() else [seed]:
            if file.is_file():
                shutil.copyfile(file, into / f"{seed.name}-{file.name}")


def run_libfuzzer(build, name, seeds, seconds, scratch):
    corpus, crashes, first = (build / kind / name for kind in ("corpus", "crashes", "seeds"))
    for directory in (corpus, crashes):
        directory.mkdir(parents=True, exist_ok=True)
    gather(name, seeds, first)
    before = set(crashes.iterdir())
    done = subprocess.run(
        [build / f"tests/fuzz/fuzz-{name}", f"-max_total_time={seconds}",
         f"-artifact_prefix={crashes}/", *LIMITS, corpus, first],
        env=os.environ | {"ASAN_OPTIONS": ASAN, "UBSAN_OPTIONS": "halt_on_error=1",
                          "TMPDIR": scratch},
        capture_output=True, text=True, errors="replace")
    (build / f"fuzz-{name}.log").write_text(done.stderr)
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    cover = re.findall(r" cov: (\d+)", done.stderr)
    found = len(set(crashes.iterdir()) - before)
    return {"executions": int(runs.group(1)) if runs else 0,
            "covered": int(cover[-1]) if cover else 0,
            "corpus": len(list(corpus.iterdir())),
            "crashes": max(found, int(done.returncode != 0))}


def run_afl(build, name, seeds, seconds, scratch):
    out, first = build / "afl" / name, build / "seeds" / name
    out.mkdir(parents=True, exist_ok=True)
    gather(name, seeds, first)
    done = subprocess.run(
        ["afl-fuzz", "-V", str(seconds), "-m", "none", "-i", first, "-o", out, "--",
         build / f"tests/fuzz/fuzz-{name}"],
        env=os.environ | {"AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1",
                          "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_AUTORESUME": "1",
                          "TMPDIR": scratch},
        capture_output=True, text=True, errors="replace")
    (build / f"fuzz-{name}.log").write_text(done.stdout + done.stderr)
    stats = {}
    if (out / "default/fuzzer_stats").exists():
        rows = (out / "default/fuzzer_stats").read_text().splitlines()
        stats = {key.strip(): value.strip() for key, value in (row.split(":", 1) for row in rows)}
    broken = int(stats.get("saved_crashes", 0)) + int(stats.get("saved_hangs", 0))
    return {"executions": int(stats.get("execs_done", 0)),
            "covered": int(stats.get("edges_found", 0)),
            "corpus": int(stats.get("corpus_count", 0)),
            "crashes": max(broken, int(done.returncode != 0))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", action="append")
    parser.add_argument("--afl", action="store_true")
    given = parser.parse_args()
    build = given.build.resolve()
    targets = read_targets(build)
    unknown = sorted(set(given.target or []) - set(targets))
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {' '.join(targets)}")
    run = run_afl if given.afl else run_libfuzzer
    print(f"{'target':<16}{'executions':>12}{'covered':>9}{'corpus':>8}{'crashes':>9}", flush=True)
    broken = []

    def one(name):
        # libFuzzer leaves without the clean-up at exit.
        with tempfile.TemporaryDirectory(prefix="dnt-fuzz-") as scratch:
            return name, run(build, name, targets[name], given.seconds, scratch)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, row in pool.map(one, given.target or targets):
            print(f"{name:<16}{row['executions']:>12}{row['covered']:>9}{row['corpus']:>8}"
                  f"{row['crashes']:>9}", flush=True)
            if row["crashes"]:
                broken.append(name)
    for name in broken:
        print(f"{name}: see {build}/fuzz-{name}.log", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
