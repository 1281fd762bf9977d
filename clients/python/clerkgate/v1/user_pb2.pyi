from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnterpriseAccount(_message.Message):
    __slots__ = ["active", "email_address", "enterprise_connection", "enterprise_connection_id", "first_name", "id", "last_authenticated_at", "last_name", "protocol", "provider", "provider_user_id", "public_metadata_json", "verification"]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ENTERPRISE_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    ENTERPRISE_CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LAST_AUTHENTICATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USER_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    active: bool
    email_address: str
    enterprise_connection: EnterpriseConnection
    enterprise_connection_id: str
    first_name: str
    id: str
    last_authenticated_at: _timestamp_pb2.Timestamp
    last_name: str
    protocol: str
    provider: str
    provider_user_id: str
    public_metadata_json: str
    verification: Verification
    def __init__(self, id: _Optional[str] = ..., protocol: _Optional[str] = ..., provider: _Optional[str] = ..., active: bool = ..., email_address: _Optional[str] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., provider_user_id: _Optional[str] = ..., last_authenticated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., public_metadata_json: _Optional[str] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., enterprise_connection_id: _Optional[str] = ..., enterprise_connection: _Optional[_Union[EnterpriseConnection, _Mapping]] = ...) -> None: ...

class EnterpriseConnection(_message.Message):
    __slots__ = ["active", "allow_idp_initiated", "allow_subdomains", "created_at", "disable_additional_identifications", "domain", "domains", "enterprise_connection_id", "id", "logo_public_url", "name", "protocol", "provider", "sync_user_attributes", "updated_at"]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_IDP_INITIATED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SUBDOMAINS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DISABLE_ADDITIONAL_IDENTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ENTERPRISE_CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LOGO_PUBLIC_URL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SYNC_USER_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    active: bool
    allow_idp_initiated: bool
    allow_subdomains: bool
    created_at: _timestamp_pb2.Timestamp
    disable_additional_identifications: bool
    domain: str
    domains: _containers.RepeatedScalarFieldContainer[str]
    enterprise_connection_id: str
    id: str
    logo_public_url: str
    name: str
    protocol: str
    provider: str
    sync_user_attributes: bool
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., enterprise_connection_id: _Optional[str] = ..., protocol: _Optional[str] = ..., provider: _Optional[str] = ..., name: _Optional[str] = ..., logo_public_url: _Optional[str] = ..., domain: _Optional[str] = ..., domains: _Optional[_Iterable[str]] = ..., active: bool = ..., sync_user_attributes: bool = ..., disable_additional_identifications: bool = ..., allow_subdomains: bool = ..., allow_idp_initiated: bool = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExternalAccount(_message.Message):
    __slots__ = ["approved_scopes", "avatar_url", "created_at", "email_address", "email_address_verified", "external_account_id", "first_name", "id", "identification_id", "image_url", "label", "last_name", "object", "phone_number", "provider", "provider_user_id", "public_metadata_json", "updated_at", "username", "verification"]
    APPROVED_SCOPES_FIELD_NUMBER: _ClassVar[int]
    AVATAR_URL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USER_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    approved_scopes: str
    avatar_url: str
    created_at: _timestamp_pb2.Timestamp
    email_address: str
    email_address_verified: bool
    external_account_id: str
    first_name: str
    id: str
    identification_id: str
    image_url: str
    label: str
    last_name: str
    object: str
    phone_number: str
    provider: str
    provider_user_id: str
    public_metadata_json: str
    updated_at: _timestamp_pb2.Timestamp
    username: str
    verification: Verification
    def __init__(self, object: _Optional[str] = ..., id: _Optional[str] = ..., provider: _Optional[str] = ..., identification_id: _Optional[str] = ..., provider_user_id: _Optional[str] = ..., approved_scopes: _Optional[str] = ..., email_address: _Optional[str] = ..., email_address_verified: bool = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., avatar_url: _Optional[str] = ..., image_url: _Optional[str] = ..., username: _Optional[str] = ..., phone_number: _Optional[str] = ..., label: _Optional[str] = ..., public_metadata_json: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., external_account_id: _Optional[str] = ...) -> None: ...

