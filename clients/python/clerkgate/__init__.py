"""Reads Clerk users through clerkgate.

    from clerkgate import Client

    with Client("127.0.0.1:9090") as clerk:
        print(clerk.get_user("user_CsQnnwTgmRLDZMXQVWxBwcECTyw").first_name)

`clerkgate.aio` has the same for asyncio.
"""

from clerkgate._batch import BatchResult
from clerkgate._client import Client
from clerkgate._errors import ClerkgateError, NotFoundError, NotReleasedError
from clerkgate._lease import Lease
from clerkgate._requests import Filter
from clerkgate._settings import VERSION as __version__
from clerkgate._settings import Priority, Token
from clerkgate._user import User

__all__ = [
    "BatchResult",
    "ClerkgateError",
    "Client",
    "Filter",
    "Lease",
    "NotFoundError",
    "NotReleasedError",
    "Priority",
    "Token",
    "User",
    "__version__",
]
