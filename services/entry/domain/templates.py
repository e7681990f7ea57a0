"""Templates: the forms that activities are entered by, built in or made by operators."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from peewee import IntegrityError

from services.chassis import database, errors
from services.chassis.call import Call
from services.chassis.errors import Violation
from services.chassis.names import name, uid_of
from services.entry.domain.checks import check_filled
from services.entry.domain.listing import listed
from services.entry.templates import check_template, load
from services.schema import access, replay
from services.schema.tables import Template

Plain = Mapping[str, Any]

# Given by the row, not by the content.
_APART = frozenset({"uid", "name", "create_time"})


def install(now: datetime) -> None:
    """Bring the built-in templates into the database, as this release has them; any process may do it at any time.

    Drafts are checked by a changed one when they are next changed; what is published keeps its own words.
    """
    with database.write():
        for template in load():
            uid, content = template["uid"], _content(template)
            try:
                Template.insert(uid=uid, content=content, create_time=now).execute()
            except IntegrityError:
                Template.update(content=content).where(Template.uid == uid).execute()


def create_template(call: Call, plain: Plain, now: datetime) -> dict[str, Any]:
    """Create a template; in the shape of Template. AlreadyExists for a taken name, Invalid for an unsound one."""
    given = plain["template"]
    uid = uid_of("templates", given["name"], "template.name")
    check_filled(given["title"], ("zh_cn", "en"), "template.title")
    if found := check_template(given):
        raise errors.Invalid(
            "INVALID_FIELD", violations=[Violation(f"template.{path}", description) for path, description in found]
        )

    def command() -> str:
        try:
            Template.insert(uid=uid, content=_content(given), create_time=now).execute()
        except IntegrityError:
            raise errors.AlreadyExists("ALREADY_EXISTS", resource=given["name"]) from None
        return uid

    with database.write():
        replay.once(call, "", command, now)
    return _view(named(uid))


def get_template(call: Call, plain: Plain) -> dict[str, Any]:
    """The template in the shape of Template, the same for every caller; NotFound if there is none."""
    return _view(named(uid_of("templates", plain["name"])))


def list_templates(call: Call, plain: Plain) -> dict[str, Any]:
    """The templates, the oldest first, in the shape of ListTemplatesResponse."""
    found, token = listed(Template.select(), call, plain, {}, is_oldest_first=True, weighed=Template.content)
    return {"templates": [_view(template) for template in found], "next_page_token": token}


def named(uid: str) -> Template:
    """The template; NotFound if there is none."""
    template = Template.get_or_none(Template.uid == uid)
    if template is None:
        raise access.not_found("templates", uid)
    return template


def _content(template: Plain) -> dict[str, Any]:
    return {key: value for key, value in template.items() if key not in _APART}


def _view(template: Template) -> dict[str, Any]:
    return {**template.content, "name": name("templates", template.uid), "create_time": template.create_time}
