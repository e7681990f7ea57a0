"""One service really started in the test's own event loop, beside others or alone."""

import time
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from services import start
from services.chassis.database import Database
from services.chassis.server import Server
from services.chassis.settings import Settings
from tests.publish.scene import NOW

_BEGAN = time.monotonic()


def clock() -> datetime:
    """NOW, going on."""
    return NOW + timedelta(seconds=time.monotonic() - _BEGAN)


async def serving(name: str, db: Database, settings: Settings, stack: AsyncExitStack) -> Server:
    """The service's server, accepting calls until the stack is unwound."""
    server = (await stack.enter_async_context(start.built([name], db, settings, clock)))[name]
    await server.start()
    stack.push_async_callback(server.stop, 1.0)
    return server
