import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationMs, type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

import { date } from "./check.js";
import { type StringList, StringListSchema, type UserFilter, UserFilterSchema } from "./gen/clerkgate/v1/user_service_pb.js";

/**
 * A message as plain data: times are Dates, durations numbers of milliseconds, 64-bit
 * integers numbers, and a field of JSON text, such as `publicMetadataJson`, is decoded
 * under its name without `Json`.
 */
export type Plain<T> = T extends bigint
  ? number
  : T extends Timestamp
    ? Date
    : T extends Duration
      ? number
      : T extends (infer E)[]
        ? Plain<E>[]
        : T extends object
          ? { [K in keyof T as PlainName<K>]: K extends `${string}Json` ? PlainJson<T[K]> : Plain<T[K]> }
          : T;

/** A JSON object. Numbers beyond 2^53 are rounded. */
export type JsonObject = Record<string, unknown>;

type PlainName<K> = K extends "$typeName" | "$unknown" ? never : K extends `${infer Name}Json` ? Name : K;
type PlainJson<T> = T extends string ? JsonObject : T;

/** Returns a message as plain data. */
export function plain<T extends Message>(message: T): Plain<T> {
  return convert(message) as Plain<T>;
}

function convert(value: unknown): unknown {
  if (typeof value === "bigint") {
    return Number(value);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map(convert);
  }
  const message = value as Message;
  switch (message.$typeName) {
    case "google.protobuf.Timestamp":
      return timestampDate(message as Timestamp);
    case "google.protobuf.Duration":
      return durationMs(message as Duration);
  }
  const converted: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(message)) {
    if (name.startsWith("$")) {
      continue;
    }
    if (name.endsWith("Json") && typeof field === "string") {
      converted[name.slice(0, -"Json".length)] = field === "" ? {} : JSON.parse(field);
    } else {
      converted[name] = convert(field);
    }
  }
  return converted;
}

/**
 * Selects the users that meet every condition that is given. A condition with several
 * values is met by any of them.
 */
export type Filter = {
  readonly [K in Exclude<keyof UserFilter, "$typeName" | "$unknown">]?: Condition<NonNullable<UserFilter[K]>>;
};

type Condition<T> = T extends StringList ? readonly string[] : T extends Timestamp ? Date : T;

/** Returns a filter as a message. A condition that there is not is a TypeError. */
export function toFilter(filter: Filter | undefined): UserFilter | undefined {
  if (filter === undefined) {
    return undefined;
  }
  const conditions: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(filter)) {
    const field = UserFilterSchema.fields.find(({ localName }) => localName === name);
    if (field === undefined) {
      throw new TypeError(`a filter has no condition ${name}`);
    }
    if (value === undefined || value === null) {
      throw new TypeError(`the condition ${name} is ${value}: leave it out`); // it would select everybody
    }
    if (field.message?.typeName === StringListSchema.typeName) {
      if (!Array.isArray(value)) {
        throw new TypeError(`the condition ${name} takes an array`);
      }
      conditions[name] = create(StringListSchema, { values: value as string[] });
    } else {
      conditions[name] = value instanceof Date ? timestampFromDate(date(name, value)) : value;
    }
  }
  return create(UserFilterSchema, conditions as MessageInitShape<typeof UserFilterSchema>);
}
