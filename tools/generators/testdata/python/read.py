"""Reads a user with the code that protoc and grpc_python_plugin generated.

usage: read.py ADDRESS USER_ID, with the generated code in PYTHONPATH
"""

import keyword
import sys

import grpc

from clerkgate.v1 import (
    quota_service_pb2,
    quota_service_pb2_grpc,
    user_pb2,
    user_service_pb2,
    user_service_pb2_grpc,
)

for file in user_pb2, user_service_pb2, quota_service_pb2:
    for message in file.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if keyword.iskeyword(field.name):
                sys.exit(f"{field.full_name} is a keyword of Python's")

address, user_id = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    users = user_service_pb2_grpc.UserServiceStub(channel)
    quota = quota_service_pb2_grpc.QuotaServiceStub(channel)

    request = user_service_pb2.GetUserRequest(user_id=user_id)
    user = users.GetUser(request, timeout=30).user
    request.view = user_service_pb2.USER_VIEW_FULL
    full = users.GetUser(request, timeout=30).user
    print(user.id)
    print(user.first_name)
    print(user.email_addresses[0].email_address)
    print(user.created_at.ToMilliseconds())
    print("private:", *(str(u.HasField("private_metadata_json")).lower() for u in (user, full)))
    try:
        users.GetUser(user_service_pb2.GetUserRequest(user_id="user_nobody"), timeout=30)
    except grpc.RpcError as error:
        print(error.code().name, dict(error.trailing_metadata())["clerkgate-reason"])
    print(quota.GetQuota(quota_service_pb2.GetQuotaRequest(), timeout=30).quota.limit)
