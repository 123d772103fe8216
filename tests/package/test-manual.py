#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every manual page is clean for mandoc and groff, and tells every key of the format it is about."""
import pathlib
import re
import shutil
import subprocess
import sys

# The page, and the document that says which keys there are.
FORMATS = {"dnode-manifest.5": "manifest.md", "dnode-trust.5": "trust.md",
           "dnode-cluster.yaml.5": "cluster.md", "dnode-image.yaml.5": "image-recipe.md"}


def complaints(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def keys_of(document):
    return set(re.findall(r"^\| `([^`]+)` \|", document.read_text(), re.M))


def main(pages, root):
    faults = []
    tools = [command for command in (["mandoc", "-Tlint", "-Wwarning"],
                                     ["groff", "-mdoc", "-ww", "-Tutf8", "-z"])
             if shutil.which(command[0])]
    if not tools:
        print("neither mandoc nor groff is installed")
        return 77
    for page in pages:
        faults += [said for said in (complaints([*tool, page]) for tool in tools) if said]
    by_name = {pathlib.Path(page).name: pathlib.Path(page) for page in pages}
    for name, document in FORMATS.items():
        text = re.sub(r"\\f[BP]", " ", by_name[name].read_text())
        keys = keys_of(pathlib.Path(root) / "docs" / "formats" / document)
        assert keys, f"{document} has no table of keys"
        faults += [f"{name} does not tell the key '{key}'" for key in sorted(keys)
                   if not re.search(rf"(?:^|\W){re.escape(key)}(?:\W|$)", text, re.M)]
    agent = (pathlib.Path(root) / "agent/main/config.c").read_text()
    told = by_name["dnode-agent.yaml.5"].read_text()
    faults += [f"dnode-agent.yaml.5 does not tell '{key}'"
               for key in re.findall(r'^\t\{"(\w+)", DN_FIELD', agent, re.M)
               if f".It Ic {key}\n" not in told]
    print("\n".join(faults) or f"{len(pages)} pages are clean")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], sys.argv[1]))
