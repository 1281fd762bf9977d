import type { User as UserMessage } from "./gen/clerkgate/v1/user_pb.js";
import type { Freshness as FreshnessMessage } from "./gen/clerkgate/v1/user_service_pb.js";
import { type Plain, plain } from "./plain.js";

/** How fresh an answer is. `age` is in milliseconds. */
export type Freshness = Plain<FreshnessMessage>;

/** A user, as the contract describes it, with metadata decoded. */
export type User = Plain<UserMessage> & {
  /** The primary email address. */
  readonly primaryEmailAddress: string | undefined;
  /** How fresh this copy is. */
  readonly freshness: Freshness | undefined;
};

/** Returns a user as plain data. */
export function toUser(message: UserMessage, freshness: FreshnessMessage | undefined): User {
  const primary =
    message.primaryEmailAddressId && message.emailAddresses.find(({ id }) => id === message.primaryEmailAddressId);
  return {
    ...plain(message),
    primaryEmailAddress: primary ? primary.emailAddress : undefined,
    freshness: freshness && plain(freshness),
  };
}
