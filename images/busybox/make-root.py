#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Put the root directory tree of the image together: make-root.py SOURCE BUSYBOX OUTPUT"""
import pathlib
import shutil
import sys

source, busybox, output = map(pathlib.Path, sys.argv[1:])
shutil.rmtree(output, ignore_errors=True)
shutil.copytree(source, output)
(output / "bin").mkdir()
shutil.copy(busybox, output / "bin/busybox")
