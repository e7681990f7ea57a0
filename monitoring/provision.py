"""Teaches a Zabbix what a mesh is: template, hosts, and whom to tell of problems: `sharemesh zabbix provision`."""

import argparse
import os
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from zabbix_utils import ZabbixAPI
from zabbix_utils.exceptions import APIRequestError, ModuleBaseException, ProcessingError

from monitoring import alerts
from monitoring.plan import Plan, Refused, add_arguments, plan_of, text_in
from monitoring.upkeep import CHANGED, KEPT, MADE, Upkeep, is_as_wanted

__all__ = ["add_arguments", "run"]

HOST_TEMPLATE, MESH_TEMPLATE = "Sharemesh host", "Sharemesh mesh"
HOST_GROUP = "Sharemesh"
OLDEST = 7.0
# An import takes half a second, on a busy Zabbix many times that.
ASK_SECONDS = 60
# Exit codes: what was asked cannot be, and Zabbix cannot be asked.
REFUSED, AWAY = 2, 1
WIDTH = 120
# What the client takes from the environment by itself, and would mix with our flags.
_OTHERS = ("ZABBIX_URL", "ZABBIX_USER", "ZABBIX_PASSWORD", "ZABBIX_TOKEN")
_SUPER_ADMIN = 3
_COLOURS = {MADE: "green", CHANGED: "yellow", KEPT: "dim"}
# What is no longer in the template goes, with its history; whatever else Zabbix has stays.
_EVERYTHING = {"createMissing": True, "updateExisting": True}
_EXACTLY = _EVERYTHING | {"deleteMissing": True}
_RULES = {
    "template_groups": _EVERYTHING,
    "templates": _EVERYTHING,
    "items": _EXACTLY,
    "discoveryRules": _EXACTLY,
    "triggers": _EXACTLY,
    "graphs": _EXACTLY,
    "templateDashboards": _EXACTLY,
    "valueMaps": _EXACTLY,
}


class Away(Exception):
    """Zabbix cannot be asked; the message says what to look at."""


def run(arguments: argparse.Namespace) -> int:
    """Do what the flags say, and print what came of it; returns the exit code of the process."""
    upkeep: Upkeep | None = None
    try:
        plan = plan_of(arguments)
        upkeep = Upkeep(_connected(arguments))
        _provision(upkeep, plan, arguments.url.removesuffix("/api_jsonrpc.php").rstrip("/"))
    except Refused as error:
        sys.stderr.write(f"sharemesh: {error}\n")
        return REFUSED
    except (Away, OSError, ProcessingError) as error:
        rest = "sharemesh: what the table shows is done; run this again for the rest\n"
        sys.stderr.write(f"sharemesh: {error}\n{rest if upkeep and upkeep.outcomes else ''}")
        return AWAY
    except APIRequestError as error:
        # Without the request, which may have secrets in it.
        sys.stderr.write(f"sharemesh: Zabbix refused: {_said(error)}\n")
        return REFUSED
    finally:
        if upkeep is not None:
            _print(upkeep)
            _leave(upkeep.api, arguments)
    return 0


def _connected(arguments: argparse.Namespace) -> ZabbixAPI:
    """The API, logged in as somebody who may do all of this. Raises Refused and Away."""
    token = text_in("token", arguments.token) if arguments.token else None
    password = text_in("password-file", arguments.password_file) if arguments.password_file else None
    if bool(token) == bool(arguments.user) or bool(arguments.user) != bool(password):
        raise Refused("give --token FILE, or --user NAME with --password-file FILE")
    for name in _OTHERS:
        os.environ.pop(name, None)
    api = _found(arguments)
    if api.version < OLDEST:
        raise Refused(
            f"--url: this is Zabbix {api.version}: {OLDEST} or later is needed; the template can be imported by hand"
        )
    try:
        api.login(token=token, user=arguments.user, password=password)
        who = api.user.checkAuthentication(**({"token": token} if token else {"sessionid": _session(api)}))
    except APIRequestError as error:
        whose = "--token" if token else "--user, --password-file"
        raise Refused(f"{whose}: Zabbix lets nobody in by it: {_said(error)}") from error
    if int(who["type"]) != _SUPER_ADMIN:
        _leave(api, arguments)
        raise Refused(f"{who['username']} is no Super admin of Zabbix, and templates and media need one: give another")
    return api


def _leave(api: ZabbixAPI, arguments: argparse.Namespace) -> None:
    """End the session that a password began; a token has none."""
    # One that cannot be ended runs out by itself, and what was asked for is done or refused already.
    with suppress(APIRequestError, ProcessingError, OSError):
        if arguments.user:
            api.logout()


