from clerkgate.v1 import user_pb2 as _user_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ERROR_REASON_ANSWER_TOO_LARGE: ErrorReason
ERROR_REASON_BREAKER_OPEN: ErrorReason
ERROR_REASON_CALLER_CHANGED: ErrorReason
ERROR_REASON_CALLER_NOT_ALLOWED: ErrorReason
ERROR_REASON_CALLER_OVER_QUOTA: ErrorReason
ERROR_REASON_CALLER_UNKNOWN: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_CLERK_BAD_ANSWER: ErrorReason
ERROR_REASON_CLERK_KEY_REJECTED: ErrorReason
ERROR_REASON_CLERK_PLAN_LIMIT: ErrorReason
ERROR_REASON_CLERK_RATE_LIMITED: ErrorReason
ERROR_REASON_CLERK_REFUSED: ErrorReason
ERROR_REASON_CLERK_REJECTED_ARGUMENT: ErrorReason
ERROR_REASON_CLERK_UNAVAILABLE: ErrorReason
ERROR_REASON_COPY_TOO_OLD: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_DEADLINE_TOO_SHORT: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_INVALID_ARGUMENT: ErrorReason
ERROR_REASON_LEASE_NOT_FOUND: ErrorReason
ERROR_REASON_LEASE_UNREACHABLE: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_REDIS_UNAVAILABLE: ErrorReason
ERROR_REASON_SHUTTING_DOWN: ErrorReason
ERROR_REASON_STREAM_NOT_READ: ErrorReason
ERROR_REASON_TOKEN_OUTDATED: ErrorReason
ERROR_REASON_UNIMPLEMENTED: ErrorReason
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_USER_NOT_FOUND: ErrorReason
ERROR_REASON_USER_UNREADABLE: ErrorReason
ORIGIN_CLERK: Origin
ORIGIN_UNSPECIFIED: Origin
ORIGIN_WEBHOOK: Origin
SERVED_FROM_MEMORY: ServedFrom
SERVED_FROM_REDIS: ServedFrom
SERVED_FROM_UNSPECIFIED: ServedFrom
SERVED_FROM_UPSTREAM: ServedFrom
USER_VIEW_BASIC: UserView
USER_VIEW_FULL: UserView
USER_VIEW_UNSPECIFIED: UserView

class BatchGetUsersRequest(_message.Message):
    __slots__ = ["max_age", "min_updated_at", "user_ids", "view"]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    MIN_UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    max_age: _duration_pb2.Duration
    min_updated_at: _timestamp_pb2.Timestamp
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    view: UserView
    def __init__(self, user_ids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[UserView, str]] = ..., max_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BatchGetUsersResponse(_message.Message):
    __slots__ = ["results"]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[LookupResult]
    def __init__(self, results: _Optional[_Iterable[_Union[LookupResult, _Mapping]]] = ...) -> None: ...

