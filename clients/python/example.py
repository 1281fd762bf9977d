"""Prints some users of a clerkgate server: example.py [ADDRESS]"""

import sys

from clerkgate import ClerkgateError, Client, NotFoundError

with Client(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9090", caller="example", timeout=5) as clerk:
    # The newest users.
    ids = []
    for user in clerk.list_users(page_size=3):
        ids.append(user.id)
        print(user.id, user.first_name, user.primary_email_address, user.public_metadata)
        if len(ids) == 3:
            break

    # Many at once; each id has a user or an error.
    result = clerk.batch_get_users([*ids, "user_nobody"])
    print(len(result.users), "found,", {user_id: error.reason for user_id, error in result.errors.items()})

    # One that does not exist, and any other trouble.
    try:
        clerk.get_user("user_nobody")
    except NotFoundError:
        print("not found")
    except ClerkgateError as error:
        print(error.code, error.reason, "retry after", error.retry_after)

    # Requests of your own to Clerk, under the same quota.
    with clerk.permits(1) as lease:
        # Change the user at Clerk here, within lease.remaining seconds.
        lease.changed_user_ids.append(ids[0])

    print(sum(1 for _ in clerk.stream_users()), "users,", clerk.get_quota().available, "requests left")
