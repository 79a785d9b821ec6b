"""Composition root of the events service: no logic."""

from reelmesh.events.v1 import events_pb2_grpc

from services.common.service import Runtime, run
from services.events.config import Config
from services.events.days import keeping
from services.events.feed import Feed
from services.events.handlers import Handlers
from services.events.webhooks import watches
from services.events.webhooks.delivery import Deliverer
from services.events.webhooks.sender import Sender
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks
from services.watching import database


async def compose(runtime: Runtime[Config]) -> None:
    """The servicer, the feed, and the deliveries to webhooks."""
    config, engine = runtime.config, runtime.engine
    development = config.env == "development"
    vault = Vault(config.webhook_key)
    feed = Feed(engine, draining=runtime.draining, age_s=config.connection_age_ms / 1000)
    handlers = Handlers(engine, feed=feed, webhooks=Webhooks(engine, vault), development=development)
    sender = Sender(development=development)
    runtime.serve(events_pb2_grpc.add_EventServiceServicer_to_server, handlers)
    runtime.background(
        "days", lambda stop: keeping.keep_ahead(engine, interval_ms=keeping.INTERVAL_MS, stop=stop)
    )
    runtime.background("feed", feed.run)
    runtime.background("webhooks", Deliverer(engine, vault, sender.post).run)
    database.start(runtime, watches.webhooks(engine))
    runtime.on_drain(sender.close)


if __name__ == "__main__":
    run("events", Config, compose)