class LinkedIdentification(_message.Message):
    __slots__ = ["id", "type"]
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class Organization(_message.Message):
    __slots__ = ["admin_delete_enabled", "created_at", "created_by", "has_image", "id", "image_url", "last_active_at", "max_allowed_memberships", "members_count", "membership_limit_set_by", "missing_member_with_elevated_permissions", "name", "pending_invitations_count", "private_metadata_json", "public_metadata_json", "role_set_key", "slug", "updated_at"]
    ADMIN_DELETE_ENABLED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    HAS_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    MAX_ALLOWED_MEMBERSHIPS_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_LIMIT_SET_BY_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_MEMBER_WITH_ELEVATED_PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PENDING_INVITATIONS_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    ROLE_SET_KEY_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    admin_delete_enabled: bool
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    has_image: bool
    id: str
    image_url: str
    last_active_at: _timestamp_pb2.Timestamp
    max_allowed_memberships: int
    members_count: int
    membership_limit_set_by: str
    missing_member_with_elevated_permissions: bool
    name: str
    pending_invitations_count: int
    private_metadata_json: str
    public_metadata_json: str
    role_set_key: str
    slug: str
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., slug: _Optional[str] = ..., image_url: _Optional[str] = ..., has_image: bool = ..., members_count: _Optional[int] = ..., missing_member_with_elevated_permissions: bool = ..., pending_invitations_count: _Optional[int] = ..., max_allowed_memberships: _Optional[int] = ..., admin_delete_enabled: bool = ..., role_set_key: _Optional[str] = ..., public_metadata_json: _Optional[str] = ..., private_metadata_json: _Optional[str] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_active_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., membership_limit_set_by: _Optional[str] = ...) -> None: ...

