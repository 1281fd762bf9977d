from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallerLimit(_message.Message):
    __slots__ = ["count", "window"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    count: int
    window: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., window: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WhoAmIRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ["batch_only", "full_view", "guaranteed_percent", "max_lookups", "max_requests", "max_streams", "methods", "name", "weight"]
    BATCH_ONLY_FIELD_NUMBER: _ClassVar[int]
    FULL_VIEW_FIELD_NUMBER: _ClassVar[int]
    GUARANTEED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    batch_only: bool
    full_view: _containers.RepeatedScalarFieldContainer[str]
    guaranteed_percent: int
    max_lookups: CallerLimit
    max_requests: CallerLimit
    max_streams: int
    methods: _containers.RepeatedScalarFieldContainer[str]
    name: str
    weight: int
    def __init__(self, name: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ..., full_view: _Optional[_Iterable[str]] = ..., batch_only: bool = ..., max_streams: _Optional[int] = ..., weight: _Optional[int] = ..., max_lookups: _Optional[_Union[CallerLimit, _Mapping]] = ..., max_requests: _Optional[_Union[CallerLimit, _Mapping]] = ..., guaranteed_percent: _Optional[int] = ...) -> None: ...