class CountUsersRequest(_message.Message):
    __slots__ = ["filter", "max_age"]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    filter: UserFilter
    max_age: _duration_pb2.Duration
    def __init__(self, filter: _Optional[_Union[UserFilter, _Mapping]] = ..., max_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CountUsersResponse(_message.Message):
    __slots__ = ["freshness", "total_count"]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    freshness: Freshness
    total_count: int
    def __init__(self, total_count: _Optional[int] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ["age", "fetch_time", "origin", "served_from", "stale"]
    AGE_FIELD_NUMBER: _ClassVar[int]
    FETCH_TIME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SERVED_FROM_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    age: _duration_pb2.Duration
    fetch_time: _timestamp_pb2.Timestamp
    origin: Origin
    served_from: ServedFrom
    stale: bool
    def __init__(self, fetch_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., origin: _Optional[_Union[Origin, str]] = ..., served_from: _Optional[_Union[ServedFrom, str]] = ..., age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., stale: bool = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ["max_age", "min_updated_at", "user_id", "view"]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    MIN_UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    max_age: _duration_pb2.Duration
    min_updated_at: _timestamp_pb2.Timestamp
    user_id: str
    view: UserView
    def __init__(self, user_id: _Optional[str] = ..., view: _Optional[_Union[UserView, str]] = ..., max_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ["freshness", "user"]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    freshness: Freshness
    user: _user_pb2.User
    def __init__(self, user: _Optional[_Union[_user_pb2.User, _Mapping]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class InvalidateUsersRequest(_message.Message):
    __slots__ = ["user_ids"]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class InvalidateUsersResponse(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class ListUsersRequest(_message.Message):
    __slots__ = ["filter", "max_age", "order_by", "page_size", "page_token", "view"]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    filter: UserFilter
    max_age: _duration_pb2.Duration
    order_by: str
    page_size: int
    page_token: str
    view: UserView
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[UserFilter, _Mapping]] = ..., order_by: _Optional[str] = ..., view: _Optional[_Union[UserView, str]] = ..., max_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ListUsersResponse(_message.Message):
    __slots__ = ["freshness", "next_page_token", "unreadable", "users"]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    freshness: Freshness
    next_page_token: str
    unreadable: _containers.RepeatedCompositeFieldContainer[UnreadableUser]
    users: _containers.RepeatedCompositeFieldContainer[_user_pb2.User]
    def __init__(self, users: _Optional[_Iterable[_Union[_user_pb2.User, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., unreadable: _Optional[_Iterable[_Union[UnreadableUser, _Mapping]]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class LookupError(_message.Message):
    __slots__ = ["code", "message", "reason", "retry_delay"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    reason: ErrorReason
    retry_delay: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., message: _Optional[str] = ..., retry_delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class LookupResult(_message.Message):
    __slots__ = ["error", "freshness", "user", "user_id"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    error: LookupError
    freshness: Freshness
    user: _user_pb2.User
    user_id: str
    def __init__(self, user_id: _Optional[str] = ..., user: _Optional[_Union[_user_pb2.User, _Mapping]] = ..., error: _Optional[_Union[LookupError, _Mapping]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class StreamUsersRequest(_message.Message):
    __slots__ = ["filter", "max_age", "order_by", "resume_token", "view"]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    filter: UserFilter
    max_age: _duration_pb2.Duration
    order_by: str
    resume_token: str
    view: UserView
    def __init__(self, filter: _Optional[_Union[UserFilter, _Mapping]] = ..., order_by: _Optional[str] = ..., view: _Optional[_Union[UserView, str]] = ..., resume_token: _Optional[str] = ..., max_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamUsersResponse(_message.Message):
    __slots__ = ["freshness", "resume_token", "unreadable", "users"]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    freshness: Freshness
    resume_token: str
    unreadable: _containers.RepeatedCompositeFieldContainer[UnreadableUser]
    users: _containers.RepeatedCompositeFieldContainer[_user_pb2.User]
    def __init__(self, users: _Optional[_Iterable[_Union[_user_pb2.User, _Mapping]]] = ..., resume_token: _Optional[str] = ..., unreadable: _Optional[_Iterable[_Union[UnreadableUser, _Mapping]]] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...

class StringList(_message.Message):
    __slots__ = ["values"]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class UnreadableUser(_message.Message):
    __slots__ = ["message", "reason", "user_id"]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    message: str
    reason: ErrorReason
    user_id: str
    def __init__(self, user_id: _Optional[str] = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class UserFilter(_message.Message):
    __slots__ = ["banned", "created_at_after", "created_at_before", "email_address_query", "email_addresses", "excluded_external_ids", "excluded_organization_ids", "excluded_user_ids", "external_ids", "last_active_at_after", "last_active_at_before", "last_sign_in_at_after", "last_sign_in_at_before", "name_query", "organization_ids", "phone_number_query", "phone_numbers", "provider", "provider_user_ids", "query", "user_ids", "username_query", "usernames", "web3_wallets"]
    BANNED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_AFTER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    EMAIL_ADDRESS_QUERY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_ORGANIZATION_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_IDS_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_AT_AFTER_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_AT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LAST_SIGN_IN_AT_AFTER_FIELD_NUMBER: _ClassVar[int]
    LAST_SIGN_IN_AT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NAME_QUERY_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_IDS_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_QUERY_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    USERNAMES_FIELD_NUMBER: _ClassVar[int]
    USERNAME_QUERY_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    WEB3_WALLETS_FIELD_NUMBER: _ClassVar[int]
    banned: bool
    created_at_after: _timestamp_pb2.Timestamp
    created_at_before: _timestamp_pb2.Timestamp
    email_address_query: str
    email_addresses: StringList
    excluded_external_ids: StringList
    excluded_organization_ids: StringList
    excluded_user_ids: StringList
    external_ids: StringList
    last_active_at_after: _timestamp_pb2.Timestamp
    last_active_at_before: _timestamp_pb2.Timestamp
    last_sign_in_at_after: _timestamp_pb2.Timestamp
    last_sign_in_at_before: _timestamp_pb2.Timestamp
    name_query: str
    organization_ids: StringList
    phone_number_query: str
    phone_numbers: StringList
    provider: str
    provider_user_ids: StringList
    query: str
    user_ids: StringList
    username_query: str
    usernames: StringList
    web3_wallets: StringList
    def __init__(self, user_ids: _Optional[_Union[StringList, _Mapping]] = ..., external_ids: _Optional[_Union[StringList, _Mapping]] = ..., email_addresses: _Optional[_Union[StringList, _Mapping]] = ..., phone_numbers: _Optional[_Union[StringList, _Mapping]] = ..., usernames: _Optional[_Union[StringList, _Mapping]] = ..., web3_wallets: _Optional[_Union[StringList, _Mapping]] = ..., organization_ids: _Optional[_Union[StringList, _Mapping]] = ..., provider_user_ids: _Optional[_Union[StringList, _Mapping]] = ..., provider: _Optional[str] = ..., excluded_user_ids: _Optional[_Union[StringList, _Mapping]] = ..., excluded_external_ids: _Optional[_Union[StringList, _Mapping]] = ..., excluded_organization_ids: _Optional[_Union[StringList, _Mapping]] = ..., query: _Optional[str] = ..., email_address_query: _Optional[str] = ..., phone_number_query: _Optional[str] = ..., username_query: _Optional[str] = ..., name_query: _Optional[str] = ..., banned: bool = ..., created_at_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created_at_after: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_active_at_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_active_at_after: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_sign_in_at_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_sign_in_at_after: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UserView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ServedFrom(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
