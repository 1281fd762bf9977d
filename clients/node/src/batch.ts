import { ClerkgateError, fromLookup } from "./errors.js";
import { type BatchGetUsersResponse, ErrorReason } from "./gen/clerkgate/v1/user_service_pb.js";
import { toUser, type User } from "./user.js";

/** The most ids of a call. */
export const mostIds = 100;
/** How many calls of one batch are under way at once. */
const concurrency = 4;

/** What a batch of ids came to: each id is in one of the two. */
export interface BatchResult {
  readonly users: Map<string, User>;
  readonly errors: Map<string, ClerkgateError>;
}

/** Cuts ids into lists of what one call takes, without repeats. */
export function chunks(ids: Iterable<string>, size = mostIds): string[][] {
  if (typeof ids === "string" || typeof ids?.[Symbol.iterator] !== "function") {
    throw new TypeError(`want several ids, not ${ids === null ? "null" : typeof ids}`);
  }
  const unique = [...new Set(ids)];
  const cut: string[][] = [];
  for (let start = 0; start < unique.length; start += size) {
    cut.push(unique.slice(start, start + size));
  }
  return cut;
}

/**
 * Looks up any number of ids by calls of up to 100. It throws what `ask` throws if that is
 * no ClerkgateError, or if every call failed as a whole.
 */
export async function lookUp(
  ids: Iterable<string>,
  ask: (ids: string[]) => Promise<BatchGetUsersResponse>,
): Promise<BatchResult> {
  const todo = chunks(ids);
  const users = new Map<string, User>();
  const errors = new Map<string, ClerkgateError>();
  let answered = false;
  let failure: ClerkgateError | undefined; // of a whole call

  async function work(): Promise<void> {
    for (let asked = todo.shift(); asked !== undefined; asked = todo.shift()) {
      let response: BatchGetUsersResponse;
      try {
        response = await ask(asked);
      } catch (error) {
        if (!(error instanceof ClerkgateError)) {
          throw error;
        }
        failure = error;
        for (const id of asked) {
          errors.set(id, error);
        }
        continue;
      }
      answered = true;
      const tooLarge: string[] = [];
      for (const { userId, result, freshness } of response.results) {
        if (result.case === "user") {
          users.set(userId, toUser(result.value, freshness));
        } else if (result.case === "error") {
          if (result.value.reason === ErrorReason.ANSWER_TOO_LARGE && asked.length > 1) {
            tooLarge.push(userId);
          } else {
            errors.set(userId, fromLookup(result.value));
          }
        }
      }
      // They did not fit into this answer: ask again for fewer at once.
      todo.push(...chunks(tooLarge, Math.ceil(asked.length / 2)));
    }
  }

  await Promise.all(Array.from({ length: concurrency }, work));
  if (failure !== undefined && !answered) {
    throw failure;
  }
  return { users, errors };
}
