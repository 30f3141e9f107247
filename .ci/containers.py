"""Do Dockerfile and docker-compose.yml fit the programs, as far as can be seen without Docker?

Their ports are those that README.md gives as defaults, what they set are settings that it
lists, and nothing runs as root. Prints a line for each of these.
"""

import re
import sys
from pathlib import Path

import yaml

SERVICES = {"identity": "IDENTITY", "crm": "CRM"}


def readme_settings():
    """Each setting of the table, with what the table says about its default."""
    table = re.search(r"^## Settings\n(.*?)(?=^## )", Path("README.md").read_text(), re.M | re.S)[1]
    settings = {}
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.M):
        names = re.findall(r"`([A-Z_]+)`", row[0])
        defaults = row[1].split(", ")
        settings.update(zip(names, defaults if len(defaults) == len(names) else [row[1]] * len(names)))
    return settings


def stages(dockerfile):
    """The lines of each named stage, those of the stage that it is made from first."""
    found, name = {}, None
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        if begins := re.match(r"FROM (\S+) AS (\S+)", line):
            name = begins[2]
            found[name] = list(found.get(begins[1], []))
        elif name and line.strip() and not line.startswith("#"):
            found[name].append(line)
    return found


def said(stage, instruction):
    """What a stage says with an instruction: its words, each time that it does."""
    return [line.split()[1:] for line in stage if line.startswith(f"{instruction} ")]


def ports(settings, prefix):
    """The ports that a service listens on when nothing is set."""
    names = (f"{prefix}_LISTEN", f"{prefix}_ADMIN_LISTEN")
    return {settings[name].rsplit(":", 1)[1] for name in names}


def is_setting(name, settings):
    return name in settings or name.removesuffix("_FILE") in settings


def flaws_of_ports(settings, compose, built):
    for service, prefix in SERVICES.items():
        wanted = ports(settings, prefix)
        published = {tuple(port.rsplit(":", 2)[-2:]) for port in compose["services"][service]["ports"]}
        if published != {(port, port) for port in wanted}:
            yield f"docker-compose.yml publishes {sorted(published)} of {service}, README.md says {sorted(wanted)}"
        exposed = {port for ports in said(built[service], "EXPOSE") for port in ports}
        if exposed != wanted:
            yield f"Dockerfile exposes {sorted(exposed)} of {service}, README.md says {sorted(wanted)}"


def flaws_of_settings(settings, compose, built):
    for name, service in compose["services"].items():
        if "build" in service:
            for variable in service.get("environment", {}):
                if not is_setting(variable, settings):
                    yield f"docker-compose.yml sets {variable} of {name}, which README.md does not list"
    for name in SERVICES:
        variables = [pair.split("=")[0] for pairs in said(built[name], "ENV") for pair in pairs]
        if not variables:
            yield f"Dockerfile sets nothing in {name}"
        for variable in variables:
            if not is_setting(variable, settings):
                yield f"Dockerfile sets {variable} in {name}, which README.md does not list"


def flaws_of_users(settings, compose, built):
    for name in {service["build"]["target"] for service in compose["services"].values() if "build" in service}:
        users = said(built[name], "USER")
        if not users or users[-1][0].split(":")[0] in ("root", "0"):
            yield f"{name} runs as root"


def flaws_of_targets(settings, compose, built):
    targets = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    if targets != set(SERVICES):
        yield f"docker-compose.yml builds {sorted(targets)}, and there are {sorted(SERVICES)}"


CHECKS = {
    "docker-compose.yml builds each service": flaws_of_targets,
    "the ports are those of README.md": flaws_of_ports,
    "what is set is a setting": flaws_of_settings,
    "nothing runs as root": flaws_of_users,
}


def main():
    facts = (
        readme_settings(),
        yaml.safe_load(Path("docker-compose.yml").read_text()),
        stages(Path("Dockerfile").read_text()),
    )
    failed = False
    for name, flaws_of in CHECKS.items():
        flaws = list(flaws_of(*facts))
        failed |= bool(flaws)
        print(f"{'FAIL' if flaws else 'ok  '}  containers: {name}")
        for flaw in flaws:
            print(f"      {flaw}")
    sys.exit(failed)


main()
