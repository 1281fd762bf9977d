# Reads a user with the code that protoc and grpc_ruby_plugin generated.
#
# usage: ruby -I GENERATED read.rb ADDRESS USER_ID

require 'clerkgate/v1/user_service_services_pb'
require 'clerkgate/v1/quota_service_services_pb'

# A field named like a method of every object can't be read by its name. Those
# that every message has on purpose are methods of its own.
Google::Protobuf::DescriptorPool.generated_pool.then do |pool|
  %w[User UserFilter Quota GetUserRequest Freshness LookupError Verification].each do |name|
    pool.lookup("clerkgate.v1.#{name}").each do |field|
      abort "#{name}.#{field.name} is a method of every object" if Object.method_defined?(field.name)
    end
  end
end

address, user_id = ARGV
v1 = Clerkgate::V1
users = v1::UserService::Stub.new(address, :this_channel_is_insecure, timeout: 30)
quota = v1::QuotaService::Stub.new(address, :this_channel_is_insecure, timeout: 30)

user = users.get_user(v1::GetUserRequest.new(user_id: user_id)).user
full = users.get_user(v1::GetUserRequest.new(user_id: user_id, view: :USER_VIEW_FULL)).user
puts user.id, user.first_name, user.email_addresses[0].email_address
puts user.created_at.seconds * 1000 + user.created_at.nanos / 1_000_000
shown = [user, full].map { |u| u.has_private_metadata_json? ? true : false }
puts "private: #{shown.join(' ')}"
begin
  users.get_user(v1::GetUserRequest.new(user_id: 'user_nobody'))
rescue GRPC::NotFound => e
  puts "NOT_FOUND #{e.metadata['clerkgate-reason']}"
end
puts quota.get_quota(v1::GetQuotaRequest.new).quota.limit
