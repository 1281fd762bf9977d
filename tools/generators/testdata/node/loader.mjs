// Reads a user with what @grpc/proto-loader makes of the protos, which it reads
// at run time. usage: node loader.mjs PROTOS ADDRESS USER_ID

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const [protos, address, userId] = process.argv.slice(2);
const definition = protoLoader.loadSync(
  ['clerkgate/v1/user_service.proto', 'clerkgate/v1/quota_service.proto'],
  { includeDirs: [protos], longs: String, enums: String, oneofs: true },
);
const { UserService, QuotaService } = grpc.loadPackageDefinition(definition).clerkgate.v1;
const users = new UserService(address, grpc.credentials.createInsecure());
const quota = new QuotaService(address, grpc.credentials.createInsecure());

const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + 30_000 }, (error, answer) =>
      error ? reject(error) : resolve(answer));
  });

const { user } = await call(users, 'getUser', { userId });
const { user: full } = await call(users, 'getUser', { userId, view: 'USER_VIEW_FULL' });
console.log(user.id);
console.log(user.firstName);
console.log(user.emailAddresses[0].emailAddress);
console.log(user.createdAt.seconds * 1000 + user.createdAt.nanos / 1e6);
console.log('private:', user.privateMetadataJson !== undefined, full.privateMetadataJson !== undefined);
try {
  await call(users, 'getUser', { userId: 'user_nobody' });
} catch (error) {
  console.log(grpc.status[error.code], error.metadata.get('clerkgate-reason')[0]);
}
console.log((await call(quota, 'getQuota', {})).quota.limit);
users.close();
quota.close();
