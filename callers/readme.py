"""Runs the examples of README.md as printed, and compares their output with what is printed.

Every ```sh block of the section “Call it” is an example; all of them run in one plain `sh`,
one after the other, as a reader would paste them. A block right after an example that is not
`sh` is what it answers. Tokens, ids, UUIDs, etags and times differ from run to run, so both sides
are compared with those struck out. An answer that begins with ERROR: is a refusal, and the
example has to fail; every other one has to succeed.
"""

import difflib
import re
import subprocess
import sys
from pathlib import Path

SECTION = "Call it"
AT_LEAST = 6
MARK = "\x1e"
STRUCK_OUT = (
    (r"\b[0-9a-f]{40}\b", "<token>"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r'("etag": )"[^"]*"', r"\1<etag>"),
    (r'("(?:id|accountId)": )"\d+"', r"\1<id>"),
    (r'("nextPageToken": )"[^"]*"', r"\1<page token>"),
)


def examples(readme):
    """(heading or first line, commands, expected output or None) for each example."""
    section = re.search(rf"^## {SECTION}\n(.*?)(?=^## |\Z)", readme, re.M | re.S)
    assert section, f"README.md has no section “{SECTION}”"
    blocks = list(re.finditer(r"^```(\w+)\n(.*?)^```\n", section[1], re.M | re.S))
    for block, after in zip(blocks, [*blocks[1:], None]):
        if block[1] != "sh":
            continue
        answer = None
        if after and after[1] != "sh" and not section[1][block.end() : after.start()].strip():
            answer = after[2]
        yield block[2], answer


def method(commands):
    """What an example is called in the lines printed."""
    called = re.findall(r"[a-z]+\.v1\.\w+/\w+|(?<=:5005[12] )(?:list|describe)\b.*", commands)
    return called[-1] if called else commands.strip().splitlines()[0]


def plain(text):
    for pattern, instead in STRUCK_OUT:
        text = re.sub(pattern, instead, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def main():
    found = list(examples(Path("README.md").read_text()))
    assert len(found) >= AT_LEAST, f"only {len(found)} examples in README.md"
    script = "".join(
        f"printf '{MARK}'\n{commands}printf '{MARK}%s{MARK}' $?\n" for commands, _ in found
    )
    ran = subprocess.run(["sh"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    pieces = ran.stdout.split(MARK)
    failed = 0
    for number, (commands, answer) in enumerate(found):
        output, status = (pieces[3 * number + 1 : 3 * number + 3] + ["", "none"])[:2]
        flaws = []
        refusal = answer is not None and answer.startswith("ERROR:")
        if (status == "0") == refusal:
            flaws.append(f"ended with status {status}:")
            flaws += output.splitlines()
        elif answer is not None and plain(output) != plain(answer):
            flaws += difflib.unified_diff(plain(answer), plain(output), "README.md", "answered", lineterm="")
        print(f"{'FAIL' if flaws else 'ok  '}  README: {method(commands)}")
        for flaw in flaws:
            print(f"      {flaw}")
        failed += bool(flaws)
    sys.exit(failed != 0)


main()