def _found(arguments: argparse.Namespace) -> ZabbixAPI:
    if arguments.ca and not arguments.ca.is_file():
        raise Refused(f"--ca: there is no file {arguments.ca}")
    context = ssl.create_default_context(cafile=arguments.ca)
    try:
        return ZabbixAPI(arguments.url, ssl_context=context, timeout=ASK_SECONDS, skip_version_check=True)
    except ProcessingError as error:
        text = str(error)
        if "parse json" in text or "HTTP Error" in text:
            raise Refused(
                f"--url: no Zabbix API is at {arguments.url}: give the address of its pages, as in a browser"
            ) from error
        raise Away(f"--url: {text}") from error
    except (APIRequestError, AttributeError, ValueError) as error:
        raise Refused(f"--url: what answers at {arguments.url} is no Zabbix API") from error
    except OSError as error:
        raise Away(f"--url: {arguments.url} does not answer: {error}") from error


def _session(api: ZabbixAPI) -> str:
    # It has no other way to tell; `api.check_auth()` keeps the answer for itself.
    return str(api._ZabbixAPI__session_id)


def _provision(upkeep: Upkeep, plan: Plan, pages: str) -> None:
    templates = _keep_templates(upkeep)
    group = upkeep.keep("hostgroup", "host group", HOST_GROUP, {}, {})
    for name in plan.hosts:
        _keep_host(upkeep, name, group, templates[HOST_TEMPLATE], plan.tls)
    mesh = _keep_host(upkeep, plan.mesh_host, group, templates[MESH_TEMPLATE], plan.tls)
    for service, number in plan.wanted.items():
        _keep_wanted(upkeep, mesh, service, number)
    if plan.webhook:
        alerts.keep(upkeep, plan.webhook, group, pages)


def _keep_templates(upkeep: Upkeep) -> Mapping[str, str]:
    """Import the template; returns the numbers of its parts by name."""
    before = _templates(upkeep.api)
    text = _exported(upkeep.api, before)
    source = resources.files("monitoring").joinpath("template.yaml").read_text("utf-8")
    upkeep.api.configuration.import_(format="yaml", source=source, rules=_RULES)
    after = _templates(upkeep.api)
    is_kept = _exported(upkeep.api, after) == text
    for name in after:
        upkeep.told("template", name, MADE if name not in before else KEPT if is_kept else CHANGED)
    return after


def _templates(api: ZabbixAPI) -> dict[str, str]:
    found = api.template.get(output=["templateid", "host"], filter={"host": [HOST_TEMPLATE, MESH_TEMPLATE]})
    return {one["host"]: one["templateid"] for one in found}


def _exported(api: ZabbixAPI, templates: Mapping[str, str]) -> str:
    """What Zabbix has, as text."""
    return str(api.configuration.export(format="yaml", options={"templates": sorted(templates.values())}))


def _keep_host(upkeep: Upkeep, name: str, group: str, template: str, tls: Mapping[str, Any]) -> str:
    """Make a host, or add to it what it lacks: it keeps its other groups, templates and macros; returns its number."""
    hosts = upkeep.api.host
    found = hosts.get(
        output="extend", filter={"host": name}, selectHostGroups=["groupid"], selectParentTemplates=["templateid"]
    )
    if not found:
        made = hosts.create(host=name, groups=[{"groupid": group}], templates=[{"templateid": template}], **tls)
        upkeep.told("host", name, MADE)
        return str(made["hostids"][0])
    one = found[0]
    number = str(one["hostid"])
    is_linked = any(link["templateid"] == template for link in one["parentTemplates"])
    is_ours = is_linked and any(link["groupid"] == group for link in one["hostgroups"])
    # Nobody can read a key back.
    is_same = is_as_wanted(one, {what: value for what, value in tls.items() if what != "tls_psk"})
    if not is_ours:
        hosts.massadd(hosts=[{"hostid": number}], groups=[{"groupid": group}], templates=[{"templateid": template}])
    if tls and (not is_same or "tls_psk" in tls):
        hosts.update(hostid=number, **tls)
    upkeep.told("host", name, KEPT if is_ours and is_same else CHANGED)
    return number


def _keep_wanted(upkeep: Upkeep, mesh: str, service: str, number: int) -> None:
    macro = f'{{$SHAREMESH.WANTED:"{service}"}}'
    macros = upkeep.api.usermacro
    found = macros.get(output="extend", hostids=mesh, filter={"macro": macro})
    if not found:
        macros.create(hostid=mesh, macro=macro, value=str(number))
    elif found[0]["value"] != str(number):
        macros.update(hostmacroid=found[0]["hostmacroid"], value=str(number))
    upkeep.told("macro", macro, MADE if not found else KEPT if found[0]["value"] == str(number) else CHANGED)


def _said(error: ModuleBaseException) -> str:
    return str(getattr(error, "data", "") or getattr(error, "message", "") or error)


def _print(upkeep: Upkeep) -> None:
    table = Table("what", "name", "", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for one in upkeep.outcomes:
        table.add_row(one.what, Text(one.name), Text(one.outcome, _COLOURS[one.outcome]))
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    if upkeep.outcomes:
        console.print(table)
