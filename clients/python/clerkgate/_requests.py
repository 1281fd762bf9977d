from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, TypedDict, Union, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clerkgate.v1 import user_service_pb2 as pb

#: Seconds, or a timedelta.
Seconds = Union[float, timedelta]
#: Is called with each user of a page who is left out since they can't be read.
OnUnreadable = Callable[[pb.UnreadableUser], None]

_log = logging.getLogger("clerkgate")


class Filter(TypedDict, total=False):
    """Selects the users that meet every condition that is given. A condition with
    several values is met by any of them. See UserFilter of the contract."""

    user_ids: Sequence[str]
    external_ids: Sequence[str]
    email_addresses: Sequence[str]
    phone_numbers: Sequence[str]
    usernames: Sequence[str]
    web3_wallets: Sequence[str]
    organization_ids: Sequence[str]
    provider_user_ids: Sequence[str]
    provider: str
    excluded_user_ids: Sequence[str]
    excluded_external_ids: Sequence[str]
    excluded_organization_ids: Sequence[str]
    query: str
    email_address_query: str
    phone_number_query: str
    username_query: str
    name_query: str
    banned: bool
    created_at_before: datetime
    created_at_after: datetime
    last_active_at_before: datetime
    last_active_at_after: datetime
    last_sign_in_at_before: datetime
    last_sign_in_at_after: datetime


def view(full: bool) -> pb.UserView:
    return pb.USER_VIEW_FULL if full else pb.USER_VIEW_BASIC


def reading(full: bool, max_age: Seconds | None, min_updated_at: datetime | None) -> dict[str, Any]:
    """Returns the fields of a request that select which copies of users it accepts."""
    return {"view": view(full), "max_age": duration(max_age), "min_updated_at": timestamp(min_updated_at)}


def duration(value: Seconds | None) -> Duration | None:
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value if isinstance(value, timedelta) else timedelta(seconds=value))
    return message


def timestamp(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone, such as datetime.now(timezone.utc)")
    message = Timestamp()
    message.FromDatetime(value.astimezone(timezone.utc))
    return message


def user_filter(filter: Filter | None) -> pb.UserFilter | None:
    """Returns the filter as a message. What it does not know is a ValueError."""
    if filter is None:
        return None
    conditions: dict[str, Any] = {}
    for name, value in filter.items():
        field = pb.UserFilter.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise ValueError(f"a filter has no condition {name!r}")
        if value is None:  # it would select everybody
            raise ValueError(f"the condition {name} is None: leave it out")
        if field.message_type is pb.StringList.DESCRIPTOR:
            if isinstance(value, str):
                raise ValueError(f"{name} takes a list, not a str")
            conditions[name] = pb.StringList(values=cast("Iterable[str]", value))
        elif isinstance(value, datetime):
            conditions[name] = timestamp(value)
        else:
            conditions[name] = value
    return pb.UserFilter(**conditions)


def log_unreadable(user: pb.UnreadableUser) -> None:
    """Logs a user who is left out, where the caller does not take care of them."""
    _log.warning("a user is left out: %s: %s", user.user_id, user.message)
