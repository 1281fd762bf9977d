from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from clerkgate.v1 import user_pb2, user_service_pb2

_FIELDS = user_pb2.User.DESCRIPTOR.fields_by_name


class User:
    """A user: the fields of the message clerkgate.v1.User, read-only.

    A field that is not set is None, a time is an aware datetime, and metadata is
    decoded. `message` has the message itself.
    """

    id: str
    external_id: str | None
    primary_email_address_id: str | None
    primary_phone_number_id: str | None
    primary_web3_wallet_id: str | None
    username: str | None
    first_name: str | None
    last_name: str | None
    locale: str | None
    timezone: str | None
    profile_image_url: str | None
    image_url: str | None
    has_image: bool
    public_metadata_json: str
    private_metadata_json: str | None
    unsafe_metadata_json: str | None
    # The lists are protobuf's; they can be read like any sequence.
    email_addresses: list[user_pb2.UserEmailAddress]
    phone_numbers: list[user_pb2.UserPhoneNumber]
    web3_wallets: list[user_pb2.UserWeb3Wallet]
    passkeys: list[user_pb2.Passkey]
    external_accounts: list[user_pb2.ExternalAccount]
    saml_accounts: list[user_pb2.SamlAccount]
    enterprise_accounts: list[user_pb2.EnterpriseAccount]
    organization_memberships: list[user_pb2.OrganizationMembership]
    scim: user_pb2.Scim | None
    password_enabled: bool
    two_factor_enabled: bool
    totp_enabled: bool
    backup_code_enabled: bool
    banned: bool | None
    locked: bool | None
    deprovisioned: bool | None
    delete_self_enabled: bool
    create_organization_enabled: bool
    bypass_client_trust: bool | None
    create_organizations_limit: int | None
    lockout_expires_in_seconds: int | None
    verification_attempts_remaining: int | None
    mfa_enabled_at: datetime | None
    mfa_disabled_at: datetime | None
    password_last_updated_at: datetime | None
    last_sign_in_at: datetime | None
    last_active_at: datetime | None
    legal_accepted_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    extra_json: str | None

    def __init__(self, message: user_pb2.User, freshness: user_service_pb2.Freshness) -> None:
        self.message = message
        #: How fresh this copy is: fetch_time, origin, served_from, age, stale.
        self.freshness = freshness

    def __getattr__(self, name: str) -> Any:
        field = _FIELDS.get(name)
        if field is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if field.has_presence and not self.message.HasField(name):
            return None
        value = getattr(self.message, name)
        return value.ToDatetime(tzinfo=timezone.utc) if isinstance(value, Timestamp) else value

    @cached_property
    def public_metadata(self) -> dict[str, Any]:
        """Metadata that the user's browser can read and only the backend can write."""
        return _decode(self.message.public_metadata_json)

    @cached_property
    def private_metadata(self) -> dict[str, Any] | None:
        """Metadata of the backend. None unless `full` was asked for and allowed."""
        return _decode(self.private_metadata_json) if self.private_metadata_json is not None else None

    @cached_property
    def unsafe_metadata(self) -> dict[str, Any]:
        """Metadata that the user's browser can read and write: do not trust it."""
        return _decode(self.message.unsafe_metadata_json)

    @property
    def primary_email_address(self) -> str | None:
        """The primary email address, or None if there is none."""
        for email in self.message.email_addresses:
            if email.id and email.id == self.primary_email_address_id:
                return str(email.email_address)
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and self.message == other.message

    __hash__ = None  # type: ignore[assignment]  # as of a message

    def __repr__(self) -> str:
        return f"User(id={self.id!r})"  # no personal data in logs


def _decode(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(text) if text else {}
    return decoded