class OrganizationMembership(_message.Message):
    __slots__ = ["created_at", "id", "organization", "permissions", "private_metadata_json", "public_metadata_json", "public_user_data", "role", "role_name", "updated_at"]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_USER_DATA_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ROLE_NAME_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    id: str
    organization: Organization
    permissions: _containers.RepeatedScalarFieldContainer[str]
    private_metadata_json: str
    public_metadata_json: str
    public_user_data: PublicUserData
    role: str
    role_name: str
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., role: _Optional[str] = ..., role_name: _Optional[str] = ..., permissions: _Optional[_Iterable[str]] = ..., public_metadata_json: _Optional[str] = ..., private_metadata_json: _Optional[str] = ..., organization: _Optional[_Union[Organization, _Mapping]] = ..., public_user_data: _Optional[_Union[PublicUserData, _Mapping]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Passkey(_message.Message):
    __slots__ = ["created_at", "id", "last_used_at", "name", "updated_at", "verification"]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_AT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    id: str
    last_used_at: _timestamp_pb2.Timestamp
    name: str
    updated_at: _timestamp_pb2.Timestamp
    verification: Verification
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., last_used_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PublicUserData(_message.Message):
    __slots__ = ["banned", "deprovisioned", "first_name", "has_image", "identifier", "image_url", "last_name", "profile_image_url", "user_id", "username"]
    BANNED_FIELD_NUMBER: _ClassVar[int]
    DEPROVISIONED_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    HAS_IMAGE_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    PROFILE_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    banned: bool
    deprovisioned: bool
    first_name: str
    has_image: bool
    identifier: str
    image_url: str
    last_name: str
    profile_image_url: str
    user_id: str
    username: str
    def __init__(self, user_id: _Optional[str] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., profile_image_url: _Optional[str] = ..., image_url: _Optional[str] = ..., has_image: bool = ..., identifier: _Optional[str] = ..., username: _Optional[str] = ..., banned: bool = ..., deprovisioned: bool = ...) -> None: ...

class SamlAccount(_message.Message):
    __slots__ = ["active", "email_address", "enterprise_connection_id", "first_name", "id", "last_authenticated_at", "last_name", "provider", "provider_user_id", "public_metadata_json", "saml_connection", "verification"]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ENTERPRISE_CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LAST_AUTHENTICATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USER_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    SAML_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    active: bool
    email_address: str
    enterprise_connection_id: str
    first_name: str
    id: str
    last_authenticated_at: _timestamp_pb2.Timestamp
    last_name: str
    provider: str
    provider_user_id: str
    public_metadata_json: str
    saml_connection: SamlConnection
    verification: Verification
    def __init__(self, id: _Optional[str] = ..., provider: _Optional[str] = ..., active: bool = ..., email_address: _Optional[str] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., provider_user_id: _Optional[str] = ..., last_authenticated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., public_metadata_json: _Optional[str] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., saml_connection: _Optional[_Union[SamlConnection, _Mapping]] = ..., enterprise_connection_id: _Optional[str] = ...) -> None: ...

class SamlConnection(_message.Message):
    __slots__ = ["active", "allow_idp_initiated", "allow_subdomains", "created_at", "disable_additional_identifications", "domain", "domains", "id", "name", "provider", "sync_user_attributes", "updated_at"]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_IDP_INITIATED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SUBDOMAINS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DISABLE_ADDITIONAL_IDENTIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SYNC_USER_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    active: bool
    allow_idp_initiated: bool
    allow_subdomains: bool
    created_at: _timestamp_pb2.Timestamp
    disable_additional_identifications: bool
    domain: str
    domains: _containers.RepeatedScalarFieldContainer[str]
    id: str
    name: str
    provider: str
    sync_user_attributes: bool
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., domain: _Optional[str] = ..., domains: _Optional[_Iterable[str]] = ..., active: bool = ..., provider: _Optional[str] = ..., sync_user_attributes: bool = ..., allow_subdomains: bool = ..., allow_idp_initiated: bool = ..., disable_additional_identifications: bool = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Scim(_message.Message):
    __slots__ = ["directory_enabled", "directory_id", "external_id"]
    DIRECTORY_ENABLED_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    directory_enabled: bool
    directory_id: str
    external_id: str
    def __init__(self, directory_id: _Optional[str] = ..., directory_enabled: bool = ..., external_id: _Optional[str] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ["backup_code_enabled", "banned", "bypass_client_trust", "create_organization_enabled", "create_organizations_limit", "created_at", "delete_self_enabled", "deprovisioned", "email_addresses", "enterprise_accounts", "external_accounts", "external_id", "extra_json", "first_name", "has_image", "id", "image_url", "last_active_at", "last_name", "last_sign_in_at", "legal_accepted_at", "locale", "locked", "lockout_expires_in_seconds", "mfa_disabled_at", "mfa_enabled_at", "organization_memberships", "passkeys", "password_enabled", "password_last_updated_at", "phone_numbers", "primary_email_address_id", "primary_phone_number_id", "primary_web3_wallet_id", "private_metadata_json", "profile_image_url", "public_metadata_json", "saml_accounts", "scim", "timezone", "totp_enabled", "two_factor_enabled", "unsafe_metadata_json", "updated_at", "username", "verification_attempts_remaining", "web3_wallets"]
    BACKUP_CODE_ENABLED_FIELD_NUMBER: _ClassVar[int]
    BANNED_FIELD_NUMBER: _ClassVar[int]
    BYPASS_CLIENT_TRUST_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATE_ORGANIZATIONS_LIMIT_FIELD_NUMBER: _ClassVar[int]
    CREATE_ORGANIZATION_ENABLED_FIELD_NUMBER: _ClassVar[int]
    DELETE_SELF_ENABLED_FIELD_NUMBER: _ClassVar[int]
    DEPROVISIONED_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ENTERPRISE_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    EXTRA_JSON_FIELD_NUMBER: _ClassVar[int]
    FIRST_NAME_FIELD_NUMBER: _ClassVar[int]
    HAS_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_NAME_FIELD_NUMBER: _ClassVar[int]
    LAST_SIGN_IN_AT_FIELD_NUMBER: _ClassVar[int]
    LEGAL_ACCEPTED_AT_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    LOCKOUT_EXPIRES_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MFA_DISABLED_AT_FIELD_NUMBER: _ClassVar[int]
    MFA_ENABLED_AT_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_MEMBERSHIPS_FIELD_NUMBER: _ClassVar[int]
    PASSKEYS_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_ENABLED_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_LAST_UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_EMAIL_ADDRESS_ID_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_WEB3_WALLET_ID_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    PROFILE_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    SAML_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SCIM_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    TOTP_ENABLED_FIELD_NUMBER: _ClassVar[int]
    TWO_FACTOR_ENABLED_FIELD_NUMBER: _ClassVar[int]
    UNSAFE_METADATA_JSON_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_ATTEMPTS_REMAINING_FIELD_NUMBER: _ClassVar[int]
    WEB3_WALLETS_FIELD_NUMBER: _ClassVar[int]
    backup_code_enabled: bool
    banned: bool
    bypass_client_trust: bool
    create_organization_enabled: bool
    create_organizations_limit: int
    created_at: _timestamp_pb2.Timestamp
    delete_self_enabled: bool
    deprovisioned: bool
    email_addresses: _containers.RepeatedCompositeFieldContainer[UserEmailAddress]
    enterprise_accounts: _containers.RepeatedCompositeFieldContainer[EnterpriseAccount]
    external_accounts: _containers.RepeatedCompositeFieldContainer[ExternalAccount]
    external_id: str
    extra_json: str
    first_name: str
    has_image: bool
    id: str
    image_url: str
    last_active_at: _timestamp_pb2.Timestamp
    last_name: str
    last_sign_in_at: _timestamp_pb2.Timestamp
    legal_accepted_at: _timestamp_pb2.Timestamp
    locale: str
    locked: bool
    lockout_expires_in_seconds: int
    mfa_disabled_at: _timestamp_pb2.Timestamp
    mfa_enabled_at: _timestamp_pb2.Timestamp
    organization_memberships: _containers.RepeatedCompositeFieldContainer[OrganizationMembership]
    passkeys: _containers.RepeatedCompositeFieldContainer[Passkey]
    password_enabled: bool
    password_last_updated_at: _timestamp_pb2.Timestamp
    phone_numbers: _containers.RepeatedCompositeFieldContainer[UserPhoneNumber]
    primary_email_address_id: str
    primary_phone_number_id: str
    primary_web3_wallet_id: str
    private_metadata_json: str
    profile_image_url: str
    public_metadata_json: str
    saml_accounts: _containers.RepeatedCompositeFieldContainer[SamlAccount]
    scim: Scim
    timezone: str
    totp_enabled: bool
    two_factor_enabled: bool
    unsafe_metadata_json: str
    updated_at: _timestamp_pb2.Timestamp
    username: str
    verification_attempts_remaining: int
    web3_wallets: _containers.RepeatedCompositeFieldContainer[UserWeb3Wallet]
    def __init__(self, id: _Optional[str] = ..., external_id: _Optional[str] = ..., primary_email_address_id: _Optional[str] = ..., primary_phone_number_id: _Optional[str] = ..., primary_web3_wallet_id: _Optional[str] = ..., username: _Optional[str] = ..., first_name: _Optional[str] = ..., last_name: _Optional[str] = ..., locale: _Optional[str] = ..., timezone: _Optional[str] = ..., profile_image_url: _Optional[str] = ..., image_url: _Optional[str] = ..., has_image: bool = ..., public_metadata_json: _Optional[str] = ..., private_metadata_json: _Optional[str] = ..., unsafe_metadata_json: _Optional[str] = ..., email_addresses: _Optional[_Iterable[_Union[UserEmailAddress, _Mapping]]] = ..., phone_numbers: _Optional[_Iterable[_Union[UserPhoneNumber, _Mapping]]] = ..., web3_wallets: _Optional[_Iterable[_Union[UserWeb3Wallet, _Mapping]]] = ..., passkeys: _Optional[_Iterable[_Union[Passkey, _Mapping]]] = ..., external_accounts: _Optional[_Iterable[_Union[ExternalAccount, _Mapping]]] = ..., saml_accounts: _Optional[_Iterable[_Union[SamlAccount, _Mapping]]] = ..., enterprise_accounts: _Optional[_Iterable[_Union[EnterpriseAccount, _Mapping]]] = ..., organization_memberships: _Optional[_Iterable[_Union[OrganizationMembership, _Mapping]]] = ..., scim: _Optional[_Union[Scim, _Mapping]] = ..., password_enabled: bool = ..., two_factor_enabled: bool = ..., totp_enabled: bool = ..., backup_code_enabled: bool = ..., banned: bool = ..., locked: bool = ..., deprovisioned: bool = ..., delete_self_enabled: bool = ..., create_organization_enabled: bool = ..., bypass_client_trust: bool = ..., create_organizations_limit: _Optional[int] = ..., lockout_expires_in_seconds: _Optional[int] = ..., verification_attempts_remaining: _Optional[int] = ..., mfa_enabled_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., mfa_disabled_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., password_last_updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_sign_in_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_active_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., legal_accepted_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., extra_json: _Optional[str] = ...) -> None: ...

class UserEmailAddress(_message.Message):
    __slots__ = ["created_at", "email_address", "id", "linked_to", "matches_sso_connection", "reserved", "updated_at", "verification"]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LINKED_TO_FIELD_NUMBER: _ClassVar[int]
    MATCHES_SSO_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    email_address: str
    id: str
    linked_to: _containers.RepeatedCompositeFieldContainer[LinkedIdentification]
    matches_sso_connection: bool
    reserved: bool
    updated_at: _timestamp_pb2.Timestamp
    verification: Verification
    def __init__(self, id: _Optional[str] = ..., email_address: _Optional[str] = ..., reserved: bool = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., linked_to: _Optional[_Iterable[_Union[LinkedIdentification, _Mapping]]] = ..., matches_sso_connection: bool = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UserPhoneNumber(_message.Message):
    __slots__ = ["created_at", "default_second_factor", "id", "linked_to", "phone_number", "reserved", "reserved_for_second_factor", "updated_at", "verification"]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_SECOND_FACTOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    LINKED_TO_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FOR_SECOND_FACTOR_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    default_second_factor: bool
    id: str
    linked_to: _containers.RepeatedCompositeFieldContainer[LinkedIdentification]
    phone_number: str
    reserved: bool
    reserved_for_second_factor: bool
    updated_at: _timestamp_pb2.Timestamp
    verification: Verification
    def __init__(self, id: _Optional[str] = ..., phone_number: _Optional[str] = ..., reserved_for_second_factor: bool = ..., default_second_factor: bool = ..., reserved: bool = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., linked_to: _Optional[_Iterable[_Union[LinkedIdentification, _Mapping]]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UserWeb3Wallet(_message.Message):
    __slots__ = ["created_at", "id", "updated_at", "verification", "web3_wallet"]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    WEB3_WALLET_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    id: str
    updated_at: _timestamp_pb2.Timestamp
    verification: Verification
    web3_wallet: str
    def __init__(self, id: _Optional[str] = ..., web3_wallet: _Optional[str] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ["attempts", "channel", "error", "expire_at", "external_verification_redirect_url", "message", "nonce", "object", "status", "strategy", "verified_at_client"]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_VERIFICATION_REDIRECT_URL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_CLIENT_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    channel: str
    error: VerificationError
    expire_at: _timestamp_pb2.Timestamp
    external_verification_redirect_url: str
    message: str
    nonce: str
    object: str
    status: str
    strategy: str
    verified_at_client: str
    def __init__(self, object: _Optional[str] = ..., status: _Optional[str] = ..., strategy: _Optional[str] = ..., attempts: _Optional[int] = ..., expire_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., channel: _Optional[str] = ..., nonce: _Optional[str] = ..., message: _Optional[str] = ..., error: _Optional[_Union[VerificationError, _Mapping]] = ..., external_verification_redirect_url: _Optional[str] = ..., verified_at_client: _Optional[str] = ...) -> None: ...

class VerificationError(_message.Message):
    __slots__ = ["code", "long_message", "message", "meta_json"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    LONG_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    META_JSON_FIELD_NUMBER: _ClassVar[int]
    code: str
    long_message: str
    message: str
    meta_json: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., long_message: _Optional[str] = ..., meta_json: _Optional[str] = ...) -> None: ...
