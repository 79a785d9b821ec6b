"""The types of events that there are: what a filter may name. README.md says what each holds."""

_BY_NOUN = {
    "account": "frozen unfrozen",
    "client": "connection_lost connection_restored feature_shown game_error game_loaded help_shown "
    "page_hidden page_shown settings_changed spin_shown",
    "key": "created revoked",
    "operator": "created requested",
    "origins": "replaced",
    "review": "opened resolved",
    "round": "needs_review open refused reversed settled void",
    "session": "closed created reality_check replaced",
    "transfer": "applied",
    "wallet": "settled",
}

EVENT_TYPES = frozenset(f"{noun}.{what}" for noun, all_ in _BY_NOUN.items() for what in all_.split())
