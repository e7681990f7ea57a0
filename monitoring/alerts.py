"""Whom Zabbix tells of problems: a webhook, the user who has it, and the action that tells him."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from monitoring.upkeep import CHANGED, KEPT, MADE, Upkeep

SHAPES = {"generic": "webhook", "dingtalk": "DingTalk", "wecom": "WeCom", "slack": "Slack"}
# As Zabbix numbers them, from 0.
SEVERITIES = ("information", "warning", "average", "high", "disaster")
USER, GROUP = "sharemesh-alerts", "Sharemesh alerts"
ACTION = "Sharemesh: tell of problems"
_SECRET_TEXT = 1
_WEBHOOK = 4
_READ = 2
_NO_FRONTEND = 3
_HOST_GROUP_IS, _TRIGGERS = 0, 0
_TELL, _TELL_ALL_INVOLVED_OF_RECOVERY, _TELL_ALL_INVOLVED_OF_UPDATE = 0, 11, 12
# What the script is given, as macros that Zabbix fills in.
_PARAMETERS = {
    "event_id": "{EVENT.ID}",
    "trigger_id": "{TRIGGER.ID}",
    "value": "{EVENT.VALUE}",
    "update": "{EVENT.UPDATE.STATUS}",
    "severity": "{EVENT.NSEVERITY}",
    "name": "{EVENT.NAME}",
    "host": "{HOST.HOST}",
    "opdata": "{EVENT.OPDATA}",
    "tags": "{EVENT.TAGSJSON}",
    "since_date": "{EVENT.DATE}",
    "since_time": "{EVENT.TIME}",
    "resolved_date": "{EVENT.RECOVERY.DATE}",
    "resolved_time": "{EVENT.RECOVERY.TIME}",
    "updated_date": "{EVENT.UPDATE.DATE}",
    "updated_time": "{EVENT.UPDATE.TIME}",
    "message": "{EVENT.UPDATE.MESSAGE}",
    "action": "{EVENT.UPDATE.ACTION}",
    "user": "{USER.FULLNAME}",
}
# Zabbix wants some, and lists them among its alerts; the script makes its own.
_MESSAGES = (("{EVENT.NAME}", 0), ("Resolved: {EVENT.NAME}", 1), ("Updated: {EVENT.NAME}", 2))


@dataclass(frozen=True)
class Webhook:
    """Where to tell, in which of SHAPES, from which of SEVERITIES on; `secret` signs for DingTalk."""

    url: str
    shape: str = "generic"
    secret: str = ""
    severity: str = "warning"


def keep(upkeep: Upkeep, webhook: Webhook, hosts: str, pages: str) -> None:
    """Tell this webhook of the problems of the hosts in that group; `pages` is the URL of Zabbix's pages.

    Webhooks of other shapes stay as they are.
    """
    secret(upkeep, _macro("URL", webhook.shape), webhook.url)
    secret(upkeep, _macro("SECRET", webhook.shape), webhook.secret)
    media = upkeep.keep(
        "mediatype", "media type", f"Sharemesh {SHAPES[webhook.shape]}", _media_type(webhook, pages), {}
    )
    group = upkeep.keep(
        "usergroup",
        "user group",
        GROUP,
        {"gui_access": _NO_FRONTEND, "hostgroup_rights": [{"id": hosts, "permission": _READ}]},
        {},
    )
    _keep_user(upkeep, webhook, media, group)
    upkeep.keep("action", "action", ACTION, _action(hosts, group), {"eventsource": _TRIGGERS})


def secret(upkeep: Upkeep, macro: str, value: str) -> None:
    """Set a global macro that nobody can read back; its description has a digest, by which a change is seen."""
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    wanted = {"description": f"Set by sharemesh zabbix provision ({digest if value else 'none'})", "type": _SECRET_TEXT}
    found = upkeep.api.usermacro.get(globalmacro=True, output="extend", filter={"macro": macro})
    if not found:
        upkeep.api.usermacro.createglobal(macro=macro, value=value, **wanted)
    elif found[0]["description"] != wanted["description"]:
        upkeep.api.usermacro.updateglobal(globalmacroid=found[0]["globalmacroid"], value=value, **wanted)
    upkeep.told(
        "secret macro",
        macro,
        MADE if not found else KEPT if found[0]["description"] == wanted["description"] else CHANGED,
    )


def _macro(name: str, shape: str) -> str:
    return f'{{$SHAREMESH.WEBHOOK.{name}:"{shape}"}}'


def _media_type(webhook: Webhook, pages: str) -> Mapping[str, Any]:
    shape = webhook.shape
    given = {"url": _macro("URL", shape), "secret": _macro("SECRET", shape), "shape": shape, "pages": pages}
    return {
        "type": _WEBHOOK,
        "status": 0,
        "description": "Set by sharemesh zabbix provision; docs/monitoring.md has its payload.",
        "parameters": [{"name": name, "value": value} for name, value in (given | _PARAMETERS).items()],
        # The API tells it without the newline at its end.
        "script": resources.files("monitoring").joinpath("webhook.js").read_text("utf-8").strip(),
        # A receiver that takes longer hangs. It may be away for minutes, as when it is started again, and Zabbix
        # has no longer pauses than a minute; people are to be told within seconds.
        "timeout": "10s",
        "maxattempts": 30,
        "attempt_interval": "10s",
        "message_templates": [
            {"eventsource": _TRIGGERS, "recovery": kind, "subject": subject, "message": subject}
            for subject, kind in _MESSAGES
        ],
    }


def _keep_user(upkeep: Upkeep, webhook: Webhook, media: str, group: str) -> None:
    lowest = SEVERITIES.index(webhook.severity) + 1
    mine = {
        "mediatypeid": media,
        # Of no use to a webhook, but Zabbix shows it as whom it told.
        "sendto": SHAPES[webhook.shape],
        "active": 0,
        "severity": 2 ** (len(SEVERITIES) + 1) - 2**lowest,
        "period": "1-7,00:00-24:00",
    }
    found = upkeep.found("user", USER) or {"medias": []}
    others = [{name: one[name] for name in mine} for one in found["medias"] if str(one["mediatypeid"]) != media]
    role = upkeep.api.role.get(output=["roleid"], filter={"type": 1}, sortfield="roleid", limit=1)[0]["roleid"]
    upkeep.keep(
        "user",
        "user",
        USER,
        # Zabbix writes times for him in his zone.
        {"medias": [*others, mine], "usrgrps": [{"usrgrpid": group}], "timezone": "UTC"},
        # Nobody logs in as him.
        {"passwd": secrets.token_urlsafe(32) + "aA1!", "roleid": role},
    )


def _action(hosts: str, group: str) -> Mapping[str, Any]:
    return {
        "status": 0,
        "esc_period": "1h",
        "filter": {
            "evaltype": 0,
            "conditions": [{"conditiontype": _HOST_GROUP_IS, "operator": 0, "value": hosts}],
        },
        "operations": [
            {
                "operationtype": _TELL,
                "esc_step_from": 1,
                "esc_step_to": 1,
                "opmessage": {"default_msg": 1, "mediatypeid": 0},
                "opmessage_grp": [{"usrgrpid": group}],
            }
        ],
        "recovery_operations": [{"operationtype": _TELL_ALL_INVOLVED_OF_RECOVERY, "opmessage": {"default_msg": 1}}],
        "update_operations": [{"operationtype": _TELL_ALL_INVOLVED_OF_UPDATE, "opmessage": {"default_msg": 1}}],
    }
