from clerkgate.v1 import caller_service_pb2 as _caller_service_pb2
from clerkgate.v1 import user_service_pb2 as _user_service_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AcquirePermitsRequest(_message.Message):
    __slots__ = ["count", "max_wait", "request_id", "ttl"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    count: int
    max_wait: _duration_pb2.Duration
    request_id: str
    ttl: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., max_wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AcquirePermitsResponse(_message.Message):
    __slots__ = ["expire_time", "lease_id", "ttl"]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    lease_id: str
    ttl: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Breaker(_message.Message):
    __slots__ = ["since", "state", "times_opened"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STATE_CLOSED: Breaker.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_HALF_OPEN: Breaker.State
    STATE_OPEN: Breaker.State
    STATE_UNSPECIFIED: Breaker.State
    TIMES_OPENED_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    state: Breaker.State
    times_opened: int
    def __init__(self, state: _Optional[_Union[Breaker.State, str]] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., times_opened: _Optional[int] = ...) -> None: ...

class Caller(_message.Message):
    __slots__ = ["guaranteed_percent", "lookups", "lookups_bucket", "max_lookups", "max_requests", "name", "over_limit", "queued", "refused", "requests_bucket", "upstream_share"]
    GUARANTEED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    LOOKUPS_BUCKET_FIELD_NUMBER: _ClassVar[int]
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    MAX_LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OVER_LIMIT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_BUCKET_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_SHARE_FIELD_NUMBER: _ClassVar[int]
    guaranteed_percent: int
    lookups: int
    lookups_bucket: CallerBucket
    max_lookups: _caller_service_pb2.CallerLimit
    max_requests: _caller_service_pb2.CallerLimit
    name: str
    over_limit: int
    queued: int
    refused: int
    requests_bucket: CallerBucket
    upstream_share: float
    def __init__(self, name: _Optional[str] = ..., lookups: _Optional[int] = ..., upstream_share: _Optional[float] = ..., queued: _Optional[int] = ..., refused: _Optional[int] = ..., max_lookups: _Optional[_Union[_caller_service_pb2.CallerLimit, _Mapping]] = ..., max_requests: _Optional[_Union[_caller_service_pb2.CallerLimit, _Mapping]] = ..., guaranteed_percent: _Optional[int] = ..., lookups_bucket: _Optional[_Union[CallerBucket, _Mapping]] = ..., requests_bucket: _Optional[_Union[CallerBucket, _Mapping]] = ..., over_limit: _Optional[int] = ...) -> None: ...

class CallerBucket(_message.Message):
    __slots__ = ["available", "size"]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    available: int
    size: int
    def __init__(self, size: _Optional[int] = ..., available: _Optional[int] = ...) -> None: ...

class GetQuotaRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetQuotaResponse(_message.Message):
    __slots__ = ["quota"]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    quota: Quota
    def __init__(self, quota: _Optional[_Union[Quota, _Mapping]] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ["callers", "other_callers", "totals"]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    OTHER_CALLERS_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    callers: _containers.RepeatedCompositeFieldContainer[Caller]
    other_callers: Caller
    totals: Totals
    def __init__(self, totals: _Optional[_Union[Totals, _Mapping]] = ..., callers: _Optional[_Iterable[_Union[Caller, _Mapping]]] = ..., other_callers: _Optional[_Union[Caller, _Mapping]] = ...) -> None: ...

class Key(_message.Message):
    __slots__ = ["state"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    STATE_ACCEPTED: Key.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_REFUSED: Key.State
    STATE_UNPROVEN: Key.State
    STATE_UNSPECIFIED: Key.State
    state: Key.State
    def __init__(self, state: _Optional[_Union[Key.State, str]] = ...) -> None: ...

class LookupCount(_message.Message):
    __slots__ = ["count", "served_from"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SERVED_FROM_FIELD_NUMBER: _ClassVar[int]
    count: int
    served_from: _user_service_pb2.ServedFrom
    def __init__(self, served_from: _Optional[_Union[_user_service_pb2.ServedFrom, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Queue(_message.Message):
    __slots__ = ["batch", "estimated_wait", "interactive"]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_WAIT_FIELD_NUMBER: _ClassVar[int]
    INTERACTIVE_FIELD_NUMBER: _ClassVar[int]
    batch: QueueLevel
    estimated_wait: _duration_pb2.Duration
    interactive: QueueLevel
    def __init__(self, interactive: _Optional[_Union[QueueLevel, _Mapping]] = ..., batch: _Optional[_Union[QueueLevel, _Mapping]] = ..., estimated_wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class QueueLevel(_message.Message):
    __slots__ = ["depth", "oldest_wait"]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    OLDEST_WAIT_FIELD_NUMBER: _ClassVar[int]
    depth: int
    oldest_wait: _duration_pb2.Duration
    def __init__(self, depth: _Optional[int] = ..., oldest_wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ["available", "breaker", "burst", "effective_limit", "held", "in_flight", "in_flight_limit", "key", "leased", "limit", "paused_until", "queue", "shared", "unauthenticated", "upstream", "window"]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAUSED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    UNAUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    available: int
    breaker: Breaker
    burst: int
    effective_limit: int
    held: int
    in_flight: int
    in_flight_limit: int
    key: Key
    leased: int
    limit: int
    paused_until: _timestamp_pb2.Timestamp
    queue: Queue
    shared: SharedQuota
    unauthenticated: bool
    upstream: UpstreamQuota
    window: _duration_pb2.Duration
    def __init__(self, limit: _Optional[int] = ..., window: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., burst: _Optional[int] = ..., effective_limit: _Optional[int] = ..., available: _Optional[int] = ..., held: _Optional[int] = ..., in_flight: _Optional[int] = ..., in_flight_limit: _Optional[int] = ..., leased: _Optional[int] = ..., upstream: _Optional[_Union[UpstreamQuota, _Mapping]] = ..., paused_until: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., queue: _Optional[_Union[Queue, _Mapping]] = ..., breaker: _Optional[_Union[Breaker, _Mapping]] = ..., key: _Optional[_Union[Key, _Mapping]] = ..., shared: _Optional[_Union[SharedQuota, _Mapping]] = ..., unauthenticated: bool = ...) -> None: ...

class ReleasePermitsRequest(_message.Message):
    __slots__ = ["changed_user_ids", "lease_id", "rate_limited", "unanswered_count", "used_count"]
    CHANGED_USER_IDS_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_COUNT_FIELD_NUMBER: _ClassVar[int]
    changed_user_ids: _containers.RepeatedScalarFieldContainer[str]
    lease_id: str
    rate_limited: bool
    unanswered_count: int
    used_count: int
    def __init__(self, lease_id: _Optional[str] = ..., used_count: _Optional[int] = ..., unanswered_count: _Optional[int] = ..., changed_user_ids: _Optional[_Iterable[str]] = ..., rate_limited: bool = ...) -> None: ...

class ReleasePermitsResponse(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class SharedQuota(_message.Message):
    __slots__ = ["allowance", "decider", "last_reply_time", "replicas"]
    class Decider(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ALLOWANCE_FIELD_NUMBER: _ClassVar[int]
    DECIDER_FALLBACK: SharedQuota.Decider
    DECIDER_FIELD_NUMBER: _ClassVar[int]
    DECIDER_LEARNING: SharedQuota.Decider
    DECIDER_REDIS: SharedQuota.Decider
    DECIDER_UNSPECIFIED: SharedQuota.Decider
    LAST_REPLY_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    allowance: int
    decider: SharedQuota.Decider
    last_reply_time: _timestamp_pb2.Timestamp
    replicas: int
    def __init__(self, decider: _Optional[_Union[SharedQuota.Decider, str]] = ..., replicas: _Optional[int] = ..., allowance: _Optional[int] = ..., last_reply_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Totals(_message.Message):
    __slots__ = ["lookups", "retries", "upstream_rate_limited", "upstream_requests", "users_per_request"]
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_RATE_LIMITED_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    USERS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    lookups: _containers.RepeatedCompositeFieldContainer[LookupCount]
    retries: int
    upstream_rate_limited: int
    upstream_requests: int
    users_per_request: float
    def __init__(self, lookups: _Optional[_Iterable[_Union[LookupCount, _Mapping]]] = ..., upstream_requests: _Optional[int] = ..., upstream_rate_limited: _Optional[int] = ..., retries: _Optional[int] = ..., users_per_request: _Optional[float] = ...) -> None: ...

class UpstreamQuota(_message.Message):
    __slots__ = ["limit", "observe_time", "remaining", "reset_time"]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    limit: int
    observe_time: _timestamp_pb2.Timestamp
    remaining: int
    reset_time: _timestamp_pb2.Timestamp
    def __init__(self, limit: _Optional[int] = ..., remaining: _Optional[int] = ..., reset_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., observe_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchQuotaRequest(_message.Message):
    __slots__ = ["min_interval"]
    MIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    min_interval: _duration_pb2.Duration
    def __init__(self, min_interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchQuotaResponse(_message.Message):
    __slots__ = ["quota"]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    quota: Quota
    def __init__(self, quota: _Optional[_Union[Quota, _Mapping]] = ...) -> None: ...
