"""Holds the dependencies against deny.toml, where cargo-deny is not installed.

Reads what `cargo metadata` prints. Checks licences, sources and banned crates; cargo-deny,
which reads the same file, checks more.
"""

import json
import re
import sys

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

with open("deny.toml", "rb") as file:
    rules = tomllib.load(file)
allowed = set(rules["licenses"]["allow"])
banned = {ban["crate"] for ban in rules["bans"]["deny"]}


def may_be_used(expression):
    """Evaluates an SPDX expression; the slash is what crates wrote before there was OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    python = []
    for word in words:
        if word in ("AND", "OR"):
            python.append(word.lower())
        elif word in "()":
            python.append(word)
        elif python and python[-1] == "with":
            # An exception only ever adds to what a licence allows.
            python.pop()
        elif word == "WITH":
            python.append("with")
        else:
            python.append(str(word in allowed))
    return eval(" ".join(python))  # noqa: S307 - made of True, False, and, or, ( and ) alone


flaws = []
for package in json.load(sys.stdin)["packages"]:
    name = f"{package['name']} {package['version']}"
    if package["source"] is None:
        continue
    if not package["source"].startswith("registry+"):
        flaws.append(f"{name} comes from {package['source']}")
    if package["name"] in banned:
        flaws.append(f"{name} is banned")
    if not package["license"]:
        flaws.append(f"{name} names no licence")
    elif not may_be_used(package["license"]):
        flaws.append(f"{name} is under {package['license']}")

print("\n".join(flaws))
sys.exit(bool(flaws))
